/* SPDX-License-Identifier: BSD-2-Clause */
/* Time that passes where the suite does not expect it. */
#include "hostile/internal.h"

#include "tap/tap.h"
#include "vmx/guest.h"
#include "x86/cpu.h"
#include "x86/processor.h"
#include "x86/time.h"

enum { GAP_US = 100 };

/* No word of the library that has a hook: that would be a gap in a gap. */
static u64 tsc(void)
{
	u32 low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high));
	return (u64)high << 32 | low;
}

static void spend(u64 us)
{
	static u64 per_ms;

	if (!per_ms) {
		const bool gaps = hostile.has_gaps;

		hostile.has_gaps = false;
		per_ms = tsc_per_ms();
		hostile.has_gaps = gaps;
	}
	for (const u64 start = tsc(); tsc() - start < us * per_ms / 1000;)
		;
}

void hostile_gap(void)
{
	if (hostile_random() % hostile.gaps == 0)
		spend(GAP_US);
}

void hostile_processor_starts(void)
{
	static bool skewed[MAX_CPUS];

	/* Once: INIT does not change the TSC, and neither may the instrument. */
	if (hostile.tsc_skew && !skewed[this_cpu()->number])
		wrmsr(IA32_TIME_STAMP_COUNTER, tsc() + hostile.tsc_skew);
	skewed[this_cpu()->number] = true;
	if (hostile.late_start)
		spend(1000 * hostile.late_start);
}

void hostile_processor_works(void)
{
	if (hostile.late_work && this_cpu()->number)
		spend(1000 * hostile.late_work);
}

/* ---- tests that end in their middle */

static u32 checks_left;		/* 0: the test in flight is not one of those */
static bool broke_off;

static u64 sum_of(const char *id)
{
	u64 sum = hostile.seed;

	for (; *id; id++)
		sum = (sum ^ (u8)*id) * 1099511628211ull;
	return sum;
}

void hostile_test_begins(const char *id)
{
	broke_off = false;
	checks_left = 0;
	if (hostile.break_off && (sum_of(id) >> 20) % hostile.break_off == 0)
		checks_left = 1 + (sum_of(id) >> 40) % 8;
}

void hostile_test_ends(void)
{
	checks_left = 0;
}

void hostile_check(void)
{
	if (!checks_left || guest_running || this_cpu()->number)
		return;
	if (checks_left > 1) {
		checks_left--;
		return;
	}
	broke_off = true;		/* and so at each check from now on: a TRY of the test's own may take this one */
	skip("hostile.break_off ended it in its middle");
}

bool hostile_broke_off(void)
{
	return broke_off;
}

/* ---- VM entry */

void hostile_before_entry(void)
{
	HOSTILE_GAP();
	if (hostile.entry_delay)
		spend(hostile.entry_delay);
	hostile_width_before_entry();
}

void hostile_after_entry(void)
{
	hostile_width_after_entry();
	HOSTILE_GAP();
}
