/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a processor says of itself, as lines for the runner (scripts/vmxcheck/inventory; docs/inventory.md has their form). The
 * numbers are raw: what their bits are called the runner knows from the library's tables.
 */
#pragma once

#include "libc/types.h"

enum item_kind { ITEM_CPUID, ITEM_MSR };

struct item {
	enum item_kind kind;
	u32 index, subleaf;
	bool there;		/* an MSR that raises #GP is not */
	u32 value[4];		/* EAX to EDX, or an MSR's low and high half */
};

enum { MOST_ITEMS = 192 };

struct items {
	u32 count;
	struct item item[MOST_ITEMS];
};

/* All of the calling processor; as on_cpu() wants it. */
void items_gather(void *items);

/* The item of the same name, or NULL. */
const struct item *items_find(const struct items *items, const struct item *like);
bool item_same(const struct item *a, const struct item *b);

/*
 * Lines of one part of the inventory: "# inventory: PROCESSOR ...". The last one of a part says how many they were, so
 * that a log that lost one is noticed.
 */
void inventory_line(u32 cpu, const char *format, ...) PRINTF(2, 3);
void inventory_end(const char *part);
void inventory_item(u32 cpu, const struct item *item);
