/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices: the PIT and the I/O APIC as a source of interrupts, and those that do not answer. */
#include "hostile/internal.h"

#include "machine/memory.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/processor.h"

#define IOAPIC 0xfec00000ull
enum { IOAPIC_VALUE = 0x10 / 4, PIT_CHANNEL0 = 0x40, PIT_MODE = 0x43, PIT_STATUS_OUT = BIT(7) };

static void pit(u8 mode, u16 ticks)
{
	outb(PIT_MODE, mode);
	outb(PIT_CHANNEL0, ticks & 0xff);
	outb(PIT_CHANNEL0, ticks >> 8);
}

void hostile_pit_once(u16 ticks)
{
	pit(0x30, ticks);
}

void hostile_pit_each(u16 ticks)
{
	pit(0x34, ticks);
}

static bool pit_has_risen(void)
{
	outb(PIT_MODE, 0xe2);			/* latch the status of channel 0 */
	return inb(PIT_CHANNEL0) & PIT_STATUS_OUT;
}

static void redirect(u32 pin, u32 low, u32 high)
{
	volatile u32 *ioapic = (volatile u32 *)IOAPIC;

	ioapic[0] = 0x10 + 2 * pin;
	ioapic[IOAPIC_VALUE] = APIC_LVT_MASKED;
	ioapic[0] = 0x11 + 2 * pin;
	ioapic[IOAPIC_VALUE] = high;
	ioapic[0] = 0x10 + 2 * pin;
	ioapic[IOAPIC_VALUE] = low;
}

void hostile_ioapic(u32 low, u32 to_apic_id)
{
	redirect(0, low, to_apic_id << 24);
	redirect(2, low, to_apic_id << 24);
}

/*
 * An interrupt that the processor sends to itself takes its time: the PIT brings it, by the I/O APIC. One at a time is
 * on its way; the next one pushes it. Only the first processor's, as there is one PIT.
 */
static bool is_to_self(u32 to_apic_id, u32 command)
{
	const u32 shorthand = command & APIC_ICR_ALL_OTHERS;

	return shorthand == APIC_ICR_SELF || (!shorthand && to_apic_id == apic_id());
}

bool hostile_ipi(u32 to_apic_id, u32 command)
{
	static bool on_its_way, is_pushed;
	static u32 last;
	const u32 delivery = command & 0x700;
	const u64 delay = delivery == APIC_DELIVERY_FIXED ? hostile.ipi_delay :
			  delivery == APIC_DELIVERY_NMI ? hostile.nmi_delay : 0;

	if (!delay || is_pushed || this_cpu()->number || !is_to_self(to_apic_id, command))
		return false;
	if (on_its_way && !pit_has_risen()) {
		is_pushed = true;
		apic_send_ipi(apic_id(), last);		/* the shorthand "self" has no NMI */
		is_pushed = false;
	}
	on_its_way = true;
	last = command & 0x7ff;
	redirect(2, last, apic_id() << 24);
	hostile_pit_once(delay);
	return true;
}

static void remove_each_second(u64 start, u64 end, u64 kbytes)
{
	for (u64 at = start; kbytes && at < end; at += kbytes << 11)
		memory_remove(at, at + (kbytes << 10));
}

void hostile_memory_map(void)
{
	extern u8 image_end[];

	remove_each_second(0, BIT(20), hostile.low_holes);
	remove_each_second(((u64)image_end + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1ull), MEMORY_LIMIT, hostile.holes);
}

static const struct {
	u64 bit;
	u16 first, last;
} absent_ports[] = {
	{ ABSENT_PIT, 0x40, 0x43 }, { ABSENT_PIT, 0x61, 0x61 },
	{ ABSENT_CMOS, 0x70, 0x71 },
	{ ABSENT_PM_TIMER, 0x608, 0x608 }, { ABSENT_PM_TIMER, 0xb008, 0xb008 },
	{ ABSENT_POST, 0x80, 0x80 },
};

/* Whether code at CPL 3 may reach a port comes before what is there: for that it stays as it is. */
bool hostile_port_is_absent(u16 port)
{
	u16 cs;

	asm("mov %%cs, %0" : "=r"(cs));
	if (cs & 3)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(absent_ports); i++)
		if (hostile.absent & absent_ports[i].bit && port >= absent_ports[i].first && port <= absent_ports[i].last)
			return true;
	return false;
}
