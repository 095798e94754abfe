/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap/select.h"
#include "tap/words.h"

#include "libc/string.h"

enum { MAX_TESTS = 2048 };

extern const struct test tests_start[], tests_end[];

static bool chosen[MAX_TESTS];
static const struct test *selected[MAX_TESTS];

static u64 count(void) { return tests_end - tests_start; }

static bool choose(u64 first, u64 last)
{
	if (first > last || last >= count())
		return false;
	memset(chosen + first, true, last - first + 1);
	return true;
}

/* tests=: numbers and ranges of the image's tests, from 0, "4,7-9"; or x and a hex digit for each four, the lowest bit first. */
static bool choose_numbers(struct text list)
{
	const bool digits = *list.start == 'x';
	struct text item, first;
	u64 number = 0, end, digit;

	for (size_t i = 1; digits && i < list.length; i++, number += 4) {
		if (!hexadecimal(list.start + i, 1, &digit))
			return false;
		for (u32 bit = 0; bit < 4; bit++)
			if (digit >> bit & 1 && !choose(number + bit, number + bit))
				return false;
	}
	while (!digits && text_next(&list, ',', &item)) {
		text_next(&item, '-', &first);
		const bool range = item.start != first.start + first.length;

		if (!text_number(first, &number) || !text_number(range ? item : first, &end) || !choose(number, end))
			return false;
	}
	return true;
}

/* run= and skip=, for whoever types them: ids, and fronts of ids with a * behind them. */
static void choose_ids(struct text list, bool run)
{
	struct text item;

	while (text_next(&list, ',', &item)) {
		const bool front = item.length && item.start[item.length - 1] == '*';

		for (const struct test *test = tests_start; test < tests_end; test++)
			if (front ? !strncmp(test->id, item.start, item.length - 1) : text_is(item, test->id))
				chosen[test - tests_start] = run;
	}
}

const char *select_tests(const struct words *words, struct selection *selection)
{
	if (count() > MAX_TESTS)
		return "more tests than this image can hold";
	if (words->tests.length && !choose_numbers(words->tests))
		return "tests= has what is no number of a test of this image";
	if (!words->tests.length && !words->run.length)
		choose(0, count() - 1);
	choose_ids(words->run, true);
	choose_ids(words->skip, false);
	*selection = (struct selection){ .tests = selected };
	for (u64 i = 0; i < count(); i++)
		if (chosen[i])
			selected[selection->count++] = &tests_start[i];
	return NULL;
}
