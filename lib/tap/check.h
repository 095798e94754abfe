/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks. Each counts; a failed one is recorded with its place and goes on, so a
 * loop over values reports the first few that fail and how many did; each failed one
 * is named at once (`# failed: CASE | CHECK`, docs/writing-a-test.md). Each returns
 * whether it passed. require...() end the test where going on would make no sense.
 */
#pragma once

#include "x86/fault.h"

#define HERE __FILE__, __LINE__

/* A plain yes or no: `wanted` says what must be so, in words. Where two values are compared, the words below show both. */
#define expect(condition, wanted)	check_that(HERE, #condition, (condition), wanted)
/* The same number, as 64 bits. */
#define expect_eq(actual, expected)	check_equal(HERE, #actual, (u64)(actual), (u64)(expected))
/* Bits of actual outside the mask are not looked at. */
#define expect_bits(actual, mask, expected)	\
	check_bits(HERE, #actual, (u64)(actual), (u64)(mask), (u64)(expected))
/* low <= actual <= high. */
#define expect_between(low, actual, high)	\
	check_between(HERE, #actual, (u64)(low), (u64)(actual), (u64)(high))
/* Another number. */
#define expect_ne(actual, other)	check_other(HERE, #actual, (u64)(actual), (u64)(other))
/* Unsigned, both. */
#define expect_at_least(actual, least)	check_between(HERE, #actual, (u64)(least), (u64)(actual), ~0ull)
#define expect_at_most(actual, most)	check_between(HERE, #actual, 0, (u64)(actual), (u64)(most))
/* One of the two. */
#define expect_either(actual, one, other)	check_either(HERE, #actual, (u64)(actual), (u64)(one), (u64)(other))
/* All these bits are 1; one of them is. */
#define expect_set(actual, bits)	check_bits(HERE, #actual, (u64)(actual), (u64)(bits), (u64)(bits))
#define expect_one_set(actual, bits)	check_one_set(HERE, #actual, (u64)(actual), (u64)(bits))
/* A TRY() ended in this exception, or in none. */
#define expect_fault(actual, vector, error_code)	\
	({ const struct fault checked_ = (actual); check_fault(HERE, #actual, &checked_, vector, error_code); })
#define expect_no_fault(actual)	({ const struct fault checked_ = (actual); check_no_fault(HERE, #actual, &checked_); })
/*
 * Bits that are reserved today read as 0. A later processor may define them, so a bit that is 1 is a failed check
 * only where the processor's model is one that the suite knows (x86/model.h), and a note anywhere else.
 */
#define expect_reserved(actual, mask)	check_reserved_bits(HERE, #actual, (u64)(actual), (u64)(mask))
/* Bytes first to end - 1 of the memory still have the value that they were filled with; the first that has not is named. */
#define expect_filled(memory, first, end, value)	check_filled(HERE, #memory, memory, first, end, value)
/* The memory has the same bytes as the other one; the first that has not is named. */
#define expect_bytes(memory, expected, size)	check_bytes(HERE, #memory, memory, expected, size)
/* As expect(), of what holds for processors up to now and is promised for no later one: where the model is not known, a note. */
#define expect_on_known(condition, wanted)	check_that_on_known(HERE, #condition, (condition), wanted)
/* What this has found out is wrong, in words; the texts are kept as they are. */
#define fail_check(text, expected, actual)	check_failed(HERE, text, expected, actual)

/* The same, but a failure ends the test. Not by the words above: these would show a macro in the condition as what it expands to. */
#define require(condition, wanted)	check_required(check_that(HERE, #condition, (condition), wanted))
#define require_eq(actual, expected)	check_required(check_equal(HERE, #actual, (u64)(actual), (u64)(expected)))
#define require_at_least(actual, least)	\
	check_required(check_between(HERE, #actual, (u64)(least), (u64)(actual), ~0ull))
#define require_between(low, actual, high)	\
	check_required(check_between(HERE, #actual, (u64)(low), (u64)(actual), (u64)(high)))
#define require_no_fault(actual)	\
	check_required(({ const struct fault checked_ = (actual); check_no_fault(HERE, #actual, &checked_); }))

/*
 * Name the case that the next checks are about, until the next CASE or the end of
 * the test: CASE("port %#x, width %u", port, width). Up to four numbers or strings
 * (no other conversions); it costs next to nothing until a check fails.
 */
#define CASE(format, ...) check_case(format, (u64[4]){ CASE_VALUES(0, ##__VA_ARGS__) })
#define CASE_VALUES(zero, ...) CASE_PICK(zero, ##__VA_ARGS__, CASE4, CASE3, CASE2, CASE1, CASE0)(zero, ##__VA_ARGS__)
#define CASE_PICK(zero, a, b, c, d, name, ...) name
#define CASE0(zero) zero
#define CASE1(zero, a) (u64)(a)
#define CASE2(zero, a, b) (u64)(a), (u64)(b)
#define CASE3(zero, a, b, c) (u64)(a), (u64)(b), (u64)(c)
#define CASE4(zero, a, b, c, d) (u64)(a), (u64)(b), (u64)(c), (u64)(d)

bool check_that(const char *file, u32 line, const char *text, bool passed, const char *wanted);
bool check_equal(const char *file, u32 line, const char *text, u64 actual, u64 expected);
bool check_bits(const char *file, u32 line, const char *text, u64 actual, u64 mask, u64 expected);
/* The value of a field of the VMCS, which a failure shows by the manual's name. */
bool check_field(const char *file, u32 line, const char *text, u32 encoding, u64 actual, u64 expected);
bool check_between(const char *file, u32 line, const char *text, u64 low, u64 actual, u64 high);
bool check_other(const char *file, u32 line, const char *text, u64 actual, u64 other);
bool check_either(const char *file, u32 line, const char *text, u64 actual, u64 one, u64 other);
bool check_one_set(const char *file, u32 line, const char *text, u64 actual, u64 bits);
bool check_reserved_bits(const char *file, u32 line, const char *text, u64 actual, u64 mask);
bool check_filled(const char *file, u32 line, const char *text, const volatile void *memory, size_t first, size_t end,
		  u8 value);
bool check_bytes(const char *file, u32 line, const char *text, const volatile void *memory, const void *expected, size_t size);
bool check_that_on_known(const char *file, u32 line, const char *text, bool passed, const char *wanted);
bool check_fault(const char *file, u32 line, const char *text, const struct fault *fault, u8 vector, u32 error_code);
bool check_no_fault(const char *file, u32 line, const char *text, const struct fault *fault);

/* Count a check that passed, or record one that did not, for checks of other shapes. */
void check_passed(void);
bool check_failed(const char *file, u32 line, const char *text, const char *expected, const char *actual);

void check_required(bool passed);
void check_case(const char *format, const u64 values[4]);

/* Which field of the VMCS the case is about, or what it writes to it: a failure shows it by the manual's name, behind CASE. */
#define CASE_FIELD(encoding)		check_case_field(encoding, false, 0)
#define CASE_SETS(encoding, value)	check_case_field(encoding, true, value)
void check_case_field(u32 encoding, bool written, u64 value);

/*
 * Which row of a table inside a test the next checks are for, until the next row or the end of the test: a failure says
 * `at:` that row and `in:` the check. NULL: none. A test that is a row itself (TAP_ROW) needs none of this.
 */
void check_row(const char *file, u32 line);
