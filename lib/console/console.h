/* SPDX-License-Identifier: BSD-2-Clause */
/* The one way out: COM1, or port E9H where a monitor takes whole texts there or there is no COM1. */
#pragma once

#include "libc/types.h"

/* Find a port; set a serial one to 115200 8N1 with its FIFO on. */
void console_init(void);

void console_write(const char *text, size_t length);
void print(const char *format, ...) PRINTF(1, 2);

/* Wait until the last bit is on the wire. */
void console_drain(void);
