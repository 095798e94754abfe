/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Activity and interruptibility state with RFLAGS.IF and injection ("Checks on Guest Non-Register State"): one
 * function a rule, and a walk through all combinations that tries those where one rule alone decides.
 */
#include "vmxtest/entry_guest.h"
#include "x86/interrupt.h"

/* The candidate for the next entry. */
static struct {
	u32 activity, interruptibility, injection;
	bool interrupts_on, virtual_nmis;
	u32 ss_dpl;
	bool sgx;		/* looked up once: CPUID exits where the suite is a guest */
} now;

static bool injects(u32 type)
{
	return now.injection & INTERRUPTION_VALID && (now.injection & INTERRUPTION_TYPE_MASK) == type;
}

static bool injects_vector(u32 type, u32 vector)
{
	return injects(type) && (now.injection & 0xff) == vector;
}

static bool blocking(u32 bits)
{
	return now.interruptibility & bits;
}

static bool activity_supported(void)
{
	switch (now.activity) {
	case ACTIVITY_ACTIVE: return true;
	case ACTIVITY_HLT: return has(CAP_MISC_ACTIVITY_HLT);
	case ACTIVITY_SHUTDOWN: return has(CAP_MISC_ACTIVITY_SHUTDOWN);
	case ACTIVITY_WAIT_FOR_SIPI: return has(CAP_MISC_ACTIVITY_WAIT_FOR_SIPI);
	default: return false;
	}
}

static bool hlt_at_cpl0(void)
{
	return now.activity != ACTIVITY_HLT || now.ss_dpl == 0;
}

static bool blocking_only_if_active(void)
{
	return now.activity == ACTIVITY_ACTIVE || !blocking(INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS);
}

static bool event_wakes_from_hlt(void)
{
	return now.activity != ACTIVITY_HLT || !(now.injection & INTERRUPTION_VALID) ||
	       injects(INTERRUPTION_TYPE_EXTERNAL) || injects(INTERRUPTION_TYPE_NMI) ||
	       injects_vector(INTERRUPTION_TYPE_HARDWARE, VECTOR_DB) ||
	       injects_vector(INTERRUPTION_TYPE_HARDWARE, VECTOR_MC) || injects_vector(INTERRUPTION_TYPE_OTHER, 0);
}

static bool event_wakes_from_shutdown(void)
{
	return now.activity != ACTIVITY_SHUTDOWN || !(now.injection & INTERRUPTION_VALID) ||
	       injects(INTERRUPTION_TYPE_NMI) || injects_vector(INTERRUPTION_TYPE_HARDWARE, VECTOR_MC);
}

static bool no_event_waiting_for_sipi(void)
{
	return now.activity != ACTIVITY_WAIT_FOR_SIPI || !(now.injection & INTERRUPTION_VALID);
}

static bool not_sti_and_mov_ss(void)
{
	return !(blocking(INTERRUPTIBILITY_STI) && blocking(INTERRUPTIBILITY_MOV_SS));
}

static bool sti_only_with_if(void)
{
	return now.interrupts_on || !blocking(INTERRUPTIBILITY_STI);
}

/* RFLAGS.IF: a rule of RFLAGS, which must hold for the others to decide. */
static bool interrupt_only_with_if(void)
{
	return now.interrupts_on || !injects(INTERRUPTION_TYPE_EXTERNAL);
}

static bool interrupt_not_blocked(void)
{
	return !injects(INTERRUPTION_TYPE_EXTERNAL) || !blocking(INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS);
}

static bool nmi_not_blocked_by_mov_ss(void)
{
	return !injects(INTERRUPTION_TYPE_NMI) || !blocking(INTERRUPTIBILITY_MOV_SS);
}

/* A processor may make this rule or not. */
static bool nmi_not_blocked_by_sti(void)
{
	return !injects(INTERRUPTION_TYPE_NMI) || !blocking(INTERRUPTIBILITY_STI);
}

static bool no_smi_blocking_outside_smm(void)
{
	return !blocking(INTERRUPTIBILITY_SMI);
}

static bool virtual_nmi_not_blocked(void)
{
	return !now.virtual_nmis || !injects(INTERRUPTION_TYPE_NMI) || !blocking(INTERRUPTIBILITY_NMI);
}

static bool enclave_interruption_possible(void)
{
	return !blocking(INTERRUPTIBILITY_ENCLAVE) || (now.sgx && !blocking(INTERRUPTIBILITY_MOV_SS));
}

typedef bool (*rule)(void);

static const rule rules[] = {
	activity_supported, hlt_at_cpl0, blocking_only_if_active, event_wakes_from_hlt, event_wakes_from_shutdown,
	no_event_waiting_for_sipi, not_sti_and_mov_ss, sti_only_with_if, interrupt_only_with_if, interrupt_not_blocked,
	nmi_not_blocked_by_mov_ss, nmi_not_blocked_by_sti, no_smi_blocking_outside_smm, virtual_nmi_not_blocked,
	enclave_interruption_possible,
};

static bool others_hold(rule one)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (rules[i] != one && !rules[i]())
			return false;
	return true;
}

/*
 * A guest in the wait-for-SIPI state can be stopped by another processor alone. So where that state is legal it is
 * made to fail before it is loaded: the guest has PAE paging, and a PDPTE with a reserved bit (reason 33,
 * qualification 2).
 */
enum { QUALIFICATION_PDPTE = 2, QUALIFICATION_NMI = 3 };

static void expect_legal_but_for_pdpte(void)
{
	u64 *pdptes = (u64 *)vmcs_read(GUEST_CR3);

	pdptes[0] = PAGE_PRESENT | BIT(1);
	expect_guest_state_q(false, QUALIFICATION_PDPTE);
	pdptes[0] = 0;
}

static void describe_case(void)
{
	CASE("activity %u, interruptibility %#x, injection %#x, RFLAGS.IF %u", now.activity, now.interruptibility,
	     now.injection, now.interrupts_on);
}

static void write_candidate(void)
{
	vmcs_write(GUEST_ACTIVITY_STATE, now.activity);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, now.interruptibility);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, now.injection);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | (now.interrupts_on ? RFLAGS_IF : 0));
}

/* Each kind of event that an entry may inject, and none; an ordinary one and the special ones of each type. */
#define INJECT(type, vector) (u32)(INTERRUPTION_VALID | INTERRUPTION_TYPE_##type | (vector))
static const u32 events[] = {
	0, INTERRUPTION_TYPE_EXTERNAL | 0x40, INTERRUPTION_TYPE_NMI | VECTOR_NMI,
	INJECT(EXTERNAL, 0x20), INJECT(EXTERNAL, 0xff), INJECT(NMI, VECTOR_NMI),
	INJECT(HARDWARE, VECTOR_DB), INJECT(HARDWARE, VECTOR_MC), INJECT(HARDWARE, VECTOR_DE),
	INJECT(HARDWARE, VECTOR_BP), INJECT(HARDWARE, VECTOR_UD), INJECT(HARDWARE, VECTOR_XM),
	INJECT(HARDWARE, VECTOR_DF) | INTERRUPTION_ERROR_CODE, INJECT(HARDWARE, VECTOR_GP) | INTERRUPTION_ERROR_CODE,
	INJECT(HARDWARE, VECTOR_PF) | INTERRUPTION_ERROR_CODE,
	INJECT(SOFTWARE_INTERRUPT, 0x80), INJECT(SOFTWARE_INTERRUPT, VECTOR_NMI), INJECT(EXTERNAL, VECTOR_MC),
	INJECT(SOFTWARE_INTERRUPT, VECTOR_MC),
	INJECT(PRIVILEGED, VECTOR_DB), INJECT(SOFTWARE_EXCEPTION, VECTOR_BP), INJECT(SOFTWARE_EXCEPTION, VECTOR_OF),
	INJECT(OTHER, 0),
};

/* #MC's vector in an event of another type: it has a test of its own. */
static bool only_looks_like_mc(u32 event)
{
	return (event & 0xff) == VECTOR_MC && (event & INTERRUPTION_TYPE_MASK) != INTERRUPTION_TYPE_HARDWARE;
}

static bool event_exists(u32 event)
{
	return (event & INTERRUPTION_TYPE_MASK) != INTERRUPTION_TYPE_OTHER || has(PROC_MONITOR_TRAP_FLAG);
}

static u32 tries[2];	/* of refused states and of legal ones */

/* 32 interruptibilities x RFLAGS.IF for one activity and event: those that this rule decides. */
static void walk_states(rule one)
{
	for (u32 n = 0; n < 32 * 2; n++) {
		now.interruptibility = n & 31;
		now.interrupts_on = n >> 5;
		if (!others_hold(one) || !walk_takes_nth(&tries[one()], 11))
			continue;
		describe_case();
		write_candidate();
		if (one() && now.activity == ACTIVITY_WAIT_FOR_SIPI)
			expect_legal_but_for_pdpte();
		else
			expect_guest_state(one());
	}
}

static void begin_walk(u32 activity)
{
	entry_stop_guest_in(activity);
	entry_guest_pae();
	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, 2);
	entry_guest_keep();
	tries[false] = tries[true] = 0;
	now.activity = activity;
	now.virtual_nmis = false;
	now.ss_dpl = 0;
	now.sgx = has(FEATURE_SGX);
}

/* A target may keep virtual-NMI blocking over failed entries and exits; an IRET in a guest ends it for what follows. */
static void end_walk(void)
{
	vmcs_reset();
	guest_baseline();
	if (!has(PIN_VIRTUAL_NMIS))
		return;
	vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
	guest_run(nmi_unblock);
	expect_guest_done();
	vmcs_reset();			/* the next walk begins without virtual NMIs */
	guest_baseline();
}

static void walk_events(rule one)
{
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		now.injection = events[i];
		if (event_exists(events[i]) && !(now.activity == ACTIVITY_SHUTDOWN && only_looks_like_mc(events[i])))
			walk_states(one);
	}
}

/* One activity, times the events and "virtual NMIs". */
static void walk_activity(rule one, u32 activity)
{
	begin_walk(activity);
	walk_events(one);
	if (has(PIN_VIRTUAL_NMIS)) {
		now.virtual_nmis = true;
		vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
		walk_events(one);
	}
	end_walk();
}

static void walk(rule one)
{
	for (u32 activity = ACTIVITY_ACTIVE; activity <= ACTIVITY_SHUTDOWN; activity++)
		walk_activity(one, activity);
}

TEST("entry.guest.activity.range", "the activity state is one that IA32_VMX_MISC[8:6] reports")
{
	entry_fail_after_guest_state();
	now.interruptibility = now.injection = 0;
	for (u32 n = 0; n < 4 + 30; n++) {
		now.activity = n < 4 ? n : BIT(n - 2);
		if (n == ACTIVITY_WAIT_FOR_SIPI && activity_supported())
			continue;
		describe_case();
		vmcs_write(GUEST_ACTIVITY_STATE, now.activity);
		expect_guest_state(activity_supported());
		CASE("activity %#x", now.activity | 1);
		if (n < 4)
			continue;
		vmcs_write(GUEST_ACTIVITY_STATE, now.activity | 1);
		expect_guest_state(false);
	}
	if (!has(CAP_MISC_ACTIVITY_WAIT_FOR_SIPI))
		return;
	entry_guest_pae();
	CASE("activity 3 (wait-for-SIPI)");
	vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_WAIT_FOR_SIPI);
	expect_legal_but_for_pdpte();
}

TEST("entry.guest.activity.hlt_dpl", "activity state HLT needs SS.DPL = 0", NEEDS(CAP_MISC_ACTIVITY_HLT))
{
	entry_stop_guest_in(ACTIVITY_ACTIVE);
	entry_guest_keep();
	now.interruptibility = now.injection = 0;
	for (u32 n = 0; n < 3 * 4 * 2; n++) {
		const u32 unusable = n / 12 ? RIGHTS_NOT_USABLE : 0;

		now.activity = n % 3;
		now.ss_dpl = n / 3 % 4;
		if (!activity_supported())
			continue;
		CASE("activity %u, SS.DPL %u, SS unusable %u", now.activity, now.ss_dpl, unusable != 0);
		entry_stop_guest_in(now.activity);
		vmcs_write(GUEST_ACTIVITY_STATE, now.activity);
		vmcs_write(GUEST_CS_SELECTOR, 8 | now.ss_dpl);
		vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE64 | now.ss_dpl << 5);
		vmcs_write(GUEST_SS_SELECTOR, 16 | now.ss_dpl);
		vmcs_write(GUEST_SS_ACCESS_RIGHTS, RIGHTS_DATA32 | now.ss_dpl << 5 | unusable);
		expect_guest_state(hlt_at_cpl0());
	}
}

TEST("entry.guest.activity.blocking", "blocking by STI or MOV SS needs the active state")
{
	walk(blocking_only_if_active);
}

TEST("entry.guest.activity.hlt_events", "only an event that ends HLT is injected into the HLT state",
     NEEDS(CAP_MISC_ACTIVITY_HLT))
{
	walk(event_wakes_from_hlt);
}

TEST("entry.guest.activity.shutdown_events", "only an NMI or #MC is injected into the shutdown state",
     NEEDS(CAP_MISC_ACTIVITY_SHUTDOWN))
{
	walk(event_wakes_from_shutdown);
}

TEST("entry.guest.activity.shutdown_mc_type", "the vector of #MC alone does not get an event into the shutdown state",
     NEEDS(CAP_MISC_ACTIVITY_SHUTDOWN))
{
	begin_walk(ACTIVITY_SHUTDOWN);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		now.injection = events[i];
		if (only_looks_like_mc(events[i]) || events[i] == INJECT(HARDWARE, VECTOR_MC))
			walk_states(event_wakes_from_shutdown);
	}
}

TEST("entry.guest.activity.sipi_events", "nothing is injected into the wait-for-SIPI state",
     NEEDS(CAP_MISC_ACTIVITY_WAIT_FOR_SIPI))
{
	walk_activity(no_event_waiting_for_sipi, ACTIVITY_WAIT_FOR_SIPI);
}

/* HLT and wait-for-SIPI have these two of their own: a hypervisor may make these states up, and check too little. */
static void walk_interruptibility(u32 activity)
{
	walk_activity(no_smi_blocking_outside_smm, activity);
	walk_activity(enclave_interruption_possible, activity);
}

TEST("entry.guest.activity.hlt_blocking", "the HLT state lets no blocking by SMI and no enclave interruption in",
     NEEDS(CAP_MISC_ACTIVITY_HLT))
{
	walk_interruptibility(ACTIVITY_HLT);
}

TEST("entry.guest.activity.sipi_blocking",
     "the wait-for-SIPI state lets no blocking by STI, MOV SS or SMI and no enclave interruption in",
     NEEDS(CAP_MISC_ACTIVITY_WAIT_FOR_SIPI))
{
	walk_activity(blocking_only_if_active, ACTIVITY_WAIT_FOR_SIPI);
	walk_interruptibility(ACTIVITY_WAIT_FOR_SIPI);
}

TEST("entry.guest.intr.reserved", "bits 31:5 of the interruptibility state are 0")
{
	entry_stop_guest_in(ACTIVITY_ACTIVE);
	entry_guest_keep();
	for (u32 bit = 5; bit < 32; bit++) {
		CASE("interruptibility %#lx", BIT(bit));
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, BIT(bit));
		expect_reserved_refused();
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, BIT(bit) | INTERRUPTIBILITY_MOV_SS);
		expect_reserved_refused();
	}
	CASE("interruptibility 0, then blocking by MOV SS");
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	expect_guest_state(true);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_MOV_SS);
	expect_guest_state(true);
}

TEST("entry.guest.intr.sti_movss", "there is no blocking by STI and by MOV SS at once")
{
	walk(not_sti_and_mov_ss);
}

TEST("entry.guest.intr.sti_if", "blocking by STI needs RFLAGS.IF = 1")
{
	walk(sti_only_with_if);
}

TEST("entry.guest.intr.extint_block", "an external interrupt is injected only without blocking by STI or MOV SS")
{
	walk(interrupt_not_blocked);
}

TEST("entry.guest.intr.nmi_movss", "an NMI is injected only without blocking by MOV SS")
{
	walk(nmi_not_blocked_by_mov_ss);
}

static bool refused_by_processor(void)
{
	struct outcome outcome;

	write_candidate();
	outcome = entry_attempt(false);
	entry_guest_put_back();
	nmi_unblock();
	return outcome.kind == OUTCOME_ENTRY_FAILURE && outcome.number == EXIT_INVALID_GUEST_STATE;
}

/* One or the other, but always the same. */
TEST("entry.guest.intr.nmi_sti", "an NMI with blocking by STI is refused with qualification 3, or accepted")
{
	bool refused = false;

	entry_stop_guest_in(ACTIVITY_ACTIVE);
	entry_guest_keep();
	now.activity = ACTIVITY_ACTIVE;
	now.injection = INJECT(NMI, VECTOR_NMI);
	now.interrupts_on = true;
	for (u32 n = 0; n < 4; n++) {
		now.virtual_nmis = n & 1;
		if (now.virtual_nmis && !has(PIN_VIRTUAL_NMIS))
			continue;
		if (now.virtual_nmis)
			vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
		else
			vmcs_clear_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
		now.interruptibility = INTERRUPTIBILITY_STI | (n == 2 ? INTERRUPTIBILITY_NMI : 0);	/* not with virtual NMIs */
		if (n == 0)
			refused = refused_by_processor();
		describe_case();
		write_candidate();
		expect_guest_state_q(!refused, QUALIFICATION_NMI);
		now.interruptibility = 0;
		describe_case();
		write_candidate();
		expect_guest_state(true);
	}
}

/* Of HLT and wait-for-SIPI see entry.guest.activity. */
TEST("entry.guest.intr.smi_outside_smm", "outside SMM there is no blocking by SMI")
{
	walk_activity(no_smi_blocking_outside_smm, ACTIVITY_ACTIVE);
	walk_activity(no_smi_blocking_outside_smm, ACTIVITY_SHUTDOWN);
}

TEST("entry.guest.intr.vnmi_inject", "with virtual NMIs an NMI is injected only without blocking by NMI",
     NEEDS(PIN_VIRTUAL_NMIS))
{
	walk(virtual_nmi_not_blocked);
}

TEST("entry.guest.intr.enclave", "enclave interruption needs SGX, and no blocking by MOV SS")
{
	walk_activity(enclave_interruption_possible, ACTIVITY_ACTIVE);
	walk_activity(enclave_interruption_possible, ACTIVITY_SHUTDOWN);
}
