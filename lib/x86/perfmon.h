/* SPDX-License-Identifier: BSD-2-Clause */
/* Performance counters, as far as IA32_PERF_GLOBAL_CTRL enables them (SDM Vol. 3, "Performance Monitoring"). */
#pragma once

#include "libc/types.h"

/* Is there IA32_PERF_GLOBAL_CTRL? RDMSR says so; a hypervisor may enumerate counters that it does not have. */
bool perf_global_ctrl_exists(void);

/*
 * The bits of it that enable a counter that CPUID enumerates: leaf 0AH, and 23H where there is one. Bit 48
 * (performance metrics) is not among them: it has a capability of its own, and is best left alone.
 */
u64 perf_global_ctrl_counters(void);
#define PERF_GLOBAL_CTRL_METRICS BIT(48)
