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
	require(guest.launched, "the VMCS is launched");

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
	vmcs_write(GUEST_RFLAGS, 0);		/* should it be entered after all: no guest that runs */
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

/* Dual-monitor treatment that the firmware has set up: the clear VMCS would call its monitor. */
TEST("insn.vmcall.root_nonclear", "VMCALL in VMX root operation with a launched VMCS fails with error 19",
     NEEDS(CAP_BASIC_DUAL_MONITOR))
{
	if (!smm_monitor_valid())
		skip("no SMM monitor is set up (IA32_SMM_MONITOR_CTL[0])");
	guest_run(guest_counts);
	require_guest_done();
	expect_outcome(vmcall(NULL), FAIL_VALID(VMERR_VMCALL_NON_CLEAR));
}

/* behind.S: VM entry as the instruction right behind another; RFLAGS if it failed, 0 after an exit. */
u64 enter_at(const u8 *entry);
extern const u8 vmlaunch_alone[], vmlaunch_behind_mov_ss[], vmlaunch_behind_mov_ss_nop[], vmlaunch_behind_sti[];
extern const u8 vmresume_alone[], vmresume_behind_mov_ss[], vmresume_behind_mov_ss_nop[], vmresume_behind_sti[];

GUEST_ASM(guest_calls_host, "vmcall");

static void prepare_direct_guest(void)
{
	vmcs_reset();
	guest_baseline();
	vmcs_write(GUEST_RIP, (u64)guest_calls_host);
}

static void expect_entry(const char *name, const u8 *entry)
{
	CASE("%s", name);
	expect_eq(enter_at(entry), 0);
	expect_eq(vmcs_read(EXIT_REASON), EXIT_VMCALL);
}

static void expect_blocked(const char *name, const u8 *entry)
{
	const u64 rflags = enter_at(entry);

	CASE("%s", name);
	expect_bits(rflags, RFLAGS_ARITHMETIC, FLAGS_FAIL_VALID);
	expect_eq(vmcs_read(VM_INSTRUCTION_ERROR), VMERR_ENTRY_BLOCKED_BY_MOV_SS);
}

/* The blocking ends behind the next instruction: with a NOP between there is none. */
TEST("insn.vmlaunch.movss", "VMLAUNCH and VMRESUME right behind MOV SS fail with error 26")
{
	prepare_direct_guest();
	expect_blocked("VMLAUNCH behind MOV SS", vmlaunch_behind_mov_ss);
	expect_entry("VMLAUNCH behind MOV SS and NOP", vmlaunch_behind_mov_ss_nop);
	expect_blocked("VMRESUME behind MOV SS", vmresume_behind_mov_ss);
	expect_entry("VMRESUME behind MOV SS and NOP", vmresume_behind_mov_ss_nop);
	prepare_direct_guest();
	expect_entry("VMLAUNCH", vmlaunch_alone);
	expect_entry("VMRESUME", vmresume_alone);
}

TEST("insn.vmlaunch.sti_ok", "VMLAUNCH and VMRESUME right behind STI enter the guest")
{
	prepare_direct_guest();
	expect_entry("VMLAUNCH behind STI", vmlaunch_behind_sti);
	expect_entry("VMRESUME behind STI", vmresume_behind_sti);
}

static void leave_and_enter_vmx_operation(void)
{
	const u64 vmxon_pointer = physical_address(&vmxon_region);

	require_outcome(vmxoff(NULL), SUCCEED);
	require_outcome(vmxon(&vmxon_pointer, NULL), SUCCEED);
}

/*
 * VMXOFF may corrupt a VMCS that is active, and then anything may happen ("Software Access to Related Structures" and
 * what follows it): what does is a note. VMCLEAR before prevents it.
 */
TEST("insn.vmxoff.then_vmresume", "A VMCS that is cleared before VMXOFF can be launched after VMXON; what VMRESUME does to one that is not, is noted")
{
	const u64 region = physical_address(&vmcs_region);
	struct outcome outcome;
	char found[96];

	guest_runs = 0;
	guest_run(guest_counts);
	require_guest_done();
	CASE("with VMCLEAR before VMXOFF");
	require_outcome(vmclear(&region, NULL), SUCCEED);
	leave_and_enter_vmx_operation();
	require_outcome(vmptrld(&region, NULL), SUCCEED);
	guest.launched = false;
	guest_run(guest_counts);
	expect_guest_done();
	expect_eq(guest_runs, 2);

	CASE("without");
	if (may(MAY_STOP)) {
		leave_and_enter_vmx_operation();
		require_outcome(vmptrld(&region, NULL), SUCCEED);
		guest.launched = true;
		outcome = guest_run(guest_counts);
		outcome_format(found, sizeof(found), &outcome);
		if (guest_runs != 3 && outcome.number != VMERR_VMRESUME_NON_LAUNCHED &&
		    outcome.number != VMERR_VMRESUME_AFTER_VMXOFF)
			note("VMRESUME of a VMCS that was active at VMXOFF: %s", found);
	}
	vmcs_reset();
}
