/* SPDX-License-Identifier: BSD-2-Clause */
/* MOV to and from CR8 without TPR shadow (with it: the tests of the APIC). */
#include "cr.h"

GUEST_ASM(guest_mov_to_cr8, "mov %rax, %cr8; ret");
GUEST_ASM(guest_mov_from_cr8, "mov $-1, %rcx; mov %cr8, %rcx; ret");

/* Each with the other control 0 and 1. */
static void set_controls(u32 control, bool on, u32 other, u32 other_on)
{
	if (on)
		vmcs_set_controls(control);
	else
		vmcs_clear_controls(control);
	if (other_on && has(other))
		vmcs_set_controls(other);
	else
		vmcs_clear_controls(other);
}

TEST("exit.cr8.load", "MOV to CR8 exits if \"CR8-load exiting\" is 1, and writes the TPR if it is 0",
     NEEDS(PROC_CR8_LOAD_EXITING))
{
	for (u32 store = 0; store < 2; store++)
		for (u32 value = 0; value < 16; value++) {
			CASE("CR8 %u, CR8-store exiting %u", value, store);
			set_controls(PROC_CR8_LOAD_EXITING, true, PROC_CR8_STORE_EXITING, store);
			write_cr8(value ^ 5);
			guest.regs.rax = value;
			guest_run(guest_mov_to_cr8);
			expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(8, MOV_TO_CR, REG_RAX),
				    .instruction_length = 4, .rip = (u64)guest_mov_to_cr8);
			expect_eq(read_cr8(), value ^ 5);
			CASE("CR8 %u, CR8-load exiting 0, CR8-store exiting %u", value, store);
			set_controls(PROC_CR8_LOAD_EXITING, false, PROC_CR8_STORE_EXITING, store);
			guest.regs.rax = value;
			guest_run(guest_mov_to_cr8);
			expect_guest_done();
			expect_eq(read_cr8(), value);
		}

	write_cr8(0);
	for (u32 n = 4; n < 64; n++) {
		CASE("reserved bit %u: the exit comes before the fault", n);
		set_controls(PROC_CR8_LOAD_EXITING, true, PROC_CR8_STORE_EXITING, false);
		guest.regs.rax = BIT(n);
		guest_run(guest_mov_to_cr8);
		expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(8, MOV_TO_CR, REG_RAX));
		CASE("reserved bit %u, CR8-load exiting 0", n);
		set_controls(PROC_CR8_LOAD_EXITING, false, PROC_CR8_STORE_EXITING, false);
		guest.regs.rax = BIT(n);
		guest_run(guest_mov_to_cr8);
		expect_guest_fault(VECTOR_GP, 0);
	}
}

TEST("exit.cr8.store", "MOV from CR8 exits if \"CR8-store exiting\" is 1, and reads the TPR if it is 0",
     NEEDS(PROC_CR8_STORE_EXITING))
{
	for (u32 load = 0; load < 2; load++)
		for (u32 value = 0; value < 16; value++) {
			write_cr8(value);
			CASE("CR8 %u, CR8-load exiting %u", value, load);
			set_controls(PROC_CR8_STORE_EXITING, true, PROC_CR8_LOAD_EXITING, load);
			guest_run(guest_mov_from_cr8);
			expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(8, MOV_FROM_CR, REG_RCX),
				    .instruction_length = 4);
			expect_eq(guest.regs.rcx, ~0ull);
			CASE("CR8 %u, CR8-store exiting 0, CR8-load exiting %u", value, load);
			set_controls(PROC_CR8_STORE_EXITING, false, PROC_CR8_LOAD_EXITING, load);
			guest_run(guest_mov_from_cr8);
			expect_guest_done();
			expect_eq(guest.regs.rcx, value);
			expect_eq(read_cr8(), value);
		}
	write_cr8(0);
}
