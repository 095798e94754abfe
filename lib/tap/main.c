/* SPDX-License-Identifier: BSD-2-Clause */
/* The main of every image: say who we are, run the selected tests, report TAP 13. */
#include "tap/board.h"
#include "tap/journal.h"
#include "tap/report.h"
#include "tap/select.h"

#include "boot/boot.h"
#include "console/console.h"
#include "libc/printf.h"
#include "libc/string.h"
#include "machine/memory.h"
#include "x86/apic.h"
#include "x86/asked.h"
#include "x86/cpu.h"
#include "x86/feature.h"
#include "x86/model.h"
#include "x86/page.h"
#include "x86/quiet.h"
#include "x86/state.h"
#include "x86/time.h"
#include "x86/user.h"

int main(const struct boot_info *boot);

static void print_signature(const char *key, u32 leaf, bool present)
{
	const struct cpuid c = cpuid(leaf, 0);
	const u32 text[4] = { c.ebx, c.ecx, c.edx, 0 };

	print(" %s=\"%s\"", key, present ? (const char *)text : "none");
}

static void print_cpu_name(void)
{
	u32 text[13] = { 0 };
	const char *name = (const char *)text;

	for (u32 i = 0; i < 3 && cpuid(0x80000000, 0).eax >= 0x80000004; i++) {
		const struct cpuid c = cpuid(0x80000002 + i, 0);

		memcpy(&text[4 * i], &c, sizeof(c));
	}
	while (*name == ' ')
		name++;
	print(" cpu=\"%s\"", name);
}

static void print_microcode(void)
{
	u32 revision;

	if (microcode_revision(&revision))
		print(" microcode=%#x", revision);
	else
		print(" microcode=none");
}

static void print_header(const struct boot_info *boot)
{
	const struct processor_model here = processor_model();

	print("TAP version 13\n# vmxcheck %s image=%s boot=%s", STRING_OF(VERSION), image_name, boot->method);
	print_cpu_name();
	print(" family=%u model=%u stepping=%u", here.family, here.model, here.stepping);
	print_microcode();
	print(" core=%s", processor_core());
	print_signature("hypervisor", 0x40000000, has_feature(FEATURE_HYPERVISOR));
	print(" maxphyaddr=%u cpus=%u memory=%luM map=%s\n", physical_address_width(), cpus_expected ? cpus_expected : 1,
	      (memory_size() + 0xfffff) >> 20, memory_source());
	print("# tsc: %lu kHz from %s\n", tsc_per_ms(), tsc_source());
	if (console_remark())
		print("# serial: %s\n", console_remark());
	if (cpus_expected > MAX_CPUS)
		print("# note: %u of the %u processors are used\n", MAX_CPUS, cpus_expected);
	if (boot->command_line[0])
		print("# command line: %s\n", boot->command_line);
}

bool tap_common_need(u32 need, bool *met, char *reason, size_t size)
{
	if (need > FEATURE_BASE && need < FEATURE_END) {
		char text[96];

		*met = has_feature(need);
		feature_format(text, sizeof(text), need);
		snprintf(reason, size, "needs %s", text);
		return true;
	}
	if ((need & ~0xffu) == NEED_CPUS(0)) {
		cpus_recall();
		*met = cpus_online() >= (need & 0xff);
		snprintf(reason, size, "needs %u processors, %u online, %u lost", need & 0xff, cpus_online(), cpus_lost());
		return true;
	}
	if (need == NEED_XAPIC_MODE || need == NEED_X2APIC_MODE) {
		*met = apic_is_x2apic() == (need == NEED_X2APIC_MODE);
		snprintf(reason, size, "needs %s", need == NEED_XAPIC_MODE ? "xAPIC mode" : "x2APIC mode (apic=x2apic)");
		return true;
	}
	if (need > DANGER_BASE && need < DANGER_END) {
		*met = may(need);
		danger_format(reason, size, need);
		return true;
	}
	return false;
}

static bool plain_need(u32 need, char *reason, size_t size)
{
	bool met = false;

	if (!tap_common_need(need, &met, reason, size))
		snprintf(reason, size, "needs something that no fixture knows (%#x)", need);
	return met;
}

static u64 pages;

static void plain_begin(void)
{
	pages = page_mark();
	state_save();
}

static void plain_end(void)
{
	state_restore(tap_leak);
	page_window_reset();
	user_pages_off();
	page_release(pages);
}

const struct fixture plain_fixture = {
	.need = plain_need,
	.begin = plain_begin,
	.end = plain_end,
};

static bool needs_met(const struct test *test, char *reason, size_t size)
{
	if (test->fixture->usable && !test->fixture->usable(reason, size))
		return false;
	for (const u32 *need = test->needs; need && *need; need++)
		if (!test->fixture->need(*need, reason, size))
			return false;
	return true;
}

/* The check build: what the test needs it has asked for; what begin() looked up it has not. */
static void ask_for_needs(const struct test *test)
{
	char reason[160];

	asked_begin();
	for (const u32 *need = test->needs; ASKING_IS_WATCHED && need && *need; need++)
		test->fixture->need(*need, reason, sizeof(reason));
}

const char *tap_test_id;
static struct words words;
static struct selection selection;

#ifdef VMXCHECK_CHECK_BUILD

static void print_name(u32 token)
{
	const char *name = tap_token_name(token & ~LACKING);

	if (name)
		print(" %s%s", token & LACKING ? "-" : "", name);
}

/* Two lines for who takes controls away: without these the test is skipped (-: with these), by those it goes on or not. */
static void print_needs(const struct test *test)
{
	if (!words.asked)
		return;
	print("# needs: %s", test->id);
	for (const u32 *need = test->needs; need && *need; need++)
		print_name(*need);
	print("\n");
}

static void print_asked(const struct test *test)
{
	if (!words.asked)
		return;
	print("# asks: %s", test->id);
	for (u32 token = asked_next(0); token; token = asked_next(token))
		print_name(token);
	print("\n");
}

#else

static void print_needs(UNUSED const struct test *test)
{
}

static void print_asked(UNUSED const struct test *test)
{
}

#endif

static void check_all_asked(const struct test *test)
{
	char reason[160];

	for (u32 token = unasked_next(0); token; token = unasked_next(token)) {
		test->fixture->need(token, reason, sizeof(reason));
		tap_unasked(reason);
	}
}

static void check_ended_well(const struct test *test, const struct fault *fault)
{
	char actual[160], what[64];

	if (!fault->raised || fault->thrown == report_aborted || fault->thrown == report_skipped)
		return;
	if (fault->thrown == page_none_left) {
		snprintf(report_skip_reason, sizeof(report_skip_reason), "needs RAM: more than the %lu KiB of this machine",
			 memory_size() >> 10);
		return;
	}
	fault_format(what, sizeof(what), fault);
	snprintf(actual, sizeof(actual), "%s, RIP %#lx, RSP %#lx, RAX %#lx, RCX %#lx, RDX %#lx", what,
		 fault->frame.rip, fault->frame.rsp, fault->frame.rax, fault->frame.rcx, fault->frame.rdx);
	check_failed(test->file, test->line, "the test ends without an unexpected exception in the host", "no fault",
		     actual);
}

/* Run a part of a test; an exception in it fails the test. */
static void guarded(const struct test *test, void (*part)(void))
{
	const struct fault fault = TRY(if (part) part());

	check_ended_well(test, &fault);
}

/* Leave what the last test's fixture has, if this one's is another. */
static void change_fixture(const struct test *test)
{
	static const struct fixture *last;
	const struct fixture *const left = last;

	last = test->fixture;
	if (left && left != last)
		guarded(test, left->leave);
}

static void run_test(const struct test *test, u32 number)
{
	static char reason[160];
	volatile bool met = false;
	bool skipped = false;

	print("# begin %s\n", test->id);
	tap_test_id = test->id;
	hostile_test_begins(test->id);
	console_drain();		/* whatever the test does to the machine: it is known which one it was */
	report_begin(test);
	print_needs(test);
	/* A processor may be broken enough to fault where a need is looked up. */
	const struct fault looked_up = TRY(met = needs_met(test, reason, sizeof(reason)));

	check_ended_well(test, &looked_up);
	if (!met && !looked_up.raised) {
		print("ok %u - %s: %s # SKIP %s\n", number, test->id, test->title, reason);
		return;
	}

	if (met) {
		change_fixture(test);
		guarded(test, machine_quiet_again);
		guarded(test, test->fixture->begin);
	}
	if (!report_failures() && !report_skip_reason[0]) {
		ask_for_needs(test);
		const struct fault fault = TRY(test->run(test->data));

		hostile_test_ends();
		check_ended_well(test, &fault);
		check_all_asked(test);
		print_asked(test);
	}
	if (met)
		guarded(test, test->fixture->end);
	skipped = report_skip_reason[0];
	if (!report_checks() && !skipped)
		check_failed(test->file, test->line, "the test checks something", "at least 1 check", "none");

	report_end_names();
	if (hostile_broke_off()) {
		print("ok %u - %s: %s # SKIP %s\n", number, test->id, test->title, report_skip_reason);
		return;
	}
	if (skipped && !report_failures())
		print("ok %u - %s: %s # SKIP %s\n", number, test->id, test->title, report_skip_reason);
	else
		print("%s %u - %s: %s\n", report_failures() ? "not ok" : "ok", number, test->id, test->title);
	report_print();
}

static void run_selected(void)
{
	for (u32 i = 0; i < selection.count; i++) {
		journal_test_begins(selection.tests[i]);
		run_test(selection.tests[i], i + 1);
		journal_test_ends(selection.tests[i]);
	}
}

static void skip_selected(const char *reason)
{
	for (u32 i = 0; i < selection.count; i++) {
		const struct test *test = selection.tests[i];

		print("# begin %s\nok %u - %s: %s # SKIP %s\n", test->id, i + 1, test->id, test->title, reason);
	}
}

static void print_list(void)
{
	for (u32 i = 0; i < selection.count; i++)
		print("# %s\t%s\n", selection.tests[i]->id, selection.tests[i]->title);
	print("1..0 # SKIP only a list was asked for\n");
}

const char *__attribute__((weak)) tap_run_under(UNUSED const char *mode, UNUSED void (*run)(void))
{
	return "this image knows no under=";
}

bool __attribute__((weak)) tap_under_usable(UNUSED const char *mode, UNUSED char *reason, UNUSED size_t size)
{
	return true;
}

bool tap_is_behind_crash(void)
{
	return words.after.length;
}

static const char *run_under(char *reason, size_t size)
{
	char mode[32];

	snprintf(mode, sizeof(mode), "%.*s", (int)words.under.length, words.under.start);
	if (!tap_under_usable(mode, reason, size)) {
		skip_selected(reason);
		return NULL;
	}
	asked_ignore();
	return tap_run_under(mode, run_selected);
}

static const char *run_all(u32 matching)
{
	static char reason[160];

	if (selection.count == 0)
		print("1..0 # SKIP %s\n", matching == 0 ? "no test matches" : "no test is left behind after=");
	else
		print("1..%u\n", selection.count);
	if (words.x2apic && !apic_is_x2apic()) {
		bool met;

		tap_common_need(FEATURE_X2APIC, &met, reason, sizeof(reason));
		skip_selected(reason);
		return NULL;
	}
	if (words.under.length)
		return run_under(reason, sizeof(reason));
	run_selected();
	return NULL;
}

/* A log that was written down by hand, or a screen, can be compared with another by this alone. */
static void print_checksum(void)
{
	u32 lines;
	const u32 checksum = board_checksum(&lines);

	if (lines)
		print("# crc32: %08x of %u verdicts\n", checksum, lines);
}

int main(const struct boot_info *boot)
{
	const char *error = words_of(boot->command_line, &words);
	u32 matching = 0;

	board_begin();
	if (!error && words.x2apic && has_feature(FEATURE_X2APIC))
		apic_enable_x2apic();
	if (!error)
		error = select_tests(&words, &selection);
	if (!error) {
		matching = selection.count;
		select_order(&words, &selection);
	}

	print_header(boot);
	if (!error && words.journal && !words.list)
		error = journal_open(boot->command_line, &selection);
	if (!error && words.list)
		print_list();
	else if (!error)
		error = run_all(matching);
	if (error) {
		print("Bail out! %s\n", error);
		return 1;
	}
	print_checksum();
	journal_close();
	print("# end\n");
	return 0;
}
