/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest.h"

static u8 other_stack[4096] ALIGNED(16);

CODE(iret_target, "ud2");

static struct fault try_iret(u64 rip, u64 cs, u64 rflags, u64 rsp, u64 ss)
{
	return TRY(asm volatile("pushq %0; pushq %1; pushq %2; pushq %3; pushq %4; iretq"
				: : "r"(ss), "r"(rsp), "r"(rflags), "r"(cs), "r"(rip) : "memory", "cc"));
}

TEST("guest.iret.nt", "IRET with NT=1 raises #GP(0) in IA-32e mode")
{
	const struct fault fault = TRY(asm volatile("pushq $0x4002; popfq; iretq" : : : "memory", "cc"));

	expect_fault(fault, VECTOR_GP, 0);
}

TEST("guest.iret.rsp", "IRETQ without a change of CPL loads SS and RSP")
{
	const u64 top = (u64)other_stack + 1235;
	const struct fault fault = try_iret((u64)iret_target, SELECTOR_CODE64, RFLAGS_FIXED, top, SELECTOR_DATA);

	expect_fault(fault, VECTOR_UD, 0);
	expect_eq(fault.frame.rsp, top);
	expect_eq(fault.frame.rip, (u64)iret_target);
}

TEST("guest.iret.flags", "IRETQ at CPL 0 loads the flags")
{
	const u64 flags = RFLAGS_FIXED | RFLAGS_CF | RFLAGS_ZF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_AC | RFLAGS_OF;
	const struct fault fault = try_iret((u64)iret_target, SELECTOR_CODE64, flags, (u64)other_stack + 4096,
			SELECTOR_DATA);

	expect_fault(fault, VECTOR_UD, 0);
	expect_eq(fault.frame.rflags & ~(u64)RFLAGS_RF, flags);
}

TEST("guest.iret.refused", "IRETQ refuses a null CS, a CS that is no code, one beyond the GDT, and a wrong RPL")
{
	const u64 rsp = (u64)other_stack + 4096;
	static const struct {
		u64 cs, ss;
		u32 error_code;
	} cases[] = {
		{ 0, SELECTOR_DATA, 0 }, { SELECTOR_DATA, SELECTOR_DATA, SELECTOR_DATA }, { 0x5000, SELECTOR_DATA,
		0x5000 },
		{ SELECTOR_CODE64 | 3, SELECTOR_USER_DATA, SELECTOR_CODE64 },
		{ SELECTOR_USER_CODE64, SELECTOR_DATA, SELECTOR_DATA },
		{ SELECTOR_USER_CODE64, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fault fault = try_iret((u64)iret_target, cases[i].cs, RFLAGS_FIXED, rsp, cases[i].ss);

		CASE("CS %#x, SS %#x", cases[i].cs, cases[i].ss);
		expect_fault(fault, VECTOR_GP, cases[i].error_code);
	}
}

TEST("guest.iret.canonical", "IRETQ refuses an RIP that is not canonical")
{
	const struct fault fault = try_iret(NOT_CANONICAL, SELECTOR_CODE64, RFLAGS_FIXED, (u64)other_stack + 4096,
			SELECTOR_DATA);

	expect_fault(fault, VECTOR_GP, 0);
}

TEST("guest.iret.null_segments", "IRET to CPL 3 makes DS and ES null if their DPL is below")
{
	static u16 ds, es;

	user_pages_on();
	asm volatile("mov %0, %%ds; mov %0, %%es" : : "r"(SELECTOR_DATA));
	const struct fault fault = TRY(asm volatile("pushq %0; pushq %1; pushq $2; pushq %2; pushq %3; iretq"
		     : : "i"(SELECTOR_USER_DATA), "r"((u64)other_stack + 4096), "i"(SELECTOR_USER_CODE64),
				"r"(iret_target)
		     : "memory", "cc"));
	ds = read_ds();
	es = read_es();
	asm volatile("mov %0, %%ds; mov %0, %%es" : : "r"(SELECTOR_DATA));
	expect_fault(fault, VECTOR_UD, 0);
	expect_eq(ds, 0);
	expect_eq(es, 0);
}
