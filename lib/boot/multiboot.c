/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot Specification version 0.6.96, "Boot information format". */
#include "boot/ways.h"

#include "machine/acpi.h"
#include "machine/memory.h"
#include "machine/screen.h"

struct multiboot_info {
	u32 flags, lower_kib, upper_kib, boot_device, command_line, modules, module_address, symbols[4], map_length, map_address;
	u32 before_framebuffer[9];
	u64 framebuffer;		/* offset 88 */
	u32 pitch, width, height;
	u8 depth, type, colours[6];
} __attribute__((packed));
enum { HAS_MEMORY = BIT(0), HAS_COMMAND_LINE = BIT(2), HAS_MAP = BIT(6), HAS_FRAMEBUFFER = BIT(12) };
_Static_assert(__builtin_offsetof(struct multiboot_info, framebuffer) == 88, "the specification");

struct map_entry {
	u32 size;		/* of the rest */
	u64 address, length;
	u32 type;
} __attribute__((packed));
enum { TYPE_RAM = 1 };

/* Twice: what an entry of another type overlaps is no RAM, whatever their order. */
static void read_map(const struct multiboot_info *info, bool ram)
{
	for (u32 at = 0; at + sizeof(struct map_entry) <= info->map_length;) {
		const struct map_entry *entry = (const void *)((u64)info->map_address + at);

		if (ram && entry->type == TYPE_RAM)
			memory_add(entry->address, entry->address + entry->length);
		if (!ram && entry->type != TYPE_RAM)
			memory_remove(entry->address, entry->address + entry->length);
		at += entry->size + sizeof(entry->size);
	}
}

void boot_take_framebuffer(const struct screen *screen, u8 type, const u8 *colours)
{
	struct screen taken = *screen;

	taken.kind = type == FRAMEBUFFER_RGB ? SCREEN_PIXELS : type == FRAMEBUFFER_TEXT ? SCREEN_TEXT : SCREEN_NONE;
	taken.red = colours[0];
	taken.green = colours[2];
	taken.blue = colours[4];
	screen_is(&taken);
}

void boot_read_multiboot(u32 information)
{
	const struct multiboot_info *info = (const void *)(u64)information;

	if (info->flags & HAS_COMMAND_LINE)
		boot_add_loaders_line((const char *)(u64)info->command_line);
	if (info->flags & HAS_MAP) {
		memory_source_is("multiboot");
		read_map(info, true);
		read_map(info, false);
	} else if (info->flags & HAS_MEMORY) {
		memory_source_is("multiboot-sizes");
		memory_add(0, (u64)info->lower_kib << 10);
		memory_add(BIT(20), BIT(20) + ((u64)info->upper_kib << 10));
	}
	if (info->flags & HAS_FRAMEBUFFER)
		boot_take_framebuffer(&(struct screen){ .address = info->framebuffer, .pitch = info->pitch, .width = info->width,
							.height = info->height, .depth = info->depth }, info->type, info->colours);
	acpi_look_for_root();
}
