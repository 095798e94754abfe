/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot2 Specification version 2.0, "Boot information format". Under UEFI, no other way tells where ACPI begins. */
#include "boot/ways.h"

#include "machine/acpi.h"
#include "machine/memory.h"
#include "machine/screen.h"

enum tag_type { TAG_END = 0, TAG_COMMAND_LINE = 1, TAG_MAP = 6, TAG_FRAMEBUFFER = 8, TAG_ACPI_OLD = 14, TAG_ACPI_NEW = 15 };

struct tag {
	u32 type, size;		/* size: without what fills it up to 8 bytes */
	union {
		char text[8];
		struct {
			u32 entry_size, entry_version;
		} map;
		struct {
			u64 address;
			u32 pitch, width, height;
			u8 depth, type, reserved[2], colours[6];
		} framebuffer;
	};
};

struct map_entry {
	u64 address, length;
	u32 type, reserved;
};
enum { TYPE_RAM = 1 };

static const struct tag *tag_of(const u32 *information, enum tag_type type)
{
	const u8 *at = (const u8 *)(information + 2), *const end = (const u8 *)information + *information;

	while (at + 8 <= end) {
		const struct tag *tag = (const void *)at;

		if (tag->type == TAG_END)
			return NULL;
		if (tag->type == type)
			return tag;
		at += (tag->size + 7) & ~7u;
	}
	return NULL;
}

/* Twice: what an entry of another type overlaps is no RAM, whatever their order. */
static void read_map(const struct tag *tag, bool ram)
{
	for (u32 at = 16; at + sizeof(struct map_entry) <= tag->size && tag->map.entry_size; at += tag->map.entry_size) {
		const struct map_entry *entry = (const void *)((const u8 *)tag + at);

		if (ram && entry->type == TYPE_RAM)
			memory_add(entry->address, entry->address + entry->length);
		if (!ram && entry->type != TYPE_RAM)
			memory_remove(entry->address, entry->address + entry->length);
	}
}

void boot_read_multiboot2(u32 information)
{
	const u32 *info = (const void *)(u64)information;
	const struct tag *const words = tag_of(info, TAG_COMMAND_LINE), *const map = tag_of(info, TAG_MAP);
	const struct tag *const shown = tag_of(info, TAG_FRAMEBUFFER);
	const struct tag *root = tag_of(info, TAG_ACPI_NEW);

	if (words)
		boot_add_loaders_line(words->text);
	if (map) {
		memory_source_is("multiboot2");
		read_map(map, true);
		read_map(map, false);
	}
	if (shown && shown->size >= 31)
		boot_take_framebuffer(&(struct screen){ .address = shown->framebuffer.address, .pitch = shown->framebuffer.pitch,
							.width = shown->framebuffer.width, .height = shown->framebuffer.height,
							.depth = shown->framebuffer.depth },
				      shown->framebuffer.type, shown->framebuffer.colours);
	if (!root)
		root = tag_of(info, TAG_ACPI_OLD);
	if (!root || !acpi_use_root((u64)root->text))
		acpi_look_for_root();
}
