/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An image that does on request what a broken image or a broken target does, so
 * that the runner's verdict on each can be asserted: fault=NAME on its command line.
 */
#include "tap/plain.h"

#include "boot/boot.h"
#include "console/console.h"
#include "libc/string.h"
#include "x86/apic.h"
#include "x86/interrupt.h"
#include "x86/wait.h"

static void do_nothing(void)
{
	expect(true, "nothing");
}

static void do_fail(void)
{
	expect_eq(1 + 1, 3);
}

enum { TURNS = 4200 };	/* more than an image names */

static void do_fail_often(void)
{
	for (u32 i = 0; i < TURNS; i++) {
		CASE("turn %u", i);
		expect_eq(i, TURNS);
	}
}

static void do_skip(void)
{
	skip("the test was asked to skip");
}

static void do_check_nothing(void)
{
}

static void do_hang(void)
{
	for (;;)
		;
}

/* What failed before is said before. */
static void do_fail_and_hang(void)
{
	CASE("turn %u", 1);
	expect(false, "what can not be");
	CASE("turn %u", 23);
	expect(false, "what can not be");
	do_hang();
}

static void do_triple_fault(void)
{
	write_idtr((struct table_register){ 0, 0 });
	asm volatile("ud2");
}

static void do_end_early(void)
{
	boot_end();
}

static void do_reset(void)
{
	outb(0x64, 0xfe);	/* keyboard controller: pulse the reset line */
	do_hang();
}

static void do_exception(void)
{
	asm volatile("ud2");
}

static void do_leak(void)
{
	expect(true, "nothing");
	write_cr8(5);
}

enum { LEFT_VECTOR = 0x61 };

/* It pends when the test ends. */
static void do_leave_request(void)
{
	expect_pend(LEFT_VECTOR);
}

/* What such a test leaves is put back, and not charged to it. */
static void do_leak_and_skip(void)
{
	do_leak();
	do_leave_request();
	skip("in its middle");
}

static void ends_without_eoi(UNUSED struct exception_frame *frame)
{
}

static void do_leave_in_service(void)
{
	expect_pend(LEFT_VECTOR);
	interrupt_handle(LEFT_VECTOR, ends_without_eoi);
	interrupts_on();
	wait_until(apic_in_service(LEFT_VECTOR), WAIT_MS);
	interrupts_off();
}

/* Comes when the test is over: 100 us or more, whatever the timer's frequency. */
static void do_leave_timer(void)
{
	apic_write(APIC_TIMER_DIVIDE, APIC_TIMER_DIVIDE_BY_1);
	apic_write(APIC_LVT_TIMER, LEFT_VECTOR);
	apic_write(APIC_TIMER_INITIAL, 1000000);
	expect(true, "nothing");
}

static void do_garbage(void)
{
	static const char bytes[] = "\xff\x00\x80ok 9 - \x1b[2J\r\r\x01 not a line of TAP \xfe\n";

	console_write(bytes, sizeof(bytes) - 1);
	expect(true, "nothing");
}

static void do_stop_in_line(void)
{
	print("ok 2 - self.fault.midd");
	do_end_early();
}

static void do_flood(void)
{
	for (int i = 0; i < 4000; i++)
		print("# a line that says nothing, and says it again and again\n");
	expect(true, "nothing");
}

/* What the test in the middle does. */
static const struct {
	const char *name;
	void (*act)(void);
} acts[] = {
	{ "pass", do_nothing }, { "fail", do_fail }, { "fail-often", do_fail_often }, { "fail-and-hang", do_fail_and_hang },
	{ "skip", do_skip }, { "empty", do_check_nothing },
	{ "hang", do_hang }, { "triple-fault", do_triple_fault }, { "end", do_end_early }, { "reset", do_reset },
	{ "exception", do_exception }, { "leak", do_leak }, { "leak-and-skip", do_leak_and_skip },
	{ "request", do_leave_request }, { "in-service", do_leave_in_service }, { "timer", do_leave_timer },
	{ "garbage", do_garbage },
	{ "midline", do_stop_in_line }, { "flood", do_flood },
};

/* A whole stream that lies, in place of the image's own. */
static const struct {
	const char *name, *stream;
} streams[] = {
	{ "silence", "" },
	{ "plan-large", "TAP version 13\n1..9\n# begin self.first\nok 1 - self.first: a\n# begin self.middle\n"
			"ok 2 - self.middle: b\n# begin self.last\nok 3 - self.last: c\n# end\n" },
	{ "plan-small", "TAP version 13\n1..1\n# begin self.first\nok 1 - self.first: a\n# begin self.middle\n"
			"ok 2 - self.middle: b\n# begin self.last\nok 3 - self.last: c\n# end\n" },
	{ "numbers", "TAP version 13\n1..3\n# begin self.first\nok 1 - self.first: a\n# begin self.middle\n"
		     "ok 7 - self.middle: b\n# begin self.last\nok 3 - self.last: c\n# end\n" },
	{ "twice", "TAP version 13\n1..3\n# begin self.first\nok 1 - self.first: a\n# begin self.first\n"
		   "ok 2 - self.first: a\n# begin self.last\nok 3 - self.last: c\n# end\n" },
	{ "stranger", "TAP version 13\n1..3\n# begin self.first\nok 1 - self.first: a\n# begin self.stranger\n"
		      "ok 2 - self.stranger: b\n# begin self.last\nok 3 - self.last: c\n# end\n" },
	{ "bail-out", "TAP version 13\n1..3\n# begin self.first\nok 1 - self.first: a\nBail out! enough of it\n" },
	{ "no-plan", "TAP version 13\n# begin self.first\nok 1 - self.first: a\n# end\n" },
	{ "skip-all", "TAP version 13\n1..0 # SKIP nothing to see here\n# end\n" },
};

static void (*act)(void) = do_nothing;

bool tap_image_word(const char *word)
{
	if (strncmp(word, "fault=", 6) != 0)
		return false;
	word += 6;
	for (size_t i = 0; i < ARRAY_SIZE(acts); i++) {
		if (strcmp(word, acts[i].name) == 0) {
			act = acts[i].act;
			return true;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
		if (strcmp(word, streams[i].name) == 0) {
			print("%s", streams[i].stream);
			boot_end();
		}
	}
	return false;
}

TEST("self.first", "a test that passes, before the fault")
{
	expect(true, "nothing");
}

TEST("self.middle", "the test that does what fault= asks for")
{
	act();
}

TEST("self.last", "a test that passes, behind the fault: no interrupt comes")
{
	let_interrupts_in();
	expect(true, "nothing");
}
