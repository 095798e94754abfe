/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap/words.h"
#include "tap/probe.h"
#include "tap/walk.h"

#include "console/console.h"
#include "libc/printf.h"
#include "libc/string.h"
#include "machine/emulated.h"
#include "machine/power.h"
#include "machine/screen.h"
#include "x86/asked.h"
#include "x86/cpu.h"

extern const struct test tests_start[], tests_end[];

static struct words options;
bool tap_modelled;

bool __attribute__((weak)) tap_image_word(UNUSED const char *word)
{
	return false;
}

bool text_number(struct text text, u64 *value)
{
	*value = 0;
	for (size_t i = 0; i < text.length; i++) {
		if (text.start[i] < '0' || text.start[i] > '9')
			return false;
		*value = *value * 10 + (text.start[i] - '0');
	}
	return text.length > 0;
}

bool text_next(struct text *list, char separator, struct text *item)
{
	*item = (struct text){ list->start, 0 };
	if (!list->length)
		return false;
	while (item->length < list->length && list->start[item->length] != separator)
		item->length++;

	const size_t taken = item->length + (item->length < list->length);

	list->start += taken;
	list->length -= taken;
	return true;
}

bool text_is(struct text text, const char *name)
{
	return strlen(name) == text.length && !memcmp(text.start, name, text.length);
}

static bool parse_order(struct text value)
{
	options.random = text_is(value, "random");
	return options.random || text_is(value, "file");
}

static bool parse_seed(struct text value)
{
	return text_number(value, &options.seed);
}

static bool parse_smp(struct text value)
{
	u64 number;

	if (!text_number(value, &number) || number < 1 || number > 0xffff)
		return false;
	cpus_expected = number;
	return true;
}

static bool parse_apic(struct text value)
{
	options.x2apic = text_is(value, "x2apic");
	return options.x2apic || text_is(value, "xapic");
}

static bool parse_shutdown(struct text value)
{
	danger_shutdown_ends(text_is(value, "ends"));
	return text_is(value, "ends") || text_is(value, "lasts");
}

static bool parse_dangerous(struct text value)
{
	return danger_allow(value.start, value.length);
}

static bool parse_machine(struct text value)
{
	machine_say(text_is(value, "emulated"));
	return text_is(value, "emulated") || text_is(value, "real");
}

static bool parse_probe(struct text value)
{
	return probing_word(value.start, value.length);
}

/* lib/boot has already used it: here it is only looked at. */
static bool parse_serial(struct text value)
{
	return console_takes(value.start, value.length);
}

static bool parse_screen(struct text value)
{
	return screen_by(value.start, value.length);
}

static bool parse_end(struct text value)
{
	return power_end_by(value.start, value.length);
}

static bool known_id(struct text value)
{
	for (const struct test *test = tests_start; test < tests_end; test++)
		if (text_is(value, test->id))
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
STORE(tests, value.length > 0)
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
	{ "tests", parse_tests }, { "run", parse_run }, { "skip", parse_skip }, { "from", parse_from }, { "after", parse_after },
	{ "order", parse_order }, { "seed", parse_seed }, { "smp", parse_smp }, { "apic", parse_apic },
	{ "under", parse_under }, { "shutdown", parse_shutdown }, { "dangerous", parse_dangerous }, { "probe", parse_probe },
	{ "machine", parse_machine }, { "serial", parse_serial }, { "console", parse_serial }, { "screen", parse_screen },
	{ "end", parse_end },
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

	if (text_is((struct text){ word, length }, "list"))
		return (options.list = true);
	if (ASKING_IS_WATCHED && text_is((struct text){ word, length }, "asked"))
		return (options.asked = true);
	if (text_is((struct text){ word, length }, "brief"))
		return (walk_brief = true);
	if (text_is((struct text){ word, length }, "modelled"))
		return (tap_modelled = true);
	if (text_is((struct text){ word, length }, "journal"))
		return (options.journal = true);
	if (text_is((struct text){ word, length }, "dangerous"))
		return danger_allow_all(), true;
	for (size_t i = 0; name < length && i < ARRAY_SIZE(words); i++)
		if (text_is((struct text){ word, name }, words[i].name))
			return words[i].parse((struct text){ word + name + 1, length - name - 1 });
	snprintf(copy, sizeof(copy), "%.*s", (int)length, word);
	return hostile_word(copy) || tap_image_word(copy);
}

const char *words_of(const char *command_line, struct words *found)
{
	static char error[160];
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
	*found = options;
	return NULL;
}
