/* SPDX-License-Identifier: BSD-2-Clause */
/* INIT and SIPI to processor 1: code of a test's own in real mode, and what it finds. */
#pragma once

#include "guest.h"

/* In the page behind the one where a SIPI starts a processor: what it finds, and that it runs. */
struct report {
	u32 cr0, cr4, eflags, dr7, running;
	u16 cs, ds, ss, idtr_limit;
	u32 idtr_base;
};

/* The vector of the first of two free pages below 1 MiB, not the first one or two. */
u8 start_vector(u64 lowest);

/* Code to run before that which reports; it leaves DS, SS and the control registers as they are. NULL, NULL: none. */
extern const u8 *start_prefix, *start_prefix_end;

/*
 * INIT, and SIPIs to the page until it runs, for it may be late to take its INIT, and again if that has come to nothing
 * (see sipi_until()). It runs until the next INIT. It writes RFLAGS last before it counts: until then it may be still in
 * its last life, and count in the page that is cleared here.
 */
volatile struct report *start_at(u8 vector);
