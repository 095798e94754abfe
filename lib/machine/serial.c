/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/serial.h"
#include "x86/processor.h"

enum {
	DATA = 0, IER = 1, FCR = 2, LCR = 3, MCR = 4, LSR = 5, SCRATCH = 7,
	LSR_THRE = 0x20, LSR_TEMT = 0x40,
	FIFO_SIZE = 16,
	MOST_POLLS = 1000000,		/* a second or more on a machine whose ports are real */
};

static u16 base;
static bool stuck;

bool serial_is_there(u16 at)
{
	outb(at + SCRATCH, 0x5a);
	return inb(at + SCRATCH) == 0x5a && inb(at + LSR) != 0xff;
}

void serial_use(u16 at)
{
	base = at;
	outb(base + IER, 0);
	outb(base + LCR, 0x80);		/* divisor latch */
	outb(base + DATA, 1);		/* 115200 baud */
	outb(base + IER, 0);
	outb(base + LCR, 3);		/* 8N1 */
	outb(base + FCR, 7);		/* FIFO on and empty */
	outb(base + MCR, 3);		/* DTR, RTS */
}

static void wait_for(u8 lsr_bit)
{
	bool ready = inb(base + LSR) & lsr_bit;

	for (u32 polls = 0; !ready && !stuck && polls < MOST_POLLS; polls++)
		ready = inb(base + LSR) & lsr_bit;
	stuck = !ready;
}

void serial_send(const char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (i % FIFO_SIZE == 0)
			wait_for(LSR_THRE);
		outb(base + DATA, bytes[i]);
	}
}

void serial_drain(void)
{
	wait_for(LSR_TEMT);
}
