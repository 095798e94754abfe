/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of an image, and which tests it selects in which order. */
#pragma once

#include "tap/tap.h"

struct selection {
	bool list;
	bool asked;			/* the check build: print what each test asks for */
	bool empty;			/* nothing matches */
	bool x2apic;			/* apic=x2apic: on, if the processor has that mode */
	char under[32];			/* "vmx..." : run the tests inside that; empty: right here */
	u32 count;
	const struct test **tests;	/* in the order to run */
};

/*
 * Read the words of a command line (list, run=, skip=, order=random, seed=, from=,
 * after=, smp=, apic=x2apic, under=, machine=emulated, dangerous, shutdown=ends, the check build's asked and lacks=, and the image's
 * own). NULL and a filled selection, or what is wrong, naming the word.
 */
const char *select_tests(const char *command_line, struct selection *selection);
