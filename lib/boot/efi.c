/* SPDX-License-Identifier: BSD-2-Clause */
/* From the EFI application that an image is wrapped in (wrap/efi.c). */
#include "boot/handover.h"
#include "boot/ways.h"

#include "machine/acpi.h"
#include "machine/memory.h"

void boot_read_efi(u32 information)
{
	const struct handover *told = (const void *)(u64)information;

	boot_add_loaders_line(told->command_line);
	memory_source_is("efi");
	for (u32 i = 0; i < told->range_count; i++)
		memory_add(told->ranges[i].start, told->ranges[i].end);
	screen_is(&told->screen);
	acpi_use_root(told->root);
}
