/* SPDX-License-Identifier: BSD-2-Clause */
/* Activity states that VM entry establishes ("Activity State", and the sections on windows and the timer). */
#include "inject.h"

enum { VECTOR = 0x61, TIMER_TICKS = 20000 };

/* A short life for a guest that nothing may wake; the watchdog's is far longer. */
static void arm_timer(u32 ticks)
{
	vmcs_set_controls(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
	vmcs_write(VMX_PREEMPTION_TIMER_VALUE, ticks);
}

static void enter_inactive(u32 activity)
{
	vmcs_write(GUEST_ACTIVITY_STATE, activity);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	guest_run(guest_does_nothing);
}

static void guest_sends_nmi(void)
{
	nmi_arrives();
}

/* Make an NMI pend: one that exits blocks NMIs in the host, where the next one waits for the guest. */
static void pend_nmi(void)
{
	let_guest_use_apic();
	vmcs_set_controls(PIN_NMI_EXITING);
	vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	guest_run(guest_sends_nmi);
	require_exit(EXIT_EXCEPTION_OR_NMI);
	nmi_pend();
}

static bool can_shut_down(void)
{
	return has(CAP_MISC_ACTIVITY_SHUTDOWN) && may(MAY_SHUT_DOWN);
}

static void expect_nmi_exit(void)
{
	expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)guest_start);
	expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), ~(u64)INTERRUPTION_NMI_UNBLOCKING,
		    INTERRUPTION_VALID | INTERRUPTION_TYPE_NMI | VECTOR_NMI);
	nmi_unblock();
}

static void expect_exiting_interrupt_wakes(void)
{
	CASE("an interrupt that exits");
	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	require_pend(VECTOR);
	enter_inactive(ACTIVITY_HLT);
	expect_exit(EXIT_EXTERNAL_INTERRUPT, .rip = (u64)guest_start);
	vmcs_clear_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
}

TEST("after.activity.hlt", "an entry to HLT halts until an interrupt",
     NEEDS(CAP_MISC_ACTIVITY_HLT, PIN_ACTIVATE_VMX_PREEMPTION_TIMER, PROC_USE_MSR_BITMAPS))
{
	CASE("nothing comes");
	arm_timer(TIMER_TICKS);
	enter_inactive(ACTIVITY_HLT);
	expect_exit(EXIT_PREEMPTION_TIMER, .rip = (u64)guest_start);

	arm_timer(0xffffff);
	if (has(PIN_EXTERNAL_INTERRUPT_EXITING))
		expect_exiting_interrupt_wakes();

	CASE("an interrupt for the guest");
	let_guest_use_apic();
	interrupt_handle(VECTOR, interrupt_counter);
	require(apic_requested(VECTOR) || interrupt_pend(VECTOR), "an interrupt pends");	/* what exited waits still */
	enter_inactive(ACTIVITY_HLT);
	expect_guest_done();
	expect_eq(interrupt_count[VECTOR], 1);
	expect_eq(vmcs_read(GUEST_ACTIVITY_STATE), ACTIVITY_ACTIVE);
}

TEST("after.activity.shutdown", "an entry to shutdown holds external interrupts",
     NEEDS(CAP_MISC_ACTIVITY_SHUTDOWN, MAY_SHUT_DOWN, PIN_ACTIVATE_VMX_PREEMPTION_TIMER,
	   PIN_EXTERNAL_INTERRUPT_EXITING))
{
	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	require_pend(VECTOR);
	arm_timer(TIMER_TICKS);
	enter_inactive(ACTIVITY_SHUTDOWN);
	expect_exit(EXIT_PREEMPTION_TIMER, .rip = (u64)guest_start);
	expect_requested(VECTOR);
	take_pending(VECTOR);
}

/* Blocking by NMI in the guest is what its interruptibility says, whatever it was in the host. */
TEST("after.nmi_unblocked", "an entry without blocking by NMI lets in an NMI that the host had blocked",
     NEEDS(PIN_ACTIVATE_VMX_PREEMPTION_TIMER, PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS))
{
	interrupt_handle(VECTOR_NMI, interrupt_counter);	/* should it pend still */
	for (u32 activity = ACTIVITY_ACTIVE; activity <= ACTIVITY_SHUTDOWN; activity++) {
		if ((activity == ACTIVITY_HLT && !has(CAP_MISC_ACTIVITY_HLT)) ||
		    (activity == ACTIVITY_SHUTDOWN && !can_shut_down()))
			continue;
		CASE("activity %u", activity);
		pend_nmi();
		enter_inactive(activity);
		expect_nmi_exit();
	}
}

TEST("after.intwin.hlt", "the interrupt window ends an entry to HLT",
     NEEDS(CAP_MISC_ACTIVITY_HLT, PIN_ACTIVATE_VMX_PREEMPTION_TIMER, PROC_INTERRUPT_WINDOW_EXITING))
{
	vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);
	arm_timer(TIMER_TICKS * 10);
	enter_inactive(ACTIVITY_HLT);
	expect_exit(EXIT_INTERRUPT_WINDOW, .rip = (u64)guest_start);
}

TEST("after.intwin.shutdown", "the interrupt window does not end an entry to shutdown",
     NEEDS(CAP_MISC_ACTIVITY_SHUTDOWN, MAY_SHUT_DOWN, PIN_ACTIVATE_VMX_PREEMPTION_TIMER,
	   PROC_INTERRUPT_WINDOW_EXITING))
{
	vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);
	arm_timer(TIMER_TICKS);
	enter_inactive(ACTIVITY_SHUTDOWN);
	expect_exit(EXIT_PREEMPTION_TIMER, .rip = (u64)guest_start);
}

TEST("after.nmiwin.hlt_shutdown", "the NMI window ends an entry to HLT and to shutdown",
     NEEDS(PIN_VIRTUAL_NMIS, PROC_NMI_WINDOW_EXITING))
{
	vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS, PROC_NMI_WINDOW_EXITING);
	if (has(CAP_MISC_ACTIVITY_HLT)) {
		CASE("HLT");
		enter_inactive(ACTIVITY_HLT);
		expect_exit(EXIT_NMI_WINDOW, .rip = (u64)guest_start);
	}
	if (can_shut_down()) {
		CASE("shutdown");
		enter_inactive(ACTIVITY_SHUTDOWN);
		expect_exit(EXIT_NMI_WINDOW, .rip = (u64)guest_start);
	}
}
