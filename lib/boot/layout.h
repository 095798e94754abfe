/* SPDX-License-Identifier: BSD-2-Clause */
/* Where things are in an image, for those that start one without reading its ELF header: lib/boot/rom.S, lib/boot/wrap. */
#pragma once

#define IMAGE_AT	0x100000	/* where it is linked */
#define IMAGE_ROM	0x10		/* from its beginning: the entry for the ROM */
/*
 * Entries for a wrapper, which may have put the image elsewhere: EAX = which way, EBX = its information (below 4 GiB), EDI =
 * where the image begins. Just in front of it lie the places that hold an address, upwards, as 32-bit offsets from its
 * beginning, and last how many there are (scripts/mkbzimage). In 32-bit mode without paging; in 64-bit mode, identity-mapped.
 */
#define IMAGE_WRAPPED32	0x20
#define IMAGE_WRAPPED64	0x28
#define IMAGE_LIMIT	0x80000000	/* all of it is below: code for the small model sign-extends addresses */
