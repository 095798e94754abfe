/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmxtest/low.h"

#include "machine/memory.h"
#include "tap/tap.h"

u64 low_page(void)
{
	static u64 page;

	if (page)
		return page;
	page = memory_find(PAGE_SIZE, 0x10000, PAGE_SIZE, PAGE_SIZE);
	if (!page)
		skip("needs RAM: 4 free KiB below 64 KiB");
	memory_take(page, page + PAGE_SIZE);
	return page;
}
