/* SPDX-License-Identifier: BSD-2-Clause */
/* Linux' boot protocol ("The Linux/x86 Boot Protocol", "Zero Page"), of which an image in its wrapper takes part. */
#include "boot/efi_tables.h"
#include "boot/ways.h"

#include "machine/acpi.h"
#include "machine/memory.h"
#include "machine/screen.h"

struct map_entry {
	u64 address, length;
	u32 type;
} __attribute__((packed));
enum { TYPE_RAM = 1 };

struct setup_data {
	u64 next;
	u32 type, length;
	u8 data[];
} __attribute__((packed));
enum { SETUP_MORE_MAP = 1 };

struct boot_params {
	u8 before_mode[6];
	u8 mode, columns;
	u8 before_lines[6];
	u8 lines, video;		/* offset 0EH */
	u16 points;
	u16 width, height, depth;	/* 12H: of a linear framebuffer */
	u32 base, size;
	u8 before_pitch[4];
	u16 pitch;			/* 24H */
	u8 red_size, red, green_size, green, blue_size, blue, rest_size, rest;
	u8 before_base_high[8];
	u32 capabilities, base_high;	/* 36H, 3AH */
	u8 before_root[0x32];
	u64 acpi_root;			/* 70H */
	u8 before_efi[0x148];
	char efi_signature[4];		/* 1C0H: "EL64" */
	u32 efi_system;
	u8 before_efi_high[16];
	u32 efi_system_high;		/* 1D8H */
	u8 before_count[12];
	u8 map_entries;			/* 1E8H */
	u8 before_command_line[0x3f];
	u32 command_line;		/* 228H */
	u8 before_data[0x24];
	u64 data;			/* 250H */
	u8 before_map[0x78];
	struct map_entry map[128];	/* 2D0H */
} __attribute__((packed));
_Static_assert(__builtin_offsetof(struct boot_params, map) == 0x2d0, "the zero page");
_Static_assert(__builtin_offsetof(struct boot_params, command_line) == 0x228, "the zero page");
_Static_assert(__builtin_offsetof(struct boot_params, efi_signature) == 0x1c0, "the zero page");
_Static_assert(__builtin_offsetof(struct boot_params, base_high) == 0x3a, "the zero page");

enum { VIDEO_TEXT = 1, VIDEO_LINEAR = 0x23, VIDEO_EFI = 0x70, BASE_HAS_HIGH_HALF = BIT(1) };

static void read_entries(const struct map_entry *entries, u32 count, bool ram)
{
	for (u32 i = 0; i < count; i++) {
		const u64 start = entries[i].address, end = start + entries[i].length;

		if (ram && entries[i].type == TYPE_RAM)
			memory_add(start, end);
		if (!ram && entries[i].type != TYPE_RAM)
			memory_remove(start, end);
	}
}

/* Twice: what an entry of another type overlaps is no RAM, whatever their order. */
static void read_map(const struct boot_params *params, bool ram)
{
	const u32 count = params->map_entries < ARRAY_SIZE(params->map) ? params->map_entries : ARRAY_SIZE(params->map);

	read_entries(params->map, count, ram);
	for (u64 at = params->data; at && at < BIT(32);) {
		const struct setup_data *data = (const void *)at;

		if (data->type == SETUP_MORE_MAP)
			read_entries((const void *)data->data, data->length / sizeof(struct map_entry), ram);
		at = data->next;
	}
}

static void read_screen(const struct boot_params *params)
{
	struct screen screen = { .kind = SCREEN_NONE };

	if (params->video == VIDEO_TEXT && (params->mode == 3 || params->mode == 2)) {
		screen = (struct screen){ .kind = SCREEN_TEXT, .address = 0xb8000, .width = params->columns,
					  .height = params->lines, .pitch = 2 * params->columns };
	} else if (params->video == VIDEO_LINEAR || params->video == VIDEO_EFI) {
		screen = (struct screen){ .kind = SCREEN_PIXELS, .address = params->base, .width = params->width,
					  .height = params->height, .pitch = params->pitch, .depth = params->depth,
					  .red = params->red, .green = params->green, .blue = params->blue };
		if (params->capabilities & BASE_HAS_HIGH_HALF)
			screen.address |= (u64)params->base_high << 32;
	}
	screen_is(&screen);
}

static void read_root(const struct boot_params *params)
{
	const u64 address = params->efi_system | (u64)params->efi_system_high << 32;
	const struct efi_system_table *const system = (const void *)address;

	if (acpi_use_root(params->acpi_root))
		return;
	if (params->efi_signature[0] == 'E' && params->efi_signature[1] == 'L' && address && address < BIT(32) &&
	    system->signature == EFI_SYSTEM_TABLE_SIGNATURE && (u64)system->tables < BIT(32) &&
	    acpi_use_root(efi_acpi_root(system)))
		return;
	acpi_look_for_root();
}

void boot_read_linux(u32 information)
{
	const struct boot_params *params = (const void *)(u64)information;

	if (params->command_line)
		boot_add_loaders_line((const char *)(u64)params->command_line);
	if (params->map_entries)
		memory_source_is("linux");
	read_map(params, true);
	read_map(params, false);
	read_screen(params);
	read_root(params);
}
