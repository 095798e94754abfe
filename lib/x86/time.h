/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "libc/types.h"

/*
 * TSC ticks in a millisecond, measured once against the PIT (channel 2). Good for
 * time limits, never for a check; 1,000,000 where there is no PIT.
 */
u64 tsc_per_ms(void);
