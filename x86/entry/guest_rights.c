/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Access rights and limits of CS, SS, DS, ES, FS and GS of a guest that is not virtual-8086. Each test walks
 * through every type, S, DPL and P in every mode, and tries what its own rule decides.
 */
#include "guest_segment.h"
#include "x86/selectors.h"

/* Flat and small segments, usable and not: with each of these the limit is legal. */
static const struct attributes ordinary[] = {
	{ RIGHTS_L | RIGHTS_G, 0xffffffff },
	{ RIGHTS_DB, 0x0000ffff },
	{ RIGHTS_NOT_USABLE | RIGHTS_DB | RIGHTS_G, 0xffffffff },
};

#define WALK(r, rule, attributes) walk_rights(r, rule, attributes, ARRAY_SIZE(attributes))

static const enum segment_register data_registers[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS };

static void walk_data(segment_rule rule)
{
	static const struct attributes flat[] = {
		{ RIGHTS_DB | RIGHTS_G, 0xffffffff }, { RIGHTS_NOT_USABLE | RIGHTS_DB | RIGHTS_G, 0xffffffff },
	};

	for (size_t i = 0; i < ARRAY_SIZE(data_registers); i++)
		WALK(data_registers[i], rule, flat);
}

TEST("entry.guest.cs.ar.type", "CS is an accessed code segment")
{
	WALK(SEG_CS, rule_cs_type, ordinary);
}

TEST("entry.guest.cs.ar.type3_ug", "with unrestricted guest CS may be of type 3, with DPL 0",
     NEEDS(PROC2_UNRESTRICTED_GUEST))
{
	WALK(SEG_CS, rule_cs_dpl_of_data, ordinary);
}

TEST("entry.guest.ss.ar.type", "a usable SS is a writable accessed data segment")
{
	WALK(SEG_SS, rule_ss_type, ordinary);
}

TEST("entry.guest.data.ar.accessed", "usable DS, ES, FS and GS are accessed")
{
	walk_data(rule_data_accessed);
}

TEST("entry.guest.data.ar.readable", "usable DS, ES, FS and GS are no execute-only code")
{
	walk_data(rule_data_readable);
}

TEST("entry.guest.seg.ar.s", "S is 1 in CS and in usable SS, DS, ES, FS and GS")
{
	WALK(SEG_CS, rule_s, ordinary);
	WALK(SEG_SS, rule_s, ordinary);
	walk_data(rule_s);
}

TEST("entry.guest.cs.ar.dpl_nonconf", "the DPL of a non-conforming CS is that of SS")
{
	WALK(SEG_CS, rule_cs_dpl_nonconforming, ordinary);
}

TEST("entry.guest.cs.ar.dpl_conf", "the DPL of a conforming CS is not above that of SS")
{
	WALK(SEG_CS, rule_cs_dpl_conforming, ordinary);
}

/* RPLs that differ from the DPLs, which an unrestricted guest may have: nobody can take one for the other. */
TEST("entry.guest.cs.ar.dpl_not_rpl", "the DPL of CS is compared with the DPL of SS, not with an RPL",
     NEEDS(PROC2_UNRESTRICTED_GUEST))
{
	for (enum segment_mode mode = MODE_64BIT_UNRESTRICTED; mode <= MODE_32BIT_UNRESTRICTED; mode++) {
		candidate_begin(mode);
		for (u32 n = 0; n < 2 * 4 * 4 * 4; n++) {
			const u32 cs_dpl = n & 3, ss_dpl = n >> 2 & 3, type = n >> 6 ? 15 : 11;

			candidate.segment[SEG_CS].rights = RIGHTS_G | (mode == MODE_64BIT_UNRESTRICTED ? RIGHTS_L : RIGHTS_DB) |
							   RIGHTS_P | RIGHTS_S | type | cs_dpl << 5;
			candidate.segment[SEG_SS].rights = RIGHTS_G | RIGHTS_DB | RIGHTS_DATA16 | ss_dpl << 5;
			candidate.segment[SEG_CS].selector = (SELECTOR_CODE64 & ~3) | (n >> 4 & 3);
			CASE("CS of type %u, DPL %u, RPL %u; SS.DPL %u", type, cs_dpl, n >> 4 & 3, ss_dpl);
			candidate_try(SEG_SS, rule_cs_dpl_nonconforming(SEG_CS) && rule_cs_dpl_conforming(SEG_CS));
		}
	}
}

TEST("entry.guest.ss.ar.dpl_rpl", "without unrestricted guest the DPL of SS is its RPL, usable or not")
{
	WALK(SEG_SS, rule_ss_dpl_is_rpl, ordinary);
}

/* With CS of type 3 too, which the walk of SS does not come to by itself. */
TEST("entry.guest.ss.ar.dpl_zero", "the DPL of SS is 0 if CS has type 3 or CR0.PE is 0",
     NEEDS(PROC2_UNRESTRICTED_GUEST))
{
	WALK(SEG_SS, rule_ss_dpl_zero, ordinary);
	for (enum segment_mode mode = MODE_64BIT_UNRESTRICTED; mode <= MODE_32BIT_UNRESTRICTED; mode++) {
		candidate_begin(mode);
		candidate.segment[SEG_CS].rights = RIGHTS_DATA16 | RIGHTS_G;
		for (u32 dpl = 0; dpl < 4; dpl++) {
			for (u32 unusable = 0; unusable < 2; unusable++) {
				CASE("mode %u: CS of type 3, SS.DPL %u, unusable %u", mode, dpl, unusable);
				candidate.segment[SEG_SS].rights = RIGHTS_DATA16 | RIGHTS_G | dpl << 5 |
								   (unusable ? RIGHTS_NOT_USABLE : 0);
				candidate_try(SEG_SS, rule_ss_dpl_zero(SEG_SS));
			}
		}
	}
}

TEST("entry.guest.data.ar.dpl", "without unrestricted guest the DPL of DS, ES, FS and GS is not below their RPL")
{
	walk_data(rule_data_dpl);
}

TEST("entry.guest.data.ar.dpl_11", "a readable non-conforming code segment in DS, ES, FS or GS is no exception to it")
{
	walk_data(rule_data_dpl_11);
}

TEST("entry.guest.seg.ar.p", "P is 1 in CS and in usable SS, DS, ES, FS and GS")
{
	WALK(SEG_CS, rule_present, ordinary);
	WALK(SEG_SS, rule_present, ordinary);
	walk_data(rule_present);
}

/* A processor may drop reserved bits on VMWRITE: then they cannot be tried. */
TEST("entry.guest.seg.ar.reserved", "bits 11:8 and 31:17 are 0 in the rights of usable segments")
{
	u32 tried = 0, dropped = 0;

	for (enum segment_mode mode = 0; mode < SEGMENT_MODES; mode++) {
		if (!candidate_begin(mode))
			continue;
		for (enum segment_register r = SEG_ES; r <= SEG_GS; r++) {
			const u32 legal = candidate.segment[r].rights;

			for (u32 n = 0; n < 2 * 32; n++) {
				const u32 bit = BIT(n % 32), not_usable = n / 32 ? RIGHTS_NOT_USABLE : 0;

				if (!(bit & 0xfffe0f00))
					continue;
				vmcs_write(segment_rights(r), legal | bit | not_usable);
				if (!(vmcs_read(segment_rights(r)) & bit)) {
					dropped |= bit;
					continue;
				}
				tried++;
				candidate.segment[r].rights = legal | bit | not_usable;
				CASE("%s rights %#x", segment_names[r], candidate.segment[r].rights);
				candidate_try(r, rule_reserved(r));
			}
			candidate.segment[r].rights = legal;
			CASE("%s rights %#x", segment_names[r], legal);
			candidate_try(r, true);
		}
	}
	if (!tried)
		skip("VMWRITE drops the reserved bits of access rights, so that there is nothing to try");
	if (dropped)
		note("VMWRITE drops bits %#x of access rights, which could not be tried", dropped);
}

static const struct attributes every_l_and_db[] = {
	{ 0, 0xffff }, { RIGHTS_L, 0xffff }, { RIGHTS_DB, 0xffff }, { RIGHTS_L | RIGHTS_DB, 0xffff },
	{ RIGHTS_G, 0xffffffff }, { RIGHTS_G | RIGHTS_L, 0xffffffff }, { RIGHTS_G | RIGHTS_DB, 0xffffffff },
	{ RIGHTS_G | RIGHTS_L | RIGHTS_DB, 0xffffffff }, { RIGHTS_NOT_USABLE | RIGHTS_L | RIGHTS_DB, 0xffff },
};

TEST("entry.guest.cs.ar.db_l", "CS of an IA-32e mode guest has not both L and D")
{
	WALK(SEG_CS, rule_cs_db_with_l, every_l_and_db);
}

/* Each bit of the limit alone missing and alone set, with G = 0 and 1. */
static void try_limits(segment_rule rule)
{
	static const enum segment_mode modes[] = { MODE_64BIT, MODE_32BIT, MODE_REAL };
	u32 turn = 0;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (!candidate_begin(modes[i]))
			continue;
		for (enum segment_register r = SEG_ES; r <= SEG_GS; r++) {
			const struct segment legal = candidate.segment[r];

			for (u32 n = 0; n < 2 * 2 * 2 * 33; n++) {
				const u32 bit = n / 8 < 32 ? BIT(n / 8) : 0;
				const u32 g = n & 1 ? RIGHTS_G : 0, not_usable = n & 4 ? RIGHTS_NOT_USABLE : 0;

				candidate.segment[r].limit = n & 2 ? bit : ~bit;
				if (rule == rule_limit_low)	/* bits 31:20 are the other rule's */
					candidate.segment[r].limit &= g ? ~0u : 0xfffff;
				else
					candidate.segment[r].limit |= g ? 0xfff : 0;
				candidate.segment[r].rights = (legal.rights & ~(u32)RIGHTS_G) | g | not_usable;
				CASE("mode %u: %s limit %#x, rights %#x", modes[i], segment_names[r],
				     candidate.segment[r].limit, candidate.segment[r].rights);
				if (!walk_takes_nth(&turn, 17) || !(rule == rule_limit_low ? rule_limit_high : rule_limit_low)(r))
					continue;
				if (!candidate_is_unusable_cs(r, rule(r)))
					candidate_try(r, rule(r));
			}
			candidate.segment[r] = legal;
			candidate_try(r, true);
		}
	}
}

TEST("entry.guest.seg.ar.g_low", "a limit with any of bits 11:0 clear has G = 0")
{
	try_limits(rule_limit_low);
}

TEST("entry.guest.seg.ar.g_high", "a limit with any of bits 31:20 set has G = 1")
{
	try_limits(rule_limit_high);
}

TEST("entry.guest.cs.ar.unusable", "a CS that is legal but for bit 16 (unusable) is legal with it")
{
	static const struct attributes limits[] = {
		{ 0, 0 }, { 0, 0x8000 }, { 0, 0xfffff }, { RIGHTS_G, 0xfff }, { RIGHTS_G, 0xfffff }, { RIGHTS_G, 0xffffffff },
	};

	for (enum segment_mode mode = 0; mode < SEGMENT_MODES; mode++) {
		if (!candidate_begin(mode))
			continue;
		for (u32 n = 0, turn = 0; n < 256 * 4 * ARRAY_SIZE(limits); n++) {
			const struct attributes *limit = &limits[n >> 10];
			struct segment *cs = &candidate.segment[SEG_CS];

			cs->limit = limit->limit;
			cs->rights = RIGHTS_NOT_USABLE | limit->rights | (n & 0xff) | (n & 0x300) << 5;
			CASE("mode %u: CS limit %#x, rights %#x", mode, cs->limit, cs->rights);
			if (candidate_legal(SEG_CS) && walk_takes_nth(&turn, 5))
				candidate_try(SEG_CS, true);
		}
	}
}

TEST("entry.guest.seg.unusable_ok", "limit and rights of unusable SS, DS, ES, FS and GS are not checked")
{
	static const u32 limits[] = { 0, 1, 0xfffff, 0x100000, 0xfffffffe };

	/* The DPL of SS is checked all the same: 0 here. */
	for (enum segment_mode mode = 0; mode < SEGMENT_MODES; mode++) {
		if (!candidate_begin(mode))
			continue;
		for (u32 n = 0, turn = 0; n < 0x10000; n += 0x11) {
			if (!walk_takes_nth(&turn, 17))
				continue;
			for (enum segment_register r = SEG_ES; r <= SEG_GS; r++) {
				const u32 rights = n & (r == SEG_SS ? ~(u32)RIGHTS_DPL : ~0u);

				if (r == SEG_CS)
					continue;
				vmcs_write(segment_rights(r), rights | RIGHTS_NOT_USABLE);
				vmcs_write(segment_limit(r), limits[n % ARRAY_SIZE(limits)]);
			}
			CASE("mode %u: rights %#x, limit %#x", mode, n, limits[n % ARRAY_SIZE(limits)]);
			expect_guest_state(true);
			if (n % 0x1000 > 0x100)
				n += 0x100;
		}
	}
}
