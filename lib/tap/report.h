/* SPDX-License-Identifier: BSD-2-Clause */
/* What the checks of one test found: filled by check.c, printed by main.c. */
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
