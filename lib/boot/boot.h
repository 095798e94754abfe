/* SPDX-License-Identifier: BSD-2-Clause */
/* How an image was started, and what the way in told it. */
#pragma once

#include "libc/types.h"

enum {
	BOOT_MAGIC_MULTIBOOT = 0x2badb002,	/* in EAX, by the Multiboot 1 specification */
	BOOT_MAGIC_MULTIBOOT2 = 0x36d76289,
	BOOT_MAGIC_PVH = 0x336ec578,		/* at the start of hvm_start_info */
	BOOT_MAGIC_ROM = 0x4d4f5256,		/* "VROM": our own reset vector */
};

struct boot_info {
	const char *method;	/* "multiboot", "multiboot2", "pvh" or "rom" */
	const char *command_line;
};

/*
 * End the image: drain the serial port, then try QEMU's isa-debug-exit, Bochs'
 * shutdown port and the usual ACPI power-off ports; on bare metal, halt.
 */
void boot_end(void) __attribute__((noreturn));
