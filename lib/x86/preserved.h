/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For assembly: a function that may change every register and RFLAGS begins with save_preserved and ends with
 * return_preserved, which puts back what the System V ABI has it preserve, and RFLAGS.
 */
	.macro save_preserved
	.irp reg, rbx, rbp, r12, r13, r14, r15
	push %\reg
	.endr
	pushfq
	.endm

	.macro return_preserved
	popfq
	.irp reg, r15, r14, r13, r12, rbp, rbx
	pop %\reg
	.endr
	ret
	.endm
