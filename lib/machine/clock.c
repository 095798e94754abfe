/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each measurement reads the TSC before the clock is read first and again behind the last reading: a hypervisor that lets
 * this processor wait in the midst of it makes the result too large, never too small. So the least of several is the truest.
 */
#include "machine/acpi.h"
#include "machine/clock.h"
#include "x86/processor.h"

#include "libc/string.h"

enum { MEASUREMENTS = 5, ENOUGH_LOOKS = 100000 };

/* ---- A counter that runs freely: TSC ticks in a millisecond of it; 0: it stands still. */

struct counter {
	u32 (*read)(const struct counter *counter);
	u64 place;			/* an address or a port */
	u32 mask;			/* the bits that it has */
	u64 per_ms;
};

static u64 measure_counter(const struct counter *counter)
{
	const u64 start = rdtsc();
	const u32 first = counter->read(counter);
	u32 passed = 0;

	for (u32 looks = 0; passed < counter->per_ms && looks < ENOUGH_LOOKS; looks++)
		passed = (counter->read(counter) - first) & counter->mask;

	const u64 ticks = rdtsc() - start;

	return passed < counter->per_ms ? 0 : ticks * counter->per_ms / passed;
}

/* ---- High Precision Event Timers ("IA-PC HPET Specification", "Register Model Overview") */

enum {
	HPET_CAPABILITIES = 0, HPET_CONFIGURATION = 0x10, HPET_COUNTER = 0xf0, HPET_ENABLE = 1,
	LONGEST_PERIOD = 100000000,	/* femtoseconds */
};

struct hpet_table {
	struct acpi_table head;
	u32 id;
	struct acpi_address at;
} __attribute__((packed));

static u32 hpet_read(u64 base, u32 reg)
{
	return *(volatile u32 *)(base + reg);
}

static void hpet_write(u64 base, u32 reg, u32 value)
{
	*(volatile u32 *)(base + reg) = value;
}

static u32 read_hpet_counter(const struct counter *counter)
{
	return hpet_read(counter->place, HPET_COUNTER);
}

static u64 measure_hpet(void)
{
	const struct hpet_table *table = (const void *)acpi_find("HPET");

	/* Only where it is mapped uncached. */
	if (!table || table->head.length < sizeof(*table) || table->at.space != ACPI_MEMORY ||
	    table->at.address < 3ull << 30 || table->at.address > BIT(32) - 1024)
		return 0;

	const u64 base = table->at.address;
	const u32 femtoseconds = hpet_read(base, HPET_CAPABILITIES + 4);
	const u32 configuration = hpet_read(base, HPET_CONFIGURATION);

	if (!femtoseconds || femtoseconds > LONGEST_PERIOD)
		return 0;
	if (!(configuration & HPET_ENABLE))
		hpet_write(base, HPET_CONFIGURATION, configuration | HPET_ENABLE);

	const struct counter counter = {
		.read = read_hpet_counter, .place = base, .mask = 0xffffffff, .per_ms = 1000000000000 / femtoseconds,
	};
	const u64 measured = measure_counter(&counter);

	if (!(configuration & HPET_ENABLE))
		hpet_write(base, HPET_CONFIGURATION, configuration);
	return measured;
}

/* ---- The power-management timer of ACPI ("Power Management Timer"): 3.579545 MHz, 24 or 32 bits */

enum { PM_TIMER_HZ = 3579545, FADT_TIMER_IS_32_BITS = BIT(8), FADT_HARDWARE_REDUCED = BIT(20) };

struct fadt {
	struct acpi_table head;
	u8 before_timer[40];
	u32 pm_timer_port;		/* offset 76 */
	u8 between[11];
	u8 pm_timer_length;		/* offset 91: 4 where there is one */
	u8 before_flags[20];
	u32 flags;			/* offset 112 */
} __attribute__((packed));

static u32 read_pm_timer(const struct counter *counter)
{
	return inl(counter->place);
}

static u64 measure_pm_timer(void)
{
	const struct fadt *fadt = (const void *)acpi_find("FACP");

	if (!fadt || fadt->head.length < sizeof(*fadt) || fadt->flags & FADT_HARDWARE_REDUCED ||
	    fadt->pm_timer_length != 4 || !fadt->pm_timer_port || fadt->pm_timer_port > 0xfffc)
		return 0;

	const struct counter counter = {
		.read = read_pm_timer, .place = fadt->pm_timer_port,
		.mask = fadt->flags & FADT_TIMER_IS_32_BITS ? 0xffffffff : 0xffffff, .per_ms = PM_TIMER_HZ / 1000,
	};

	return measure_counter(&counter);
}

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
	} clocks[] = { { "the HPET", measure_hpet }, { "the ACPI PM timer", measure_pm_timer }, { "the PIT", measure_pit } };

	for (size_t i = 0; i < ARRAY_SIZE(clocks); i++) {
		*clock = (struct clock){ clocks[i].name, least_of_several(clocks[i].measure) };
		if (clock->tsc_khz)
			return true;
	}
	return false;
}
