/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Long walks: over all 65,536 ports, or thousands of combinations of bits. Every value is tried, unless the word
 * `brief` is on the command line, for targets on which all of them would take minutes: then a selection.
 *
 *	WALK_OVER(port, 0, PORTS) {
 */
#pragma once

#include "libc/types.h"

extern bool walk_brief;

/*
 * Shall this one of `count` values be tried? In brief: the first, the last, those with one bit set or with one bit
 * clear, and about 16 others, scattered, the same in each run.
 */
bool walk_takes(u32 value, u32 count);

/* A loop over the values from `first` to below `end`. (Macros with an `if` have its `else` too, so that nobody else's is theirs.) */
#define WALK_OVER(value, first, end)				\
	for (u32 value = (first); value < (end); value++)	\
		if (!walk_takes(value, end)) { } else

/* For values that are not numbered: in brief one in n, and the first. The caller keeps the count, from 0. */
bool walk_takes_nth(u32 *count, u32 n);
