/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The exit probe (vmx/probe.h). Memory is addressed by absolute addresses: the code works at every linear
 * address that leads to it, with any stack pointer and any segment registers of a 64-bit host.
 */
#include "x86/selectors.h"

#define REGS	0
#define RSP	120
#define RIP	128
#define RFLAGS	136
#define CR	144		/* CR0, CR2, CR3, CR4, CR8 */
#define DR	184		/* DR0-DR3, DR6, DR7 */
#define SEL	232		/* ES, CS, SS, DS, FS, GS, LDTR, TR */
#define GDTR	248
#define IDTR	258
#define ENTRY	268

	.text
	.code64
	.balign 16
	.globl exit_probe_entries, exit_probe_start
exit_probe_entries:
	.set entry, 0
	.rept 64
	.balign 16
	movl $entry, exit_probe + ENTRY
	.byte 0xe9			/* jmp rel32: to the same alias of the probe */
	.long exit_probe_start - . - 4
	.set entry, entry + 1
	.endr

exit_probe_start:
	mov %rax, exit_probe + REGS + 0
	mov %rbx, exit_probe + REGS + 8
	mov %rcx, exit_probe + REGS + 16
	mov %rdx, exit_probe + REGS + 24
	mov %rsi, exit_probe + REGS + 32
	mov %rdi, exit_probe + REGS + 40
	mov %rbp, exit_probe + REGS + 48
	mov %r8, exit_probe + REGS + 56
	mov %r9, exit_probe + REGS + 64
	mov %r10, exit_probe + REGS + 72
	mov %r11, exit_probe + REGS + 80
	mov %r12, exit_probe + REGS + 88
	mov %r13, exit_probe + REGS + 96
	mov %r14, exit_probe + REGS + 104
	mov %r15, exit_probe + REGS + 112
	mov %rsp, exit_probe + RSP
	lea exit_probe_start(%rip), %rax
	mov %rax, exit_probe + RIP
	mov $exit_probe_stack_end, %rsp
	pushfq
	popq exit_probe + RFLAGS
	cld
	mov %cr0, %rax
	mov %rax, exit_probe + CR + 0
	mov %cr2, %rax
	mov %rax, exit_probe + CR + 8
	mov %cr3, %rax
	mov %rax, exit_probe + CR + 16
	mov %cr4, %rax
	mov %rax, exit_probe + CR + 24
	mov %cr8, %rax
	mov %rax, exit_probe + CR + 32
	mov %es, exit_probe + SEL + 0
	mov %cs, exit_probe + SEL + 2
	mov %ss, exit_probe + SEL + 4
	mov %ds, exit_probe + SEL + 6
	mov %fs, exit_probe + SEL + 8
	mov %gs, exit_probe + SEL + 10
	sldt exit_probe + SEL + 12
	str exit_probe + SEL + 14
	sgdt exit_probe + GDTR
	sidt exit_probe + IDTR
	mov %dr7, %rax			/* the first: it says whether the others can be read */
	mov %rax, exit_probe + DR + 40
	mov %dr0, %rax
	mov %rax, exit_probe + DR + 0
	mov %dr1, %rax
	mov %rax, exit_probe + DR + 8
	mov %dr2, %rax
	mov %rax, exit_probe + DR + 16
	mov %dr3, %rax
	mov %rax, exit_probe + DR + 24
	mov %dr6, %rax
	mov %rax, exit_probe + DR + 32

	/* MSRs: exit_probe_msr_count pairs of index and value. */
	xor %esi, %esi
1:	cmp exit_probe_msr_count, %esi
	jae 2f
	mov %esi, %edi
	shl $4, %edi
	mov exit_probe_msrs(%rdi), %ecx
	rdmsr
	mov %eax, exit_probe_msrs + 8(%rdi)
	mov %edx, exit_probe_msrs + 12(%rdi)
	inc %esi
	jmp 1b

2:	mov exit_probe_hook, %rax
	test %rax, %rax
	jz 3f
	call *%rax

	/* Now what C needs: tables and CS, from here on at the address of the link; control registers; this_cpu(). */
3:	lgdt exit_probe_home_gdtr
	lidt exit_probe_home_idtr
	pushq $SELECTOR_CODE64
	pushq $4f
	lretq
4:	mov exit_probe_home_cr3, %rax
	mov %rax, %cr3
	mov exit_probe_home_cr4, %rax
	mov %rax, %cr4
	mov exit_probe_home_cr0, %rax
	mov %rax, %cr0
	mov $0xc0000101, %ecx		/* IA32_GS_BASE */
	mov exit_probe_home_gs_base, %eax
	mov exit_probe_home_gs_base + 4, %edx
	wrmsr
	call exit_probe_go_home
	mov exit_probe + REGS + 0, %rax
	mov exit_probe + REGS + 8, %rbx
	mov exit_probe + REGS + 16, %rcx
	mov exit_probe + REGS + 24, %rdx
	mov exit_probe + REGS + 32, %rsi
	mov exit_probe + REGS + 40, %rdi
	mov exit_probe + REGS + 48, %rbp
	mov exit_probe + REGS + 56, %r8
	mov exit_probe + REGS + 64, %r9
	mov exit_probe + REGS + 72, %r10
	mov exit_probe + REGS + 80, %r11
	mov exit_probe + REGS + 88, %r12
	mov exit_probe + REGS + 96, %r13
	mov exit_probe + REGS + 104, %r14
	mov exit_probe + REGS + 112, %r15
	mov vmx_enter_rsp, %rsp
	jmp vmx_exit_point

	.bss
	.balign 16
	.skip 8192
exit_probe_stack_end:
