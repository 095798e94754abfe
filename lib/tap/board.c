/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap/board.h"

#include "boot/boot.h"
#include "console/console.h"
#include "libc/crc32.h"
#include "libc/printf.h"
#include "libc/string.h"
#include "machine/screen.h"
#include "x86/processor.h"
#include "x86/time.h"

enum {
	ROW_TITLE = 0, ROW_STATE = 2, ROW_COUNTS, ROW_JOURNAL, ROW_CHECKSUM, FIRST_RED = 7,
	TEXT = 160, RED_TEXT = 79, MOST_REDS = 1024,
	PAGE_MS = 4000,			/* at the end, where there is more than one of red tests */
};

static bool on;
static u32 verdicts, checksum, total, passed, skipped, failed, reds;
static char red_texts[MOST_REDS][RED_TEXT + 1];
static bool needs_place;		/* the line behind a red verdict says where */

/* ---- the screen */

static void PRINTF(3, 4) row(u32 number, enum colour colour, const char *format, ...)
{
	char text[TEXT + 1];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	screen_row(number, text, colour);
}

static u32 rows_of_reds(void)
{
	return screen_rows() > FIRST_RED ? screen_rows() - FIRST_RED : 0;
}

/* Those from `first` on. */
static void show_reds(u32 first)
{
	for (u32 i = 0; i < rows_of_reds(); i++)
		screen_row(FIRST_RED + i, first + i < reds ? red_texts[first + i] : "", COLOUR_RED);
}

static void show_last_reds(void)
{
	if (!on)
		return;
	row(FIRST_RED - 1, COLOUR_RED, "failed:");
	show_reds(reds > rows_of_reds() ? reds - rows_of_reds() : 0);
}

static void show_counts(void)
{
	row(ROW_COUNTS, failed ? COLOUR_RED : COLOUR_GREEN, "%u of %u: %u passed, %u skipped, %u failed", passed + skipped + failed, total,
	    passed, skipped, failed);
}

/* The machine stands still; what is on it should be legible, all of it. */
static void turn_pages(void)
{
	for (u32 first = 0; reds > rows_of_reds() && rows_of_reds(); first = first + rows_of_reds() < reds ? first + rows_of_reds() : 0) {
		const u64 start = rdtsc();

		show_reds(first);
		row(FIRST_RED - 1, COLOUR_RED, "failed, %u to %u of %u:", first + 1,
		    first + rows_of_reds() < reds ? first + rows_of_reds() : reds, reds);
		while (rdtsc() - start < PAGE_MS * tsc_per_ms())
			asm volatile("pause");
	}
}

/* ---- the lines */

static const char *behind(const char *line, const char *front)
{
	return strncmp(line, front, strlen(front)) ? NULL : line + strlen(front);
}

static bool contains(const char *text, const char *part)
{
	for (; *text; text++)
		if (!strncmp(text, part, strlen(part)))
			return true;
	return false;
}

static void add_red(const char *number_and_id)
{
	const char *const colon = strchr(number_and_id, ':');
	const int length = colon ? colon - number_and_id : (int)strlen(number_and_id);

	failed++;
	if (reds == MOST_REDS)
		return;
	snprintf(red_texts[reds++], sizeof(red_texts[0]), "%.*s", length, number_and_id);
	needs_place = true;
	show_last_reds();
}

static void add_place(const char *place)
{
	char *const text = red_texts[reds - 1];
	const size_t length = strlen(text);

	snprintf(text + length, sizeof(red_texts[0]) - length, "  %s", place);
	show_last_reds();
}

static void read_verdict(const char *line, size_t length)
{
	const char *const red = behind(line, "not ok ");

	if (!red && !behind(line, "ok "))
		return;
	checksum = crc32(crc32(checksum, line, length), "\n", 1);
	verdicts++;
	if (red)
		add_red(red);
	else if (contains(line, " # SKIP "))
		skipped++;
	else
		passed++;
	if (on)
		show_counts();
}

static void show(const char *line)
{
	const char *rest;

	if ((rest = behind(line, "# vmxcheck ")))
		row(ROW_TITLE, COLOUR_BRIGHT, "%s", line + 2);
	else if ((rest = behind(line, "# begin ")))
		row(ROW_STATE, COLOUR_PLAIN, "running %s", rest);
	else if (behind(line, "Bail out!") || behind(line, "1..0"))
		row(ROW_STATE, COLOUR_RED, "%s", line);
	else if ((rest = behind(line, "# journal: ")) || (rest = behind(line, "# crc32: ")))
		row(line[2] == 'j' ? ROW_JOURNAL : ROW_CHECKSUM, COLOUR_PLAIN, "%s", line + 2);
	else if (!strcmp(line, "# end"))
		row(ROW_STATE, COLOUR_BRIGHT, "the end");
}

static void read_line(const char *line, size_t length)
{
	const char *const place = behind(line, "  at: "), *plan = behind(line, "1..");

	if (place && needs_place)
		add_place(place);
	needs_place &= !place && !behind(line, "# begin ");
	for (; plan && *plan >= '0' && *plan <= '9'; plan++)
		total = total * 10 + (*plan - '0');
	read_verdict(line, length);
	if (on)
		show(line);
}

static void read(const char *text, size_t count)
{
	static char line[2048];
	static size_t length;

	for (size_t i = 0; i < count; i++) {
		if (text[i] != '\n') {
			if (length < sizeof(line) - 1)
				line[length++] = text[i];
			continue;
		}
		line[length] = '\0';
		read_line(line, length);
		length = 0;
	}
}

void board_begin(void)
{
	on = screen_begin();
	console_watch(read);
	if (on)
		boot_halted = turn_pages;
}

u32 board_checksum(u32 *lines)
{
	*lines = verdicts;
	return checksum;
}
