/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/serial.h"

#include "libc/string.h"
#include "machine/acpi.h"
#include "x86/page.h"
#include "x86/processor.h"

enum {
	DATA = 0, IER = 1, FCR = 2, IIR = 2, LCR = 3, MCR = 4, LSR = 5, SCRATCH = 7, REGISTERS = 8,
	IIR_HAS_FIFO = 0xc0, LSR_THRE = 0x20, LSR_TEMT = 0x40,
	FIFO_SIZE = 16,
	MOST_POLLS = 1000000,		/* a second or more on a machine whose ports are real */
};

static struct serial_port used;
static u32 fifo_size;
static bool stuck;

/* ---- registers */

static u8 read_register(const struct serial_port *port, u32 number)
{
	switch (port->space) {
	case SERIAL_IO:
		return inb(port->address + number);
	case SERIAL_MEMORY:
		return *(volatile u8 *)(port->address + number);
	case SERIAL_MEMORY32:
		return *(volatile u32 *)(port->address + 4 * number);
	}
	return 0xff;
}

static void write_register(const struct serial_port *port, u32 number, u8 value)
{
	switch (port->space) {
	case SERIAL_IO:
		outb(port->address + number, value);
		break;
	case SERIAL_MEMORY:
		*(volatile u8 *)(port->address + number) = value;
		break;
	case SERIAL_MEMORY32:
		*(volatile u32 *)(port->address + 4 * number) = value;
		break;
	}
}

/* The same port, its memory where it can be reached; false: it cannot be. */
static bool reach(const struct serial_port *port, struct serial_port *reached)
{
	*reached = *port;
	if (port->space != SERIAL_IO)
		reached->address = (u64)page_reach(port->address, 4 * REGISTERS);
	return reached->address;
}

bool serial_is_there(const struct serial_port *port)
{
	struct serial_port at;

	if (!reach(port, &at))
		return false;
	write_register(&at, SCRATCH, 0x5a);
	return read_register(&at, SCRATCH) == 0x5a && read_register(&at, LSR) != 0xff;
}

void serial_use(const struct serial_port *port)
{
	if (!reach(port, &used))
		return;
	write_register(&used, LCR, 3);			/* 8N1, no divisor latch */
	write_register(&used, IER, 0);
	if (!port->keep_speed) {
		write_register(&used, LCR, 0x83);
		write_register(&used, DATA, 1);		/* 115200 baud */
		write_register(&used, IER, 0);
		write_register(&used, LCR, 3);
	}
	write_register(&used, FCR, 7);			/* FIFO on and empty */
	write_register(&used, MCR, 3);			/* DTR, RTS */
	fifo_size = (read_register(&used, IIR) & IIR_HAS_FIFO) == IIR_HAS_FIFO ? FIFO_SIZE : 1;
}

static void wait_for(u8 lsr_bit)
{
	bool ready = read_register(&used, LSR) & lsr_bit;

	for (u32 polls = 0; !ready && !stuck && polls < MOST_POLLS; polls++)
		ready = read_register(&used, LSR) & lsr_bit;
	stuck = !ready;
}

void serial_send(const char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (i % fifo_size == 0)
			wait_for(LSR_THRE);
		write_register(&used, DATA, bytes[i]);
	}
}

void serial_drain(void)
{
	wait_for(LSR_TEMT);
}

/* ---- words */

static bool begins(const char *text, size_t length, const char *front)
{
	return length > strlen(front) && !memcmp(text, front, strlen(front));
}

static bool parse_memory(const char *text, size_t length, struct serial_port *port)
{
	const u32 wide = begins(text, length, "mmio32:"), front = wide ? strlen("mmio32:") : strlen("mmio:");
	u64 address;

	if (!(wide || begins(text, length, "mmio:")) || !hexadecimal(text + front, length - front, &address) || !address)
		return false;
	*port = (struct serial_port){ wide ? SERIAL_MEMORY32 : SERIAL_MEMORY, address, true };
	return true;
}

bool serial_parse(const char *text, size_t length, struct serial_port *port)
{
	static const u16 by_name[] = { SERIAL_COM1, 0x2f8, 0x3e8, 0x2e8 };
	u64 address;

	if (begins(text, length, "com") && length == 4 && text[3] >= '1' && text[3] <= '4') {
		*port = (struct serial_port){ SERIAL_IO, by_name[text[3] - '1'], false };
		return true;
	}
	if (!hexadecimal(text, length, &address))
		return parse_memory(text, length, port);
	*port = (struct serial_port){ SERIAL_IO, address, false };
	return address && address <= 0x10000 - REGISTERS;
}

/* ---- ACPI ("Serial Port Console Redirection Table") */

struct spcr {
	struct acpi_table head;
	u8 interface, reserved[3];
	struct acpi_address at;
} __attribute__((packed));
enum { INTERFACE_16550 = 0, INTERFACE_16550_SUBSET = 1, INTERFACE_16550_BY_ADDRESS = 0x12 };

bool serial_by_spcr(struct serial_port *port)
{
	const struct spcr *const table = (const void *)acpi_find("SPCR");

	if (!table || table->head.length < sizeof(*table) || !table->at.address ||
	    (table->interface != INTERFACE_16550 && table->interface != INTERFACE_16550_SUBSET &&
	     table->interface != INTERFACE_16550_BY_ADDRESS))
		return false;
	*port = (struct serial_port){ SERIAL_IO, table->at.address, true };
	if (table->at.space == ACPI_MEMORY)
		port->space = table->at.access == ACPI_ACCESS_DWORD || table->at.bits == 32 ? SERIAL_MEMORY32 : SERIAL_MEMORY;
	return table->at.space == ACPI_MEMORY || (table->at.space == ACPI_IO && table->at.address <= 0x10000 - REGISTERS);
}
