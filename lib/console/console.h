/* SPDX-License-Identifier: BSD-2-Clause */
/* The one way out: COM1, or the debug port E9H where there is no COM1. */
#pragma once

#include "libc/types.h"

/* Find a serial port and set it to 115200 8N1 with its FIFO on. */
void console_init(void);

void console_write(const char *text, size_t length);
void print(const char *format, ...) PRINTF(1, 2);

/* Wait until the last bit is on the wire. */
void console_drain(void);
