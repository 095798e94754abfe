/* SPDX-License-Identifier: BSD-2-Clause */
/* The clocks of the machine that run at a known frequency: what the TSC can be measured against. */
#pragma once

#include "libc/types.h"

struct clock {
	const char *name;		/* "the PIT" */
	u64 tsc_khz;			/* TSC ticks in a millisecond of it */
};

/*
 * Measure the TSC against the first clock that is there and runs; takes up to
 * five milliseconds. False: there is none.
 */
bool clock_measure_tsc(struct clock *clock);
