/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests of what goes wrong rarely, if it does: they try again and again, for 20 ms and a hundred times at the least; with
 * probe=MS[,SEED] on the command line for so long, and with other random numbers. How often they tried is a comment of the TAP.
 *
 *	PROBE_REPEATEDLY { one try; }
 *
 * A `break` is for a try that has shown what there is to see.
 */
#pragma once

#include "libc/types.h"

struct probing {
	u64 until;
	u32 tries;
};
struct probing probing_begin(void);
bool probing_goes_on(struct probing *probing);

#define PROBE_REPEATEDLY for (struct probing p_ = probing_begin(); probing_goes_on(&p_); )

/* Pseudo-random numbers: the same in each run, but for another SEED. */
u64 probing_random(void);

/* The word of the command line; false: not MS[,SEED]. */
bool probing_word(const char *value, size_t length);
