/* SPDX-License-Identifier: BSD-2-Clause */
	.text
	.code64

	/* The vectors that push an error code: 8, 10-14, 17, 21, 29, 30. */
#define PUSHES_ERROR_CODE 0x60227d00

	.balign 16
	.globl interrupt_entries
interrupt_entries:
	.set vector, 0
	.rept 256
	.balign 16
	.if vector > 31 || !((PUSHES_ERROR_CODE >> (vector & 31)) & 1)
	push $0
	.endif
	.if vector < 128
	push $vector
	.else
	.byte 0x68
	.long vector
	.endif
	jmp common
	.set vector, vector + 1
	.endr

common:
	cld
	push %rax
	push %rbx
	push %rcx
	push %rdx
	push %rsi
	push %rdi
	push %rbp
	push %r8
	push %r9
	push %r10
	push %r11
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, %rdi
	call interrupt_dispatch
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rbp
	pop %rdi
	pop %rsi
	pop %rdx
	pop %rcx
	pop %rbx
	pop %rax
	add $16, %rsp
	iretq

	/* int recovery_begin(struct recovery *): what setjmp does, then link it in. */
	.globl recovery_begin
recovery_begin:
	mov %rbx, (%rdi)
	mov %rbp, 8(%rdi)
	mov %r12, 16(%rdi)
	mov %r13, 24(%rdi)
	mov %r14, 32(%rdi)
	mov %r15, 40(%rdi)
	mov (%rsp), %rax
	lea 8(%rsp), %rdx
	mov %rdx, 48(%rdi)
	mov %rax, 56(%rdi)
	sub $8, %rsp
	call recovery_link
	add $8, %rsp
	xor %eax, %eax
	ret
