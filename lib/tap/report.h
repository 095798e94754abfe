/* SPDX-License-Identifier: BSD-2-Clause */
/* What the checks of one test found: filled by check.c, printed for main.c. */
#pragma once

#include "tap/tap.h"

/* Forget the test before. */
void report_begin(const struct test *test);

u32 report_checks(void);
u32 report_failures(void);

/* In front of the result: how many failed checks were not named when they failed. */
void report_end_names(void);

/* The YAML block of the test: only what there is to say. */
void report_print(void);

/* The messages that throw() carries to end a test early; compared as pointers. */
extern const char report_aborted[], report_skipped[];
extern char report_skip_reason[160];

enum { REPORT_TEXT = 160 };	/* of each text of a failure */

/* A failed check of a value, which is of a field if it is one of report_field(), or the fixture says so. Returns false. */
bool report_value(const char *file, u32 line, const char *text, const char *expected, u64 actual);

/* The next value is of this field; of none that is known. */
void report_field(u32 encoding);
void report_no_field(void);

/* What would be a failure, of a processor that may be right: a note, of the first few. Returns true. */
bool report_unknown(const char *text);
