/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules of "Checks on Guest Segment Registers" for a guest that is not virtual-8086, one function each, and
 * a walk through values that tries those where one rule alone decides.
 */
#pragma once

#include "vmxtest/entry_guest.h"

struct segment {
	u16 selector;
	u32 limit, rights;
};

enum { TYPE_CONFORMING = 4 };	/* of code: bit 2 of the type */

/* What the rules look at: the candidate for the next entry. */
struct segments {
	struct segment segment[SEGMENT_REGISTERS];
	bool ia32e, unrestricted, pe;
};
extern struct segments candidate;

/* Does it hold for this register? A rule that is not about the register holds. */
typedef bool (*segment_rule)(enum segment_register r);

bool rule_cs_type(enum segment_register r);
bool rule_cs_dpl_of_data(enum segment_register r);
bool rule_cs_dpl_nonconforming(enum segment_register r);
bool rule_cs_dpl_conforming(enum segment_register r);
bool rule_cs_db_with_l(enum segment_register r);
bool rule_ss_rpl(enum segment_register r);
bool rule_ss_type(enum segment_register r);
bool rule_ss_dpl_is_rpl(enum segment_register r);
bool rule_ss_dpl_zero(enum segment_register r);
bool rule_data_accessed(enum segment_register r);
bool rule_data_readable(enum segment_register r);
bool rule_data_dpl(enum segment_register r);
bool rule_data_dpl_11(enum segment_register r);
bool rule_s(enum segment_register r);
bool rule_present(enum segment_register r);
bool rule_reserved(enum segment_register r);
bool rule_limit_low(enum segment_register r);
bool rule_limit_high(enum segment_register r);

static inline u32 type_of(enum segment_register r) { return candidate.segment[r].rights & 15; }
static inline u32 dpl_of(enum segment_register r) { return candidate.segment[r].rights >> 5 & 3; }
static inline u32 rpl_of(enum segment_register r) { return candidate.segment[r].selector & 3; }
static inline bool usable(enum segment_register r) { return !(candidate.segment[r].rights & RIGHTS_NOT_USABLE); }

/* Bits 31:8 of the rights with a limit: what a walk combines with each type, S, DPL and P. */
struct attributes {
	u32 rights, limit;
};

/* Guests to walk in. */
enum segment_mode {
	MODE_64BIT, MODE_32BIT, MODE_64BIT_UNRESTRICTED, MODE_32BIT_UNRESTRICTED, MODE_REAL, SEGMENT_MODES
};

/*
 * In every mode that exists here: for each type x S x DPL x P of the register, each RPL (and with it the DPL and
 * the RPL of the other of CS and SS) and each of the attributes, try the candidates in which every rule but this
 * one holds: VM entry must agree with the rule.
 */
void walk_rights(enum segment_register r, segment_rule rule, const struct attributes *attributes, u32 count);

/* The candidate becomes the guest of the baseline in this mode; false: there is no such mode here. */
bool candidate_begin(enum segment_mode mode);

/* Do all rules hold for register r? CS and SS are judged together: each has rules that look at the other. */
bool candidate_legal(enum segment_register r);

/*
 * CS is marked unusable, and legal all the same: its bit 16 is not checked, and excuses it from nothing. To take
 * such a CS is a requirement of its own (entry.guest.cs.ar.unusable); the walks of the others only refuse them.
 */
bool candidate_is_unusable_cs(enum segment_register r, bool legal);

/* Write register r of the candidate, CS and SS to the VMCS, and try to enter. */
void candidate_try(enum segment_register r, bool legal);
