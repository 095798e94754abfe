/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A test: one requirement of the catalogue (spec/catalogue.tsv), reported as one
 * TAP point. Tests register themselves in a linker section; lib/tap has main().
 */
#pragma once

#include "libc/types.h"
#include "tap/check.h"
#include "tap/danger.h"
#include "tap/pending.h"
#include "tap/walk.h"

/* What surrounds a test. Any member may be NULL. */
struct fixture {
	/* Can the image's subject be tested here at all? If not, the reason. */
	bool (*usable)(char *reason, size_t size);
	/* Is a need met? If not, the reason: "secondary control ...". */
	bool (*need)(u32 need, char *reason, size_t size);
	/* Before each test, and after it. What end finds wrong it reports by tap_leak(). */
	void (*begin)(void);
	void (*end)(void);
	/* Before a test of another fixture: what this one's tests have of the processor together, as they found it. */
	void (*leave)(void);
	/* What the guest last did, as a YAML value; the empty text if nothing. */
	void (*describe)(char *to, size_t size);
	/* A field of the VMCS for people and the runner: "Guest RFLAGS [6820H]". */
	void (*name_field)(char *to, size_t size, u32 encoding);
	/* Is what a check with this text has found the value of a field that was just read? */
	bool (*was_read)(const char *text, u64 value, u32 *encoding);
};

struct test {
	const char *id, *title;
	void (*run)(const void *data);
	const void *data;
	const u32 *needs;	/* ends with 0 */
	const struct fixture *fixture;
	const char *file;
	u32 line;
	bool has_body;		/* the code behind its line is its own: no row of a table */
} ALIGNED(64);

/*
 * TAP_TEST(fixture, "id", "title", more initialisers of struct test...) { body }
 * Used through the TEST macro of a fixture's header.
 */
#define TAP_TEST(fixture_, id_, title_, ...)					\
	TAP_TEST_(__COUNTER__, fixture_, id_, title_, ##__VA_ARGS__)
#define TAP_TEST_(n, fixture_, id_, title_, ...)				\
	TAP_TEST__(n, fixture_, id_, title_, ##__VA_ARGS__)
#define TAP_TEST__(n, fixture_, id_, title_, ...)				\
	static void test_##n(const void *data);					\
	TAP_ROW__(n, fixture_, id_, title_, .run = test_##n, .has_body = true, ##__VA_ARGS__); \
	static void test_##n(UNUSED const void *data)

/* TAP_ROW(fixture, "id", "title", .run = function, .data = &row, ...); a test without a body of its own. */
#define TAP_ROW(fixture_, id_, title_, ...)					\
	TAP_ROW_(__COUNTER__, fixture_, id_, title_, ##__VA_ARGS__)
#define TAP_ROW_(n, fixture_, id_, title_, ...)					\
	TAP_ROW__(n, fixture_, id_, title_, ##__VA_ARGS__)
/* GCC may turn the order of a file's variables round; clang never does. */
#ifdef __clang__
#define TAP_IN_ORDER
#else
#define TAP_IN_ORDER no_reorder,
#endif
#define TAP_ROW__(n, fixture_, id_, title_, ...)				\
	static const char test_line_##n[]					\
		__attribute__((TAP_IN_ORDER used, section(".testlist"))) = id_ "\t" title_ "\n"; \
	static const struct test test_row_##n					\
		__attribute__((TAP_IN_ORDER used, section(".tests"))) = {			\
		.id = id_, .title = title_, .fixture = &(fixture_),		\
		.file = __FILE__, .line = __LINE__, ##__VA_ARGS__ }

/* What a test cannot do without: else it is a SKIP that says which bit is missing. */
#define NEEDS(...) .needs = (const u32[]){ __VA_ARGS__, 0 }

/* So many processors. What a real machine may not survive is in tap/danger.h: NEEDS(MAY_STOP). */
#define NEED_CPUS(n) (0x20000000u | (n))

/*
 * The mode that the local APICs are in, all of them the same: registers in memory, or MSRs. The firmware chooses; on a
 * processor that has x2APIC mode, so does apic=x2apic on the command line.
 */
#define NEED_XAPIC_MODE 0x21000000u
#define NEED_X2APIC_MODE 0x21000001u

/* End the test in flight as skipped, where only the test itself can find out; prefer NEEDS. */
void skip(const char *format, ...) PRINTF(1, 2) __attribute__((noreturn));

/*
 * Say something about the target that is neither right nor wrong: what the manual leaves open, what it may define one
 * day. It becomes a line "# note: ..." in the TAP, which the runner shows; it is no check.
 */
void note(const char *format, ...) PRINTF(1, 2);

/*
 * Pages in a row within [low, high), at a multiple of the alignment (x86/page.h, page_alloc_within), or the test is a
 * SKIP that says which RAM the machine lacks.
 */
void *ram_within(u64 low, u64 high, unsigned int pages, u64 alignment);

/* Report state that the test in flight leaves behind; it fails. */
void tap_leak(const char *name, u64 before, u64 after);

/* Report what the test in flight uses and did not ask for, by NEEDS() or has(); it fails. */
void tap_unasked(const char *need);

/* The tests of images that need no VMX: TEST() in tap/plain.h. */
extern const struct fixture plain_fixture;

/* The common needs (features, processors, dangers); false: not one of these. Sets *met. */
bool tap_common_need(u32 need, bool *met, char *reason, size_t size);

/* An image with words of its own on the command line defines this; true: taken. */
bool tap_image_word(const char *word);

/* The test in flight. */
extern const char *tap_test_id;

/* The word `modelled`: the tests of VM entry are compared with the model of it (vmxtest/modelled.h). */
extern bool tap_modelled;

/* Is this a boot that goes on behind a test in which the last one ended (after=)? */
bool tap_is_behind_crash(void);

/*
 * under=MODE: run the image's tests inside something that lib/tap does not know (a
 * hypervisor of the suite's own). NULL when they have run, else why they have not.
 */
const char *tap_run_under(const char *mode, void (*run)(void));

/* Can it be done here? If not, the reason: every test is then a SKIP. */
bool tap_under_usable(const char *mode, char *reason, size_t size);

/* The check build's word lacks=NAME,...: the processor is to lack these. False: it cannot. */
bool tap_lacks(const char *names, size_t length);

/* The name of what NEEDS() takes, as lacks= takes it; NULL: it takes no such. */
const char *tap_token_name(u32 token);

extern const char image_name[];
