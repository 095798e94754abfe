/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap/danger.h"

#include "libc/printf.h"
#include "libc/string.h"
#include "machine/emulated.h"

static const struct {
	const char *word, *text;
} kinds[] = {
#define DANGER(name, word, text) { word, text },
#include "tap/dangers.def"
};

static u32 allowed;		/* a bit a kind */
static bool shutdown_ends;

static u32 kind_of(enum danger danger)
{
	return danger - DANGER_BASE - 1;
}

bool may(enum danger danger)
{
	if (danger == MAY_SHUT_DOWN && shutdown_ends)
		return false;
	return machine_is_emulated() || allowed >> kind_of(danger) & 1;
}

void danger_format(char *to, size_t size, enum danger danger)
{
	const u32 kind = kind_of(danger);

	if (danger == MAY_SHUT_DOWN && shutdown_ends)
		snprintf(to, size, "shuts a processor down, which ends this machine (shutdown=ends)");
	else
		snprintf(to, size, "%s: not without the word dangerous=%s", kinds[kind].text, kinds[kind].word);
}

static bool allow_one(const char *word, size_t length)
{
	for (u32 i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strlen(kinds[i].word) == length && !memcmp(word, kinds[i].word, length)) {
			allowed |= 1u << i;
			return true;
		}
	}
	return false;
}

bool danger_allow(const char *list, size_t length)
{
	const char *const end = list + length;

	for (const char *at = list; at <= end; at++) {
		const char *const word = at;

		while (at < end && *at != ',')
			at++;
		if (!allow_one(word, at - word))
			return false;
	}
	return true;
}

void danger_allow_all(void)
{
	allowed = (1u << ARRAY_SIZE(kinds)) - 1;
}

void danger_shutdown_ends(bool ends)
{
	shutdown_ends = ends;
}
