/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/processor.h"
#include "x86/time.h"

enum {
	PIT_CHANNEL2 = 0x42, PIT_MODE = 0x43, PORT_B = 0x61,
	PORT_B_GATE2 = 1, PORT_B_SPEAKER = 2, PORT_B_OUT2 = 0x20,
	PIT_TICKS_PER_MS = 1193,
	MEASUREMENTS = 5, TICKS_WITHOUT_PIT = 1000000,
};

/* 0: there is no PIT. */
static u64 measure(void)
{
	const u8 port_b = inb(PORT_B) & ~(PORT_B_GATE2 | PORT_B_SPEAKER);
	u64 start, end;
	u32 left = 1000000;

	outb(PORT_B, port_b);
	outb(PIT_MODE, 0xb0);			/* channel 2, both bytes, mode 0: OUT rises at zero */
	outb(PIT_CHANNEL2, PIT_TICKS_PER_MS & 0xff);
	outb(PIT_CHANNEL2, PIT_TICKS_PER_MS >> 8);
	outb(PORT_B, port_b | PORT_B_GATE2);
	start = rdtsc();
	while (left && !(inb(PORT_B) & PORT_B_OUT2))
		left--;
	end = rdtsc();
	outb(PORT_B, port_b);
	/* No PIT: OUT never rises, or an empty bus reads all ones at once. */
	if (!left || inb(PORT_B) == 0xff)
		return 0;
	return end - start;
}

u64 tsc_per_ms(void)
{
	static u64 measured;

	if (measured)
		return measured;

	/* A hypervisor may let this processor wait in the midst of a measurement: the shortest is the truest. */
	u64 least = measure();

	for (int i = 1; i < MEASUREMENTS && least; i++) {
		const u64 ticks = measure();

		if (ticks < least)
			least = ticks;
	}
	measured = least ? least : TICKS_WITHOUT_PIT;
	return measured;
}
