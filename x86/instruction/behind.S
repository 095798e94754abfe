/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * u64 enter_at(const u8 *entry)
 *
 * VM entry by one of the ends below, each of which has another instruction right before
 * VMLAUNCH or VMRESUME. Returns RFLAGS (never 0) if the entry failed and 0 after an exit;
 * writes HOST_RSP and HOST_RIP for itself.
 */
#include "x86/preserved.h"

#define HOST_RSP 0x6c14
#define HOST_RIP 0x6c16

	.text
	.code64
	.globl enter_at
enter_at:
	save_preserved
	mov $HOST_RSP, %eax
	vmwrite %rsp, %rax
	mov $HOST_RIP, %eax
	mov $exited, %ecx
	vmwrite %rcx, %rax
	mov %ss, %eax
	jmp *%rdi
failed:
	pushfq
	pop %rax
	jmp out
exited:
	xor %eax, %eax
out:
	return_preserved

.macro ends entry
	.globl \entry\()_alone, \entry\()_behind_mov_ss, \entry\()_behind_mov_ss_nop, \entry\()_behind_sti
\entry\()_behind_mov_ss_nop:
	mov %eax, %ss
	nop
\entry\()_alone:
	\entry
	jmp failed
\entry\()_behind_mov_ss:
	mov %eax, %ss
	\entry
	jmp failed
\entry\()_behind_sti:
	sti
	\entry
	jmp failed
.endm

	ends vmlaunch
	ends vmresume
