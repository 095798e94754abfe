/* SPDX-License-Identifier: BSD-2-Clause */
/* A serial port: a 16550, or what can be used like one, at I/O ports or in memory. */
#pragma once

#include "libc/types.h"

enum { SERIAL_COM1 = 0x3f8 };

struct serial_port {
	enum { SERIAL_IO, SERIAL_MEMORY, SERIAL_MEMORY32 } space;	/* MEMORY32: a register each 4 bytes, 32 bits wide */
	u64 address;
	bool keep_speed;		/* as the firmware left it: by which clock it is divided nobody says */
};

/*
 * A place in words: "com1" to "com4", a hexadecimal port ("2f8"), "mmio:ADDRESS" or "mmio32:ADDRESS" (hexadecimal).
 * False: it is none.
 */
bool serial_parse(const char *text, size_t length, struct serial_port *port);

/* Does one answer there? By its scratch register, where 5AH is left, and its line status. Memory must be reachable. */
bool serial_is_there(const struct serial_port *port);

/* Use it: 115200 8N1, FIFO on, no interrupts. */
void serial_use(const struct serial_port *port);

/*
 * Send so many bytes; drain waits until the last bit is on the wire. One that does not empty, as if nobody took its bytes,
 * costs about a second once; from then on nobody waits for it until it is empty again.
 */
void serial_send(const char *bytes, size_t count);
void serial_drain(void);

/* The port that ACPI's serial port console redirection table (SPCR) names. False: there is no table, or of another kind. */
bool serial_by_spcr(struct serial_port *port);
