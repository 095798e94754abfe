/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupts and NMIs that the processor sends to itself, in the host or in a guest. */
#pragma once

#include "vmxtest/vmxtest.h"
#include "x86/apic.h"
#include "x86/interrupt.h"

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

/*
 * A guest that reads and writes what the delivery of an event does: GDT, IDT, the stacks of the interrupt-stack table
 * (its own it has in use). A hypervisor below this one has then no reason to exit in the midst of a virtual interrupt's
 * delivery: what becomes of that has a row of its own, apic.vid.exit_amid.
 */
void guest_touches_tables(void);
