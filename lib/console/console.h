/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one way out: a serial port, or port E9H. Where the command line names none, the first that is there of: a monitor that takes
 * whole texts at port E9H, COM1, the serial port of ACPI's SPCR, port E9H, a serial port on PCI. Without any, all is said to nobody.
 */
#pragma once

#include "libc/types.h"

/*
 * Find a way by the word serial=, NULL if there is none: "com1" to "com4", a port, "mmio:ADDRESS", "mmio32:ADDRESS", "pci", "spcr",
 * "e9", "none". If that is not there, the first of the others.
 */
void console_init(const char *word, size_t length);

/* Is that such a word? */
bool console_takes(const char *word, size_t length);

/* The way that was taken, for people; NULL: none of that is worth a word, since it is what everybody expects. */
const char *console_remark(void);

void console_write(const char *text, size_t length);

/* Who is to be shown all that is said from now on, wherever it goes. */
void console_watch(void (*watcher)(const char *text, size_t length));

void print(const char *format, ...) PRINTF(1, 2);

/* Wait until the last bit is on the wire. */
void console_drain(void);
