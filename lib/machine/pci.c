/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/pci.h"
#include "x86/processor.h"

enum {
	ADDRESS_PORT = 0xcf8, DATA_PORT = 0xcfc,
	IDENTIFICATION = 0, HEADER = 0x0c, BASE_ADDRESSES = 0x10, IO_WINDOW = 0x1c, IO_WINDOW_UPPER = 0x30,
	HEADER_MANY_FUNCTIONS = 1 << 23,
	TYPE_DEVICE = 0, TYPE_BRIDGE = 1,
	BASE_IS_IO = 1, LARGEST_IO_BASE = 256,	/* the most that one base address asks for */
	BUSES = 256, DEVICES = 32, FUNCTIONS = 8,
};
#define ENABLE 0x80000000u

static u32 read_config(u32 function, u32 offset)
{
	outl(ADDRESS_PORT, ENABLE | function << 8 | offset);
	return inl(DATA_PORT);
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

bool pci_has_ports(u32 first, u32 end)
{
	if (!has_mechanism())
		return false;
	for (u32 device = 0; device < BUSES * DEVICES; device++) {
		u32 functions = 1;

		for (u32 n = 0; n < functions; n++) {
			const u32 function = device * FUNCTIONS + n;

			if (read_config(function, IDENTIFICATION) == ~0u)
				continue;
			if (n == 0 && read_config(function, HEADER) & HEADER_MANY_FUNCTIONS)
				functions = FUNCTIONS;
			if (function_has(function, first, end))
				return true;
		}
	}
	return false;
}
