/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages, and mappings beside the identity map of the first 4 GiB. */
#pragma once

#include "libc/types.h"

enum {
	PAGE_PRESENT = BIT(0), PAGE_WRITE = BIT(1), PAGE_USER = BIT(2), PAGE_PWT = BIT(3), PAGE_PCD = BIT(4),
	PAGE_ACCESSED = BIT(5), PAGE_DIRTY = BIT(6), PAGE_LARGE = BIT(7), PAGE_GLOBAL = BIT(8),
};
#define PAGE_NX			BIT(63)
#define PAGE_ADDRESS_MASK	0x000ffffffffff000ull

/* Virtual addresses free for a test to map: 512 GiB that nothing else uses. */
#define PAGE_WINDOW		0x8000000000ull

/*
 * Where a device's memory can be reached for good: at its own address below 4 GiB, and else where it is mapped, uncached,
 * in the suite's guest too. NULL: it is wider than the processor's addresses, or one too many.
 */
void *page_reach(u64 physical, u64 size);

/* The n-th mapping of that kind, from 0: [*start, *end) of physical memory. False: there are no more. */
bool page_reached(u32 n, u64 *start, u64 *end);

/*
 * A zeroed, 4-KByte-aligned page of RAM, or several in a row, behind the image. Throws `page_none_left` when there are
 * none, which makes a test that needs more RAM than the machine has a SKIP.
 */
void *page_alloc(void);
void *page_alloc_many(unsigned int count);
extern const char page_none_left[];

/*
 * Zeroed pages in a row at a multiple of the alignment (a power of two) within [low, high): for a test that must have
 * them below 1 MiB, or at an address with a bit set. NULL: the machine has no such RAM. See tap/tap.h, ram_within().
 */
void *page_alloc_within(u64 low, u64 high, unsigned int count, u64 alignment);

/* Everything allocated since a mark is free again after page_release(mark). */
u64 page_mark(void);
void page_release(u64 mark);

/*
 * Map one 4-KByte page of the window: flags are those of the last level; the
 * levels above allow all. Does not flush an older translation: see invlpg().
 */
void page_map(u64 linear, u64 physical, u64 flags);

/* The entry that translates a linear address of the window, at a level (1: PTE, 4: PML4E). */
u64 *page_entry(u64 linear, unsigned int level);

/*
 * Page tables of a test's own (page_alloc's; the value for a CR3) in which linear addresses repeat every GiB: every
 * canonical address leads to the memory at its bits 29:0, but each fourth GiB of 512 is the one below 4 GiB (APIC, ROM).
 */
u64 page_tables_that_repeat(void);

/* Unmap the whole window and flush the TLB. */
void page_window_reset(void);

/*
 * Make memory write-back where the MTRRs are off, so that all of it is uncached: MONITOR, for one, works on write-back
 * memory alone. For processors with FEATURE_MTRR; returns what the caller puts back into IA32_MTRR_DEF_TYPE.
 */
u64 memory_make_write_back(void);

/* MAXPHYADDR: CPUID.80000008H:EAX[7:0], 36 where there is no such leaf. */
unsigned int physical_address_width(void);
/* What addresses in registers are checked against: CPUID.80000008H:EAX[15:8], 57 where the processor has CR4.LA57. */
unsigned int linear_address_width(void);
/* What paging as it is translates, so where code and data can be: 57 if CR4.LA57 is 1, else 48. */
unsigned int paged_address_width(void);

static inline u64 physical_address(const volatile void *pointer)
{
	return (u64)pointer;	/* identity-mapped */
}
