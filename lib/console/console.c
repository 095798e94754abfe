/* SPDX-License-Identifier: BSD-2-Clause */
#include "console/console.h"

#include "libc/printf.h"
#include "libc/string.h"
#include "x86/processor.h"

enum {
	COM1 = 0x3f8, DATA = COM1, IER = COM1 + 1, FCR = COM1 + 2, LCR = COM1 + 3, MCR = COM1 + 4, LSR = COM1 + 5,
	SCRATCH = COM1 + 7,
	LSR_THRE = 0x20, LSR_TEMT = 0x40,
	FIFO_SIZE = 16,
	DEBUG_PORT = 0xe9,
	WAIT_LIMIT = 1000000,	/* polls: a port that does not empty must not hold up a test for ever */
};

static enum { NO_PORT, SERIAL, DEBUG } port;

void console_init(void)
{
	outb(SCRATCH, 0x5a);
	if (inb(SCRATCH) != 0x5a || inb(LSR) == 0xff) {
		port = inb(DEBUG_PORT) == DEBUG_PORT ? DEBUG : NO_PORT;
		return;
	}
	port = SERIAL;
	outb(IER, 0);
	outb(LCR, 0x80);	/* divisor latch */
	outb(DATA, 1);		/* 115200 baud */
	outb(IER, 0);
	outb(LCR, 3);		/* 8N1 */
	outb(FCR, 7);		/* FIFO on and empty */
	outb(MCR, 3);		/* DTR, RTS */
}

static void wait_for(u8 lsr_bit)
{
	for (int i = 0; i < WAIT_LIMIT && !(inb(LSR) & lsr_bit); i++)
		cpu_relax();
}

void console_write(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (port == SERIAL && i % FIFO_SIZE == 0)
			wait_for(LSR_THRE);
		if (port != NO_PORT)
			outb(port == SERIAL ? DATA : DEBUG_PORT, text[i]);
	}
}

void console_drain(void)
{
	if (port == SERIAL)
		wait_for(LSR_TEMT);
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
