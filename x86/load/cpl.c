/* SPDX-License-Identifier: BSD-2-Clause */
/* The CPL after VM entry is SS.DPL: CLI raises #GP exactly if it is above IOPL. */
#include "segment.h"

#include "x86/user.h"

CODE(clear_interrupts, "cli");
CODE(read_selector_cs, "mov %cs, %eax");

/* Which CPL? The lowest IOPL that allows CLI. */
static void expect_cpl(u32 cpl)
{
	for (u32 iopl = 0; iopl < 4; iopl++) {
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | iopl << 12);
		run_code(clear_interrupts);
		if (cpl > iopl)
			expect_exception(VECTOR_GP);
		else
			expect_code_ran();
	}
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
}

struct privilege {
	u32 cs_rpl, cs_dpl, ss_rpl, ss_dpl;
	bool conforming, ss_unusable;
};

static void try_privilege(enum guest_mode mode, struct privilege p)
{
	const u32 code = (mode == MODE_64BIT ? 0xa090 : 0xc090) | (p.conforming ? 15 : 11);

	CASE("%s, CS.RPL %u, CS.DPL %u, SS.DPL %u", guest_mode_names[mode], p.cs_rpl, p.cs_dpl, p.ss_dpl);
	vmcs_write(GUEST_CS_SELECTOR, SELECTOR_CODE64 | p.cs_rpl);
	vmcs_write(GUEST_SS_SELECTOR, SELECTOR_DATA | p.ss_rpl);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, code | p.cs_dpl << 5);
	vmcs_write(GUEST_SS_ACCESS_RIGHTS, (p.ss_unusable ? RIGHTS_NOT_USABLE : RIGHTS_DATA32) | p.ss_dpl << 5);
	expect_cpl(p.ss_dpl);
	run_code(read_selector_cs);
	expect_code_ran();
	expect_eq((u16)guest.regs.rax, SELECTOR_CODE64 | p.cs_rpl);
}

/* RPLs are the CPL's, but a conforming code segment may have a lower DPL. */
static void try_privileges(enum guest_mode mode)
{
	for (u32 cpl = 0; cpl < 4; cpl++) {
		if (cpl == 3 && mode == MODE_32BIT)		/* its pages are not user pages */
			continue;
		for (u32 unusable = 0; unusable < 2; unusable++) {
			try_privilege(mode, (struct privilege){ cpl, cpl, cpl, cpl, false, unusable });
			for (u32 dpl = 0; dpl <= cpl; dpl++)
				try_privilege(mode, (struct privilege){ cpl, dpl, cpl, cpl, true, unusable });
		}
	}
}

/* With "unrestricted guest" the RPL of SS is free. */
static void try_unrestricted_privileges(enum guest_mode mode)
{
	for (u32 n = 0; n < 16; n++) {
		const u32 cpl = n & 3, ss_rpl = n >> 2 & 3;

		try_privilege(mode, (struct privilege){ cpl, cpl, ss_rpl, cpl, false, false });
		try_privilege(mode, (struct privilege){ cpl, 0, ss_rpl, cpl, true, false });
	}
}

TEST("entry.load.seg.cpl", "the CPL after VM entry is SS.DPL, whatever CS and the RPLs are, and for an unusable SS too")
{
	static const enum guest_mode modes[] = { MODE_64BIT, MODE_COMPATIBILITY, MODE_PAE, MODE_32BIT };

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		start_segments(modes[i]);
		user_pages_on();
		try_privileges(modes[i]);
	}
	if (has(PROC2_UNRESTRICTED_GUEST)) {
		start_segments(MODE_UNPAGED);
		try_unrestricted_privileges(MODE_UNPAGED);
		start_segments(MODE_REAL);
		CASE("real mode");
		expect_cpl(0);
	}
	start_segments(MODE_VIRTUAL_8086);
	CASE("virtual-8086 mode");
	for (u32 iopl = 0; iopl < 4; iopl++) {
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_VM | iopl << 12);
		run_code(clear_interrupts);
		if (iopl < 3)
			expect_exception(VECTOR_GP);
		else
			expect_code_ran();
	}
}

TEST("entry.load.seg.cpl_not_rpl", "the CPL after VM entry is SS.DPL also where the RPL of a conforming CS is another",
     NEEDS(PROC2_UNRESTRICTED_GUEST))
{
	start_segments(MODE_UNPAGED);
	for (u32 n = 0; n < 64; n++) {
		const u32 cpl = n & 3, cs_rpl = n >> 2 & 3, ss_rpl = n >> 4 & 3;

		try_privilege(MODE_UNPAGED, (struct privilege){ cs_rpl, 0, ss_rpl, cpl, true, false });
	}
}
