/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap/select.h"

/* Fisher-Yates with a 64-bit LCG: the same seed gives the same order everywhere. */
static void shuffle(const struct test **list, u32 count, u64 seed)
{
	u64 state = seed;

	for (u32 i = count; i > 1; i--) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;

		const u32 j = (state >> 33) % i;
		const struct test *swap = list[i - 1];

		list[i - 1] = list[j];
		list[j] = swap;
	}
}

/* Drop what comes before from=, or up to and including after=. */
static void start_at(const struct words *words, struct selection *selection)
{
	const struct text id = words->after.length ? words->after : words->from;

	for (u32 i = 0; id.length && i < selection->count; i++) {
		if (!text_is(id, selection->tests[i]->id))
			continue;
		i += words->after.length ? 1 : 0;
		selection->tests += i;
		selection->count -= i;
		return;
	}
}

void select_order(const struct words *words, struct selection *selection)
{
	if (words->random)
		shuffle(selection->tests, selection->count, words->seed);
	start_at(words, selection);
}
