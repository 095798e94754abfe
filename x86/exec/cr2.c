/* SPDX-License-Identifier: BSD-2-Clause */
/* CR2, which is in no area of the VMCS: VM entries and VM exits leave it alone. */
#include "cr.h"

GUEST_ASM(guest_mov_from_cr2, "mov %cr2, %rcx; ret");
GUEST_ASM(guest_mov_to_cr2, "mov %rax, %cr2; ret");

/* Bits and their complements, for a register that holds any 64-bit value. */
#define VALUES 128
static u64 value_number(u32 n)
{
	return n < 64 ? BIT(n) : ~BIT(n - 64);
}

TEST("entry.load.cr2_not_loaded", "The guest reads from CR2 what the host left there")
{
	for (u32 n = 0; n < VALUES; n++) {
		CASE("CR2 %#lx", value_number(n));
		write_cr2(value_number(n));
		guest_run(guest_mov_from_cr2);
		expect_guest_done();
		expect_eq(guest.regs.rcx, value_number(n));
		expect_eq(read_cr2(), value_number(n));
	}

	CASE("VMRESUME");
	write_cr2(0x1111);
	guest_run(guest_mov_from_cr2);
	write_cr2(0x2222);
	guest_run(guest_mov_from_cr2);
	expect_guest_done();
	expect_eq(guest.regs.rcx, 0x2222);
}

static struct fault page_fault;
static const u64 not_mapped = PAGE_WINDOW + 0x123456;

static void guest_takes_page_fault(void)
{
	page_fault = TRY(*(volatile u8 *)not_mapped = 1);
}

TEST("hostload.cr2_untouched", "The host reads from CR2 what the guest left there")
{
	for (u32 n = 0; n < VALUES; n++) {
		CASE("CR2 %#lx", value_number(n));
		write_cr2(~value_number(n));
		guest.regs.rax = value_number(n);
		guest_run(guest_mov_to_cr2);
		expect_guest_done();
		expect_eq(read_cr2(), value_number(n));
	}

	CASE("a page fault that the guest handles");
	write_cr2(0x3333);
	guest_run(guest_takes_page_fault);
	expect_guest_done();
	expect_fault(page_fault, VECTOR_PF, 2);
	expect_eq(page_fault.cr2, not_mapped);
	expect_eq(read_cr2(), not_mapped);

	CASE("the host writes CR2");
	write_cr2(0x4444);
	expect_eq(read_cr2(), 0x4444);
}
