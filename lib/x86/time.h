/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "libc/types.h"

/*
 * TSC ticks in a millisecond. Good for time limits, never for a check. From the first of these that says it: CPUID 15H,
 * CPUID 16H, a hypervisor that is known by its signature, the clocks of machine/clock.h. Where what is said and what a clock
 * shows differ by more than a factor of two, the clock is believed; where there is neither, the TSC is taken for a
 * fast one, so that no delay is too short.
 */
u64 tsc_per_ms(void);

/*
 * What the APIC timer needs to run for so many milliseconds: its divide configuration and initial count. Its frequency is
 * measured by the TSC at the first call, which takes some milliseconds and the timer of the calling processor.
 */
struct apic_timer_count {
	u32 divide, initial;
};
struct apic_timer_count apic_timer_count(u32 ms);

/* Where the number comes from: "CPUID 15H". */
const char *tsc_source(void);
