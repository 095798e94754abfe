/* SPDX-License-Identifier: BSD-2-Clause */
/* MOV CR with each of the 16 general registers. */
#include "cr.h"

WITH_EACH_REGISTER(mov_to_cr0, "mov %\\reg, %cr0");
WITH_EACH_REGISTER(mov_to_cr3, "mov %\\reg, %cr3");
WITH_EACH_REGISTER(mov_from_cr3, "mov %cr3, %\\reg");
WITH_EACH_REGISTER(mov_to_cr4, "mov %\\reg, %cr4");
WITH_EACH_REGISTER(mov_to_cr8, "mov %\\reg, %cr8");
WITH_EACH_REGISTER(mov_from_cr8, "mov %cr8, %\\reg");

static const struct {
	const char *name;
	const u8 *code;
	u32 cr;
	enum cr_access access;
	u32 control;		/* makes it exit; 0: the mask does */
} moves[] = {
	{ "MOV to CR0", mov_to_cr0, 0, MOV_TO_CR, 0 },
	{ "MOV to CR3", mov_to_cr3, 3, MOV_TO_CR, PROC_CR3_LOAD_EXITING },
	{ "MOV from CR3", mov_from_cr3, 3, MOV_FROM_CR, PROC_CR3_STORE_EXITING },
	{ "MOV to CR4", mov_to_cr4, 4, MOV_TO_CR, 0 },
	{ "MOV to CR8", mov_to_cr8, 8, MOV_TO_CR, PROC_CR8_LOAD_EXITING },
	{ "MOV from CR8", mov_from_cr8, 8, MOV_FROM_CR, PROC_CR8_STORE_EXITING },
};

/*
 * Before each run the registers differ from each other. The one that the instruction
 * names differs from the shadow in a bit that RSP may have, or equals it.
 */
static void run_move(u32 i, u32 gpr, bool equal)
{
	const u8 *const code = moves[i].code;
	const u64 value = value_in_register(code, gpr);

	fill_registers();
	vmcs_write(moves[i].cr == 4 ? CR4_GUEST_HOST_MASK : CR0_GUEST_HOST_MASK, 0xffffffff);
	vmcs_write(moves[i].cr == 4 ? CR4_READ_SHADOW : CR0_READ_SHADOW, value ^ (equal ? 0 : BIT(5)));
	if (equal && gpr != REG_RSP && gpr != REG_RDI)
		*guest_register(gpr) = moves[i].cr == 3 ? read_cr3() : (u32)value;
	guest_run(with_register(code, gpr));
}

TEST("exit.cr.gpr_encoding", "Bits 11:8 of the qualification of a MOV CR name the general register")
{
	for (u32 i = 0; i < ARRAY_SIZE(moves); i++) {
		const bool to_cr3 = moves[i].code == mov_to_cr3;

		if (moves[i].control && !has(moves[i].control))
			continue;
		if (moves[i].control)
			vmcs_set_controls(moves[i].control);
		for (u32 gpr = 0; gpr < 16; gpr++) {
			CASE("%s, register %u", moves[i].name, gpr);
			run_move(i, gpr, false);
			expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(moves[i].cr, moves[i].access, gpr),
				    .instruction_length = gpr < REG_R8 && moves[i].cr != 8 ? 3 : 4,
				    .rip = (u64)with_register(moves[i].code, gpr));
			for (u32 other = 0; other < 16; other++)
				if (other != REG_RSP && other != REG_RDI)
					expect_eq(*guest_register(other), register_value(other));
		}

		/* The same register decides whether there is an exit. */
		if (to_cr3 && has(LIMIT_CR3_TARGETS(1))) {
			vmcs_write(CR3_TARGET_COUNT, 1);
			vmcs_write(CR3_TARGET_VALUE0, read_cr3());
		} else if (moves[i].control) {
			continue;
		}
		for (u32 gpr = 0; gpr < 16; gpr++) {
			if (to_cr3 && (gpr == REG_RSP || gpr == REG_RDI))
				continue;
			CASE("%s, register %u, which alone agrees", moves[i].name, gpr);
			run_move(i, gpr, true);
			expect_guest_done();
		}
	}
}
