/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/interrupts.h"

#include "libc/string.h"
#include "machine/acpi.h"
#include "x86/processor.h"

/* ---- 8259 */

enum { PIC_1_MASK = 0x21, PIC_2_MASK = 0xa1 };

static void pics_off(void)
{
	outb(PIC_1_MASK, 0xff);
	outb(PIC_2_MASK, 0xff);
}

/* ---- I/O APIC */

#define PC_IO_APIC 0xfec00000ull

enum {
	IO_SELECT = 0, IO_WINDOW = 4,		/* 32-bit words from its address */
	IO_VERSION = 1, IO_REDIRECTION = 0x10,
	IO_MASKED = BIT(16),
	MADT_ENTRIES = 44, MADT_IO_APIC = 1, MADT_IO_APIC_ADDRESS = 4,
};

static u32 io_apic_read(volatile u32 *io_apic, u32 index)
{
	io_apic[IO_SELECT] = index;
	return io_apic[IO_WINDOW];
}

static void io_apic_write(volatile u32 *io_apic, u32 index, u32 value)
{
	io_apic[IO_SELECT] = index;
	io_apic[IO_WINDOW] = value;
}

static void io_apic_off(u64 address)
{
	volatile u32 *const io_apic = (volatile u32 *)address;
	const u32 version = io_apic_read(io_apic, IO_VERSION), last = version >> 16 & 0xff;

	/* Versions 10H to 2FH, with reserved bits that are 0: not what an empty bus or another device says. */
	if ((version & 0xff) < 0x10 || (version & 0xff) > 0x2f || version >> 24 || last > 239)
		return;
	for (u32 n = 0; n <= last; n++) {
		io_apic_write(io_apic, IO_REDIRECTION + 2 * n, IO_MASKED);
		io_apic_write(io_apic, IO_REDIRECTION + 2 * n + 1, 0);
	}
}

static void io_apics_off(void)
{
	const struct acpi_table *const madt = acpi_find("APIC");

	if (!madt) {
		io_apic_off(PC_IO_APIC);
		return;
	}
	/* Of each entry: its type, its length. */
	for (const u8 *at = (const u8 *)madt + MADT_ENTRIES, *end = (const u8 *)madt + madt->length;
	     at + 2 <= end && at[1] >= 2 && at + at[1] <= end; at += at[1]) {
		u32 address;

		if (at[0] != MADT_IO_APIC)
			continue;
		memcpy(&address, at + MADT_IO_APIC_ADDRESS, sizeof(address));
		io_apic_off(address);
	}
}

/* ---- HPET (IA-PC HPET Specification 1.0a, "Hardware Register Definitions") */

enum {
	TABLE_SPACE = 40, TABLE_ADDRESS = 44,	/* of the table: 0 is memory; where the registers are */
	HPET_CAPABILITIES = 0, HPET_PERIOD = 1, HPET_CONFIGURATION = 4, HPET_TIMERS = 0x100 / 4, HPET_TIMER_WORDS = 8,
	LEGACY_ROUTES = BIT(1), INTERRUPT_ENABLE = BIT(2),
	LONGEST_PERIOD = 0x5f5e100,
};

static void hpet_off(void)
{
	const struct acpi_table *const table = acpi_find("HPET");
	u64 address;

	if (!table || table->length < TABLE_ADDRESS + sizeof(address) || ((const u8 *)table)[TABLE_SPACE] != 0)
		return;
	memcpy(&address, (const u8 *)table + TABLE_ADDRESS, sizeof(address));
	if (!address || address >= BIT(32))
		return;

	volatile u32 *const hpet = (volatile u32 *)address;

	if (!hpet[HPET_PERIOD] || hpet[HPET_PERIOD] > LONGEST_PERIOD)
		return;
	hpet[HPET_CONFIGURATION] = hpet[HPET_CONFIGURATION] & ~(u32)LEGACY_ROUTES;
	for (u32 n = 0; n <= (hpet[HPET_CAPABILITIES] >> 8 & 0x1f); n++) {
		volatile u32 *const timer = &hpet[HPET_TIMERS + n * HPET_TIMER_WORDS];

		*timer = *timer & ~(u32)INTERRUPT_ENABLE;
	}
}

void interrupt_sources_off(void)
{
	pics_off();
	io_apics_off();
	hpet_off();
}
