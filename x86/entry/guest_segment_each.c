/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every combination of the access rights of every segment register, each tried by a VM entry, against the rules of
 * guest_segment_rules.c together. What one rule alone decides is walked over more values in guest_segment.c.
 */
#include "guest_segment.h"

/* Type, S, DPL and P in bits 7:0; L, D/B, G and unusable from the bits above. */
static u32 rights_of(u32 combination)
{
	return (combination & 0xff) | (combination & 0xf00) << 5;
}

static void try_each(enum segment_register r)
{
	const struct segment before = candidate.segment[r], cs = candidate.segment[SEG_CS];

	/* Conforming code goes with an SS of any DPL: else the rule on CS would hide those on SS. */
	if (r == SEG_SS)
		candidate.segment[SEG_CS].rights |= TYPE_CONFORMING;
	/* A limit that goes with G of either value. */
	candidate.segment[r].limit = 0xfff;
	candidate_try(r, candidate_legal(r));
	WALK_OVER(i, 0, 4096) {
		candidate.segment[r].rights = rights_of(i);
		CASE("%s rights %#x", segment_names[r], candidate.segment[r].rights);
		if (candidate_is_unusable_cs(r, candidate_legal(r)))
			continue;
		vmcs_write(segment_rights(r), candidate.segment[r].rights);
		expect_guest_state(candidate_legal(r));
	}
	candidate.segment[SEG_CS] = cs;
	candidate.segment[r] = before;
	candidate_try(r, true);
}

TEST("entry.guest.seg.ar.each", "each combination of a segment register's access rights enters exactly if the rules hold")
{
	if (candidate_begin(MODE_64BIT))
		for (enum segment_register r = SEG_ES; r <= SEG_GS; r++)
			try_each(r);
	/* The mode and "unrestricted guest" matter to CS and SS; to the others only with an RPL above 0. */
	if (candidate_begin(MODE_32BIT_UNRESTRICTED)) {
		try_each(SEG_CS);
		try_each(SEG_SS);
	}
}
