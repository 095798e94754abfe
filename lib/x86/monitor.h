/* SPDX-License-Identifier: BSD-2-Clause */
/* Address-range monitoring (SDM Vol. 2, MONITOR and MWAIT), for processors with FEATURE_MONITOR and FEATURE_MTRR. */
#pragma once

#include "libc/types.h"

/* MONITOR of a line that nothing writes to; in the host or in a guest. */
void monitor_arm(void);

/*
 * MWAIT, which an interrupt of the APIC timer ends after so many ticks of it: did it last until then? Host only, with
 * interrupts off.
 */
bool mwait_waits(u32 ticks);

/* What mwait_waits() of an armed monitor should last at least. */
enum { MWAIT_TICKS = 2000000 };

/*
 * Does MWAIT wait at all behind MONITOR? In some hypervisors, and where memory is not write-back (memory_make_write_back()),
 * it does not; it then says nothing of monitoring. Host only.
 */
bool mwait_can_wait(void);
