/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap/walk.h"

enum { SCATTERED = 16 };

bool walk_brief;

static bool is_power_of_2(u32 value)
{
	return value && !(value & (value - 1));
}

/* All ones of the width of count - 1. */
static u32 all_ones(u32 count)
{
	u32 ones = 1;

	while (ones < count - 1)
		ones = ones << 1 | 1;
	return ones;
}

/* A multiplicative hash puts the values in an order without any pattern; the first ones of that order are taken. */
static bool is_scattered(u32 value, u32 count)
{
	const u32 hash = (value + 1) * 0x9e3779b1u;

	return (u64)hash * count >> 32 < SCATTERED;
}

bool walk_takes(u32 value, u32 count)
{
	return !walk_brief || value == 0 || value == count - 1 || is_power_of_2(value) ||
	       is_power_of_2(all_ones(count) ^ value) || is_scattered(value, count);
}

bool walk_takes_nth(u32 *count, u32 n)
{
	return (*count)++ % n == 0 || !walk_brief;
}
