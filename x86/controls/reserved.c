/* SPDX-License-Identifier: BSD-2-Clause */
/* Every bit of every control word, flipped (SDM Vol. 3C, "Checks on VMX Controls"). */
#include "controls.h"

/* From one set of legal words: each bit of a word set, and each bit clear. */
static void flip_each_bit_of(const struct words *base, enum control_word word)
{
	expect_probe(base, word, true);
	for (u32 bit = 0; bit < word_bits(word); bit++) {
		const struct words with = words_set(*base, word, bit);
		const struct words without = words_clear(*base, word, bit);

		if (bit_not_probed(word, bit))
			continue;
		expect_probe(&with, word, control_value_allowed(word, with.value[word]));
		expect_probe(&without, word, control_value_allowed(word, without.value[word]));
	}
	expect_probe(base, word, true);
}

static u32 count_bits(u64 value)
{
	u32 count = 0;

	for (; value; value &= value - 1)
		count++;
	return count;
}

/* All combinations of the bits that may be both, or the first 512 of a fixed random sequence. */
static void combine_flexible_bits(enum control_word word)
{
	const struct words full = words_full();
	const u64 flexible = word_flexible(word);
	const bool all = count_bits(flexible) <= 9;
	const u32 count = all ? 1u << count_bits(flexible) : 512;
	u64 random = 1;

	for (u32 i = 0; i < count; i++) {
		struct words words = full;
		u64 wanted = all ? i : (random = random * 6364136223846793005 + 1442695040888963407) >> 24;

		for (u32 bit = 0; bit < word_bits(word); bit++) {
			if (!(flexible & BIT(bit)))
				continue;
			if (!(wanted & 1))
				words = words_clear(words, word, bit);
			wanted >>= 1;
		}
		expect_probe(&words, word, true);
	}
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
	combine_flexible_bits(word);
}

/* While the word is not activated it is not looked at. */
static void expect_ignored_unless_activated(enum control_word word)
{
	struct words words = words_minimal();

	for (u32 bit = 0; bit < word_bits(word); bit++) {
		words.value[word] = BIT(bit);
		expect_probe(&words, word, true);
	}
	words.value[word] = ~0ull;
	expect_probe(&words, word, true);
}

TEST("entry.ctl.pin.reserved", "VM entry takes a pin-based control as its MSR allows, each bit 0 and 1")
{
	flip_each_bit(WORD_PIN);
}

TEST("entry.ctl.proc.reserved", "VM entry takes a primary processor-based control as its MSR allows, each bit 0 and 1")
{
	flip_each_bit(WORD_PROC);
}

TEST("entry.ctl.proc2.reserved", "VM entry takes a secondary control as its MSR allows, each bit, if they are activated",
     NEEDS(PROC_ACTIVATE_SECONDARY_CONTROLS))
{
	flip_each_bit(WORD_PROC2);
	expect_ignored_unless_activated(WORD_PROC2);
}

TEST("entry.ctl.proc3.reserved", "VM entry takes a tertiary control as its MSR allows, each bit, if they are activated",
     NEEDS(PROC_ACTIVATE_TERTIARY_CONTROLS))
{
	flip_each_bit(WORD_PROC3);
	expect_ignored_unless_activated(WORD_PROC3);
}

TEST("entry.ctl.exit.reserved", "VM entry takes a VM-exit control as its MSR allows, each bit 0 and 1")
{
	flip_each_bit(WORD_EXITCTL);
}

TEST("entry.ctl.exit2.reserved", "VM entry takes a secondary VM-exit control as its MSR allows, each bit, if activated",
     NEEDS(EXITCTL_ACTIVATE_SECONDARY_CONTROLS))
{
	flip_each_bit(WORD_EXITCTL2);
	expect_ignored_unless_activated(WORD_EXITCTL2);
}

TEST("entry.ctl.entry.reserved", "VM entry takes a VM-entry control as its MSR allows, each bit 0 and 1")
{
	flip_each_bit(WORD_ENTRYCTL);
}
