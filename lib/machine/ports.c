/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/ports.h"

#include "libc/string.h"
#include "machine/acpi.h"
#include "machine/pci.h"
#include "x86/processor.h"

enum { DIAGNOSTIC = 0x80, LIKELY = 0x5000, LOWEST = 0x1000, HIGHEST = 0x7f00, STEP = 0x100 };

/*
 * The registers that the fixed description table names lie in one block of a chipset, which has more beside them: none
 * within 512 bytes. A port is a 32-bit field; the first six are at offset 56.
 */
static bool acpi_has(u16 first, u16 end)
{
	enum { FADT_PORTS = 56, COUNT = 8, BESIDE = 512 };
	const struct acpi_table *const fadt = acpi_find("FACP");
	u32 ports[COUNT];

	if (!fadt || fadt->length < FADT_PORTS + sizeof(ports))
		return false;
	memcpy(ports, (const u8 *)fadt + FADT_PORTS, sizeof(ports));
	for (u32 i = 0; i < COUNT; i++)
		if (ports[i] && first < ports[i] + BESIDE && ports[i] < (u32)end + BESIDE)
			return true;
	return false;
}

static bool all_read_as_ones(u16 first)
{
	for (u32 n = 0; n < PORTS_FREE; n++)
		if (inb(first + n) != 0xff)
			return false;
	return true;
}

/* Reading comes last: a port of a device may not be read for nothing. */
static bool are_free(u16 first)
{
	return !acpi_has(first, first + PORTS_FREE) && !pci_has_ports(first, first + PORTS_FREE) && all_read_as_ones(first);
}

static u16 find(void)
{
	if (are_free(LIKELY))
		return LIKELY;
	for (u32 first = LOWEST; first <= HIGHEST; first += STEP)
		if (are_free(first))
			return first;
	return 0;
}

u16 ports_free(void)
{
	static bool looked;
	static u16 found;

	if (!looked)
		found = find();
	looked = true;
	return found;
}

void ports_write_diagnostic(void)
{
	outb(DIAGNOSTIC, 0);
}
