/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * States at the edge of validity. Case I of seed S is a function of these two numbers and of the processor (what it lacks is
 * left out), and of nothing that ran before. 64 cases in a row are changes of one base, which is legal, in one of seven modes.
 */
#pragma once

#include "vmxtest/model/model.h"

/* Numbers from a counter. */
struct model_random {
	u64 state;
};

static inline u64 model_next(struct model_random *r)
{
	u64 x = r->state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* One in n. */
static inline bool model_chance(struct model_random *r, u32 n) { return model_next(r) >> 32 < (1ull << 32) / n; }
static inline u32 model_below(struct model_random *r, u32 n) { return (model_next(r) >> 32) * n >> 32; }

/* The rules whose fields the cases change: those that the processor has, and that are wanted (NULL: all). False: none. */
bool model_choose(const struct model_cpu *cpu, bool (*wanted)(const char *id));

/* Also states that are known to end an emulator; without it such a case is its base. */
extern bool model_risky;

/* For a target that loads MSRs before it looks at the guest's state: bases are entered, and stopped by the timer alone. */
extern bool model_no_list;

enum { MODEL_BLOCK = 64 };	/* cases of one base */

enum model_mode { MODE_64BIT, MODE_COMPATIBILITY, MODE_32BIT, MODE_PAE, MODE_V86, MODE_REAL, MODE_UNPAGED, MODEL_MODES };
extern const char *const model_mode_names[MODEL_MODES];

/*
 * From the suite's baseline, a 64-bit guest (vmx/guest.h), to a legal state that the cases of a block start from. It ends at
 * once if it is entered: by a VM-entry MSR-load area that fails.
 */
enum model_mode model_base(struct model_state *s, u64 seed, u64 block);

/* What a case changes of its base. */
struct model_changes {
	u32 count;
	struct model_change {
		u16 field;
		u64 was;
	} change[24];
};

void model_change(struct model_state *s, struct model_changes *changes, u32 field, u64 value);

/* Make the state the one of a case; violated: the rules that it violates, see model_judge_changes. */
void model_mutate(struct model_state *s, u64 seed, u64 index, struct model_changes *changes, struct model_set *violated);

/*
 * Judge the case, and take out of it what must not happen to the host if its controls and host state pass: nothing of it is
 * loaded that the host cannot go on with, and a guest that is entered is stopped at once. Part of model_mutate().
 */
void model_make_safe(struct model_state *s, struct model_changes *changes, struct model_set *violated);

/* Take one change back. */
void model_revert(struct model_state *s, struct model_changes *changes, u32 which);

/* The rules that the state violates, by what differs from a base (whose list of MSRs stops the guest: it violates that rule and no other). */
void model_judge_changes(const struct model_state *s, const struct model_changes *changes, struct model_set *violated);

/* Turn controls off that need one that is off, but where `target` is the rule about that. */
void model_repair_controls(struct model_state *s, struct model_changes *changes, u32 target);

/* A value for a field, at a boundary or near the one that it has; bits: where it shall differ, 0: anywhere. */
u64 model_value(const struct model_state *s, struct model_random *r, u32 field, u64 bits);
