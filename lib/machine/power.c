/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/power.h"

#include "libc/string.h"
#include "machine/acpi.h"
#include "machine/debug_port.h"
#include "x86/processor.h"

/* ---- ACPI's fixed description table ("Fixed ACPI Description Table (FADT)") */

enum {
	FADT_PM1A_CONTROL = 64,			/* a port */
	FADT_FLAGS = 112, FADT_HARDWARE_REDUCED = 1 << 20,
	FADT_SLEEP_CONTROL = 244,		/* a generic address: space, width, offset, size, address */
	SPACE_MEMORY = 0, SPACE_IO = 1,
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

/* PM1 control: the type in bits 12:10, SLP_EN in bit 13. */
static void sleep_by_pm1(u32 type)
{
	const u32 port = fadt_u32(FADT_PM1A_CONTROL);

	if (port && port < 0x10000)
		outw(port, type << 10 | 1 << 13);
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
	const struct acpi_table *const fadt = acpi_find("FACP");
	const u8 *const at = (const u8 *)fadt + FADT_SLEEP_CONTROL;
	const u8 value = SLEEP_TYPE_5 << 2 | 1 << 5;
	u64 address;

	if (!(fadt_u32(FADT_FLAGS) & FADT_HARDWARE_REDUCED) || fadt->length < FADT_SLEEP_CONTROL + 12)
		return;
	memcpy(&address, at + 4, sizeof(address));
	if (at[0] == SPACE_IO && address && address < 0x10000)
		outb(address, value);
	else if (at[0] == SPACE_MEMORY && address && address < BIT(32))
		*(volatile u8 *)address = value;
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
