/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/cmos.h"
#include "machine/memory.h"
#include "x86/processor.h"

enum {
	INDEX_PORT = 0x70, DATA_PORT = 0x71,
	BASE = 0x15,		/* KBytes from 0 */
	ABOVE_1M = 0x30,	/* KBytes from 1 MiB on, up to 64 MiB */
	ABOVE_16M = 0x34,	/* 64-KByte units from 16 MiB on */
	ABSENT = 0xffff,	/* of a bus where nothing answers */
	MIB = 1 << 20,
};

extern u8 image_end[];

static u32 read16(u8 index)
{
	u32 value;

	outb(INDEX_PORT, index);
	value = inb(DATA_PORT);
	outb(INDEX_PORT, index + 1);
	return value | inb(DATA_PORT) << 8;
}

static bool keeps(volatile u64 *at, u64 value)
{
	const u64 before = *at;
	bool kept;

	*at = value;
	kept = *at == value;
	*at = before;
	return kept;
}

/* MiB by MiB behind the image, as long as both words hold; no more than any machine has. */
static u64 end_by_trying(void)
{
	u64 end = ((u64)image_end + MIB - 1) & ~(u64)(MIB - 1);

	while (end < 64ull * MIB && keeps((u64 *)end, 0x5aa55aa5a55aa55a) && keeps((u64 *)end, 0xa55aa55a5aa55aa5))
		end += MIB;
	return end;
}

void cmos_tell_memory(void)
{
	const u32 base = read16(BASE), above_1m = read16(ABOVE_1M), above_16m = read16(ABOVE_16M);
	const bool answers = base != ABSENT;
	u64 end = 0;

	if (answers && above_16m && above_16m != ABSENT)
		end = 16ull * MIB + ((u64)above_16m << 16);
	else if (answers && above_1m)
		end = MIB + ((u64)above_1m << 10);
	memory_source_is("cmos");
	if (end < (u64)image_end) {
		end = end_by_trying();
		memory_source_is("tried");
	}
	memory_add(0, (answers && base && base <= 640 ? base : 640) << 10);
	memory_add(MIB, end);
}
