/* SPDX-License-Identifier: BSD-2-Clause */
/* Words of controls that another control activates, and checks that stand alone. */
#include "control.h"

static struct {
	struct fault rdtscp;
} seen;

/* Each of these would exit, or would do something else, with its secondary control 1. */
static void guest_uses_what_secondary_controls_change(void)
{
	u32 aux;
	static struct table_register gdtr;

	asm volatile("sgdt %0; sidt %0" : "=m"(gdtr));
	asm volatile("wbinvd; pause; pause" : : : "memory");
	seen.rdtscp = TRY(rdtscp(&aux));
}

TEST("entry.ctl.proc2.ignored", "without \"activate secondary controls\" they are not looked at and act as 0",
     NEEDS(PROC_ACTIVATE_SECONDARY_CONTROLS))
{
	for (u32 i = 0; i < 32; i++) {
		vmcs_write(SECONDARY_PROC_CONTROLS, BIT(i));
		CASE("secondary controls %#x", BIT(i));
		expect_outcome(entry_attempt(true), ACCEPTED);
	}
	vmcs_write(SECONDARY_PROC_CONTROLS, 0xffffffff);
	vmcs_clear_controls(PROC_ACTIVATE_SECONDARY_CONTROLS);
	CASE("all secondary controls");
	expect_outcome(entry_attempt(true), ACCEPTED);

	guest_run(guest_uses_what_secondary_controls_change);
	expect_guest_done();
	expect_fault(seen.rdtscp, VECTOR_UD, 0);
}

TEST("entry.ctl.proc3.ignored", "without \"activate tertiary controls\" they are not looked at",
     NEEDS(PROC_ACTIVATE_TERTIARY_CONTROLS))
{
	for (u32 i = 0; i <= 64; i++) {
		vmcs_write(TERTIARY_PROC_CONTROLS, i < 64 ? BIT(i) : ~0ull);
		CASE("tertiary controls: bit %u", i);
		expect_outcome(entry_attempt(true), ACCEPTED);
	}
}

static void try_preemption_timer(bool activate, bool save)
{
	CASE("activate %u, save %u", activate, save);
	if (activate)
		vmcs_set_controls(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
	else
		vmcs_clear_controls(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
	if (save)
		vmcs_set_controls(EXITCTL_SAVE_VMX_PREEMPTION_TIMER_VALUE);
	else
		vmcs_clear_controls(EXITCTL_SAVE_VMX_PREEMPTION_TIMER_VALUE);
	expect_outcome(entry_attempt(true), save && !activate ? FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS) : ACCEPTED);
}

/* NMI-window exiting is the same bit (22) of another word: it must play no part. */
TEST("entry.ctl.preempt.save_needs_activate", "saving the VMX-preemption timer needs it activated",
     NEEDS(PIN_ACTIVATE_VMX_PREEMPTION_TIMER, EXITCTL_SAVE_VMX_PREEMPTION_TIMER_VALUE))
{
	for (u32 set = 0; set < 4; set++)
		try_preemption_timer(set & 1, set & 2);
	if (has(PIN_VIRTUAL_NMIS) && has(PROC_NMI_WINDOW_EXITING)) {
		vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS, PROC_NMI_WINDOW_EXITING);
		for (u32 set = 0; set < 4; set++)
			try_preemption_timer(set & 1, set & 2);
	}
}

TEST("entry.ctl.entry.smm", "\"entry to SMM\" and \"deactivate dual-monitor treatment\" are 0 outside SMM",
     NEEDS(ENTRYCTL_ENTRY_TO_SMM, ENTRYCTL_DEACTIVATE_DUAL_MONITOR_TREATMENT))
{
	CASE("neither");
	expect_outcome(entry_attempt(true), ACCEPTED);
	vmcs_set_controls(ENTRYCTL_ENTRY_TO_SMM);
	CASE("entry to SMM");
	expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	vmcs_clear_controls(ENTRYCTL_ENTRY_TO_SMM);
	vmcs_set_controls(ENTRYCTL_DEACTIVATE_DUAL_MONITOR_TREATMENT);
	CASE("deactivate dual-monitor treatment");
	expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
}

TEST("entry.ctl.entry.smm_both", "\"entry to SMM\" and \"deactivate dual-monitor treatment\" are not both 1")
{
	vmcs_set_controls(ENTRYCTL_ENTRY_TO_SMM, ENTRYCTL_DEACTIVATE_DUAL_MONITOR_TREATMENT);
	expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	vmcs_clear_controls(ENTRYCTL_ENTRY_TO_SMM, ENTRYCTL_DEACTIVATE_DUAL_MONITOR_TREATMENT);
	expect_outcome(entry_attempt(true), ACCEPTED);
}

/* Older editions of the manual do not have the check on 0. */
TEST("entry.ctl.tsc.multiplier_zero", "with TSC scaling a multiplier of 0 fails with error 7, or is not looked at",
     NEEDS(PROC2_USE_TSC_SCALING))
{
	struct outcome outcome;

	vmcs_set_controls(PROC2_USE_TSC_SCALING);
	for (u32 i = 0; i < 64; i++) {
		vmcs_write(TSC_MULTIPLIER, BIT(i));
		CASE("multiplier %#lx", BIT(i));
		expect_outcome(entry_attempt(true), ACCEPTED);
	}
	vmcs_write(TSC_MULTIPLIER, 0);
	CASE("multiplier 0");
	outcome = entry_attempt(true);
	if (outcome.kind != OUTCOME_ACCEPTED)
		expect_outcome(outcome, FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	vmcs_clear_controls(PROC2_USE_TSC_SCALING);
	CASE("multiplier 0, \"use TSC scaling\" 0");
	expect_outcome(entry_attempt(true), ACCEPTED);
}

TEST("entry.ctl.pt.useguestpa", "PT with guest-physical addresses needs EPT, and IA32_RTIT_CTL loaded and cleared",
     NEEDS(PROC2_INTEL_PT_USES_GUEST_PHYSICAL_ADDRESSES))
{
	static const u32 needed[] = {
		PROC2_ENABLE_EPT, ENTRYCTL_LOAD_IA32_RTIT_CTL, EXITCTL_CLEAR_IA32_RTIT_CTL,
	};

	control_fields_make_valid();
	vmcs_set_controls(PROC2_INTEL_PT_USES_GUEST_PHYSICAL_ADDRESSES);
	for (u32 set = 0; set < 8; set++) {
		for (u32 i = 0; i < 3; i++)
			vmcs_change_controls((const u32[]){ needed[i], 0 }, set & 1u << i);
		CASE("EPT, load, clear = %#x", set);
		expect_outcome(entry_attempt(true), set == 7 ? ACCEPTED : FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	}
}
