/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of control-register accesses share. */
#pragma once

#include "vmxtest/vmxtest.h"

/* Exit qualification for control-register accesses (SDM Vol. 3C, "Basic VM-Exit Information"). */
enum cr_access { MOV_TO_CR = 0 << 4, MOV_FROM_CR = 1 << 4, CLTS = 2 << 4, LMSW = 3 << 4, LMSW_MEMORY = LMSW | 1 << 6 };
#define CR_ACCESS(cr, access, gpr)	((u64)((cr) | (access) | (gpr) << 8))
#define LMSW_SOURCE(source)		((u64)(u16)(source) << 16)

/* Registers in the order of their encoding. */
enum { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8 };

/*
 * Assembly of 16 times the same instruction with each general register, in the order
 * of their encoding: a label, then a function every 16 bytes. It ends as guests do
 * (GUEST_DONE), but without the stack, which RSP may not point at any more.
 */
#define WITH_EACH_REGISTER(label, instruction)					\
	asm(".pushsection .text; .balign 16; " #label ":\n"			\
	    ".irp reg, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15\n" \
	    ".balign 16; " instruction "; mov $0x600d600d, %eax; vmcall\n.endr; .popsection"); \
	extern const u8 label[]

typedef void (*guest_function)(void);

static inline guest_function with_register(const u8 *label, u32 gpr)
{
	return (guest_function)(label + 16 * gpr);
}

/* A general register of the guest but RSP, by its encoding. */
static inline u64 *guest_register(u32 gpr)
{
	struct guest_registers *const r = &guest.regs;
	u64 *const registers[] = { &r->rax, &r->rcx, &r->rdx, &r->rbx, NULL, &r->rbp, &r->rsi, &r->rdi,
				   &r->r8, &r->r9, &r->r10, &r->r11, &r->r12, &r->r13, &r->r14, &r->r15 };

	return registers[gpr];
}

/* What is in a register after the instruction; RAX says that the guest is done. */
static inline u64 register_after(u32 gpr)
{
	return gpr == REG_RSP ? vmcs_read(GUEST_RSP) : *guest_register(gpr);
}

/* A value of its own for each; guest_run sets RDI. */
static inline u64 register_value(u32 gpr)
{
	return 0x1111111111111111 * gpr + 0x0123;
}

static inline void fill_registers(void)
{
	for (u32 gpr = 0; gpr < 16; gpr++)
		if (gpr != REG_RSP)
			*guest_register(gpr) = register_value(gpr);
}

/* What the instruction of with_register(label, gpr) finds in its register. */
static inline u64 value_in_register(const u8 *label, u32 gpr)
{
	return gpr == REG_RSP ? (u64)(guest_stack + GUEST_STACK_SIZE - 8) :
	       gpr == REG_RDI ? (u64)with_register(label, gpr) : register_value(gpr);
}

/* A control of the default1 class can be 0 where there is a TRUE capability MSR that says so. */
static inline bool may_be_0(enum control control)
{
	return !(vmx_capabilities()->word[control_word(control)].must_be_1 & control_bit(control));
}

/* Bit patterns for a mask or a shadow: none, all, each bit, all but each bit, and some mixed. */
static inline u64 cr_pattern(u32 n)
{
	static const u64 special[] = { 0, ~0ull, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa, 0x0f1e2d3c4b5a6978 };

	return n < 64 ? BIT(n) : n < 128 ? ~BIT(n - 64) : special[n - 128];
}
#define CR_PATTERNS 133
