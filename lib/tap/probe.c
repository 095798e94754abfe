/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap/probe.h"
#include "tap/words.h"

#include "console/console.h"
#include "x86/processor.h"
#include "x86/time.h"

enum { TRIES = 100 };

static u64 milliseconds = 20, seed = 0x9e3779b97f4a7c15;

bool probing_word(const char *value, size_t length)
{
	struct text list = { value, length }, item;
	u64 number;

	if (!text_next(&list, ',', &item) || !text_number(item, &milliseconds) || milliseconds > 0xffffffff)
		return false;
	if (!text_next(&list, ',', &item))
		return true;
	if (!text_number(item, &number) || list.length)
		return false;
	seed ^= number << 1 | 1;	/* never 0 */
	return true;
}

u64 probing_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

struct probing probing_begin(void)
{
	return (struct probing){ rdtsc() + milliseconds * tsc_per_ms(), 0 };
}

bool probing_goes_on(struct probing *probing)
{
	if (probing->tries < TRIES || rdtsc() < probing->until) {
		probing->tries++;
		return true;
	}
	print("# tries: %u\n", probing->tries);
	return false;
}
