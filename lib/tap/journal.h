/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a run was when the machine was reset: in RAM that neither a reset nor the firmware's and the loader's way back here
 * changes, as a rule. With the word `journal`, the next boot of the same image with the same words goes on behind the test in flight.
 * Without it nothing is kept: where somebody drives the machine he goes on by himself, and a test that was left out would surprise him.
 */
#pragma once

#include "tap/select.h"

/* Take the tests that an earlier boot has done off the selection, and say so. NULL, or why not to go on. */
const char *journal_open(const char *command_line, struct selection *selection);

void journal_test_begins(const struct test *test);
void journal_test_ends(const struct test *test);

/* The run has come to its end: the next boot begins afresh. */
void journal_close(void);
