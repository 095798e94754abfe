/* SPDX-License-Identifier: BSD-2-Clause */
/* MOV DR with "MOV-DR exiting" 1 and 0. */
#include "cr.h"
#include "x86/user.h"

/* Exit qualification for MOV DR. */
#define DR_ACCESS(dr, from, gpr) ((u64)((dr) | (from) << 4 | (gpr) << 8))

#define BOTH_WAYS(n)						\
	WITH_EACH_REGISTER(mov_to_dr##n, "mov %\\reg, %dr" #n);	\
	WITH_EACH_REGISTER(mov_from_dr##n, "mov %dr" #n ", %\\reg")

BOTH_WAYS(0);
BOTH_WAYS(1);
BOTH_WAYS(2);
BOTH_WAYS(3);
BOTH_WAYS(4);
BOTH_WAYS(5);
BOTH_WAYS(6);
BOTH_WAYS(7);

static const u8 *const moves_to[] = { mov_to_dr0, mov_to_dr1, mov_to_dr2, mov_to_dr3,
				      mov_to_dr4, mov_to_dr5, mov_to_dr6, mov_to_dr7 };
static const u8 *const moves_from[] = { mov_from_dr0, mov_from_dr1, mov_from_dr2, mov_from_dr3,
					mov_from_dr4, mov_from_dr5, mov_from_dr6, mov_from_dr7 };

/* Values that enable nothing; DR6 and DR7 with their fixed bits. DR4 and DR5 are DR6 and DR7 (CR4.DE = 0). */
static const u64 dr_values[] = { 0x1122334455667788, 0x8877665544332211, 0xf0e1d2c3b4a59687, 0x0f1e2d3c4b5a6978,
				 0xffff4ff3, 0x700, 0xffff8ffc, 0x600 };

static u64 read_dr(u32 dr)
{
	return dr == 0 ? read_dr0() : dr == 1 ? read_dr1() : dr == 2 ? read_dr2() : dr == 3 ? read_dr3() :
	       dr == 4 || dr == 6 ? read_dr6() : read_dr7();
}

static void write_address_registers(const u64 values[4], u64 dr6)
{
	write_dr0(values[0]);
	write_dr1(values[1]);
	write_dr2(values[2]);
	write_dr3(values[3]);
	write_dr6(dr6);
}

#define DR6_FIXED 0xffff0ff0
static const u64 zeroes[4];

static void expect_move_exits(const u8 *code, u32 dr, u32 from, u32 gpr)
{
	fill_registers();
	guest_run(with_register(code, gpr));
	expect_exit(EXIT_MOV_DR, .qualification = DR_ACCESS(dr, from, gpr), .instruction_length = gpr < REG_R8 ? 3 : 4,
		    .rip = (u64)with_register(code, gpr));
	for (u32 other = 0; other < 16; other++)
		if (other != REG_RSP && other != REG_RDI)
			expect_eq(*guest_register(other), register_value(other));
}

TEST("exit.dr.write", "MOV to DR exits if \"MOV-DR exiting\" is 1, naming both registers", NEEDS(PROC_MOV_DR_EXITING))
{
	vmcs_set_controls(PROC_MOV_DR_EXITING);
	write_address_registers(dr_values, DR6_FIXED);
	for (u32 dr = 0; dr < 8; dr++)
		for (u32 gpr = 0; gpr < 16; gpr++) {
			CASE("MOV to DR%u, register %u", dr, gpr);
			expect_move_exits(moves_to[dr], dr, 0, gpr);
		}
	for (u32 dr = 0; dr < 4; dr++)
		expect_eq(read_dr(dr), dr_values[dr]);
	expect_eq(read_dr6(), DR6_FIXED);

	vmcs_clear_controls(PROC_MOV_DR_EXITING);
	for (u32 dr = 0; dr < 4; dr++)
		for (u32 gpr = 0; gpr < 16; gpr++) {
			CASE("MOV to DR%u, register %u, MOV-DR exiting 0", dr, gpr);
			fill_registers();
			guest_run(with_register(moves_to[dr], gpr));
			expect_guest_done();
			expect_eq(read_dr(dr), value_in_register(moves_to[dr], gpr));
		}
	for (u32 dr = 4; dr < 8; dr++) {
		CASE("MOV to DR%u, MOV-DR exiting 0", dr);
		guest.regs.rax = dr_values[dr];
		guest_run(with_register(moves_to[dr], REG_RAX));
		expect_guest_done();
		if (dr % 2 == 0)		/* VM exits load DR7 */
			expect_eq(read_dr6(), dr_values[dr]);
	}
	write_address_registers(zeroes, DR6_FIXED);
}

TEST("exit.dr.read", "MOV from DR exits if \"MOV-DR exiting\" is 1, naming both registers", NEEDS(PROC_MOV_DR_EXITING))
{
	vmcs_set_controls(PROC_MOV_DR_EXITING);
	write_address_registers(dr_values, dr_values[6]);
	for (u32 dr = 0; dr < 8; dr++)
		for (u32 gpr = 0; gpr < 16; gpr++) {
			CASE("MOV from DR%u, register %u", dr, gpr);
			expect_move_exits(moves_from[dr], dr, 1, gpr);
		}

	vmcs_clear_controls(PROC_MOV_DR_EXITING);
	for (u32 dr = 0; dr < 8; dr++)
		for (u32 gpr = 0; gpr < 16; gpr++) {
			CASE("MOV from DR%u, register %u, MOV-DR exiting 0", dr, gpr);
			fill_registers();
			guest_run(with_register(moves_from[dr], gpr));
			expect_guest_done();
			if (gpr != REG_RAX)
				expect_eq(register_after(gpr), dr < 4 ? dr_values[dr] : dr % 2 ? 0x400 : dr_values[6]);
		}
	write_address_registers(zeroes, DR6_FIXED);
}

static struct fault user_fault;

static void user_mov_dr(void)
{
	asm volatile("mov %%dr0, %%rax" : : : "rax");
}

static void guest_user_mov_dr(void)
{
	user_fault = user_run(user_mov_dr);
}

TEST("exit.dr.priority", "The exit of MOV DR comes before #GP for CPL 3, #UD for CR4.DE and #DB for DR7.GD",
     NEEDS(PROC_MOV_DR_EXITING, ENTRYCTL_LOAD_DEBUG_CONTROLS, FEATURE_DE))
{
	vmcs_set_controls(PROC_MOV_DR_EXITING);
	user_pages_on();
	CASE("CPL 3");
	guest_run(guest_user_mov_dr);
	expect_exit(EXIT_MOV_DR, .qualification = DR_ACCESS(0, 1, REG_RAX), .instruction_length = 3);
	expect_eq(vmcs_read(GUEST_CS_SELECTOR) & 3, 3);
	vmcs_clear_controls(PROC_MOV_DR_EXITING);
	CASE("CPL 3, MOV-DR exiting 0");
	guest_resume();
	expect_guest_done();
	expect_fault(user_fault, VECTOR_GP, 0);

	for (u32 dr = 4; dr < 6; dr++)
		for (u32 from = 0; from < 2; from++) {
			const u8 *const code = from ? moves_from[dr] : moves_to[dr];

			vmcs_write(GUEST_CR4, read_cr4() | CR4_DE);
			CASE("CR4.DE = 1, DR%u, direction %u", dr, from);
			vmcs_set_controls(PROC_MOV_DR_EXITING);
			expect_move_exits(code, dr, from, REG_R8);
			CASE("CR4.DE = 1, DR%u, direction %u, MOV-DR exiting 0", dr, from);
			vmcs_clear_controls(PROC_MOV_DR_EXITING);
			guest_run(with_register(code, REG_R8));
			expect_guest_fault(VECTOR_UD, 0);
		}

	vmcs_write(GUEST_CR4, read_cr4());
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	for (u32 from = 0; from < 2; from++) {
		const u8 *const code = from ? mov_from_dr0 : mov_to_dr0;

		vmcs_write(GUEST_DR7, 0x400 | BIT(13));
		CASE("DR7.GD = 1, direction %u", from);
		vmcs_set_controls(PROC_MOV_DR_EXITING);
		expect_move_exits(code, 0, from, REG_R8);
		CASE("DR7.GD = 1, direction %u, MOV-DR exiting 0", from);
		vmcs_clear_controls(PROC_MOV_DR_EXITING);
		vmcs_write(GUEST_DR7, 0x400 | BIT(13));
		guest_run(with_register(code, REG_R8));
		expect_guest_fault(VECTOR_DB, 0);
	}
	write_address_registers(zeroes, DR6_FIXED);
}
