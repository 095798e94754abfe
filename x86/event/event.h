/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of events share. */
#pragma once

#include "vmx/ept.h"
#include "vmx/modes.h"
#include "vmxtest/events.h"
#include "x86/cpu.h"
#include "x86/selectors.h"

/* How many NMIs the handler has counted since the last call. */
static inline u32 nmis_taken(void)
{
	const u32 count = interrupt_count[VECTOR_NMI];

	interrupt_count[VECTOR_NMI] = 0;
	return count;
}

/* Where guest_run enters: a call of the guest's function. */
void guest_start(void);

/* The last exit was caused by an NMI. Bit 12 of the information speaks of an IRET, and there was none. */
void expect_nmi_exit(void);

/* Guests that return at once, and behind an IRET to their next instruction. */
void guest_does_nothing(void);
void guest_iret(void);
extern const u8 guest_iret_at[], guest_iret_done[];

/*
 * Virtual NMIs on, no virtual-NMI blocking, the guest may use the APIC. Where a VM entry with bit 3 = 0 does not end
 * the blocking of an earlier guest, only the test of that shall fail (exec.vnmi.entry_replaces): an IRET ends it.
 */
void use_virtual_nmis(void);

#define EPT_SUPPRESS_VE BIT(63)
