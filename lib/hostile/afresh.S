/* SPDX-License-Identifier: BSD-2-Clause */
/* hostile_enter_afresh(magic, information): the image begins again, in protected mode without paging. */
	.text
	.code64
	.globl hostile_enter_afresh
hostile_enter_afresh:
	cli
	lgdt hostile_gdtr
	pushq $0x18
	pushq $1f
	lretq
	.code32
1:	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov %eax, %fs
	mov %eax, %gs
	mov %cr0, %eax
	and $0x7fffffff, %eax		/* PG */
	mov %eax, %cr0
	xor %eax, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx		/* IA32_EFER, without LME */
	rdmsr
	and $0xfffffeff, %eax
	or hostile_efer, %eax
	wrmsr
	mov hostile_cr4, %eax
	mov %eax, %cr4
	mov %cr0, %eax
	and $0xfffeffff, %eax		/* WP, which enter_long_mode sets */
	or hostile_cr0, %eax
	mov %eax, %cr0
	mov %edi, %eax
	mov %esi, %ebx
	mov $hostile_stack, %esp
	push hostile_rflags
	popfl
	jmp multiboot_start

	.data
	.balign 16
	.globl hostile_cr0, hostile_cr4, hostile_efer, hostile_rflags
hostile_cr0:	.long 0			/* further bits */
hostile_cr4:	.long 0
hostile_efer:	.long 0			/* further bits */
hostile_rflags:	.long 2
hostile_gdt:	.quad 0
	.quad 0x00af9b000000ffff	/* 64-bit code */
	.quad 0x00cf93000000ffff	/* data */
	.quad 0x00cf9b000000ffff	/* 32-bit code */
hostile_gdtr:	.word 31
	.quad hostile_gdt
	.balign 16
	.skip 64
hostile_stack:
