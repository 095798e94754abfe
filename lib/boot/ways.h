/* SPDX-License-Identifier: BSD-2-Clause */
/* The ways in: each reads what its loader says, and keeps nothing of it, since that memory is used again. */
#pragma once

#include "libc/types.h"

/* Behind the words that are there; with a blank. */
void boot_add_to_command_line(const char *text);

/* The same, without the image's file name, which some loaders put in front. */
void boot_add_loaders_line(const char *text);

/* The frame buffer of a Multiboot information, of either version; `colours` are pairs: lowest bit and size of red, green, blue. */
enum { FRAMEBUFFER_RGB = 1, FRAMEBUFFER_TEXT = 2 };
struct screen;
void boot_take_framebuffer(const struct screen *screen, u8 type, const u8 *colours);

/* `information` is what EBX held. The command line, the memory map, the root pointer of ACPI. */
void boot_read_multiboot(u32 information);
void boot_read_multiboot2(u32 information);
void boot_read_pvh(u32 information);
void boot_read_linux(u32 information);
void boot_read_efi(u32 information);
