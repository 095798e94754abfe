/* SPDX-License-Identifier: BSD-2-Clause */
/* Accesses to the window, and changes of its paging-structure entries. */
#pragma once

#include "guest.h"

static inline void reads_window(void)
{
	(void)*WINDOW_PAGE;
}

static inline void writes_window(void)
{
	*WINDOW_PAGE = 3;
}

#define runs_window ((void (*)(void))PAGE_WINDOW)

/* Clear or set bits in the window's entry at a level. */
static inline void change_entry(unsigned int level, u64 clear, u64 set)
{
	u64 *entry = page_entry(PAGE_WINDOW, level);

	*entry = (*entry & ~clear) | set;
	write_cr3(read_cr3());
}

static inline u64 *map_all(void)
{
	return map_window(PAGE_PRESENT | PAGE_WRITE | PAGE_USER);
}
