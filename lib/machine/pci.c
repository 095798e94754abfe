/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/pci.h"
#include "x86/processor.h"

enum {
	ADDRESS_PORT = 0xcf8, DATA_PORT = 0xcfc,
	IDENTIFICATION = 0, COMMAND = 4, CLASS = 8, HEADER = 0x0c, BASE_ADDRESSES = 0x10, IO_WINDOW = 0x1c, IO_WINDOW_UPPER = 0x30,
	HEADER_MANY_FUNCTIONS = 1 << 23,
	COMMAND_IO = 1, COMMAND_MEMORY = 2,
	CLASS_SERIAL = 0x0700,			/* class and subclass: a serial controller; what kind of 16550, its interface says */
	TYPE_DEVICE = 0, TYPE_BRIDGE = 1,
	BASES = 6, BASE_IS_IO = 1, LARGEST_IO_BASE = 256,	/* the most that one base address asks for */
	BASE_TYPE = 6, BASE_IS_64_BITS = 4,
	BUSES = 256, DEVICES = 32, FUNCTIONS = 8,
};
#define ENABLE 0x80000000u

static u32 read_config(u32 function, u32 offset)
{
	outl(ADDRESS_PORT, ENABLE | function << 8 | offset);
	return inl(DATA_PORT);
}

static void write_config(u32 function, u32 offset, u32 value)
{
	outl(ADDRESS_PORT, ENABLE | function << 8 | offset);
	outl(DATA_PORT, value);
}

static bool has_mechanism(void)
{
	outl(ADDRESS_PORT, ENABLE);
	return inl(ADDRESS_PORT) == ENABLE;
}

static bool overlap(u32 first, u32 end, u32 other_first, u32 other_end)
{
	return first < other_end && other_first < end;
}

/* How large the region of a base address is, only writing would say: the most that it can be. */
static bool bases_have(u32 function, u32 bases, u32 first, u32 end)
{
	for (u32 n = 0; n < bases; n++) {
		const u32 base = read_config(function, BASE_ADDRESSES + 4 * n), port = base & 0xfffc;

		if (base & BASE_IS_IO && port && overlap(first, end, port, port + LARGEST_IO_BASE))
			return true;
	}
	return false;
}

/* Bits 7:4 and 15:12 are the first and the last 4-KByte block; base above limit: no window. */
static bool window_has(u32 function, u32 first, u32 end)
{
	const u32 window = read_config(function, IO_WINDOW);
	const u32 base = (window & 0xf0) << 8, last = (window & 0xf000) | 0xfff;

	return base <= last && (window & 0xf0f0) && overlap(first, end, base, last + 1);
}

static bool function_has(u32 function, u32 first, u32 end)
{
	const u32 type = read_config(function, HEADER) >> 16 & 0x7f;

	if (type == TYPE_BRIDGE)
		return bases_have(function, 2, first, end) || window_has(function, first, end);
	return type == TYPE_DEVICE && bases_have(function, 6, first, end);
}

/* The next function behind that one that is there, or the first for FIRST; END: there are no more. */
enum { FIRST = ~0u, END = BUSES * DEVICES * FUNCTIONS };

static u32 next_function(u32 function)
{
	for (function++; function < END; function++) {
		if (function % FUNCTIONS == 1 && !(read_config(function - 1, HEADER) & HEADER_MANY_FUNCTIONS))
			function += FUNCTIONS - 1;
		if (function < END && read_config(function, IDENTIFICATION) != ~0u)
			return function;
		if (function % FUNCTIONS == 0)
			function += FUNCTIONS - 1;	/* no first function: no device */
	}
	return END;
}

bool pci_has_ports(u32 first, u32 end)
{
	if (!has_mechanism())
		return false;
	for (u32 function = next_function(FIRST); function != END; function = next_function(function))
		if (function_has(function, first, end))
			return true;
	return false;
}

/* By its first base address that the firmware has given a place. */
static bool serial_of(u32 function, struct serial_port *port)
{
	for (u32 n = 0; n < BASES; n++) {
		const u32 base = read_config(function, BASE_ADDRESSES + 4 * n);
		const bool wide = !(base & BASE_IS_IO) && (base & BASE_TYPE) == BASE_IS_64_BITS;
		const u64 high = wide && n + 1 < BASES ? read_config(function, BASE_ADDRESSES + 4 * ++n) : 0;
		const u64 address = base & BASE_IS_IO ? base & 0xfffc : (base & ~0xfu) | high << 32;

		if (!address)
			continue;
		*port = (struct serial_port){ base & BASE_IS_IO ? SERIAL_IO : SERIAL_MEMORY, address, false };
		return true;
	}
	return false;
}

/* The upper half of the register is status, where writing zeros changes nothing. */
static void decode(u32 function, u32 what)
{
	const u32 command = read_config(function, COMMAND) & 0xffff;

	if (!(command & what))
		write_config(function, COMMAND, command | what);
}

bool pci_find_serial(struct serial_port *port)
{
	if (!has_mechanism())
		return false;
	for (u32 function = next_function(FIRST); function != END; function = next_function(function)) {
		if (read_config(function, CLASS) >> 16 != CLASS_SERIAL ||
		    (read_config(function, HEADER) >> 16 & 0x7f) != TYPE_DEVICE || !serial_of(function, port))
			continue;
		decode(function, port->space == SERIAL_IO ? COMMAND_IO : COMMAND_MEMORY);
		if (serial_is_there(port))
			return true;
	}
	return false;
}
