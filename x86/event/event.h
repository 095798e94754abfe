/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of events share. */
#pragma once

#include "vmx/modes.h"
#include "vmxtest/vmxtest.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/interrupt.h"
#include "x86/selectors.h"

/* A vector of the tests' own, and a second one of a lower priority class. */
enum { TEST_VECTOR = 0x61, LOWER_VECTOR = 0x42 };

#define NMI_INFORMATION	(INTERRUPTION_VALID | INTERRUPTION_TYPE_NMI | VECTOR_NMI)

/* Give the guest the APIC: the library reads and writes its MSRs. */
static inline void let_guest_use_apic(void)
{
	vmcs_use_msr_bitmap();
}

/* An IPI to itself may take some time; host and guest wait as long. */
static inline void wait_for_event(void)
{
	for (int i = 0; i < 200; i++)
		cpu_relax();
}

static inline void send_nmi(void)
{
	apic_send_ipi(apic_id(), APIC_DELIVERY_NMI);
	wait_for_event();
}

static inline void send_interrupt(u8 vector)
{
	apic_send_ipi(apic_id(), APIC_DELIVERY_FIXED | vector);
	wait_for_event();
}

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
