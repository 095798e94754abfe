/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/memory.h"
#include "x86/fault.h"
#include "x86/page.h"
#include "x86/processor.h"

#include "libc/string.h"

extern u64 boot_pml4[512];
extern u8 image_end[];

const char page_none_left[] = "no memory left for page_alloc";

/* What lies between the image's end and next_page may be in use. */
static u64 next_page;

/* What page_alloc_within() has given, and where next_page was then: never twice at the same place. */
static struct {
	u64 start, end, when;
} given[64];
static u32 given_count;

u64 page_mark(void)
{
	if (!next_page)
		next_page = (u64)image_end;
	return next_page;
}

void page_release(u64 mark)
{
	next_page = mark;
	while (given_count && given[given_count - 1].when >= mark)
		given_count--;
}

/* Memory that neither page_alloc() nor page_alloc_within() has given; 0: none. */
static u64 find(u64 low, u64 high, u64 size, u64 alignment)
{
	u64 at = memory_find(low, high, size, alignment);

	for (u32 i = 0; at && i < given_count; i++) {
		if (at >= given[i].end || at + size <= given[i].start)
			continue;
		at = memory_find(given[i].end, high, size, alignment);
		i = -1;			/* the new place against all of them */
	}
	return at;
}

void *page_alloc_many(unsigned int count)
{
	const u64 size = (u64)count * PAGE_SIZE, page = find(page_mark(), MEMORY_LIMIT, size, PAGE_SIZE);

	if (!page)
		throw(page_none_left);
	next_page = page + size;
	return memset((void *)page, 0, size);
}

void *page_alloc_within(u64 low, u64 high, unsigned int count, u64 alignment)
{
	const u64 size = (u64)count * PAGE_SIZE, image = (u64)image_end, mark = page_mark();
	u64 page = find(low, high < image ? high : image, size, alignment);

	if (!page)
		page = find(low > mark + PAGE_SIZE ? low : mark + PAGE_SIZE, high, size, alignment);
	if (!page || given_count == ARRAY_SIZE(given))
		return NULL;
	given[given_count].start = page;
	given[given_count].end = page + size;
	given[given_count++].when = next_page;
	next_page += PAGE_SIZE;
	return memset((void *)page, 0, size);
}

void *page_alloc(void)
{
	return page_alloc_many(1);
}

u64 *page_entry(u64 linear, unsigned int level)
{
	u64 *table = boot_pml4;

	for (unsigned int at = 4;; at--) {
		u64 *entry = &table[linear >> (12 + 9 * (at - 1)) & 511];

		if (at == level)
			return entry;
		if (!(*entry & PAGE_PRESENT))
			*entry = physical_address(page_alloc()) | PAGE_PRESENT | PAGE_WRITE | PAGE_USER;
		table = (u64 *)(*entry & PAGE_ADDRESS_MASK);
	}
}

void page_map(u64 linear, u64 physical, u64 flags)
{
	*page_entry(linear, 1) = physical | flags;
}

u64 page_tables_that_repeat(void)
{
	const u64 *identity = (u64 *)(boot_pml4[0] & PAGE_ADDRESS_MASK);
	u64 *pml4 = page_alloc(), *pdpt = page_alloc();

	for (u32 i = 0; i < 512; i++) {
		pdpt[i] = identity[i == 3 ? 3 : 0];
		pml4[i] = physical_address(pdpt) | (boot_pml4[0] & ~PAGE_ADDRESS_MASK);
	}
	return physical_address(pml4);
}

/* Behind the window; a GiB of linear addresses for each. */
#define REACH_WINDOW 0x780000000000ull
enum { MOST_REACHED = 2, GIB = 1 << 30, LARGE_PAGE = 2 << 20 };

static struct {
	u64 start, end;
} reached[MOST_REACHED];

void *page_reach(u64 physical, u64 size)
{
	static u64 pdpt[512] __attribute__((aligned(PAGE_SIZE))), directories[MOST_REACHED][512] __attribute__((aligned(PAGE_SIZE)));
	const u64 start = physical & ~(u64)(LARGE_PAGE - 1), end = (physical + size + LARGE_PAGE - 1) & ~(u64)(LARGE_PAGE - 1);
	u32 n = 0;

	if (physical + size <= BIT(32) && physical + size > physical)
		return (void *)physical;
	while (n < MOST_REACHED && reached[n].end && !(reached[n].start <= start && end <= reached[n].end))
		n++;
	if (n == MOST_REACHED || end <= start || end - start > GIB || end > BIT(physical_address_width()))
		return NULL;
	if (!reached[n].end) {
		reached[n].start = start;
		reached[n].end = end;
		for (u64 at = start; at < end; at += LARGE_PAGE)
			directories[n][(at - start) / LARGE_PAGE] = at | PAGE_PRESENT | PAGE_WRITE | PAGE_LARGE | PAGE_PCD | PAGE_PWT;
		pdpt[n] = physical_address(directories[n]) | PAGE_PRESENT | PAGE_WRITE;
		boot_pml4[REACH_WINDOW >> 39 & 511] = physical_address(pdpt) | PAGE_PRESENT | PAGE_WRITE;
	}
	return (void *)(REACH_WINDOW + (u64)n * GIB + (physical - reached[n].start));
}

bool page_reached(u32 n, u64 *start, u64 *end)
{
	if (n >= MOST_REACHED || !reached[n].end)
		return false;
	*start = reached[n].start;
	*end = reached[n].end;
	return true;
}

void page_window_reset(void)
{
	u64 *entry = &boot_pml4[PAGE_WINDOW >> 39 & 511];

	if (!*entry)
		return;
	*entry = 0;
	write_cr3(read_cr3());
}

u64 memory_make_write_back(void)
{
	enum { ENABLE = BIT(11), WRITE_BACK = 6 };
	const u64 before = rdmsr(IA32_MTRR_DEF_TYPE);

	if (!(before & ENABLE))
		wrmsr(IA32_MTRR_DEF_TYPE, ENABLE | WRITE_BACK);
	return before;
}

static u32 address_sizes(void)
{
	if (cpuid(0x80000000, 0).eax < 0x80000008)
		return 48 << 8 | 36;
	return cpuid(0x80000008, 0).eax;
}

unsigned int physical_address_width(void)
{
	return address_sizes() & 0xff;
}

unsigned int linear_address_width(void)
{
	return address_sizes() >> 8 & 0xff;
}

unsigned int paged_address_width(void)
{
	return read_cr4() & CR4_LA57 ? 57 : 48;
}
