/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * void legacy_enter(void)
 *
 * Leaves IA-32e mode for 32-bit protected mode with PAE paging, and there executes
 * VMXON, VMPTRLD, VMLAUNCH, VMCLEAR and VMXOFF; then comes back. The caller is outside
 * VMX operation, with CR0 and CR4 as VMXON wants them. Regions, CR3 and results are
 * in `legacy` (host_legacy.c); a VM exit or entry failure to a 32-bit host leads to
 * legacy_exit_point, where HOST_RIP must point.
 */
#include "x86/preserved.h"
#include "x86/selectors.h"

#define IA32_EFER		0xc0000080
#define EFER_LME		0x100
#define CR0_PG			0x80000000
#define HOST_RSP		0x6c14
#define VM_INSTRUCTION_ERROR	0x4400
#define EXIT_REASON		0x4402

/* struct legacy */
#define VMXON_REGION	legacy + 0
#define VMCS_REGION	legacy + 8
#define PAE_CR3		legacy + 16
#define VMXON_FLAGS	legacy + 20
#define LAUNCH_FLAGS	legacy + 24
#define ERROR		legacy + 28
#define REASON		legacy + 32

	.text
	.code64
	.globl legacy_enter
legacy_enter:
	save_preserved
	mov %rsp, saved_rsp(%rip)
	mov %cr3, %rax
	mov %rax, saved_cr3(%rip)
	pushq $SELECTOR_CODE32
	lea 1f(%rip), %rax
	push %rax
	lretq

	.code32
1:	mov $SELECTOR_DATA, %eax
	mov %eax, %ss
	mov %eax, %ds
	mov %eax, %es
	mov %cr0, %eax
	and $~CR0_PG, %eax
	mov %eax, %cr0
	mov $IA32_EFER, %ecx
	rdmsr
	and $~EFER_LME, %eax
	wrmsr
	mov PAE_CR3, %eax
	mov %eax, %cr3
	mov %cr0, %eax
	or $CR0_PG, %eax
	mov %eax, %cr0

	vmxon VMXON_REGION
	pushfl
	popl VMXON_FLAGS
	jbe out
	vmptrld VMCS_REGION
	mov $HOST_RSP, %eax
	vmwrite %esp, %eax
	vmlaunch
	pushfl
	popl LAUNCH_FLAGS
	mov $VM_INSTRUCTION_ERROR, %eax
	vmread %eax, ERROR
	jmp leave

	.globl legacy_exit_point
legacy_exit_point:
	movl $0, LAUNCH_FLAGS
	mov $EXIT_REASON, %eax
	vmread %eax, REASON
leave:	vmclear VMCS_REGION
	vmxoff
out:	mov %cr0, %eax
	and $~CR0_PG, %eax
	mov %eax, %cr0
	mov $IA32_EFER, %ecx
	rdmsr
	or $EFER_LME, %eax
	wrmsr
	mov saved_cr3, %eax
	mov %eax, %cr3
	mov %cr0, %eax
	or $CR0_PG, %eax
	mov %eax, %cr0
	ljmp $SELECTOR_CODE64, $2f

	.code64
2:	mov saved_rsp(%rip), %rsp
	mov $SELECTOR_DATA, %eax
	mov %eax, %ss
	mov %eax, %ds
	mov %eax, %es
	return_preserved

	.bss
saved_rsp:	.skip 8
saved_cr3:	.skip 8
	.section .note.GNU-stack, "", @progbits
