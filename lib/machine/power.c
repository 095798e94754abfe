/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/power.h"

#include "libc/string.h"
#include "machine/acpi.h"
#include "machine/debug_port.h"
#include "x86/processor.h"

/* ---- ACPI's fixed description table ("Fixed ACPI Description Table (FADT)") */

enum {
	FADT_DSDT = 40,
	FADT_SMI_COMMAND = 48, FADT_ACPI_ENABLE = 52,
	FADT_PM1A_CONTROL = 64, FADT_PM1B_CONTROL = 68,	/* ports */
	FADT_FLAGS = 112, FADT_HARDWARE_REDUCED = 1 << 20,
	FADT_HAS_RESET = 1 << 10, FADT_RESET = 116, FADT_RESET_VALUE = 128,
	FADT_SLEEP_CONTROL = 244,		/* as FADT_RESET a generic address */
	SLEEP_TYPE_5 = 5,			/* for soft-off, in all the machines below that have such a register */
};

static u32 fadt_u32(u32 offset)
{
	const struct acpi_table *const fadt = acpi_find("FACP");
	u32 value = 0;

	if (fadt && offset + sizeof(value) <= fadt->length)
		memcpy(&value, (const u8 *)fadt + offset, sizeof(value));
	return value;
}

/* A byte to the generic address at that place of the table. */
static void write_to(u32 place, u8 value)
{
	const struct acpi_table *const fadt = acpi_find("FACP");
	const struct acpi_address *const at = (const void *)((const u8 *)fadt + place);

	if (!fadt || fadt->length < place + sizeof(*at) || !at->address)
		return;
	if (at->space == ACPI_IO && at->address < 0x10000)
		outb(at->address, value);
	else if (at->space == ACPI_MEMORY && at->address < BIT(32))
		*(volatile u8 *)at->address = value;
}

/* PM1 control: the type in bits 12:10, SLP_EN in bit 13. */
static void sleep_by(u32 control, u32 type)
{
	const u32 port = fadt_u32(control);

	if (port && port < 0x10000)
		outw(port, type << 10 | 1 << 13);
}

static void sleep_by_pm1(u32 type)
{
	sleep_by(FADT_PM1A_CONTROL, type);
}

/* ---- the kinds */

static bool has_hypervisor(void)
{
	return cpuid(1, 0).ecx >> 31;
}

static bool is_monitor(void)
{
	return debug_port_takes_texts();
}

enum { EXIT_PORT = 0xf4 };			/* of l0/monitor.c; QEMU's isa-debug-exit, where the runner puts it */

static void end_monitor(void)
{
	outl(EXIT_PORT, 0);
}

enum { FW_CFG_SELECTOR = 0x510, FW_CFG_DATA = 0x511, FW_CFG_SIGNATURE = 0 };

/* The configuration device answers "QEMU"; it is asked only where there is a hypervisor, or QEMU's own firmware tables. */
static bool is_qemu(void)
{
	static const char signature[] = "QEMU";
	bool same = true;

	if (!has_hypervisor() && strcmp(acpi_oem(), "BOCHS "))
		return false;
	outw(FW_CFG_SELECTOR, FW_CFG_SIGNATURE);
	for (u32 i = 0; i < 4; i++)
		same &= inb(FW_CFG_DATA) == (u8)signature[i];
	return same;
}

static bool is_hardware_reduced(void)
{
	return has_hypervisor() && (is_qemu() || !strcmp(acpi_oem(), "CLOUDH"));
}

/* ACPI without fixed registers: cloud-hypervisor, QEMU's microvm. */
static void end_hardware_reduced(void)
{
	if (fadt_u32(FADT_FLAGS) & FADT_HARDWARE_REDUCED)
		write_to(FADT_SLEEP_CONTROL, SLEEP_TYPE_5 << 2 | 1 << 5);
}

static void end_qemu(void)
{
	outl(EXIT_PORT, 0);
	end_hardware_reduced();
	sleep_by_pm1(0);
}

/* No hypervisor by CPUID: its debug port, or its firmware's tables. */
static bool is_bochs(void)
{
	return !has_hypervisor() && (debug_port_is_there() || !strcmp(acpi_oem(), "BOCHS "));
}

static void end_bochs(void)
{
	enum { SHUTDOWN_PORT = 0x8900 };

	for (const char *c = "Shutdown"; *c; c++)
		outb(SHUTDOWN_PORT, *c);
}

static bool is_virtualbox(void)
{
	return has_hypervisor() && !strcmp(acpi_oem(), "VBOX  ");
}

static void end_virtualbox(void)
{
	sleep_by_pm1(SLEEP_TYPE_5);
}

/* ---- what the command line may ask for on any machine */

/* An integer of AML ("AML Data Objects"), as firmwares write one in a package. */
static const u8 *read_integer(const u8 *at, u32 *value)
{
	enum { ZERO = 0, ONE = 1, BYTE_PREFIX = 0x0a };

	*value = *at == BYTE_PREFIX ? at[1] : *at;
	return *at == BYTE_PREFIX ? at + 2 : *at == ZERO || *at == ONE ? at + 1 : NULL;
}

/* The package \_S5, which is a name and constants: "_S5_", PackageOp, its length (one byte where bits 7:6 are 0), how many, types. */
static bool soft_off_types(u32 *a, u32 *b)
{
	enum { PACKAGE = 0x12, LONGEST = 16 };
	const struct acpi_table *const dsdt = acpi_table_at(fadt_u32(FADT_DSDT));

	for (u32 i = sizeof(*dsdt); dsdt && i + LONGEST <= dsdt->length; i++) {
		const u8 *const at = (const u8 *)dsdt + i;
		const u8 *next;

		if (memcmp(at, "_S5_", 4) || at[4] != PACKAGE || at[5] >> 6)
			continue;
		next = read_integer(at + 7, a);
		return next && read_integer(next, b);
	}
	return false;
}

static void end_by_poweroff(void)
{
	const u32 port = fadt_u32(FADT_PM1A_CONTROL);
	u32 a, b;

	if (fadt_u32(FADT_FLAGS) & FADT_HARDWARE_REDUCED) {
		end_hardware_reduced();
		return;
	}
	if (!port || port >= 0x10000 || !soft_off_types(&a, &b))
		return;
	/* The machine's own management gives the registers away first (SCI_EN). */
	if (!(inw(port) & 1) && fadt_u32(FADT_SMI_COMMAND) && fadt_u32(FADT_SMI_COMMAND) < 0x10000)
		outb(fadt_u32(FADT_SMI_COMMAND), fadt_u32(FADT_ACPI_ENABLE));
	for (u32 looks = 0; looks < 1000000 && !(inw(port) & 1); looks++)
		;
	sleep_by(FADT_PM1A_CONTROL, a);
	sleep_by(FADT_PM1B_CONTROL, b);
}

/* ACPI's reset register, the chipset's, the keyboard controller's line, and at last what no processor goes on behind. */
void power_reset(void)
{
	enum { RESET_CONTROL = 0xcf9, FULL_RESET = 6, KEYBOARD = 0x64, PULSE = 0xfe };

	if (fadt_u32(FADT_FLAGS) & FADT_HAS_RESET)
		write_to(FADT_RESET, fadt_u32(FADT_RESET_VALUE));
	outb(RESET_CONTROL, FULL_RESET & ~4);
	outb(RESET_CONTROL, FULL_RESET);
	outb(KEYBOARD, PULSE);
	for (u32 looks = 0; looks < 100000; looks++)
		inb(KEYBOARD);
	write_idtr((struct table_register){ 0, 0 });
	asm volatile("ud2");
}

static bool is_never(void)
{
	return false;
}

static void end_not(void)
{
}

static const struct kind {
	const char *name;
	bool (*is_it)(void);
	void (*end)(void);
} kinds[] = {
	{ "monitor", is_monitor, end_monitor },
	{ "qemu", is_qemu, end_qemu },
	{ "acpi-reduced", is_hardware_reduced, end_hardware_reduced },
	{ "virtualbox", is_virtualbox, end_virtualbox },
	{ "bochs", is_bochs, end_bochs },
	{ "halt", is_never, end_not },
	{ "reset", is_never, power_reset },
	{ "poweroff", is_never, end_by_poweroff },
};

static const struct kind *chosen;

bool power_end_by(const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strlen(kinds[i].name) == length && !memcmp(kinds[i].name, name, length))
			chosen = &kinds[i];
	return chosen;
}

void power_end(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (chosen ? chosen == &kinds[i] : kinds[i].is_it())
			kinds[i].end();
}
