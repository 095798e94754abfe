/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each measurement reads the TSC before the clock is read first and again behind the last reading: a hypervisor that lets
 * this processor wait in the midst of it makes the result too large, never too small. So the least of several is the truest.
 */
#include "machine/clock.h"
#include "x86/processor.h"

enum { MEASUREMENTS = 5, ENOUGH_LOOKS = 100000 };

/* ---- Channel 2 of the PIT, which counts a millisecond and then raises OUT */

enum {
	PIT_CHANNEL2 = 0x42, PIT_MODE = 0x43, PORT_B = 0x61,
	PORT_B_GATE2 = 1, PORT_B_SPEAKER = 2, PORT_B_OUT2 = 0x20,
	PIT_TICKS_PER_MS = 1193,
};

static u64 measure_pit(void)
{
	const u8 port_b = inb(PORT_B) & ~(PORT_B_GATE2 | PORT_B_SPEAKER);
	u32 left = ENOUGH_LOOKS;

	if (inb(PORT_B) == 0xff)		/* an empty bus */
		return 0;
	outb(PORT_B, port_b);
	outb(PIT_MODE, 0xb0);			/* channel 2, both bytes, mode 0: OUT rises at zero */
	outb(PIT_CHANNEL2, PIT_TICKS_PER_MS & 0xff);

	const u64 start = rdtsc();		/* some count without the gate too */

	outb(PIT_CHANNEL2, PIT_TICKS_PER_MS >> 8);
	outb(PORT_B, port_b | PORT_B_GATE2);
	if (inb(PORT_B) & PORT_B_OUT2)		/* it has not been low: over already, or no PIT */
		left = 0;
	while (left && !(inb(PORT_B) & PORT_B_OUT2))
		left--;

	const u64 ticks = rdtsc() - start;

	outb(PORT_B, port_b);
	return left ? ticks : 0;
}

/* 0 if none came to anything. */
static u64 least_of_several(u64 (*measure)(void))
{
	u64 least = 0;

	for (int i = 0; i < MEASUREMENTS; i++) {
		const u64 ticks = measure();

		if (ticks && (!least || ticks < least))
			least = ticks;
	}
	return least;
}

bool clock_measure_tsc(struct clock *clock)
{
	static const struct {
		const char *name;
		u64 (*measure)(void);
	} clocks[] = { { "the PIT", measure_pit } };

	for (size_t i = 0; i < ARRAY_SIZE(clocks); i++) {
		*clock = (struct clock){ clocks[i].name, least_of_several(clocks[i].measure) };
		if (clock->tsc_khz)
			return true;
	}
	return false;
}
