/* SPDX-License-Identifier: BSD-2-Clause */
/* The words of an image's command line. */
#pragma once

#include "tap/tap.h"

/* A value of the command line: not NUL-terminated; the empty text where the word is not there. */
struct text {
	const char *start;
	size_t length;
};

struct words {
	struct text tests, run, skip, from, after, under;
	bool list, asked, journal, random, x2apic;
	u64 seed;
};

/*
 * Take each word (list, tests=, run=, skip=, order=random, seed=, from=, after=, smp=, apic=x2apic, under=,
 * machine=emulated, dangerous, shutdown=ends, probe=, the check build's asked and lacks=, and the image's own): those that choose
 * tests come back, the others are done. NULL, or what is wrong, naming the word.
 */
const char *words_of(const char *command_line, struct words *words);

bool text_is(struct text text, const char *whole);

/* Cut the first item off a list whose items are joined by this character; false: the list is empty. */
bool text_next(struct text *list, char separator, struct text *item);

/* A decimal number and nothing else; false: it is none. */
bool text_number(struct text text, u64 *value);
