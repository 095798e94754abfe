/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state of the processor that a test must leave as it found it: control and
 * debug registers, MSRs, descriptor tables, segment registers, local APIC, NMI
 * blocking. Compared and put back by the harness after each test.
 */
#pragma once

#include "libc/types.h"

/* Remember the state as it is now. What state_restore() has just put back is not read once more. */
void state_save(void);

/* The harness itself has changed something since: state_save() shall read it all. */
void state_forget(void);

/*
 * Put back whatever differs from the remembered state, and call leak for each
 * such item with its name, what it was, and what the test left.
 */
void state_restore(void (*leak)(const char *name, u64 before, u64 after));
