/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables of ACPI (Advanced Configuration and Power Interface Specification, "ACPI Software Programming Model"):
 * found, never changed. Only tables that lie below 4 GiB and whose bytes add up to 0 are ever looked into.
 */
#pragma once

#include "libc/types.h"

/* The head of every table; `length` counts it too. */
struct acpi_table {
	char signature[4];
	u32 length;
	u8 revision, checksum;
	char oem[6], oem_table[8];
	u32 oem_revision, creator, creator_revision;
} __attribute__((packed));

/* A place that a table names ("Generic Address Structure"). */
struct acpi_address {
	u8 space, bits, first_bit, access;
	u64 address;
} __attribute__((packed));
enum { ACPI_MEMORY = 0, ACPI_IO = 1, ACPI_ACCESS_DWORD = 3 };

/*
 * The root pointer (RSDP) is at this address: what the way in says. It is looked into at once and not kept, so it may
 * be a copy in memory that is used again. False: it is none, and nothing changes.
 */
bool acpi_use_root(u64 address);

/* Look for the root pointer where a BIOS leaves it: the first KByte of its data area, E0000H to FFFFFH. */
void acpi_look_for_root(void);

/* The table at an address that another one names; NULL: there is none. */
const struct acpi_table *acpi_table_at(u64 address);

/* The first table of that signature ("APIC", "HPET", "FACP"); NULL: there is none. */
const struct acpi_table *acpi_find(const char *signature);

/* The six characters of the OEM in the root pointer, NUL-terminated; empty where there is no root pointer. */
const char *acpi_oem(void);
