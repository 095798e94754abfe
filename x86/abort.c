/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VMX aborts (SDM Vol. 3C, "VMX Aborts", "Saving MSRs", "Loading MSRs"). Another processor runs a guest whose exit
 * must abort: it shuts down, and the reason is in its VMCS region. Only RESET wakes it, so each case needs a
 * processor of its own; where INIT and SIPI happen to restart one all the same, it serves the next case too.
 */
#include "vmx/msr_list.h"
#include "vmxtest/other.h"
#include "vmxtest/vmxtest.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/wait.h"

enum abort_indicator { NO_ABORT = 0, ABORT_SAVING_MSRS = 1, ABORT_LOADING_MSRS = 4 };

static struct msr_entry list[4] ALIGNED(16);
static volatile u32 progress;
enum { NOT_STARTED, IN_GUEST, BEHIND_EXIT };

static void guest_says_so(void)
{
	progress = IN_GUEST;
}

/* What to do at the exit: with which list, or with no list at all. */
struct exit_case {
	const char *text;
	enum vmcs_field address, count;	/* 0: none */
	struct msr_entry bad;
};

static const struct exit_case *current;

static void run_case(void)
{
	if (current->count) {
		vmcs_write(current->address, physical_address(list));
		vmcs_write(current->count, 3);
	}
	guest_run(guest_says_so);
	progress = BEHIND_EXIT;
}

/*
 * A processor that can take a case: a fresh one, or the one of the last case, if INIT and SIPI start it again, which takes
 * seconds to find out where they do not. 0: there is none left.
 */
static unsigned int next_processor(void)
{
	for (unsigned int n = 1; n + 1 < cpus_online(); n++)	/* cap.featctl.outside_smx wants the last one as it was */
		if (!cpu_number(n)->work)
			return n;
	cpus_recall();
	return cpus_online() > 1;
}

static u32 indicator(void)
{
	return *(const volatile u32 *)&vmx_other_region()->abort_indicator;
}

/* Start a case and wait until its guest runs (or has ended already). 0: no processor. */
static unsigned int start_case(const struct exit_case *this)
{
	const unsigned int n = next_processor();

	if (!n)
		return 0;
	list[0] = (struct msr_entry){ .index = IA32_LSTAR, .value = 0x1234 };	/* a good one before and behind it */
	list[1] = this->bad;
	list[2] = list[0];
	progress = NOT_STARTED;
	current = this;
	vmx_other_start(n, run_case);
	wait_for_other(progress >= IN_GUEST || on_cpu_done(n), WAIT_MS);
	return n;
}

/* The processor had time enough to end its exit. */
static void wait_for_end(void)
{
	wait_for_other(progress == BEHIND_EXIT || indicator() != NO_ABORT, WAIT_MS);
}

/* What the processor says once the case has been started; a bad list is made good in the end, and must not matter. */
static bool expect_abort(const struct exit_case *this)
{
	const unsigned int n = start_case(this);

	if (!n)
		return false;
	CASE("%s, on processor %u", this->text, n);
	wait_for_end();
	expect_eq(progress, IN_GUEST);
	list[1] = list[0];
	wait_for_other(progress == BEHIND_EXIT, 1);
	if (!expect(progress == IN_GUEST && cpu_number(n)->work, "the processor does not go on behind the VM exit"))
		on_cpu_wait(n);
	return true;
}

static void expect_no_abort(const struct exit_case *this)
{
	const unsigned int n = start_case(this);

	if (!n)
		return;
	CASE("the twin: %s", this->text);
	wait_for_other(on_cpu_done(n), WAIT_MS);
	expect_eq(progress, BEHIND_EXIT);
	expect_eq(indicator(), NO_ABORT);
}

static void expect_aborts(const struct exit_case *cases, u32 count)
{
	u32 shown = 0;

	for (u32 i = 0; i < count; i++) {
		if (!expect_abort(&cases[i]))
			break;
		shown++;
	}
	if (!shown)
		skip("needs another processor: all are in VMX-abort shutdown");
	if (shown < count)
		note("%u of %u cases were tried: INIT does not end a VMX abort, and there is no further processor", shown, count);
}

#define STORE VM_EXIT_MSR_STORE_ADDRESS, VM_EXIT_MSR_STORE_COUNT
#define LOAD VM_EXIT_MSR_LOAD_ADDRESS, VM_EXIT_MSR_LOAD_COUNT
#define ENTRY_LOAD VM_ENTRY_MSR_LOAD_ADDRESS, VM_ENTRY_MSR_LOAD_COUNT

/* No processor has an MSR from 40000000H to 400000FFH, but hypervisors do; they leave those behind them alone too. */
#define NO_MSR 0x40000f00

static const struct exit_case good_store = { "good MSR-store list", STORE, { IA32_CSTAR, 0, 0 } };
static const struct exit_case good_load = { "good MSR-load list", LOAD, { IA32_CSTAR, 0, 0 } };

TEST("exit.msr.store_fail_abort", "a bad entry in the MSR-store list makes the exit a VMX abort",
     NEEDS(NEED_CPUS(2), MAY_SHUT_DOWN))
{
	static const struct exit_case cases[] = {
		{ "an MSR that does not exist", STORE, { NO_MSR, 0, 0 } },
		{ "reserved bit 32", STORE, { IA32_CSTAR, 1, 0 } },
		{ "reserved bit 63", STORE, { IA32_CSTAR, 0x80000000, 0 } },
		{ "an x2APIC MSR", STORE, { 0x808, 0, 0 } },
		{ "the last x2APIC MSR", STORE, { 0x8ff, 0, 0 } },
		{ "IA32_SMBASE, readable in SMM only", STORE, { IA32_SMBASE, 0, 0 } },
	};

	expect_no_abort(&good_store);
	expect_aborts(cases, ARRAY_SIZE(cases));
}

TEST("exit.msr.load_fail_abort", "a bad entry in the MSR-load list makes the exit a VMX abort",
     NEEDS(NEED_CPUS(2), MAY_SHUT_DOWN))
{
	static const struct exit_case cases[] = {
		{ "IA32_FS_BASE", LOAD, { IA32_FS_BASE, 0, 0 } },
		{ "IA32_GS_BASE", LOAD, { IA32_GS_BASE, 0, 0 } },
		{ "an MSR that does not exist", LOAD, { NO_MSR, 0, 0 } },
		{ "reserved bit 32", LOAD, { IA32_CSTAR, 1, 0 } },
		{ "reserved bit 63", LOAD, { IA32_CSTAR, 0x80000000, 0 } },
		{ "an x2APIC MSR", LOAD, { 0x808, 0, 0 } },
		{ "an address that is not canonical", LOAD, { IA32_CSTAR, 0, 1ull << 62 } },
		{ "a reserved bit of IA32_EFER", LOAD, { IA32_EFER, 0, EFER_LMA | EFER_LME | 2 } },
		{ "a memory type that does not exist", LOAD, { IA32_PAT, 0, 2 } },
		{ "IA32_SMM_MONITOR_CTL, writable in SMM only", LOAD, { IA32_SMM_MONITOR_CTL, 0, 0 } },
	};

	expect_no_abort(&good_load);
	expect_aborts(cases, ARRAY_SIZE(cases));
}

static void expect_indicator(const struct exit_case *this, enum abort_indicator expected)
{
	if (!start_case(this))
		skip("needs another processor: all are in VMX-abort shutdown");
	wait_for_end();
	expect_eq(indicator(), expected);
	list[1] = list[0];
}

TEST("abort.code.saving_msrs", "the VMX-abort indicator is 1 after a failure to save guest MSRs",
     NEEDS(NEED_CPUS(2), MAY_SHUT_DOWN))
{
	static const struct exit_case bad = { "an MSR that does not exist", STORE, { NO_MSR, 0, 0 } };

	expect_indicator(&bad, ABORT_SAVING_MSRS);
}

TEST("abort.code.loading_msrs", "the VMX-abort indicator is 4 after a failure to load host MSRs",
     NEEDS(NEED_CPUS(2), MAY_SHUT_DOWN))
{
	static const struct exit_case bad = { "IA32_FS_BASE", LOAD, { IA32_FS_BASE, 0, 0 } };

	expect_indicator(&bad, ABORT_LOADING_MSRS);
}

static const struct exit_case load_fs_base = { "IA32_FS_BASE", LOAD, { IA32_FS_BASE, 0, 0 } };

TEST("abort.indicator", "a VMX abort leaves an indicator that is not 0 in the VMCS region, and the revision identifier as it was",
     NEEDS(NEED_CPUS(2), MAY_SHUT_DOWN))
{
	if (!start_case(&load_fs_base))
		skip("needs another processor: all are in VMX-abort shutdown");
	wait_for_end();
	expect_ne(indicator(), NO_ABORT);
	expect_eq(vmx_other_region()->revision, vmx_capabilities()->revision);
}

TEST("abort.shutdown", "a processor that came to a VMX abort executes nothing more",
     NEEDS(NEED_CPUS(2), MAY_SHUT_DOWN))
{
	const unsigned int n = start_case(&load_fs_base);

	if (!n)
		skip("needs another processor: all are in VMX-abort shutdown");
	delay_us(20000);
	expect_eq(progress, IN_GUEST);
	expect(cpu_number(n)->work, "the processor does not come back to its loop");
}

/* No abort, but here are the cases in x2APIC mode. (entry.msr.fail.x2apic has all of the MSRs, in the mode of the others.) */
TEST("entry.msr.fail.x2apic_mode", "an x2APIC MSR in the VM-entry MSR-load area is refused in x2APIC mode too",
     NEEDS(NEED_CPUS(2), NEED_X2APIC_MODE))
{
	static const struct exit_case bad = { "an x2APIC MSR", ENTRY_LOAD, { 0x808, 0, 0 } };
	const unsigned int n = start_case(&bad);

	if (!n)
		skip("needs another processor: all are in VMX-abort shutdown");
	if (expect_eq(progress, BEHIND_EXIT))
		on_cpu_wait(n);
	expect_outcome(guest.outcome, ENTRY_FAILS(EXIT_MSR_LOADING, 2));
}
