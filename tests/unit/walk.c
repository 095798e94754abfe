/* SPDX-License-Identifier: BSD-2-Clause */
/* lib/tap/walk: what a brief walk takes, and that a whole one takes everything. */
#include <stdio.h>

#include "../../lib/tap/walk.c"

static int number, failures;

static void point(bool passed, const char *name)
{
	number++;
	failures += !passed;
	printf("%s %d - %s\n", passed ? "ok" : "not ok", number, name);
}

static u32 taken(u32 first, u32 end)
{
	u32 count = 0;

	WALK_OVER(value, first, end)
		count++;
	return count;
}

static u32 taken_in_turn(u32 values, u32 n)
{
	u32 turn = 0, count = 0;

	for (u32 i = 0; i < values; i++)
		count += walk_takes_nth(&turn, n);
	return count;
}

/* The bits of the values that a walk over [0, count) takes: each must be seen as 1 and as 0. */
static bool sees_every_bit(u32 count)
{
	u32 ones = 0, zeros = 0;

	WALK_OVER(value, 0, count) {
		ones |= value;
		zeros |= ~value;
	}
	return (ones & (count - 1)) == count - 1 && (zeros & (count - 1)) == count - 1;
}

static bool takes_one_bit_and_all_but_one(u32 count)
{
	for (u32 bit = 1; bit < count; bit *= 2)
		if (!walk_takes(bit, count) || !walk_takes((count - 1) ^ bit, count))
			return false;
	return walk_takes(0, count) && walk_takes(count - 1, count);
}

int main(void)
{
	static const u32 counts[] = { 2, 16, 64, 256, 4096, 65536 };

	printf("TAP version 13\n");
	point(taken(0, 65536) == 65536 && taken(32, 256) == 224 && taken(5, 5) == 0, "a whole walk takes every value");
	point(taken_in_turn(1000, 7) == 1000, "a whole walk takes every turn");

	walk_brief = true;
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		char name[80];

		snprintf(name, sizeof(name), "a brief walk over %u takes the ends, single bits, and all but single bits", counts[i]);
		point(takes_one_bit_and_all_but_one(counts[i]), name);
		snprintf(name, sizeof(name), "a brief walk over %u sees every bit as 0 and as 1", counts[i]);
		point(sees_every_bit(counts[i]), name);
	}
	point(taken(0, 65536) > 40 && taken(0, 65536) < 80, "a brief walk over many values takes some dozens");
	point(taken(32, 256) > 10, "a brief walk that begins further on takes some, too");
	point(taken(0, 1) == 1, "a brief walk takes the only value");
	point(taken_in_turn(1000, 7) == 143 && taken_in_turn(1, 7) == 1, "a brief walk takes one in n, and the first");
	printf("1..%d\n", number);
	return failures != 0;
}
