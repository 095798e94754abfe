/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where another processor starts: copied to a page below 1 MiB, the SIPI's vector. Real mode, then 32-bit mode, where it
 * draws its number; then long mode through enter_long_mode, and ap_main on the stack of that number. One that comes
 * when there is no number left, or when it is too late to draw one, is parked: it halts for good, and survives an NMI or a
 * machine check that goes to all processors.
 */
	.section .rodata
	.globl ap_start, ap_start_end
	.code16
	.balign 16
ap_start:
	cli
	cld
	mov %cs, %ax
	mov %ax, %ds
	lgdtl ap_gdtr - ap_start
	mov %cr0, %eax
	and $0x9fffffff, %eax
	or $1, %eax
	mov %eax, %cr0
	ljmpl $8, $ap_start32
ap_gdtr: .word 23
	.long ap_gdt
ap_start_end:

	.balign 8
ap_gdt:	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff

	.text
	.code32
ap_start32:
	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	lidt ap_idtr

	/* One APIC mode for all (ap_use_x2apic: that of the processor that booted is x2APIC mode). */
	cmpl $0, ap_use_x2apic
	je 1f
	mov $0x1b, %ecx			/* IA32_APIC_BASE */
	rdmsr
	or $0xc00, %eax			/* EXTD, EN */
	wrmsr

	/* EDI: its initial APIC ID, by CPUID 0BH or by 01H; it tells processors apart, no more. */
1:	xor %eax, %eax
	cpuid
	cmp $0xb, %eax
	jb 2f
	mov $0xb, %eax
	xor %ecx, %ecx
	cpuid
	mov %edx, %edi
	test %ebx, %ebx
	jnz 3f
2:	mov $1, %eax
	cpuid
	shr $24, %ebx
	mov %ebx, %edi

	/* EBX: the number of the one that is being started again, if it is that one, or the next that is free. */
3:	mov ap_again, %ebx
	test %ebx, %ebx
	jz 4f
	cmp %edi, ap_initial_ids(, %ebx, 4)
	je 6f
4:	mov ap_next, %eax
5:	cmp ap_end, %eax
	jae park
	lea 1(%eax), %ebx
	lock cmpxchgl %ebx, ap_next
	jne 5b
	mov %eax, %ebx
	mov %edi, ap_initial_ids(, %ebx, 4)

6:	mov ap_stacks(, %ebx, 4), %esp
	lgdt boot_gdtr
	call enter_long_mode
	.code64
	mov %ebx, %edi
	call ap_main

	/*
	 * All that are parked share a stack: what an NMI pushes there is the same for each, or as good. CR4.MCE=1, so that a machine
	 * check is no shutdown.
	 */
	.code32
park:
	lock incl ap_parked
	mov $1, %eax
	cpuid
	test $0x80, %edx		/* MCE */
	jz 1f
	mov %cr4, %eax
	or $0x40, %eax
	mov %eax, %cr4
	.globl park_again
park_again:
1:	mov $park_stack_top, %esp
2:	hlt
	jmp 2b

	.globl park_nmi
park_nmi:
	iret

	.globl park_machine_check
park_machine_check:
	mov $0x17a, %ecx		/* IA32_MCG_STATUS: MCIP=0, for a second one would be a shutdown */
	xor %eax, %eax
	xor %edx, %edx
	wrmsr
	jmp park_again

	.section .rodata
ap_idtr: .word ap_idt_end - ap_idt - 1
	.long ap_idt

	.bss
	.balign 8
	.globl ap_idt, ap_idt_end
ap_idt:	.skip 32 * 8			/* smp.c fills it */
ap_idt_end:
	.skip 64
park_stack_top:

	.text
	.code64
	/* Let interrupts in until one has come. The label is for who must not go to sleep behind one that came earlier. */
	.globl cpu_sleep, cpu_sleep_halt
cpu_sleep:
	sti
cpu_sleep_halt:
	hlt
	cli
	ret
