/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * u64 vmx_enter(struct guest_registers *regs, u64 launch, u64 host_rsp)
 *
 * VMLAUNCH (launch != 0) or VMRESUME with the guest's general registers loaded. The
 * field HOST_RSP is host_rsp; 0 for this stack, as vmx_exit_point wants it. It is written only where it changes: a
 * hypervisor enters its guests again and again with a VMCS that it has not touched, and others take a path of their
 * own for such an entry.
 * Returns 0 after a VM exit, the registers stored; RFLAGS (never 0) if the
 * instruction failed; and bit 63 | vector << 32 | error code if it faulted.
 */
#include "x86/preserved.h"

#define HOST_RSP 0x6c14

	.text
	.code64
	.globl vmx_enter
vmx_enter:
	save_preserved
	push %rdi
	mov %rsp, vmx_enter_rsp(%rip)
	test %rdx, %rdx
	cmovz %rsp, %rdx
	mov $HOST_RSP, %eax
	mov %rdx, %rcx
	not %rcx			/* where VMREAD fails */
	vmread %rax, %rcx
	cmp %rdx, %rcx
	je 3f
	vmwrite %rdx, %rax
3:
#ifdef VMXCHECK_CHECK_BUILD
	mov $1f, %eax			/* the phase of an entry: hostile.nops (lib/hostile) */
	sub hostile_nops(%rip), %rax
	jmp *%rax
	.fill 31, 1, 0x90
1:
#endif
	test %rsi, %rsi
	mov 0(%rdi), %rax
	mov 8(%rdi), %rbx
	mov 16(%rdi), %rcx
	mov 24(%rdi), %rdx
	mov 32(%rdi), %rsi
	mov 48(%rdi), %rbp
	mov 56(%rdi), %r8
	mov 64(%rdi), %r9
	mov 72(%rdi), %r10
	mov 80(%rdi), %r11
	mov 88(%rdi), %r12
	mov 96(%rdi), %r13
	mov 104(%rdi), %r14
	mov 112(%rdi), %r15
	mov 40(%rdi), %rdi
	jz 2f
1:	vmlaunch
	jmp failed
2:	vmresume
failed:
	pushfq
	pop %rax
faulted:				/* the fix-up puts the fault into RAX */
	add $8, %rsp
	jmp out

	.globl vmx_exit_point		/* HOST_RIP */
vmx_exit_point:
	push %rax
	mov 8(%rsp), %rax
	mov %rbx, 8(%rax)
	mov %rcx, 16(%rax)
	mov %rdx, 24(%rax)
	mov %rsi, 32(%rax)
	mov %rdi, 40(%rax)
	mov %rbp, 48(%rax)
	mov %r8, 56(%rax)
	mov %r9, 64(%rax)
	mov %r10, 72(%rax)
	mov %r11, 80(%rax)
	mov %r12, 88(%rax)
	mov %r13, 96(%rax)
	mov %r14, 104(%rax)
	mov %r15, 112(%rax)
	pop 0(%rax)
	add $8, %rsp
	xor %eax, %eax
out:
	return_preserved

	.bss
	.balign 8
	.globl vmx_enter_rsp		/* the stack that vmx_exit_point needs */
vmx_enter_rsp: .skip 8

	.section .fixups, "a"
	.quad 1b, faulted
	.quad 2b, faulted

	/* Where guests start: RDI = the function, RSP = the top of the guest's stack. */
	.text
	.globl guest_start
guest_start:
	call *%rdi
	mov $0x600d600d, %eax		/* GUEST_DONE */
	vmcall
	ud2

	/* Where an exception leads that no TRY in the guest takes. */
	.globl guest_fault_entry
guest_fault_entry:
	call guest_take_fault
	mov $0x0bad0bad, %eax		/* GUEST_FAULTED */
	vmcall
	ud2
