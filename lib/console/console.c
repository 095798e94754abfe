/* SPDX-License-Identifier: BSD-2-Clause */
#include "console/console.h"

#include "libc/printf.h"
#include "libc/string.h"
#include "machine/debug_port.h"
#include "machine/serial.h"

static enum { NO_PORT, SERIAL, DEBUG, TEXT } port;

void console_init(u16 serial_port)
{
	const u16 serial = serial_port ? serial_port : SERIAL_COM1;

	if (!serial_port && debug_port_takes_texts()) {
		port = TEXT;
	} else if (serial_is_there(serial)) {
		port = SERIAL;
		serial_use(serial);
	} else {
		port = debug_port_is_there() ? DEBUG : NO_PORT;
	}
}

void console_write(const char *text, size_t length)
{
	switch (port) {
	case NO_PORT:
		break;
	case SERIAL:
		serial_send(text, length);
		break;
	case DEBUG:
		debug_port_send(text, length);
		break;
	case TEXT:
		debug_port_hand_over(text, length);
		break;
	}
}

void console_drain(void)
{
	if (port == SERIAL)
		serial_drain();
}

void print(const char *format, ...)
{
	static char line[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	console_write(line, strlen(line));
}
