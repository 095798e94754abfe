/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupts and NMIs that the processor sends to itself, in the host or in a guest. */
#pragma once

#include "vmxtest/vmxtest.h"
#include "x86/apic.h"
#include "x86/interrupt.h"
#include "x86/wait.h"

/* A vector of the tests' own, and a second one of a lower priority class. */
enum { TEST_VECTOR = 0x61, LOWER_VECTOR = 0x42 };

#define NMI_INFORMATION	(INTERRUPTION_VALID | INTERRUPTION_TYPE_NMI | VECTOR_NMI)

/* Give the guest the APIC: the library reads and writes its MSRs. */
static inline void let_guest_use_apic(void)
{
	vmcs_use_msr_bitmap();
}

/*
 * Run a guest that halts, with these RFLAGS (IF = 1, or it sets it itself), and let the APIC's timer interrupt it at this
 * vector, which exits: with ever more time, until the exit has found it halted. Did it, with RIP behind the HLT? The
 * interrupt still waits, or is in service if the exit acknowledged it. The APIC-timer watchdog is off then.
 */
bool run_halted_until_interrupt(void (*function)(void), u64 rflags, u8 vector, const void *behind_hlt);

/* The same with the VMX-preemption timer, which need not find IF = 1. */
bool run_halted_until_timer(void (*function)(void), u64 rflags, const void *behind_hlt);

/*
 * A guest that reads and writes what the delivery of an event does: GDT, IDT, the stacks of the interrupt-stack table
 * (its own it has in use). A hypervisor below this one has then no reason to exit in the midst of a virtual interrupt's
 * delivery: what becomes of that has a row of its own, apic.vid.exit_amid.
 */
void guest_touches_tables(void);
