/* SPDX-License-Identifier: BSD-2-Clause */
/* A serial port of a PC: a 16550, or what can be used like one. */
#pragma once

#include "libc/types.h"

enum { SERIAL_COM1 = 0x3f8 };

/* Does one answer at that base port? By its scratch register: 5AH is left there. */
bool serial_is_there(u16 base);

/* Use it: 115200 8N1, FIFO on, no interrupts. */
void serial_use(u16 base);

/*
 * Send so many bytes; drain waits until the last bit is on the wire. One that does not empty, as if nobody took its bytes,
 * costs about a second once; from then on nobody waits for it until it is empty again.
 */
void serial_send(const char *bytes, size_t count);
void serial_drain(void);
