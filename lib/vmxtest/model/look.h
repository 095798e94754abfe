/* SPDX-License-Identifier: BSD-2-Clause */
/* How the rules of the model look at a state; theirs alone. */
#pragma once

#include "vmxtest/model/model.h"

/* Each rule, by rules.def. */
#define RULE(id, refusal, name, ...) bool holds_##name(const struct model_state *s);
#include "vmxtest/model/rules.def"

#ifdef MODEL_WATCHED
void model_watch(enum model_field field);	/* tests/unit/model.c: which fields a rule reads */
#else
static inline void model_watch(UNUSED enum model_field field) { }
#endif

static inline u64 v(const struct model_state *s, enum model_field field)
{
	model_watch(field);
	return s->value[field];
}

static inline enum model_field word_field(enum control_word word)
{
	switch (word) {
	case WORD_PIN: return M_PIN_BASED_CONTROLS;
	case WORD_PROC: return M_PRIMARY_PROC_CONTROLS;
	case WORD_PROC2: return M_SECONDARY_PROC_CONTROLS;
	case WORD_PROC3: return M_TERTIARY_PROC_CONTROLS;
	case WORD_EXITCTL: return M_VM_EXIT_CONTROLS;
	case WORD_EXITCTL2: return M_SECONDARY_VM_EXIT_CONTROLS;
	default: return M_VM_ENTRY_CONTROLS;
	}
}

/* Is the control 1? Those of a word that is not activated are 0. */
static inline bool on(const struct model_state *s, u32 control)
{
	const enum control_word word = control_word(control);

	if (word == WORD_PROC2 && !(v(s, M_PRIMARY_PROC_CONTROLS) & control_bit(PROC_ACTIVATE_SECONDARY_CONTROLS)))
		return false;
	if (word == WORD_PROC3 && !(v(s, M_PRIMARY_PROC_CONTROLS) & control_bit(PROC_ACTIVATE_TERTIARY_CONTROLS)))
		return false;
	if (word == WORD_EXITCTL2 && !(v(s, M_VM_EXIT_CONTROLS) & control_bit(EXITCTL_ACTIVATE_SECONDARY_CONTROLS)))
		return false;
	return v(s, word_field(word)) & control_bit(control);
}

static inline bool may_be_1(const struct model_state *s, u32 control)
{
	return s->cpu->word[control_word(control)].may_be_1 & control_bit(control);
}

/* The bits that no physical address has. */
static inline u64 above_width(const struct model_state *s)
{
	const u32 width = s->cpu->basic >> 48 & 1 ? 32 : s->cpu->physical_width;

	return width < 64 ? ~0ull << width : 0;
}

static inline bool is_canonical(u64 address, u32 width)
{
	const u64 high = ~0ull << (width - 1);

	return (address & high) == 0 || (address & high) == high;
}

static inline bool canonical(const struct model_state *s, enum model_field field)
{
	return is_canonical(v(s, field), s->cpu->linear_width);
}

/* Each byte is a memory type that there is. */
static inline bool memory_types(u64 pat)
{
	for (u32 i = 0; i < 8; i++, pat >>= 8)
		if ((pat & 0xff) > 7 || (pat & 0xff) == 2 || (pat & 0xff) == 3)
			return false;
	return true;
}
