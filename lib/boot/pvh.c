/* SPDX-License-Identifier: BSD-2-Clause */
/* Xen's direct boot protocol for HVM guests ("x86/HVM direct boot ABI"). */
#include "boot/boot.h"
#include "boot/ways.h"

#include "machine/acpi.h"
#include "machine/memory.h"

struct start_info {
	u32 magic, version, flags, module_count;
	u64 modules, command_line, rsdp, map;
	u32 map_entries, reserved;	/* version 1 and up, as is the map */
};

struct map_entry {
	u64 address, size;
	u32 type, reserved;
};
enum { TYPE_RAM = 1 };

void boot_read_pvh(u32 information)
{
	const struct start_info *info = (const void *)(u64)information;
	const struct map_entry *map = (const void *)info->map;
	const u32 entries = info->version >= 1 ? info->map_entries : 0;

	if (info->command_line)
		boot_add_to_command_line((const char *)info->command_line);
	if (entries)
		memory_source_is("pvh");
	for (u32 i = 0; i < entries; i++)
		if (map[i].type == TYPE_RAM)
			memory_add(map[i].address, map[i].address + map[i].size);
	for (u32 i = 0; i < entries; i++)
		if (map[i].type != TYPE_RAM)
			memory_remove(map[i].address, map[i].address + map[i].size);
	if (!acpi_use_root(info->rsdp))
		acpi_look_for_root();
}
