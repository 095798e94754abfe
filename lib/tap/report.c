/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap/report.h"

#include "console/console.h"
#include "hostile/hostile.h"
#include "libc/printf.h"
#include "libc/string.h"
#include "x86/page.h"

enum {
	FULL_FAILURES = 4,
	NAMED_FAILURES = 4096,		/* of a test: more are counted */
	TEXT = REPORT_TEXT,
	NAME = 2 * TEXT + 3,
};

struct place {
	const char *file;
	u32 line;
};

struct failure {
	struct place at, in;
	char check[TEXT], which[TEXT], set[TEXT], field[TEXT], expected[TEXT], actual[TEXT];
};

extern const struct test tests_end[];

static const struct test *test;
static struct failure failures[FULL_FAILURES];
static char first_exit[768];
static char last_name[NAME];	/* of a check of this test that failed */
static u32 checks, failed, unknown;	/* unknown: what a processor that the suite does not know does otherwise */
static const char *case_format;
static u64 case_values[4];
static struct place row;	/* of a table in the test */
static struct {
	bool given, written;
	u32 encoding;
	u64 value;
} case_field;
static struct {
	bool known;
	u32 encoding;
} checked_field;	/* by check_field() */

const char report_aborted[] = "the test cannot go on";
const char report_skipped[] = "the test is skipped";
char report_skip_reason[160];

void report_begin(const struct test *next)
{
	test = next;
	checks = failed = unknown = 0;
	case_format = NULL;
	case_field.given = false;
	row.file = NULL;
	first_exit[0] = '\0';
	last_name[0] = '\0';
	report_skip_reason[0] = '\0';
}

u32 report_checks(void)
{
	return checks;
}

u32 report_failures(void)
{
	return failed;
}

/* A double-quoted YAML scalar. */
static void print_quoted(const char *text)
{
	print("\"");
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			print("\\");
		print("%c", *text);
	}
	print("\"");
}

static void print_entry(const char *indent, const char *key, const char *text)
{
	if (!text[0])
		return;
	print("%s%s: ", indent, key);
	print_quoted(text);
	print("\n");
}

static void print_failure(const struct failure *failure, const char *first, const char *indent)
{
	print("%sat: %s:%u\n", first, failure->at.file, failure->at.line);
	if (failure->in.file)
		print("%sin: %s:%u\n", indent, failure->in.file, failure->in.line);
	print_entry(indent, "case", failure->which);
	print_entry(indent, "set", failure->set);
	print_entry(indent, "check", failure->check);
	print_entry(indent, "field", failure->field);
	print_entry(indent, "expected", failure->expected);
	print_entry(indent, "actual", failure->actual);
}

/*
 * At once, so that it is said whatever comes: a name that is the same in each run and each build, for who compares them.
 * Thousands of them differ in a few characters, and a serial line is slow: a name behind another one is said as how much
 * of that one's head and tail it has, and what is between them.
 */
static void name_failure(const char *which, const char *text)
{
	char name[NAME];
	size_t length, before = strlen(last_name), head = 0, tail = 0;

	if (failed > NAMED_FAILURES)
		return;
	snprintf(name, sizeof(name), "%s%s%s", which, which[0] ? " | " : "", text);
	length = strlen(name);
	while (head < length && head < before && name[head] == last_name[head])
		head++;
	while (tail < length - head && tail < before - head && name[length - 1 - tail] == last_name[before - 1 - tail])
		tail++;
	if (before) {
		name[length - tail] = '\0';
		print("# failed+ %lu %lu %s\n", head, tail, name + head);
		memcpy(name + length - tail, last_name + before - tail, tail);
	} else {
		print("# failed: %s\n", name);
	}
	memcpy(last_name, name, length + 1);
}

void report_end_names(void)
{
	if (failed > NAMED_FAILURES)
		print("# failed too: %u more\n", failed - NAMED_FAILURES);
}

void report_print(void)
{
	if (checks <= 1 && !failed)
		return;
	print("  ---\n");
	if (failed)
		print_failure(&failures[0], "  ", "  ");
	if (first_exit[0])
		print("  exit: %s\n", first_exit);
	print("  checks: %u\n", checks);
	if (failed)
		print("  failed: %u\n", failed);
	if (failed > 1)
		print("  more:\n");
	for (u32 i = 1; i < failed && i < FULL_FAILURES; i++)
		print_failure(&failures[i], "    - ", "      ");
	print("  ...\n");
}

void check_case(const char *format, const u64 values[4])
{
	case_format = format;
	case_field.given = false;
	for (int i = 0; i < 4; i++)
		case_values[i] = values[i];
}

void check_case_field(u32 encoding, bool written, u64 value)
{
	case_field.given = true;
	case_field.written = written;
	case_field.encoding = encoding;
	case_field.value = value;
}

void check_row(const char *file, u32 line)
{
	row = (struct place){ file, line };
}

/* What CASE said, or the empty text. */
static void format_case(char to[TEXT])
{
	to[0] = '\0';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	if (case_format)
		snprintf(to, TEXT, case_format, case_values[0], case_values[1], case_values[2], case_values[3]);
#pragma GCC diagnostic pop
}

void check_passed(void)
{
	hostile_check();
	checks++;
}

/* Between the test's own line and the next one's of the file. */
static bool in_body_of_test(struct place place)
{
	const struct test *const next = test + 1;

	if (!test->has_body || strcmp(place.file, test->file) != 0 || place.line < test->line)
		return false;
	return next == tests_end || strcmp(next->file, test->file) != 0 || place.line < next->line;
}

/* The row or the test is what a reader looks for: where the check itself is tells them of the engine. */
static void place_failure(struct failure *failure, struct place check)
{
	const bool inside = in_body_of_test(check);

	failure->at = row.file ? row : inside ? check : (struct place){ test->file, test->line };
	failure->in = check;
	if (failure->at.line == check.line && strcmp(failure->at.file, check.file) == 0)
		failure->in.file = NULL;
}

static void format_field(char to[TEXT], u32 encoding)
{
	to[0] = '\0';
	if (test->fixture->name_field)
		test->fixture->name_field(to, TEXT, encoding);
}

/* What the case writes, and else the field that it is about. */
static void format_case_field(char set[TEXT], char field[TEXT])
{
	size_t length;

	set[0] = field[0] = '\0';
	if (!case_field.given)
		return;
	format_field(case_field.written ? set : field, case_field.encoding);
	length = strlen(set);
	if (case_field.written)
		snprintf(set + length, TEXT - length, " = %#lx", case_field.value);
}

void report_field(u32 encoding)
{
	checked_field.known = true;
	checked_field.encoding = encoding;
}

void report_no_field(void)
{
	checked_field.known = false;
}

/* A check of a field that was read: which one it was is known to the caller or to the fixture. */
static void name_what_was_read(char to[TEXT], const char *text, u64 actual)
{
	u32 encoding = checked_field.encoding;

	if (checked_field.known || (test->fixture->was_read && test->fixture->was_read(text, actual, &encoding)))
		format_field(to, encoding);
}

bool check_failed(const char *file, u32 line, const char *text, const char *expected, const char *actual)
{
	char which[TEXT];

	checks++;
	format_case(which);
	if (failed++ < FULL_FAILURES) {
		struct failure *failure = &failures[failed - 1];

		place_failure(failure, (struct place){ file, line });
		format_case_field(failure->set, failure->field);
		snprintf(failure->check, TEXT, "%s", text);
		snprintf(failure->expected, TEXT, "%s", expected);
		snprintf(failure->actual, TEXT, "%s", actual);
		snprintf(failure->which, TEXT, "%s", which);
	}
	if (failed == 1 && test->fixture->describe)
		test->fixture->describe(first_exit, sizeof(first_exit));
	name_failure(which, text);
	return false;
}

/* The same, of a value: which field of the VMCS it was, if it was one. */
bool report_value(const char *file, u32 line, const char *text, const char *expected, u64 actual)
{
	char found[32];

	snprintf(found, sizeof(found), "%#lx", actual);
	check_failed(file, line, text, expected, found);
	if (failed <= FULL_FAILURES)
		name_what_was_read(failures[failed - 1].field, text, actual);
	return false;
}

void skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(report_skip_reason, sizeof(report_skip_reason), format, args);
	va_end(args);
	throw(report_skipped);
}

void *ram_within(u64 low, u64 high, unsigned int pages, u64 alignment)
{
	void *const at = page_alloc_within(low, high, pages, alignment);

	if (!at)
		skip("needs RAM: %u free KiB in a row between %#lx and %#lx", pages * (PAGE_SIZE / 1024), low, high);
	return at;
}

void note(const char *format, ...)
{
	char text[TEXT];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	print("# note: %s\n", text);
}

/* What would be a failure, of a processor that may be right. */
bool report_unknown(const char *text)
{
	char which[TEXT];

	check_passed();
	if (++unknown == FULL_FAILURES)
		note("and there are more of that kind");
	if (unknown >= FULL_FAILURES)
		return true;
	format_case(which);
	note("%s%s%s: on a processor that the suite does not know", which, which[0] ? ": " : "", text);
	return true;
}

void tap_leak(const char *name, u64 before, u64 after)
{
	char text[TEXT], wanted[32], found[32];

	if (report_skip_reason[0])	/* it ended in its middle: what it changed has been put back, and is no fault of it */
		return;
	check_case(NULL, (u64[4]){ 0 });
	row.file = NULL;
	snprintf(text, TEXT, "the test leaves %s as it was", name);
	snprintf(wanted, sizeof(wanted), "%#lx", before);
	snprintf(found, sizeof(found), "%#lx", after);
	check_failed(test->file, test->line, text, wanted, found);
}

void tap_unasked(const char *need)
{
	check_case(NULL, (u64[4]){ 0 });
	row.file = NULL;
	check_failed(test->file, test->line, "the test asks for what it uses, by NEEDS() or has()", need,
		     "used without asking");
}
