/* SPDX-License-Identifier: BSD-2-Clause */
/* Which tests run, in which order. */
#pragma once

#include "tap/words.h"

struct selection {
	u32 count;
	const struct test **tests;	/* in the order to run */
};

/* By tests=, run= and skip=, in the image's order. NULL, or what is wrong with the words. */
const char *select_tests(const struct words *words, struct selection *selection);

/* By order= and seed=, and without those that from= or after= leave out. */
void select_order(const struct words *words, struct selection *selection);
