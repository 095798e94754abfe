/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one way out: a serial port, COM1 if the command line names no other; or port E9H where a monitor takes whole texts
 * there, or there is no such serial port. Without any, all is said to nobody.
 */
#pragma once

#include "libc/types.h"

/* Find a port; the base of a serial one, or 0 for COM1. */
void console_init(u16 serial_port);

void console_write(const char *text, size_t length);
void print(const char *format, ...) PRINTF(1, 2);

/* Wait until the last bit is on the wire. */
void console_drain(void);
