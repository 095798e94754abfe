/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The wait-for-SIPI state, which only another processor can end. An image of its own: a target may keep events
 * blocked behind it for good, and then the rest of its run says nothing.
 */
#include "vmxtest/vmxtest.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/interrupt.h"
#include "x86/wait.h"

enum { VECTOR = 0x61, TIMER_TICKS = 20000 };

/* Where guest_run begins. */
extern const u8 guest_start[];

static void guest_does_nothing(void)
{
}

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

/* What the other processor does until this one, in its guest, has seen the SIPI; it may come to wait for it late. */
static u32 waiting_apic_id;
static volatile bool exited;

struct sent {
	u8 sipi;
	bool interrupt;		/* one before the SIPI */
};

static void send_to_waiting_cpu(void *argument)
{
	const struct sent *sent = argument;

	delay_us(20000);
	if (sent->interrupt) {
		apic_send_ipi(waiting_apic_id, APIC_DELIVERY_FIXED | VECTOR);
		delay_us(2000);
	}
	sipi_until(waiting_apic_id, sent->sipi, exited, 10 * WAIT_MS);
}

static u32 saved_blocking;

static void wait_for(struct sent sent)
{
	waiting_apic_id = apic_id();
	exited = false;
	on_cpu_start(1, send_to_waiting_cpu, &sent);
	enter_inactive(ACTIVITY_WAIT_FOR_SIPI);
	exited = true;
	on_cpu_wait(1);
	wait_for_nothing();	/* a last SIPI may be under way, of no effect here */
	saved_blocking = vmcs_read(GUEST_INTERRUPTIBILITY_STATE);
	nmi_unblock();		/* if the exit leaves them blocked, that is save.intr_sipi's business */
}

TEST("after.activity.wait_sipi", "in wait-for-SIPI a SIPI exits with its vector",
     NEEDS(CAP_MISC_ACTIVITY_WAIT_FOR_SIPI, NEED_CPUS(2)))
{
	static const u8 vectors[] = { 0x5a, 0xa5, 0x00, 0xff };

	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		CASE("SIPI vector %#x", vectors[i]);
		wait_for((struct sent){ .sipi = vectors[i] });
		expect_exit(EXIT_SIPI, .qualification = vectors[i], .rip = (u64)guest_start);
	}
}

TEST("after.activity.wait_sipi_blocks", "an entry to wait-for-SIPI holds interrupts until a SIPI exits",
     NEEDS(CAP_MISC_ACTIVITY_WAIT_FOR_SIPI, PIN_EXTERNAL_INTERRUPT_EXITING, NEED_CPUS(2)))
{
	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	for (u32 i = 0; i < 2; i++) {
		CASE("SIPI vector %#x", 0x5a + i);
		wait_for((struct sent){ .sipi = 0x5a + i, .interrupt = true });
		expect_exit(EXIT_SIPI, .qualification = 0x5a + i, .rip = (u64)guest_start);
		expect(wait_until(apic_requested(VECTOR), WAIT_MS));
		expect_eq(take_pending(VECTOR), 1);
	}
}

TEST("save.intr_sipi", "a SIPI exit saves no blocking by NMI or SMI", NEEDS(CAP_MISC_ACTIVITY_WAIT_FOR_SIPI, NEED_CPUS(2)))
{
	for (u32 i = 0; i < 2; i++) {
		wait_for((struct sent){ .sipi = 0x5a });
		expect_exit(EXIT_SIPI);
		expect_eq(saved_blocking, 0);
	}
}

static const u32 ticks[] = { 0, TIMER_TICKS };

static void expect_timer_ends(u32 activity)
{
	for (size_t i = 0; i < ARRAY_SIZE(ticks); i++) {
		CASE("activity %u, timer %u", activity, ticks[i]);
		arm_timer(ticks[i]);
		enter_inactive(activity);
		expect_exit(EXIT_PREEMPTION_TIMER, .rip = (u64)guest_start);
	}
}

TEST("after.preempt.hlt", "the VMX-preemption timer ends HLT",
     NEEDS(PIN_ACTIVATE_VMX_PREEMPTION_TIMER, CAP_MISC_ACTIVITY_HLT))
{
	expect_timer_ends(ACTIVITY_HLT);
}

TEST("after.preempt.shutdown", "the VMX-preemption timer ends shutdown",
     NEEDS(PIN_ACTIVATE_VMX_PREEMPTION_TIMER, CAP_MISC_ACTIVITY_SHUTDOWN, MAY_SHUT_DOWN))
{
	expect_timer_ends(ACTIVITY_SHUTDOWN);
}

TEST("after.preempt.wait_sipi", "the VMX-preemption timer does not end wait-for-SIPI",
     NEEDS(PIN_ACTIVATE_VMX_PREEMPTION_TIMER, CAP_MISC_ACTIVITY_WAIT_FOR_SIPI, NEED_CPUS(2)))
{
	for (size_t i = 0; i < ARRAY_SIZE(ticks); i++) {
		CASE("timer %u", ticks[i]);
		arm_timer(ticks[i]);
		wait_for((struct sent){ .sipi = 0x5a });
		expect_exit(EXIT_SIPI, .qualification = 0x5a, .rip = (u64)guest_start);
	}
}
