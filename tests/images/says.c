/* SPDX-License-Identifier: BSD-2-Clause */
/* Each test fails on purpose: tests/suite/test_says.py compares what a failure says. */
#include "vmxtest/vmxtest.h"

#define SAYS(id) TAP_TEST(says_fixture, id, "fails on purpose")

static u64 last_read;

static bool was_read(const char *text, u64 value, u32 *encoding)
{
	*encoding = GUEST_CS_ACCESS_RIGHTS;
	return text[0] == 'l' && value == last_read;
}

static const struct fixture says_fixture = { .name_field = field_format, .was_read = was_read };

static void run_row(const void *data)
{
	expect_eq(*(const u64 *)data, 0);		/* the engine */
}

#define ROW(id, value) TAP_ROW(says_fixture, id, "fails on purpose", .run = run_row, .data = &(const u64){ value })
ROW("self.says.row_one", 1);
ROW("self.says.row_two", 2);

static void helper(void)
{
	expect_eq(last_read, 5);			/* the helper */
}

SAYS("self.says.helper")
{
	last_read = 0xc09b;
	helper();
}

SAYS("self.says.body")
{
	last_read = 0xa09b;
	expect_bits(last_read, 0xf0ff, 0xc09b);		/* the body */
}

#define TRY_ROW(value) (check_row(HERE), run_row(&(const u64){ value }), check_row(NULL, 0))

SAYS("self.says.table")
{
	TRY_ROW(0);
	TRY_ROW(7);					/* the row */
	expect(last_read == 1, "the second");		/* behind the rows */
}

SAYS("self.says.case_sets")
{
	CASE("GUEST_RFLAGS = %#x", 0x8002);
	CASE_SETS(GUEST_RFLAGS, 0x8002);
	expect_outcome(FAIL_VALID(7), ACCEPTED);
	CASE("the next case");
	expect_outcome(ACCEPTED, FAIL_VALID(8));
	CASE("about");
	CASE_FIELD(TSC_OFFSET | 1);
	expect_fail_valid(SUCCEED);
}

SAYS("self.says.values")
{
	expect_ne(3, 3);
	expect_at_least(3, 4);
	expect_at_most(5, 4);
	expect_either(5, 1, 2);
}

SAYS("self.says.memory")
{
	static u8 page[64];
	static const u8 other[64] = { [40] = 0xa5 };

	expect_bytes(page, other, sizeof(page));
	page[9] = 1;
	expect_filled(page, 0, sizeof(page), 0);
	expect_one_set(0x30, 0x3);
	expect_set(0x31, 0x3);
}

SAYS("self.says.require")
{
	require_exit(EXIT_VMCALL, .rip = 5);
	expect(false, "never comes here");
}

SAYS("self.says.require_macro")
{
#define A_MACRO (1 + 1)
	require(A_MACRO == 3, "the macro is 3");
}
