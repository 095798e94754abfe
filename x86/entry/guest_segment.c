/* SPDX-License-Identifier: BSD-2-Clause */
/* Selectors and bases of guest segment registers ("Checks on Guest Segment Registers"), TR and LDTR not forgotten. */
#include "guest_segment.h"

enum { SELECTOR_TI = 4 };

/* Every selector that differs from the prepared one in the bits of the table indicator and the RPL. */
static void try_table_indicator(enum segment_register r, bool checked)
{
	const u64 base = vmcs_read(segment_selector(r)) & ~7ull;

	entry_guest_keep();
	for (u64 low = 0; low < 8; low++) {
		CASE("%s selector %#x", segment_names[r], base | low);
		vmcs_write(segment_selector(r), base | low);
		expect_guest_state(!(checked && low & SELECTOR_TI));
	}
}

TEST("entry.guest.tr.sel.ti", "the selector of TR has TI = 0")
{
	entry_stop_guest_at_once();
	try_table_indicator(SEG_TR, true);
	entry_guest_32bit();
	try_table_indicator(SEG_TR, true);
}

TEST("entry.guest.ldtr.sel.ti", "the selector of a usable LDTR has TI = 0")
{
	entry_stop_guest_at_once();
	entry_guest_ldtr();
	try_table_indicator(SEG_LDTR, true);
	vmcs_write(GUEST_LDTR_ACCESS_RIGHTS, RIGHTS_NOT_USABLE);
	try_table_indicator(SEG_LDTR, false);
	vmcs_write(GUEST_LDTR_ACCESS_RIGHTS, RIGHTS_LDT | RIGHTS_NOT_USABLE);
	try_table_indicator(SEG_LDTR, false);
}

/*
 * Every RPL of CS and of SS, whose DPL goes along with its own RPL. The DPL of a nonconforming CS is that of SS; that of a
 * conforming one is 0, so that nothing but the rule ties it to its RPL.
 */
static void try_rpls(enum segment_mode mode, u32 conforming, u32 unusable)
{
	if (!candidate_begin(mode))
		return;
	for (u32 n = 0; n < 16; n++) {
		const u32 cs_rpl = n & 3, ss_rpl = n >> 2;

		for (enum segment_register r = SEG_CS; r <= SEG_SS; r++)
			candidate.segment[r].rights = (candidate.segment[r].rights & ~(u32)RIGHTS_DPL) | ss_rpl << 5;
		if (conforming)
			candidate.segment[SEG_CS].rights = (candidate.segment[SEG_CS].rights & ~(u32)RIGHTS_DPL) | conforming;
		candidate.segment[SEG_SS].rights |= unusable;
		candidate.segment[SEG_CS].selector = (candidate.segment[SEG_CS].selector & ~3) | cs_rpl;
		candidate.segment[SEG_SS].selector = (candidate.segment[SEG_SS].selector & ~3) | ss_rpl;
		CASE(conforming ? "mode %u: CS.RPL %u, conforming, SS.RPL %u, SS unusable %u" :
		     "mode %u: CS.RPL %u, SS.RPL %u, SS unusable %u", mode, cs_rpl, ss_rpl, unusable != 0);
		candidate_try(SEG_SS, rule_ss_rpl(SEG_SS));
	}
}

TEST("entry.guest.ss.sel.rpl", "without unrestricted guest SS.RPL is CS.RPL, whether SS is usable or not")
{
	for (enum segment_mode mode = MODE_64BIT; mode <= MODE_32BIT; mode++) {
		for (u32 conforming = 0; conforming <= TYPE_CONFORMING; conforming += TYPE_CONFORMING) {
			try_rpls(mode, conforming, 0);
			try_rpls(mode, conforming, RIGHTS_NOT_USABLE);
		}
	}
}

/* SS.RPL alone varies: CS.RPL stays what its DPL is. */
TEST("entry.guest.ss.sel.rpl_ug", "with unrestricted guest SS.RPL may differ from CS.RPL",
     NEEDS(PROC2_UNRESTRICTED_GUEST))
{
	for (enum segment_mode mode = MODE_64BIT_UNRESTRICTED; mode < SEGMENT_MODES; mode++) {
		for (u16 rpl = 0; rpl < 4; rpl++) {
			candidate_begin(mode);
			candidate.segment[SEG_SS].selector = (candidate.segment[SEG_SS].selector & ~3) | rpl;
			CASE("mode %u: SS.RPL %u", mode, rpl);
			candidate_try(SEG_SS, true);
		}
	}
}

static void unusable_fs_gs(void)
{
	vmcs_write(GUEST_FS_ACCESS_RIGHTS, RIGHTS_NOT_USABLE);
	vmcs_write(GUEST_GS_ACCESS_RIGHTS, RIGHTS_NOT_USABLE);
}

TEST("entry.guest.base.tr_fs_gs", "the bases of TR, FS and GS are canonical, whether FS and GS are usable or not")
{
	ENTRY_VALUES(FIELDS(GUEST_TR_BASE, GUEST_FS_BASE, GUEST_GS_BASE), .bad = NONCANONICAL,
		     .refused = BY_INVALID_GUEST_STATE, .good = CANONICAL_ENDS);
	ENTRY_VALUES(FIELDS(GUEST_FS_BASE, GUEST_GS_BASE), .prepare = unusable_fs_gs, .bad = NONCANONICAL,
		     .refused = BY_INVALID_GUEST_STATE, .good = CANONICAL_ENDS);
	entry_guest_32bit();
	ENTRY_VALUES(FIELDS(GUEST_TR_BASE, GUEST_FS_BASE, GUEST_GS_BASE), .bad = NONCANONICAL,
		     .refused = BY_INVALID_GUEST_STATE, .good = CANONICAL_ENDS);
}

TEST("entry.guest.base.ldtr", "the base of a usable LDTR is canonical")
{
	entry_guest_ldtr();
	ENTRY_VALUES(FIELDS(GUEST_LDTR_BASE), .bad = NONCANONICAL, .refused = BY_INVALID_GUEST_STATE,
		     .good = CANONICAL_ENDS);
	vmcs_write(GUEST_LDTR_ACCESS_RIGHTS, RIGHTS_LDT | RIGHTS_NOT_USABLE);
	ENTRY_VALUES(FIELDS(GUEST_LDTR_BASE), .refused = BY_INVALID_GUEST_STATE, .good = NONCANONICAL);
}

#define HIGH_HALF 0xffffffff00000000ull

/* Bit by bit, and addresses that are canonical all the same. */
static void try_high_half(enum vmcs_field field)
{
	ENTRY_VALUES(FIELDS(field), .bad = FLIPPED_BITS(HIGH_HALF), .refused = BY_INVALID_GUEST_STATE,
		     .good = VALUES(0xffffffff, 0x80000000, 0xfffff000));
	ENTRY_VALUES(FIELDS(field), .bad = VALUES(~0ull, HIGH_HALF, 0x7fff00000000), .refused = BY_INVALID_GUEST_STATE);
}

TEST("entry.guest.base.cs_high", "bits 63:32 of the base of CS are 0")
{
	try_high_half(GUEST_CS_BASE);
	entry_guest_compatibility();
	try_high_half(GUEST_CS_BASE);
	entry_guest_32bit();
	try_high_half(GUEST_CS_BASE);
}

TEST("entry.guest.base.ss_ds_es_high", "bits 63:32 of the base of usable SS, DS and ES are 0")
{
	static const enum segment_register registers[] = { SEG_SS, SEG_DS, SEG_ES };

	for (size_t i = 0; i < ARRAY_SIZE(registers); i++)
		try_high_half(segment_base(registers[i]));
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		vmcs_write(segment_rights(registers[i]), RIGHTS_NOT_USABLE);
		ENTRY_VALUES(FIELDS(segment_base(registers[i])), .refused = BY_INVALID_GUEST_STATE,
			     .good = FLIPPED_BITS(HIGH_HALF));
	}
}
