/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap/journal.h"

#include "console/console.h"
#include "libc/crc32.h"
#include "libc/string.h"
#include "machine/memory.h"

enum { MOST_TESTS = 2048, LINE = 64, MOST_IDLE_BOOTS = 3 };
#define MAGIC 0x4c4a564du		/* "MVJL" */

struct journal {
	u32 magic, identity;		/* of the image, its tests and its words */
	u32 writes, running, last;	/* a test is its number, from 1; 0: none */
	u32 boots, idle;		/* idle: those in a row that came to no test */
	u8 done[MOST_TESTS / 8];
	u32 checksum;			/* of all before it */
};

/* Two, since one machine's firmware uses the one, and another's the other. */
static const u64 places[] = { 6 << 20, 48 << 20 };

extern const struct test tests_start[], tests_end[];
extern const char image_name[];

static struct journal now;
static bool usable[ARRAY_SIZE(places)];
static bool on;

static u32 number_of(const struct test *test)
{
	return test - tests_start + 1;
}

static bool is_done(u32 number)
{
	return now.done[(number - 1) / 8] >> (number - 1) % 8 & 1;
}

static void set_done(u32 number)
{
	now.done[(number - 1) / 8] |= 1 << (number - 1) % 8;
}

static u32 checksum_of(const struct journal *journal)
{
	return crc32(0, journal, __builtin_offsetof(struct journal, checksum));
}

/* A reset may lose what is in a cache. */
static void write_all(void)
{
	now.writes++;
	now.checksum = checksum_of(&now);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (!usable[i])
			continue;
		memcpy((void *)places[i], &now, sizeof(now));
		for (u64 at = places[i]; at < places[i] + sizeof(now); at += LINE)
			asm volatile("clflush (%0)" : : "r"(at) : "memory");
	}
	asm volatile("mfence" : : : "memory");
}

static u32 identity(const char *command_line)
{
	u32 crc = crc32(0, STRING_OF(VERSION), strlen(STRING_OF(VERSION)));

	crc = crc32(crc, image_name, strlen(image_name));
	crc = crc32(crc, command_line, strlen(command_line));
	for (const struct test *test = tests_start; test < tests_end; test++)
		crc = crc32(crc, test->id, strlen(test->id) + 1);
	return crc;
}

/* The newer one of those that are whole and of this run. */
static void read_all(u32 wanted)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		const struct journal *const there = (const void *)places[i];

		if (usable[i] && there->magic == MAGIC && there->identity == wanted && there->checksum == checksum_of(there) &&
		    there->running <= (u32)(tests_end - tests_start) && there->last <= (u32)(tests_end - tests_start) && there->writes > now.writes)
			now = *there;
	}
}

static void take_places(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		usable[i] = memory_find(places[i], places[i] + PAGE_SIZE, PAGE_SIZE, PAGE_SIZE);
		if (usable[i])
			memory_take(places[i], places[i] + PAGE_SIZE);
		on |= usable[i];
	}
}

static void say(void)
{
	if (now.running)
		print("# journal: %s was running when the machine was reset; going on behind it\n", tests_start[now.running - 1].id);
	else if (now.last)
		print("# journal: the machine was reset behind %s; going on there\n", tests_start[now.last - 1].id);
	else if (now.boots)
		print("# journal: the machine was reset before the first test\n");
}

const char *journal_open(const char *command_line, struct selection *selection)
{
	u32 kept = 0;

	take_places();
	if (!on) {
		print("# journal: none, the RAM for it is not free\n");
		return NULL;
	}
	now.magic = MAGIC;
	now.identity = identity(command_line);
	read_all(now.identity);
	say();
	now.idle = now.running ? 0 : now.idle + (now.boots > 0);
	now.boots++;
	if (now.running)
		set_done(now.running);
	now.last = now.running ? now.running : now.last;
	now.running = 0;
	write_all();
	if (now.idle >= MOST_IDLE_BOOTS) {
		journal_close();
		return "the machine was reset three times with no test running";
	}
	for (u32 i = 0; i < selection->count; i++)
		if (!is_done(number_of(selection->tests[i])))
			selection->tests[kept++] = selection->tests[i];
	selection->count = kept;
	return NULL;
}

void journal_test_begins(const struct test *test)
{
	if (!on)
		return;
	now.running = number_of(test);
	write_all();
}

void journal_test_ends(const struct test *test)
{
	if (!on)
		return;
	set_done(number_of(test));
	now.last = number_of(test);
	now.running = now.idle = 0;
	write_all();
}

void journal_close(void)
{
	if (!on)
		return;
	now.magic = 0;
	write_all();
}
