/* SPDX-License-Identifier: BSD-2-Clause */
/* Which bits of CR4 the suite's own code can live with, and how to try the others. */
#pragma once

#include "x86/fault.h"
#include "x86/processor.h"

/*
 * What 64-bit supervisor code at low addresses may run on with, changed one by one or all at once: in a guest, in the
 * host behind a VM exit, by MOV to CR4. It is a list of bits that do no harm, not of those that do: LASS ends the next
 * fetch at a low address, FRED the next event, and a bit that a later processor defines may do either.
 * PCIDE is harmless while CR3[11:0] is 0, CET while CR0.WP is 1, SMEP and SMAP while user_pages_on() was not called.
 */
#define CR4_HARMLESS	((u64)(CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR | \
			 CR4_OSXMMEXCPT | CR4_UMIP | CR4_SMXE | CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE | CR4_KL | \
			 CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_CET | CR4_PKS | CR4_UINTR | CR4_LAM_SUP))

/*
 * Write any value to CR4, read it back into *seen and put the old value back, with nothing in between that such a bit
 * could end: the code runs at an address with bit 63 set and does not access memory. Returns the fault of the write
 * (SDM Vol. 2, "MOV - Move to/from Control Registers"), which leaves *seen what CR4 is after it. For CPL 0 with
 * interrupts off; it needs two pages for as long as it runs.
 */
struct fault cr4_try(u64 value, u64 *seen);
