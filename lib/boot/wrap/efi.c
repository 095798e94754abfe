/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The EFI application (UEFI Specification 2.9): put the image below 2 GiB, ask the firmware what only it knows, end boot
 * services, start the image. This is position-independent code with no data that is written; nothing of it is needed later.
 */
#include "boot/boot.h"
#include "boot/efi_tables.h"
#include "boot/handover.h"
#include "boot/layout.h"

#define EFIAPI __attribute__((ms_abi))

typedef u64 efi_status;		/* 0: it went well */
enum {
	LOADED_IMAGE_PROTOCOL, GRAPHICS_OUTPUT_PROTOCOL,
	ALLOCATE_ADDRESS = 2, MEMORY_LOADER_CODE = 1,
	EFI_LOAD_ERROR_LOW = 1,
	RAW_MAP_SIZE = 128 << 10, LOWEST = 1 << 20, STEP = 1 << 20,
};
#define EFI_LOAD_ERROR (BIT(63) | EFI_LOAD_ERROR_LOW)

struct boot_services {
	u64 header[3], tpl[2];
	EFIAPI efi_status (*allocate_pages)(u32 how, u32 type, u64 pages, u64 *address);
	u64 free_pages;
	EFIAPI efi_status (*get_memory_map)(u64 *size, void *map, u64 *key, u64 *entry_size, u32 *version);
	u64 pool[2], events[6], protocols[3];
	EFIAPI efi_status (*handle_protocol)(void *handle, const struct efi_guid *protocol, void **interface);
	u64 more_protocols[5], images[4];
	EFIAPI efi_status (*exit_boot_services)(void *handle, u64 key);
	u64 rest[10];
	EFIAPI efi_status (*locate_protocol)(const struct efi_guid *protocol, void *key, void **interface);
};
_Static_assert(__builtin_offsetof(struct boot_services, locate_protocol) == 24 + 37 * 8, "UEFI, EFI Boot Services Table");

struct loaded_image {
	u32 revision;
	void *parent;
	u64 others[4];
	u32 options_size;
	const u16 *options;
};

struct graphics_output {
	u64 methods[3];
	struct {
		u32 modes, mode;
		struct {
			u32 version, width, height, format, red, green, blue, reserved, pixels_per_line;
		} *info;
		u64 info_size, base, size;
	} *mode;
};
enum { FORMAT_RGBX = 0, FORMAT_BGRX = 1, FORMAT_MASKS = 2 };

struct text_output {
	u64 reset;
	EFIAPI efi_status (*output)(struct text_output *this, const u16 *text);
};

struct memory_descriptor {
	u32 type;
	u64 start, virtual_start, pages, attributes;
};
enum { TYPE_LOADER_CODE = 1, TYPE_BOOT_SERVICES_DATA = 4, TYPE_CONVENTIONAL = 7 };
#define ATTRIBUTE_WB BIT(3)
#define ATTRIBUTE_SPECIFIC_PURPOSE BIT(18)

/* Filled in by scripts/mkbzimage; offsets from 4096 bytes into the wrapper, where it stands too (entry.S). */
extern const struct payload {
	u32 table, image, image_bytes, image_memory;
} payload __attribute__((visibility("hidden")));
extern const u8 setup[] __attribute__((visibility("hidden")));

EFIAPI efi_status efi_entry(void *handle, const struct efi_system_table *system);

static u64 pages(u64 bytes)
{
	return (bytes + PAGE_SIZE - 1) / PAGE_SIZE;
}

static void copy(u8 *to, const u8 *from, u64 count)
{
	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void clear(void *at, u64 count)
{
	asm volatile("rep stosb" : "+D"(at), "+c"(count) : "a"(0) : "memory");
}

static efi_status fail(const struct efi_system_table *system, const u16 *text)
{
	struct text_output *const out = (struct text_output *)system->out;

	if (out)
		out->output(out, text);
	return EFI_LOAD_ERROR;
}

/* The lowest place above 1 MiB, so that what lies low is in one piece; 0: there is none. Code: it is to be executed. */
static u64 allocate(const struct boot_services *services, u64 size)
{
	for (u64 at = LOWEST; at + size <= IMAGE_LIMIT; at += STEP) {
		u64 address = at;

		if (!services->allocate_pages(ALLOCATE_ADDRESS, MEMORY_LOADER_CODE, pages(size), &address))
			return address;
	}
	return 0;
}

/* What follows the application's name in a shell, or all that a boot manager gives: 16-bit characters. */
static void read_command_line(const struct boot_services *services, void *handle, char *to)
{
	static const struct efi_guid guid = { 0x11d295625b1b31a1, 0x3b7269c9a0003f8e };
	struct loaded_image *loaded;
	u32 length = 0;

	if (services->handle_protocol(handle, &guid, (void **)&loaded) || !loaded->options)
		return;
	for (u32 i = 0; i < loaded->options_size / 2 && loaded->options[i] && length < HANDOVER_COMMAND_LINE - 1; i++)
		to[length++] = loaded->options[i] < 0x80 ? loaded->options[i] : '?';
	to[length] = '\0';
}

static u32 lowest_bit(u32 mask)
{
	return mask ? __builtin_ctz(mask) : 0;
}

static void read_screen(const struct boot_services *services, struct screen *screen)
{
	static const struct efi_guid guid = { 0x4a3823dc9042a9de, 0x6a5180d0de7afb96 };
	struct graphics_output *output;

	if (services->locate_protocol(&guid, NULL, (void **)&output) || !output->mode || !output->mode->info ||
	    !output->mode->base)
		return;

	const typeof(*output->mode->info) *const info = output->mode->info;

	if (info->format > FORMAT_MASKS)
		return;
	screen->kind = SCREEN_PIXELS;
	screen->address = output->mode->base;
	screen->width = info->width;
	screen->height = info->height;
	screen->depth = 32;
	screen->pitch = info->pixels_per_line * 4;
	screen->green = 8;
	if (info->format == FORMAT_RGBX)
		screen->blue = 16;
	else if (info->format == FORMAT_BGRX)
		screen->red = 16;
	if (info->format != FORMAT_MASKS)
		return;
	screen->red = lowest_bit(info->red);
	screen->green = lowest_bit(info->green);
	screen->blue = lowest_bit(info->blue);
}

/* Free when boot services have ended; the image itself is in the map, and takes itself out. */
static bool is_free_ram(const struct memory_descriptor *entry)
{
	const bool kind = (entry->type >= TYPE_LOADER_CODE && entry->type <= TYPE_BOOT_SERVICES_DATA) ||
			  entry->type == TYPE_CONVENTIONAL;

	return kind && entry->attributes & ATTRIBUTE_WB && !(entry->attributes & ATTRIBUTE_SPECIFIC_PURPOSE);
}

/* Neighbours become one range. When there is no place left the rest is left out: less RAM is no harm. */
static void read_map(struct handover *handover, const u8 *map, u64 size, u64 entry_size)
{
	for (u64 at = 0; at + sizeof(struct memory_descriptor) <= size; at += entry_size) {
		const struct memory_descriptor *const entry = (const void *)(map + at);
		const u64 end = entry->start + entry->pages * PAGE_SIZE;
		struct handover_range *const last = &handover->ranges[handover->range_count - 1];

		if (!is_free_ram(entry))
			continue;
		if (handover->range_count && last->end == entry->start) {
			last->end = end;
		} else if (handover->range_count < HANDOVER_MOST_RANGES) {
			last[1] = (struct handover_range){ entry->start, end };
			handover->range_count++;
		}
	}
}

/* The map changes while firmware runs: its key must be that of the last one. */
static bool end_boot_services(const struct boot_services *services, void *handle, struct handover *handover, u8 *map)
{
	for (int tries = 0; tries < 4; tries++) {
		u64 size = RAW_MAP_SIZE, key, entry_size;
		u32 version;

		if (services->get_memory_map(&size, map, &key, &entry_size, &version))
			return false;
		if (services->exit_boot_services(handle, key))
			continue;
		read_map(handover, map, size, entry_size);
		return true;
	}
	return false;
}

EFIAPI efi_status efi_entry(void *handle, const struct efi_system_table *system)
{
	const struct boot_services *const services = (const void *)system->boot_services;
	const u8 *const base = setup + PAGE_SIZE;
	const u64 table_bytes = payload.image - payload.table;
	const u64 in_front = pages(table_bytes) * PAGE_SIZE;
	const u64 image_memory = pages(payload.image_memory) * PAGE_SIZE;
	const u64 handover_memory = pages(sizeof(struct handover)) * PAGE_SIZE;
	const u64 place = allocate(services, in_front + image_memory + handover_memory + RAW_MAP_SIZE);
	const u64 image = place + in_front;
	struct handover *const handover = (struct handover *)(image + image_memory);

	if (!place)
		return fail(system, u"vmxcheck: no memory for the image below 2 GiB\r\n");
	copy((u8 *)image - table_bytes, base + payload.table, table_bytes + payload.image_bytes);
	clear(handover, sizeof(*handover));
	read_command_line(services, handle, handover->command_line);
	read_screen(services, &handover->screen);
	handover->root = efi_acpi_root(system);
	if (!end_boot_services(services, handle, handover, (u8 *)handover + handover_memory))
		return fail(system, u"vmxcheck: the firmware does not end its boot services\r\n");
	asm volatile("jmp *%0" : : "r"(image + IMAGE_WRAPPED64), "a"(BOOT_MAGIC_EFI), "b"(handover), "D"(image));
	__builtin_unreachable();
}
