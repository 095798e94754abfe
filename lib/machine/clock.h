/* SPDX-License-Identifier: BSD-2-Clause */
/* The clocks of the machine that run at a known frequency: what the TSC can be measured against. */
#pragma once

#include "libc/types.h"

struct clock {
	const char *name;		/* "the HPET", "the ACPI PM timer", "the PIT" */
	u64 tsc_khz;			/* TSC ticks in a millisecond of it */
};

/*
 * Measure the TSC against the first of the HPET, the ACPI PM timer and the PIT that is there and runs; takes up to
 * five milliseconds. False: there is none.
 */
bool clock_measure_tsc(struct clock *clock);
