/* SPDX-License-Identifier: BSD-2-Clause */
/* "Loading Host RIP, RSP, RFLAGS, and SSP", "Updating Non-Register State", "Clearing Address-Range Monitoring". */
#include "hostload.h"

#include "libc/string.h"
#include "x86/apic.h"
#include "x86/interrupt.h"
#include "x86/monitor.h"
#include "x86/page.h"
#include "x86/time.h"
#include "x86/wait.h"

TEST("hostload.rip_rsp", "RIP and RSP come from the host fields")
{
	exit_probe_on();
	for (u32 entry = 0; entry < EXIT_PROBE_ENTRIES; entry++) {
		CASE("entry %u of the probe", entry);
		vmcs_write(HOST_RIP, (u64)exit_probe_entries + entry * EXIT_PROBE_ENTRY_SIZE);
		guest_run(guest_ends);
		expect_guest_done();
		expect_eq(exit_probe.entry, entry);
		expect_eq(exit_probe.rip, exit_probe_start);
	}

	/* The same code at other linear addresses; none of bits 31:30 is left, with both it would be another GiB. */
	vmcs_write(HOST_CR3, page_tables_that_repeat());
	for (u32 bit = 30; bit < paged_address_width(); bit++) {
		const u64 at = BIT(bit) | (bit == paged_address_width() - 1 ? -BIT(bit) : 0);

		CASE("RIP in %#lx", at);
		vmcs_write(HOST_RIP, at + (u64)exit_probe_entries);
		guest_run(guest_ends);
		expect_guest_done();
		expect_eq(exit_probe.rip, at + (u64)exit_probe_start);
	}

	exit_probe_on();
	vmcs_write(HOST_CR3, read_cr3());
	for (u32 bit = 0; bit < 64; bit++) {
		/* Nothing is checked about RSP: neither alignment nor that it is canonical. */
		for (u32 flip = 0; flip < 2; flip++) {
			guest.host_rsp = flip ? ~BIT(bit) : BIT(bit);
			CASE("RSP %#lx", guest.host_rsp);
			guest_run(guest_ends);
			expect_guest_done();
			expect_eq(exit_probe.rsp, guest.host_rsp);
		}
	}
}

/* Every flag that a guest at CPL 0 in 64-bit mode may have; TF with an exit before the first instruction is done. */
static const u64 guest_flags[] = {
	RFLAGS_CF, RFLAGS_PF, RFLAGS_AF, RFLAGS_ZF, RFLAGS_SF, RFLAGS_TF, RFLAGS_IF, RFLAGS_DF, RFLAGS_OF, BIT(12), BIT(13),
	RFLAGS_NT, RFLAGS_RF, RFLAGS_AC, BIT(19), BIT(20), BIT(21), RFLAGS_ARITHMETIC | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF |
	RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF | RFLAGS_AC | BIT(19) | BIT(20) | BIT(21),
};

GUEST_ASM(hostload_cpuid, "cpuid; vmcall");

TEST("hostload.rflags", "RFLAGS is 2 after the exit, whatever the guest's are")
{
	exit_probe_on();
	for (u32 i = 0; i < ARRAY_SIZE(guest_flags); i++) {
		CASE("guest RFLAGS %#x", guest_flags[i]);
		vmcs_write(GUEST_RFLAGS, guest_flags[i] | RFLAGS_FIXED);
		vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
		guest_run_at(hostload_cpuid);
		expect_exit(EXIT_CPUID);
		expect_eq(exit_probe.rflags, RFLAGS_FIXED);
	}
	CASE("virtual-8086 mode");
	start_over();
	guest_run_mode(MODE_VIRTUAL_8086);
	expect_guest_done();
	expect_eq(exit_probe.rflags, RFLAGS_FIXED);
}

/*
 * HOST_RIP of a host whose first instruction is a VMLAUNCH: with blocking by MOV SS it would fail with error 26, and
 * without it, the VMCS being launched, with error 4.
 */
extern const u8 hostload_vmlaunch[];
asm(".pushsection .text\nhostload_vmlaunch: vmlaunch; jmp vmx_exit_point\n.popsection");

GUEST_ASM(hostload_cpuid_after_mov_ss, "mov %ss, %ecx; mov %ecx, %ss; cpuid; vmcall");
GUEST_ASM(hostload_cpuid_after_sti, "sti; cpuid; vmcall");

static volatile u32 debug_exceptions;

static void count_debug_exception(UNUSED struct exception_frame *frame)
{
	debug_exceptions++;
}

static void expect_no_blocking_in_host(void (*guest_code)(void), u64 rflags, u32 saved)
{
	u64 unused = 0;

	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | rflags);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	vmread(0x7ffe, &unused, NULL);		/* the error is another one now: 12 */
	guest_run_at(guest_code);
	/* The failed VMLAUNCH leaves the exit's information. */
	expect_exit(EXIT_CPUID);
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), saved);
	expect_eq(vmcs_read(VM_INSTRUCTION_ERROR), VMERR_VMLAUNCH_NON_CLEAR);
}

TEST("hostload.nonreg", "the host is active, without blocking by STI or MOV SS and without pending debug exceptions")
{
	u64 unused = 0;

	interrupt_handle(VECTOR_DB, count_debug_exception);
	debug_exceptions = 0;
	guest_run_at(hostload_cpuid);		/* now the VMCS is launched */
	expect_exit(EXIT_CPUID);
	vmcs_write(HOST_RIP, (u64)hostload_vmlaunch);

	CASE("no blocking in the guest");
	expect_no_blocking_in_host(hostload_cpuid, 0, 0);
	CASE("blocking by STI in the guest");
	expect_no_blocking_in_host(hostload_cpuid_after_sti, 0, INTERRUPTIBILITY_STI);
	CASE("blocking by MOV SS in the guest");
	expect_no_blocking_in_host(hostload_cpuid_after_mov_ss, 0, INTERRUPTIBILITY_MOV_SS);

	/* A data breakpoint at MOV SS's operand would be taken behind CPUID: TF, the same. */
	CASE("blocking by MOV SS and a single step that is pending");
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_TF);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_MOV_SS);
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, BIT(14));
	vmread(0x7ffe, &unused, NULL);
	guest_run_at(hostload_cpuid);
	expect_exit(EXIT_CPUID);
	expect_eq(vmcs_read(VM_INSTRUCTION_ERROR), VMERR_VMLAUNCH_NON_CLEAR);
	expect_eq(debug_exceptions, 0);

	if (!has(CAP_MISC_ACTIVITY_HLT) || !has(PIN_ACTIVATE_VMX_PREEMPTION_TIMER))
		return;
	CASE("a guest that is halted");
	exit_probe_on();
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
	vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
	vmcs_write(VMX_PREEMPTION_TIMER_VALUE, 1000);
	guest_run_at(hostload_cpuid);
	expect_exit(EXIT_PREEMPTION_TIMER);
	expect_eq(exit_probe.rflags, RFLAGS_FIXED);	/* the probe has run */
}

TEST("hostload.monitor", "an exit ends the monitoring that the guest armed: MWAIT in the host does not wait",
     NEEDS(FEATURE_MONITOR, FEATURE_MTRR))
{
	const u64 memory_types = memory_make_write_back();

	if (!mwait_can_wait()) {
		wrmsr(IA32_MTRR_DEF_TYPE, memory_types);
		skip("needs an MWAIT that waits, which this one does not behind a MONITOR in the host");
	}
	for (u32 i = 0; i < 3; i++) {
		bool waits = true;

		/* The timer may come before the MWAIT, if this processor stands still for so long: then with more time. */
		for (u32 ticks = MWAIT_TICKS; waits && ticks <= 100 * MWAIT_TICKS; ticks *= 10) {
			guest_run(monitor_arm);
			expect_guest_done();
			waits = mwait_waits(ticks);
		}
		expect(!waits, "MWAIT does not wait behind a VM exit, which clears the monitor");
	}
	wrmsr(IA32_MTRR_DEF_TYPE, memory_types);
}
