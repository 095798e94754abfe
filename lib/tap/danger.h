/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a real machine may not survive. A test that does it says so, NEEDS(MAY_STOP) for all of it, or if (may(MAY_STOP))
 * around a part: that is done on a machine that says that it is emulated (machine/emulated.h), and where the command
 * line asks for it by `dangerous`, or `dangerous=stop,msrs` for some kinds alone. Anywhere else it is a SKIP.
 */
#pragma once

#include "libc/types.h"

enum danger {
	DANGER_BASE = 0x22000000,	/* so that one can stand beside controls, features and processors in NEEDS() */
#define DANGER(name, word, text) name,
#include "tap/dangers.def"
	DANGER_END
};

/*
 * Is it allowed here? MAY_SHUT_DOWN, a processor in the shutdown state (after a VMX abort or a triple fault, or by VM
 * entry), needs a machine that goes on then, too: the command line says shutdown=ends where it does not.
 */
bool may(enum danger danger);

/* Why it is not. */
void danger_format(char *to, size_t size, enum danger danger);

/* The words of the command line: dangerous, dangerous=KIND[,KIND]... (false: no such kind), shutdown=ends or lasts. */
void danger_allow_all(void);
bool danger_allow(const char *kinds, size_t length);
void danger_shutdown_ends(bool ends);
