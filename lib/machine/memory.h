/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The RAM that the machine has and that nobody else uses: what the way in says of it (a Multiboot or PVH memory map, or
 * the CMOS where there was neither loader nor firmware), below 3 GiB, in whole 4-KByte pages. The last GiB below 4 GiB is
 * mapped uncached and counts as no RAM.
 *
 * lib/boot tells the map, in this order; everybody else asks. Pages for a test: x86/page.h.
 */
#pragma once

#include "libc/types.h"

#define MEMORY_LIMIT (3ull << 30)

/* What the map says: RAM from start to end, then what of it is not, whatever overlaps. The source is for people. */
void memory_add(u64 start, u64 end);
void memory_remove(u64 start, u64 end);
void memory_source_is(const char *name);

/* The map is complete: from here on all RAM of it is free, but what is taken. */
void memory_map_ends(void);

/* Nobody else shall use these bytes. */
void memory_take(u64 start, u64 end);

/*
 * The lowest address of `size` free bytes at a multiple of the alignment (a power of two, 4 KiB at the least) in
 * [start, end); 0: there are none. It takes nothing.
 */
u64 memory_find(u64 start, u64 end, u64 size, u64 alignment);

/*
 * Take a page below 1 MiB for good, where a processor in real-address mode can begin: its address, or 0 if the machine
 * has no RAM there that is free.
 */
u64 memory_low_page(void);

/* Is all of [start, end) RAM, free or taken? */
bool memory_is_ram(u64 start, u64 end);

/* The next address behind this one at which RAM begins or ends, or `end` if that comes first. */
u64 memory_next_edge(u64 address, u64 end);

/* How many bytes of RAM there are, in all; and who said so ("multiboot", "cmos"...). */
u64 memory_size(void);
const char *memory_source(void);
