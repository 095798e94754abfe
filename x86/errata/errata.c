/* SPDX-License-Identifier: BSD-2-Clause */
#include "errata.h"

#include "console/console.h"

void *probe_page(u32 n)
{
	void *page = page_alloc();

	page_map(probe_linear(n), physical_address(page), PAGE_PRESENT | PAGE_WRITE);
	invlpg((const void *)probe_linear(n));
	return page;
}

const char *const violation_ways[VIOLATION_WAYS] = { "the page", "a flag" };

static u64 *table_of_window(void)
{
	return ept_entry(physical_address(page_entry(PAGE_WINDOW, 1)) & ~0xfffull, 1);
}

void probe_no_violation(u32 n, const void *page)
{
	*table_of_window() |= EPT_WRITE;
	ept_map(physical_address(page), physical_address(page), EPT_RWX | EPT_WB);
	*page_entry(probe_linear(n), 1) |= PAGE_ACCESSED | PAGE_DIRTY;
	ept_flush();
}

void probe_violation(enum violation_way way, u32 n, const void *page)
{
	probe_no_violation(n, page);
	if (way == BY_THE_PAGE) {
		*ept_entry(physical_address(page), 1) = 0;
	} else {
		*page_entry(probe_linear(n), 1) &= ~(u64)(PAGE_ACCESSED | PAGE_DIRTY);
		*table_of_window() &= ~(u64)EPT_WRITE;
	}
	ept_flush();
}

bool check_probe_violation(const char *file, u32 line, enum violation_way way)
{
	if (way == BY_A_FLAG && guest_is_done()) {
		check_passed();
		print("# cannot tell: the update of a flag that EPT forbids is no EPT violation\n");
		return false;
	}
	return check_exit(file, line, EXIT_EPT_VIOLATION, &(const struct expected_exit){
		NOT_LOOKED_AT, NOT_LOOKED_AT, NOT_LOOKED_AT, NOT_LOOKED_AT, NOT_LOOKED_AT, NOT_LOOKED_AT, NOT_LOOKED_AT, NOT_LOOKED_AT,
		NOT_LOOKED_AT });
}

void guest_does_nothing(void)
{
}
