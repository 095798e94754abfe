/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/acpi.h"

#include "libc/string.h"

enum { RSDP_SIZE = 20, RSDP_ALIGNMENT = 16, LONGEST_TABLE = 16 << 20 };

struct rsdp {
	char signature[8];		/* "RSD PTR " */
	u8 checksum;			/* of the first 20 bytes */
	char oem[6];
	u8 revision;			/* 2 and up: what follows exists */
	u32 rsdt;
	u32 length;
	u64 xsdt;
	u8 extended_checksum, reserved[3];
} __attribute__((packed));

static const struct acpi_table *root;
static unsigned int entry_size;		/* of the root table: 4 (RSDT) or 8 (XSDT) */
static char oem[7];

static bool adds_up_to_0(const void *start, u32 length)
{
	u8 sum = 0;

	for (u32 i = 0; i < length; i++)
		sum += ((const u8 *)start)[i];
	return sum == 0;
}

const struct acpi_table *acpi_table_at(u64 address)
{
	const struct acpi_table *table = (const void *)address;

	if (address < PAGE_SIZE / 4 || address + sizeof(*table) > BIT(32))
		return NULL;
	if (table->length < sizeof(*table) || table->length > LONGEST_TABLE || address + table->length > BIT(32))
		return NULL;
	return adds_up_to_0(table, table->length) ? table : NULL;
}

static bool use(u64 address, const char *signature, unsigned int size)
{
	const struct acpi_table *table = acpi_table_at(address);

	if (!table || memcmp(table->signature, signature, 4))
		return false;
	root = table;
	entry_size = size;
	return true;
}

bool acpi_use_root(u64 address)
{
	const struct rsdp *rsdp = (const void *)address;

	if (!address || address + sizeof(*rsdp) > BIT(32) || memcmp(rsdp->signature, "RSD PTR ", 8) ||
	    !adds_up_to_0(rsdp, RSDP_SIZE))
		return false;
	if (!(rsdp->revision >= 2 && rsdp->length >= sizeof(*rsdp) && use(rsdp->xsdt, "XSDT", 8)) &&
	    !use(rsdp->rsdt, "RSDT", 4))
		return false;
	memcpy(oem, rsdp->oem, sizeof(rsdp->oem));
	return true;
}

static bool look_between(u64 start, u64 end)
{
	for (u64 at = start; at < end; at += RSDP_ALIGNMENT)
		if (acpi_use_root(at))
			return true;
	return false;
}

void acpi_look_for_root(void)
{
	static const u16 *volatile const segment = (const u16 *)0x40e;	/* of the extended BIOS data area */
	const u64 extended = (u64)*segment << 4;

	if (root || (extended >= 0x80000 && extended < 0xa0000 && look_between(extended, extended + 1024)))
		return;
	look_between(0xe0000, 0x100000);
}

const struct acpi_table *acpi_find(const char *signature)
{
	for (u32 at = sizeof(*root); root && at + entry_size <= root->length; at += entry_size) {
		u64 address = 0;

		memcpy(&address, (const u8 *)root + at, entry_size);
		const struct acpi_table *table = acpi_table_at(address);

		if (table && !memcmp(table->signature, signature, 4))
			return table;
	}
	return NULL;
}

const char *acpi_oem(void)
{
	return oem;
}
