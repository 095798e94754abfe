/* SPDX-License-Identifier: BSD-2-Clause */
/* Each function is a sentence of "Checks on Guest Segment Registers", in the manual's order. */
#include "guest_segment.h"

static bool is_data_register(enum segment_register r)
{
	return r == SEG_DS || r == SEG_ES || r == SEG_FS || r == SEG_GS;
}

/* "The register is CS or is usable." */
static bool counts(enum segment_register r)
{
	return r == SEG_CS || usable(r);
}

/* SS.RPL equals CS.RPL, unless the guest is unrestricted. */
bool rule_ss_rpl(enum segment_register r)
{
	return r != SEG_SS || candidate.unrestricted || rpl_of(SEG_SS) == rpl_of(SEG_CS);
}

/* CS is an accessed code segment; unrestricted, a writable accessed data segment too. */
bool rule_cs_type(enum segment_register r)
{
	return r != SEG_CS || (type_of(r) & 9) == 9 || (candidate.unrestricted && type_of(r) == 3);
}

/* A usable SS is a writable accessed data segment. */
bool rule_ss_type(enum segment_register r)
{
	return r != SEG_SS || !usable(r) || type_of(r) == 3 || type_of(r) == 7;
}

/* A usable data register is accessed. */
bool rule_data_accessed(enum segment_register r)
{
	return !is_data_register(r) || !usable(r) || type_of(r) & 1;
}

/* A usable data register that holds code can be read. */
bool rule_data_readable(enum segment_register r)
{
	return !is_data_register(r) || !usable(r) || !(type_of(r) & 8) || type_of(r) & 2;
}

bool rule_s(enum segment_register r)
{
	return !counts(r) || candidate.segment[r].rights & RIGHTS_S;
}

/* CS of type 3: DPL 0. */
bool rule_cs_dpl_of_data(enum segment_register r)
{
	return r != SEG_CS || type_of(r) != 3 || dpl_of(r) == 0;
}

/* Non-conforming CS: the DPL of SS. */
bool rule_cs_dpl_nonconforming(enum segment_register r)
{
	return r != SEG_CS || (type_of(r) & 0xd) != 9 || dpl_of(r) == dpl_of(SEG_SS);
}

/* Conforming CS: not above the DPL of SS. */
bool rule_cs_dpl_conforming(enum segment_register r)
{
	return r != SEG_CS || (type_of(r) & 0xd) != 0xd || dpl_of(r) <= dpl_of(SEG_SS);
}

/* The DPL of SS is its RPL, unless the guest is unrestricted; usable or not. */
bool rule_ss_dpl_is_rpl(enum segment_register r)
{
	return r != SEG_SS || candidate.unrestricted || dpl_of(r) == rpl_of(r);
}

/* The DPL of SS is 0 if CS has type 3, or if CR0.PE = 0. */
bool rule_ss_dpl_zero(enum segment_register r)
{
	return r != SEG_SS || (type_of(SEG_CS) != 3 && candidate.pe) || dpl_of(r) == 0;
}

/* A usable data register of type 0-11: the DPL is not below the RPL, unless the guest is unrestricted. */
static bool dpl_not_below_rpl(enum segment_register r)
{
	return !is_data_register(r) || candidate.unrestricted || !usable(r) || dpl_of(r) >= rpl_of(r);
}

bool rule_data_dpl(enum segment_register r)
{
	return type_of(r) > 10 || dpl_not_below_rpl(r);
}

/* Type 11, the last one, has a test of its own: it is easily left out. */
bool rule_data_dpl_11(enum segment_register r)
{
	return type_of(r) != 11 || dpl_not_below_rpl(r);
}

bool rule_present(enum segment_register r)
{
	return !counts(r) || candidate.segment[r].rights & RIGHTS_P;
}

bool rule_reserved(enum segment_register r)
{
	return !counts(r) || !(candidate.segment[r].rights & 0xfffe0f00);
}

/* A 64-bit code segment has no D flag. */
bool rule_cs_db_with_l(enum segment_register r)
{
	const u32 both = RIGHTS_L | RIGHTS_DB;

	return r != SEG_CS || !candidate.ia32e || (candidate.segment[r].rights & both) != both;
}

/* A limit that is no multiple of pages has G = 0. */
bool rule_limit_low(enum segment_register r)
{
	return !counts(r) || (candidate.segment[r].limit & 0xfff) == 0xfff || !(candidate.segment[r].rights & RIGHTS_G);
}

/* A limit above 1 MByte has G = 1. */
bool rule_limit_high(enum segment_register r)
{
	return !counts(r) || !(candidate.segment[r].limit & 0xfff00000) || candidate.segment[r].rights & RIGHTS_G;
}
