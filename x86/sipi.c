/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The wait-for-SIPI state, which only another processor can end: so a processor that did not boot waits, and the one that did
 * sends. A target may keep events blocked behind it: the processor that waited is started afresh after each test.
 */
#include "vmxtest/other.h"
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

/* What the processor that waits is to be sent. */
struct sent {
	u8 sipi;
	bool interrupt;		/* one before the SIPI */
};

static struct sent wanted;
static volatile bool waits;

static void send(void)
{
	const u32 to = cpu_number(1)->apic_id;

	delay_us(20000);
	if (wanted.interrupt) {
		apic_send_ipi(to, APIC_DELIVERY_FIXED | VECTOR);
		delay_us(2000);
	}
	sipi_until(to, wanted.sipi, !waits, 10 * WAIT_MS);	/* it may come to wait for it late */
}

/* Run body() on the processor that waits, and send what each wait_for() in it wants. */
static void with_sender(void (*body)(void))
{
	waits = false;
	vmx_other_start(1, body);
	while (wait_for_other(waits || on_cpu_done(1), 10 * WAIT_MS) && !on_cpu_done(1))
		send();
	vmx_other_end(1);
}

static u32 saved_blocking;

static void wait_for(struct sent sent)
{
	wanted = sent;
	waits = true;
	enter_inactive(ACTIVITY_WAIT_FOR_SIPI);
	waits = false;
	wait_for_nothing();	/* a last SIPI may be under way, of no effect here */
	saved_blocking = vmcs_read(GUEST_INTERRUPTIBILITY_STATE);
	nmi_unblock();		/* if the exit leaves them blocked, that is save.intr_sipi's business */
}

static void exit_by_each_vector(void)
{
	static const u8 vectors[] = { 0x5a, 0xa5, 0x00, 0xff };

	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		CASE("SIPI vector %#x", vectors[i]);
		wait_for((struct sent){ .sipi = vectors[i] });
		expect_exit(EXIT_SIPI, .qualification = vectors[i], .rip = (u64)guest_start);
	}
}

TEST("after.activity.wait_sipi", "in wait-for-SIPI a SIPI exits with its vector",
     NEEDS(CAP_MISC_ACTIVITY_WAIT_FOR_SIPI, NEED_CPUS(2)))
{
	with_sender(exit_by_each_vector);
}

static void hold_interrupt(void)
{
	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	for (u32 i = 0; i < 2; i++) {
		CASE("SIPI vector %#x", 0x5a + i);
		wait_for((struct sent){ .sipi = 0x5a + i, .interrupt = true });
		expect_exit(EXIT_SIPI, .qualification = 0x5a + i, .rip = (u64)guest_start);
		expect(wait_until(apic_requested(VECTOR), SELF_MS), "the interrupt that was sent meanwhile pends (IRR)");
		expect_eq(take_pending(VECTOR), 1);
	}
}

TEST("after.activity.wait_sipi_blocks", "an entry to wait-for-SIPI holds interrupts until a SIPI exits",
     NEEDS(CAP_MISC_ACTIVITY_WAIT_FOR_SIPI, PIN_EXTERNAL_INTERRUPT_EXITING, NEED_CPUS(2)))
{
	with_sender(hold_interrupt);
}

static void look_at_blocking(void)
{
	for (u32 i = 0; i < 2; i++) {
		wait_for((struct sent){ .sipi = 0x5a });
		expect_exit(EXIT_SIPI);
		expect_eq(saved_blocking, 0);
	}
}

TEST("save.intr_sipi", "a SIPI exit saves no blocking by NMI or SMI", NEEDS(CAP_MISC_ACTIVITY_WAIT_FOR_SIPI, NEED_CPUS(2)))
{
	with_sender(look_at_blocking);
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

static void outlive_timer(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(ticks); i++) {
		CASE("timer %u", ticks[i]);
		arm_timer(ticks[i]);
		wait_for((struct sent){ .sipi = 0x5a });
		expect_exit(EXIT_SIPI, .qualification = 0x5a, .rip = (u64)guest_start);
	}
}

TEST("after.preempt.wait_sipi", "the VMX-preemption timer does not end wait-for-SIPI",
     NEEDS(PIN_ACTIVATE_VMX_PREEMPTION_TIMER, CAP_MISC_ACTIVITY_WAIT_FOR_SIPI, NEED_CPUS(2)))
{
	with_sender(outlive_timer);
}
