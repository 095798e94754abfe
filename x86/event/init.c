/* SPDX-License-Identifier: BSD-2-Clause */
/* INIT and SIPI in VMX non-root operation (SDM Vol. 3C, "Other Causes of VM Exits"): on a second processor. */
#include "vmxtest/other.h"
#include "vmxtest/vmxtest.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/wait.h"

/* Milliseconds for what must not come. */
enum { QUIET_MS = 10 };

static volatile bool in_guest, exited, stop;
static struct outcome outcome;
static u64 activity, interruptibility;

static void guest_waits(void)
{
	in_guest = true;
	wait_for_other(stop, 3 * WAIT_MS);
}

static void run_guest_there(void)
{
	outcome = guest_run(guest_waits);
	activity = vmcs_read(GUEST_ACTIVITY_STATE);
	interruptibility = vmcs_read(GUEST_INTERRUPTIBILITY_STATE);
	exited = true;
}

/* Let the other processor run its guest, send it this, and wait for the exit; then end the guest. */
static void send_to_guest(u32 delivery, u64 limit_ms)
{
	in_guest = exited = stop = false;
	outcome = (struct outcome){ .kind = OUTCOME_NONE };

	vmx_other_start(1, run_guest_there);
	require(wait_for_other(in_guest, WAIT_MS), "the other processor comes to its guest in time");
	apic_send_ipi(cpu_number(1)->apic_id, delivery);
	wait_for_other(exited, limit_ms);
	stop = true;
	expect(wait_for_other(exited, WAIT_MS), "the guest of the other processor exits in time");
	vmx_other_end(1);
}

TEST("exec.init.exit", "An INIT exits from VMX non-root operation", NEEDS(NEED_CPUS(2)))
{
	send_to_guest(APIC_DELIVERY_INIT, WAIT_MS);
	expect_outcome(outcome, EXITS(EXIT_INIT));
	expect_eq(outcome.qualification, 0);
	expect_eq(activity, ACTIVITY_ACTIVE);
	expect_eq(interruptibility, 0);
}

TEST("exec.sipi.ignored", "A SIPI is discarded while the guest is active", NEEDS(NEED_CPUS(2)))
{
	send_to_guest(APIC_DELIVERY_SIPI | 0x55, QUIET_MS);
	expect_outcome(outcome, EXITS(EXIT_VMCALL));
	expect_eq(activity, ACTIVITY_ACTIVE);
}
