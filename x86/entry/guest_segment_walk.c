/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest_segment.h"

struct segments candidate;

/* Those that fail most often first: a walk spends its time here. */
static const segment_rule rules[] = {
	rule_s, rule_present, rule_cs_type, rule_ss_type, rule_data_accessed, rule_data_readable, rule_ss_dpl_is_rpl,
	rule_cs_dpl_nonconforming, rule_cs_dpl_conforming, rule_cs_dpl_of_data, rule_ss_dpl_zero, rule_data_dpl,
	rule_data_dpl_11, rule_ss_rpl, rule_cs_db_with_l, rule_limit_low, rule_limit_high, rule_reserved,
};

bool candidate_begin(enum segment_mode mode)
{
	if (mode >= MODE_64BIT_UNRESTRICTED && !has(PROC2_UNRESTRICTED_GUEST))
		return false;
	vmcs_reset();
	guest_baseline();
	entry_stop_guest_at_once();
	if (mode == MODE_REAL)
		entry_guest_real();
	else if (mode >= MODE_64BIT_UNRESTRICTED)
		entry_unrestricted_guest();
	if (mode == MODE_32BIT || mode == MODE_32BIT_UNRESTRICTED)
		entry_guest_32bit();
	entry_guest_forget();

	candidate.ia32e = mode == MODE_64BIT || mode == MODE_64BIT_UNRESTRICTED;
	candidate.unrestricted = mode >= MODE_64BIT_UNRESTRICTED;
	candidate.pe = mode != MODE_REAL;
	for (enum segment_register r = SEG_ES; r <= SEG_GS; r++) {
		candidate.segment[r].selector = vmcs_read(segment_selector(r));
		candidate.segment[r].limit = vmcs_read(segment_limit(r));
		candidate.segment[r].rights = vmcs_read(segment_rights(r));
	}
	return true;
}

static void write_segment(enum segment_register r)
{
	vmcs_write(segment_selector(r), candidate.segment[r].selector);
	vmcs_write(segment_base(r), candidate.pe ? 0 : candidate.segment[r].selector << 4);
	vmcs_write(segment_limit(r), candidate.segment[r].limit);
	vmcs_write(segment_rights(r), candidate.segment[r].rights);
}

void candidate_try(enum segment_register r, bool legal)
{
	write_segment(SEG_CS);
	write_segment(SEG_SS);
	write_segment(r);
	expect_guest_state(legal);
}

/* The rules look at CS and SS together, at the others alone. */
static bool holds(enum segment_register r, segment_rule rule)
{
	return r == SEG_CS || r == SEG_SS ? rule(SEG_CS) && rule(SEG_SS) : rule(r);
}

static bool others_hold(enum segment_register r, segment_rule rule)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (rules[i] != rule && !holds(r, rules[i]))
			return false;
	return true;
}

bool candidate_legal(enum segment_register r)
{
	return others_hold(r, NULL);
}

bool candidate_is_unusable_cs(enum segment_register r, bool legal)
{
	return r == SEG_CS && !usable(SEG_CS) && legal;
}

/* Would the rule decide, and refuse, if the register were usable? */
static bool would_be_refused(enum segment_register r, segment_rule rule)
{
	bool refused;

	candidate.segment[r].rights &= ~(u32)RIGHTS_NOT_USABLE;
	refused = others_hold(r, rule) && !holds(r, rule);
	candidate.segment[r].rights |= RIGHTS_NOT_USABLE;
	return refused;
}

static u32 tries[2];	/* of refused ones and of legal ones */

static void try_if_rule_decides(enum segment_mode mode, enum segment_register r, segment_rule rule)
{
	static const char *const names[SEGMENT_MODES] = {
		"64-bit", "32-bit", "64-bit unrestricted", "32-bit unrestricted", "real-address mode",
	};
	const struct segment *s = &candidate.segment[r];

	if (!usable(r) && !would_be_refused(r, rule))
		return;
	if (!others_hold(r, rule) || candidate_is_unusable_cs(r, holds(r, rule)))
		return;
	if (!walk_takes_nth(&tries[holds(r, rule)], 17))
		return;
	CASE("%s: %s rights %#x, RPL %u", names[mode], segment_names[r], s->rights, s->selector & 3);
	candidate_try(r, holds(r, rule));
}

static void set_dpl(enum segment_register r, u32 dpl)
{
	candidate.segment[r].rights = (candidate.segment[r].rights & ~(u32)RIGHTS_DPL) | dpl << 5;
}

static void set_rpl(enum segment_register r, u32 rpl)
{
	candidate.segment[r].selector = (candidate.segment[r].selector & ~3) | rpl;
}

/*
 * The privilege level of the rest of the guest: the DPL of SS for the walk of CS. For that of SS, CS is conforming
 * code of DPL 0, which goes with every SS.
 */
static void set_privilege(enum segment_register r, u32 level)
{
	if (r == SEG_CS || r == SEG_SS) {
		set_rpl(SEG_CS, level);
		set_rpl(SEG_SS, level);
	} else {
		set_rpl(r, level);
	}
	if (r == SEG_CS)
		set_dpl(SEG_SS, level);
	if (r == SEG_SS)
		candidate.segment[SEG_CS].rights |= TYPE_CONFORMING;
}

/* CS and SS have rules that look at the mode, the others only at "unrestricted guest". */
static bool mode_matters(enum segment_register r, enum segment_mode mode)
{
	return r == SEG_CS || r == SEG_SS || mode == MODE_64BIT || mode == MODE_32BIT || mode == MODE_REAL;
}

void walk_rights(enum segment_register r, segment_rule rule, const struct attributes *attributes, u32 count)
{
	tries[false] = tries[true] = 0;
	for (enum segment_mode mode = 0; mode < SEGMENT_MODES; mode++) {
		if (!mode_matters(r, mode) || !candidate_begin(mode))
			continue;
		for (u32 level = 0; level < 4; level++) {
			set_privilege(r, level);
			for (u32 i = 0; i < count; i++) {
				candidate.segment[r].limit = attributes[i].limit;
				for (u32 low = 0; low < 256; low++) {
					candidate.segment[r].rights = attributes[i].rights | low;
					try_if_rule_decides(mode, r, rule);
				}
			}
		}
	}
}
