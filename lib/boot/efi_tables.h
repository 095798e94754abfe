/* SPDX-License-Identifier: BSD-2-Clause */
/* UEFI Specification 2.9, "EFI System Table": what is still there when boot services have ended. */
#pragma once

#include "libc/types.h"

struct efi_guid {
	u64 low, high;			/* its 16 bytes */
};

struct efi_configuration_table {
	struct efi_guid guid;
	u64 table;
};

struct efi_system_table {
	u64 signature;
	u32 revision, header_size, crc, reserved;
	u64 vendor;
	u32 firmware_revision, padding;
	u64 in_handle, in, out_handle, out, error_handle, error;
	u64 runtime_services, boot_services;
	u64 table_count;
	struct efi_configuration_table *tables;
};
#define EFI_SYSTEM_TABLE_SIGNATURE 0x5453595320494249ull	/* "IBI SYST" */

/* The root pointer of ACPI 2.0, or the old one; 0: the firmware has none. */
static inline u64 efi_acpi_root(const struct efi_system_table *system)
{
	static const struct efi_guid acpi_20 = { 0x11d3e4f18868e871, 0x81883cc7800022bc };
	static const struct efi_guid acpi_10 = { 0x11d32d88eb9d2d30, 0x4dc13f279000169a };
	u64 old = 0;

	for (u64 i = 0; i < system->table_count; i++) {
		const struct efi_configuration_table *const entry = &system->tables[i];

		if (entry->guid.low == acpi_20.low && entry->guid.high == acpi_20.high)
			return entry->table;
		if (entry->guid.low == acpi_10.low && entry->guid.high == acpi_10.high)
			old = entry->table;
	}
	return old;
}
