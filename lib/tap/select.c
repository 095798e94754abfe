/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap/select.h"
#include "tap/walk.h"

#include "libc/printf.h"
#include "libc/string.h"
#include "machine/emulated.h"
#include "machine/power.h"
#include "x86/apic.h"
#include "x86/asked.h"
#include "x86/cpu.h"
#include "x86/feature.h"

enum { MAX_TESTS = 2048 };

extern const struct test tests_start[], tests_end[];

/* A value of the command line: not NUL-terminated. */
struct text {
	const char *start;
	size_t length;
};

static struct {
	struct text run, skip, from, after, under;
	bool list, asked, random, x2apic;
	u64 seed;
} options;

static const struct test *selected[MAX_TESTS];
static char error[160];

bool __attribute__((weak)) tap_image_word(UNUSED const char *word)
{
	return false;
}

static bool parse_number(struct text text, u64 *value)
{
	*value = 0;
	for (size_t i = 0; i < text.length; i++) {
		if (text.start[i] < '0' || text.start[i] > '9')
			return false;
		*value = *value * 10 + (text.start[i] - '0');
	}
	return text.length > 0;
}

static bool same(struct text text, const char *name)
{
	return strlen(name) == text.length && !memcmp(text.start, name, text.length);
}

static bool parse_order(struct text value)
{
	options.random = same(value, "random");
	return options.random || same(value, "file");
}

static bool parse_seed(struct text value)
{
	return parse_number(value, &options.seed);
}

static bool parse_smp(struct text value)
{
	u64 number;

	if (!parse_number(value, &number) || number < 1 || number > 0xffff)
		return false;
	cpus_expected = number;
	return true;
}

static bool parse_apic(struct text value)
{
	options.x2apic = same(value, "x2apic");
	return options.x2apic || same(value, "xapic");
}

static bool parse_shutdown(struct text value)
{
	danger_shutdown_ends(same(value, "ends"));
	return same(value, "ends") || same(value, "lasts");
}

static bool parse_dangerous(struct text value)
{
	return danger_allow(value.start, value.length);
}

static bool parse_machine(struct text value)
{
	machine_say(same(value, "emulated"));
	return same(value, "emulated") || same(value, "real");
}

/* lib/boot has already used it: here it is only looked at. */
static bool parse_console(struct text value)
{
	u32 port;

	return hexadecimal(value.start, value.length, &port) && port < 0x10000;
}

static bool parse_end(struct text value)
{
	return power_end_by(value.start, value.length);
}

static bool known_id(struct text value)
{
	for (const struct test *test = tests_start; test < tests_end; test++)
		if (same(value, test->id))
			return true;
	return false;
}

#define STORE(name, condition)				\
static bool parse_##name(struct text value)		\
{							\
	options.name = value;				\
	return condition;				\
}
STORE(under, value.length > 0)
STORE(run, value.length > 0)
STORE(skip, value.length > 0)
STORE(from, known_id(value))
STORE(after, known_id(value))
#undef STORE

#ifdef VMXCHECK_CHECK_BUILD
static bool parse_lacks(struct text value)
{
	return tap_lacks(value.start, value.length);
}
#endif

static const struct {
	const char *name;
	bool (*parse)(struct text value);
} words[] = {
	{ "run", parse_run }, { "skip", parse_skip }, { "from", parse_from }, { "after", parse_after },
	{ "order", parse_order }, { "seed", parse_seed }, { "smp", parse_smp }, { "apic", parse_apic },
	{ "under", parse_under }, { "shutdown", parse_shutdown }, { "dangerous", parse_dangerous },
	{ "machine", parse_machine }, { "console", parse_console }, { "end", parse_end },
#ifdef VMXCHECK_CHECK_BUILD
	{ "lacks", parse_lacks },
#endif
};

static bool parse_word(const char *word, size_t length)
{
	static char copy[256];
	size_t name = 0;

	while (name < length && word[name] != '=')
		name++;

	if (same((struct text){ word, length }, "list"))
		return (options.list = true);
	if (ASKING_IS_WATCHED && same((struct text){ word, length }, "asked"))
		return (options.asked = true);
	if (same((struct text){ word, length }, "brief"))
		return (walk_brief = true);
	if (same((struct text){ word, length }, "dangerous"))
		return danger_allow_all(), true;
	for (size_t i = 0; name < length && i < ARRAY_SIZE(words); i++)
		if (same((struct text){ word, name }, words[i].name))
			return words[i].parse((struct text){ word + name + 1, length - name - 1 });
	snprintf(copy, sizeof(copy), "%.*s", (int)length, word);
	return hostile_word(copy) || tap_image_word(copy);
}

/* Does one of the comma-separated patterns match? */
static bool matches(struct text patterns, const char *id)
{
	const char *at = patterns.start, *end = at + patterns.length;

	while (at < end) {
		const char *comma = at;

		while (comma < end && *comma != ',')
			comma++;
		if (glob_match(at, comma - at, id))
			return true;
		at = comma + 1;
	}
	return false;
}

/* Fisher-Yates with a 64-bit LCG: the same seed gives the same order everywhere. */
static void shuffle(const struct test **list, u32 count)
{
	u64 state = options.seed;

	for (u32 i = count; i > 1; i--) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;

		const u32 j = (state >> 33) % i;
		const struct test *swap = list[i - 1];

		list[i - 1] = list[j];
		list[j] = swap;
	}
}

/* Drop what comes before from=, or up to and including after=. */
static void start_at(struct selection *selection)
{
	const struct text id = options.after.length ? options.after : options.from;

	for (u32 i = 0; id.length && i < selection->count; i++) {
		if (!same(id, selection->tests[i]->id))
			continue;
		i += options.after.length ? 1 : 0;
		selection->tests += i;
		selection->count -= i;
		return;
	}
}

const char *select_tests(const char *command_line, struct selection *selection)
{
	const char *at = command_line;

	while (*at) {
		size_t length = 0;

		while (at[length] && at[length] != ' ')
			length++;
		if (length && !parse_word(at, length)) {
			snprintf(error, sizeof(error), "unknown word \"%.*s\" on the command line", (int)length, at);
			return error;
		}
		at += length;
		while (*at == ' ')
			at++;
	}
	if (options.x2apic && has_feature(FEATURE_X2APIC))
		apic_enable_x2apic();

	*selection = (struct selection){ .tests = selected, .list = options.list, .asked = options.asked, .x2apic = options.x2apic };
	snprintf(selection->under, sizeof(selection->under), "%.*s", (int)options.under.length, options.under.start);
	for (const struct test *test = tests_start; test < tests_end; test++) {
		if (options.run.length && !matches(options.run, test->id))
			continue;
		if (options.skip.length && matches(options.skip, test->id))
			continue;
		if (selection->count == MAX_TESTS)
			return "more tests than this image can hold";
		selected[selection->count++] = test;
	}
	selection->empty = selection->count == 0;
	if (options.random)
		shuffle(selected, selection->count);
	start_at(selection);
	return NULL;
}
