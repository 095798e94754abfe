/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine on which nothing happens but what a test does: whatever a firmware, a loader or an earlier kernel has left on
 * is off. RFLAGS, CR0, CR4 and IA32_EFER have their values since lib/boot, on every processor (start.S).
 */
#pragma once

#include "libc/types.h"

/* All of it, on the first processor: the machine's sources of interrupts, then the processor, then what pended. */
void machine_quiet(void);

/*
 * The part of one processor, for each that comes up; its tables are loaded. All local interrupts masked (apic_init), no
 * breakpoints, no branch or processor trace, no counters, XCR0, IA32_XSS and IA32_PAT as behind a reset.
 */
void machine_quiet_processor(void);

/* Before each test, on the first processor: an interrupt that came late is taken, and is nobody's. */
void machine_quiet_again(void);
