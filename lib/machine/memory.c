/* SPDX-License-Identifier: BSD-2-Clause */
#include "hostile/hostile.h"
#include "machine/memory.h"

enum { MOST_RANGES = 128 };

/* Disjoint, in rising order, not empty. */
struct map {
	u32 count;
	struct range {
		u64 start, end;
	} ranges[MOST_RANGES];
};

static struct map ram, unused;
static const char *source = "none";

static void drop(struct map *map, u32 n)
{
	map->count--;
	for (u32 i = n; i < map->count; i++)
		map->ranges[i] = map->ranges[i + 1];
}

/* Before the n-th; a map that is full forgets it: less RAM is no harm. */
static void insert(struct map *map, u32 n, struct range range)
{
	if (map->count == MOST_RANGES)
		return;
	for (u32 i = map->count; i > n; i--)
		map->ranges[i] = map->ranges[i - 1];
	map->ranges[n] = range;
	map->count++;
}

/* Cut a hole; each range that it overlaps leaves what lies before it, and what lies behind it. */
static void cut(struct map *map, u64 start, u64 end)
{
	for (u32 i = 0; i < map->count; i++) {
		struct range *range = &map->ranges[i];
		const struct range behind = { end, range->end };

		if (range->end <= start || range->start >= end)
			continue;
		range->end = start;
		if (behind.start < behind.end)
			insert(map, i + 1, behind);
		if (range->start >= range->end)
			drop(map, i--);
	}
}

static u64 page_down(u64 address)
{
	return address & ~(u64)(PAGE_SIZE - 1);
}

static u64 page_up(u64 address)
{
	return page_down(address + PAGE_SIZE - 1);
}

/* A map may hold ranges that end at 2^64, or beyond. */
static u64 below_limit(u64 start, u64 end)
{
	return end < start || end > MEMORY_LIMIT ? MEMORY_LIMIT : end;
}

void memory_add(u64 start, u64 end)
{
	struct range range = { page_up(start), page_down(below_limit(start, end)) };
	u32 n = 0;

	if (start >= MEMORY_LIMIT || range.start >= range.end)
		return;
	/* Loaders may say the same RAM twice, or split it: what touches becomes one. */
	while (n < ram.count && ram.ranges[n].end < range.start)
		n++;
	while (n < ram.count && ram.ranges[n].start <= range.end) {
		if (ram.ranges[n].start < range.start)
			range.start = ram.ranges[n].start;
		if (ram.ranges[n].end > range.end)
			range.end = ram.ranges[n].end;
		drop(&ram, n);
	}
	insert(&ram, n, range);
}

void memory_remove(u64 start, u64 end)
{
	if (start != end && start < MEMORY_LIMIT)
		cut(&ram, page_down(start), page_up(below_limit(start, end)));
}

void memory_source_is(const char *name)
{
	source = name;
}

void memory_map_ends(void)
{
	hostile_memory_map();
	unused = ram;
}

void memory_take(u64 start, u64 end)
{
	cut(&unused, page_down(start), page_up(end));
}

u64 memory_find(u64 start, u64 end, u64 size, u64 alignment)
{
	for (u32 i = 0; i < unused.count; i++) {
		const struct range *range = &unused.ranges[i];
		const u64 from = range->start > start ? range->start : start;
		const u64 at = (from + alignment - 1) & ~(alignment - 1);
		const u64 to = range->end < end ? range->end : end;

		if (at < to && to - at >= size)
			return at;
	}
	return 0;
}

u64 memory_low_page(void)
{
	const u64 page = memory_find(PAGE_SIZE, BIT(20), PAGE_SIZE, PAGE_SIZE);

	if (page)
		memory_take(page, page + PAGE_SIZE);
	return page;
}

bool memory_is_ram(u64 start, u64 end)
{
	for (u32 i = 0; i < ram.count; i++)
		if (ram.ranges[i].start <= start && end <= ram.ranges[i].end)
			return true;
	return false;
}

u64 memory_size(void)
{
	u64 total = 0;

	for (u32 i = 0; i < ram.count; i++)
		total += ram.ranges[i].end - ram.ranges[i].start;
	return total;
}

u64 memory_next_edge(u64 address, u64 end)
{
	for (u32 i = 0; i < 2 * ram.count; i++) {
		const u64 edge = i % 2 ? ram.ranges[i / 2].end : ram.ranges[i / 2].start;

		if (edge > address)
			return edge < end ? edge : end;
	}
	return end;
}

const char *memory_source(void)
{
	return source;
}
