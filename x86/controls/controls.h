/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which values of the control words VM entry accepts. A probe needs no guest to run:
 * with reserved bit 1 of the guest's RFLAGS clear, an entry whose controls and host
 * state are good ends in entry failure 33, one with a bad control in VMfailValid(7).
 */
#pragma once

#include "vmxtest/entry.h"

#define CONTROLS_ACCEPTED	ACCEPTED
#define CONTROLS_REFUSED	FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS)

/* A value for every control word. */
struct words {
	u64 value[CONTROL_WORDS];
};

/* Make entries end early, and every address and number that a control needs valid. Once a test. */
void probe_prepare(void);

/* As few controls set as can be, as the baseline has them; and as many as can be together. */
struct words words_minimal(void);
struct words words_full(void);

/*
 * Set or clear one bit, and with it what the manual demands beside it: the controls
 * that it needs and that the processor has, and those that exclude it; or those that
 * need it.
 */
struct words words_set(struct words words, enum control_word word, u32 bit);
struct words words_clear(struct words words, enum control_word word, u32 bit);

/* Set the control that gives the word its meaning, if there is one. */
struct words words_activate(struct words words, enum control_word word);

/* A bit whose value is not for the capability MSRs alone to say. */
bool bit_not_probed(enum control_word word, u32 bit);

/* Bits that may be both, and that a probe can show to be accepted both ways. */
u64 word_flexible(enum control_word word);

u32 word_bits(enum control_word word);	/* 32 or 64 */

/* Enter with these; the check names the word that it is about. */
struct outcome probe(const struct words *words);
void expect_probe(const struct words *words, enum control_word word, bool accepted);
