/* SPDX-License-Identifier: BSD-2-Clause */
/* How an image was started, and what the way in told it. */
#pragma once

#include "libc/types.h"

enum {
	BOOT_MAGIC_MULTIBOOT = 0x2badb002,	/* in EAX, by the Multiboot 1 specification */
	BOOT_MAGIC_MULTIBOOT2 = 0x36d76289,
	BOOT_MAGIC_PVH = 0x336ec578,		/* at the start of hvm_start_info */
	BOOT_MAGIC_ROM = 0x4d4f5256,		/* "VROM": our own reset vector */
	BOOT_MAGIC_LINUX = 0x584e494c,		/* "LINX": Linux' boot protocol, by wrap/entry.S */
	BOOT_MAGIC_EFI = 0x20494645,		/* "EFI ": by wrap/efi.c */
};

struct boot_info {
	const char *method;	/* "multiboot", "multiboot2", "pvh", "linux", "efi" or "rom" */
	const char *command_line;
};

/* What to do for ever on a machine that is not ended. */
extern void (*boot_halted)(void);

/* End the image: all that was said is out, and the machine is off if it is one that can be (machine/power.h), else it halts. */
void boot_end(void) __attribute__((noreturn));
