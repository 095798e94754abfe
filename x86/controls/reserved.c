/* SPDX-License-Identifier: BSD-2-Clause */
/* Every bit of every control word, flipped (SDM Vol. 3C, "Checks on VMX Controls"). */
#include "controls.h"

static void expect_probe(const struct words *words, enum control_word word, bool accepted)
{
	CASE("%s controls %#x", control_words[word].brief, words->value[word]);
	expect_outcome(probe(words), accepted ? CONTROLS_ACCEPTED : CONTROLS_REFUSED);
}

/* From one set of legal words: each bit of a word set, and each bit clear. */
static void flip_each_bit_of(const struct words *base, enum control_word word)
{
	expect_probe(base, word, true);
	for (u32 bit = 0; bit < word_bits(word); bit++) {
		const struct words with = words_set(*base, word, bit);
		const struct words without = words_clear(*base, word, bit);

		if (bit_not_probed(word, bit))
			continue;
		expect_probe(&with, word, control_value_allowed(word, with.value[word]) &&
			     !bit_always_refused(word, bit));
		expect_probe(&without, word, control_value_allowed(word, without.value[word]));
	}
	expect_probe(base, word, true);
}

/* The same bit among few others and among many. */
static void flip_each_bit(enum control_word word)
{
	struct words base;

	probe_prepare();
	base = words_minimal();
	flip_each_bit_of(&base, word);
	base = words_full();
	flip_each_bit_of(&base, word);
}

TEST("entry.ctl.pin.reserved", "VM entry takes a pin-based control as its MSR allows, each bit 0 and 1")
{
	flip_each_bit(WORD_PIN);
}
