/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/perfmon.h"
#include "x86/fault.h"
#include "x86/processor.h"

enum { FIXED = 32 };			/* the first bit of the fixed-function counters */

bool perf_global_ctrl_exists(void)
{
	return !TRY(rdmsr(IA32_PERF_GLOBAL_CTRL)).raised;
}

/* Leaf 23H, subleaf 1: bitmaps of the counters; EAX of subleaf 0 says which subleaves there are. */
static u64 counters_of_leaf_23(u32 max_leaf)
{
	const bool has_leaf = max_leaf >= 0x23 && cpuid(7, 1).eax & BIT(8);
	struct cpuid bitmaps;

	if (!has_leaf || !(cpuid(0x23, 0).eax & BIT(1)))
		return 0;
	bitmaps = cpuid(0x23, 1);
	return bitmaps.eax | (u64)bitmaps.ebx << FIXED;
}

u64 perf_global_ctrl_counters(void)
{
	const u32 max_leaf = cpuid(0, 0).eax;
	struct cpuid leaf;
	u32 general, fixed;

	if (max_leaf < 0xa)
		return 0;
	leaf = cpuid(0xa, 0);
	if ((leaf.eax & 0xff) < 2)
		return 0;
	general = leaf.eax >> 8 & 0xff;
	fixed = leaf.edx & 0x1f;
	return (BIT(general) - 1) | (BIT(fixed) - 1) << FIXED | ((leaf.eax & 0xff) < 5 ? 0 : (u64)leaf.ecx << FIXED) |
	       counters_of_leaf_23(max_leaf);
}
