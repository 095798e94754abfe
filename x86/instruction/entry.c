/* SPDX-License-Identifier: BSD-2-Clause */
/* VMLAUNCH, VMRESUME and VMCALL (SDM Vol. 3C, "Basic VM-Entry Checks"; "VMCALL-Call to VM Monitor"). */
#include "instruction.h"

static volatile u32 guest_runs;

static void guest_counts(void)
{
	guest_runs++;
}

TEST("insn.vmlaunch.nonclear", "VMLAUNCH of a launched VMCS fails with error 4")
{
	guest_runs = 0;
	guest_run(guest_counts);
	require_guest_done();
	require(guest.launched);

	guest.launched = false;			/* enter by VMLAUNCH again */
	expect_outcome(guest_run(guest_counts), FAIL_VALID(VMERR_VMLAUNCH_NON_CLEAR));
	expect_eq(guest_runs, 1);
	guest.launched = true;
	guest_run(guest_counts);
	expect_guest_done();
	expect_eq(guest_runs, 2);

	vmcs_reset();				/* VMCLEAR makes it clear */
	guest_baseline();
	guest_run(guest_counts);
	expect_guest_done();
}

TEST("insn.vmresume.nonlaunched", "VMRESUME of a clear VMCS fails with error 5")
{
	guest_runs = 0;
	guest.launched = true;			/* enter by VMRESUME */
	expect_outcome(guest_run(guest_counts), FAIL_VALID(VMERR_VMRESUME_NON_LAUNCHED));
	expect_eq(guest_runs, 0);
	guest.launched = false;
	guest_run(guest_counts);
	require_guest_done();

	vmcs_reset();				/* launched, then cleared */
	guest_baseline();
	guest.launched = true;
	expect_outcome(guest_run(guest_counts), FAIL_VALID(VMERR_VMRESUME_NON_LAUNCHED));
	expect_eq(guest_runs, 1);
}

TEST("insn.vmlaunch.no_current", "VMLAUNCH and VMRESUME without a current VMCS fail with VMfailInvalid")
{
	guest_runs = 0;
	vmcs_drop();
	for (int launched = 0; launched < 2; launched++) {
		CASE("%s", launched ? "VMRESUME" : "VMLAUNCH");
		guest.launched = launched;
		expect_outcome(guest_enter(), FAIL_INVALID);
	}
	vmcs_reset();
	guest_baseline();
	guest_run(guest_counts);
	expect_guest_done();
	expect_eq(guest_runs, 1);
}

static bool smm_monitor_valid(void)
{
	volatile u64 control = 0;
	const struct fault fault = TRY(control = rdmsr(IA32_SMM_MONITOR_CTL));

	return !fault.raised && (control & 1);
}

/* With a VMCS that is launched, and with none: a clear one ends some emulators. */
TEST("insn.vmcall.root", "VMCALL in VMX root operation fails with error 1 where no SMM monitor is set up")
{
	guest_run(guest_counts);
	require_guest_done();
	if (smm_monitor_valid())
		skip("the firmware has set up an SMM monitor (IA32_SMM_MONITOR_CTL[0])");

	expect_outcome(vmcall(NULL), FAIL_VALID(VMERR_VMCALL_IN_ROOT));
	vmcs_drop();
	expect_outcome(vmcall(NULL), FAIL_INVALID);
	vmcs_reset();
}
