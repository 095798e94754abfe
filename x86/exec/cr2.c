/* SPDX-License-Identifier: BSD-2-Clause */
/* CR2, which is in no area of the VMCS: VM entries and VM exits leave it alone. */
#include "cr.h"
#include "x86/user.h"

GUEST_ASM(guest_mov_from_cr2, "mov %cr2, %rcx; ret");
GUEST_ASM(guest_mov_to_cr2, "mov %rax, %cr2; ret");

/* Bits and their complements, for a register that holds any 64-bit value. */
#define VALUES 128
static u64 value_number(u32 n)
{
	return n < 64 ? BIT(n) : ~BIT(n - 64);
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

WITH_EACH_REGISTER(mov_to_cr2, "mov %\\reg, %cr2");
WITH_EACH_REGISTER(mov_from_cr2, "mov %cr2, %\\reg");

static struct fault user_faults[2];

static void user_mov_to_cr2(void)
{
	write_cr2(0);
}

static void user_mov_from_cr2(void)
{
	read_cr2();
}

static void guest_user_mov_cr2(void)
{
	user_faults[0] = user_run(user_mov_to_cr2);
	user_faults[1] = user_run(user_mov_from_cr2);
}

TEST("exit.cr2.never", "MOV to and from CR2 does not exit, whatever is set for the other control registers")
{
	static const u32 controls[] = { PROC_CR3_LOAD_EXITING, PROC_CR3_STORE_EXITING, PROC_CR8_LOAD_EXITING,
					PROC_CR8_STORE_EXITING, PROC_MOV_DR_EXITING };

	for (u32 i = 0; i < ARRAY_SIZE(controls); i++)
		if (has(controls[i]))
			vmcs_set_controls(controls[i]);
	vmcs_write(CR0_GUEST_HOST_MASK, ~0ull);
	vmcs_write(CR4_GUEST_HOST_MASK, ~0ull);
	for (u32 gpr = 0; gpr < 16; gpr++) {
		CASE("MOV to CR2, register %u", gpr);
		write_cr2(0x5555);
		fill_registers();
		guest_run(with_register(mov_to_cr2, gpr));
		expect_guest_done();
		expect_eq(read_cr2(), value_in_register(mov_to_cr2, gpr));
		CASE("MOV from CR2, register %u", gpr);
		write_cr2(0x6666);
		fill_registers();
		guest_run(with_register(mov_from_cr2, gpr));
		expect_guest_done();
		if (gpr != REG_RAX)
			expect_eq(register_after(gpr), 0x6666);
		expect_eq(read_cr2(), 0x6666);
	}

	CASE("CPL 3");
	user_pages_on();
	vmcs_write(CR0_GUEST_HOST_MASK, 0);
	vmcs_write(CR4_GUEST_HOST_MASK, 0);
	guest_run(guest_user_mov_cr2);
	expect_guest_done();
	expect_fault(user_faults[0], VECTOR_GP, 0);
	expect_fault(user_faults[1], VECTOR_GP, 0);
	expect_eq(read_cr2(), 0x6666);
}
