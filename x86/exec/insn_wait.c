/* SPDX-License-Identifier: BSD-2-Clause */
/* HLT, MWAIT, MONITOR and PAUSE. */
#include "insn.h"

#include "vmxtest/events.h"
#include "x86/page.h"

static const struct instruction insn_hlt = { "HLT", BYTES(0xf4), EXIT_HLT, 0 };
static const struct instruction insn_mwait = { "MWAIT", BYTES(0x0f, 0x01, 0xc9), EXIT_MWAIT, 0 };
static const struct instruction insn_monitor = { "MONITOR", BYTES(0x0f, 0x01, 0xc8), EXIT_MONITOR, 0 };
static const struct instruction insn_pause = { "PAUSE", BYTES(0xf3, 0x90), EXIT_PAUSE, 0 };

static void set_registers(u64 rax)
{
	guest.regs.rax = rax;
	guest.regs.rcx = guest.regs.rdx = 0;
}

GUEST_ASM(guest_hlt, "hlt\n"
		    "behind_hlt: nop; ret");
extern const u8 behind_hlt[];

TEST("exit.hlt.on", "with \"HLT exiting\" 1 HLT exits with reason 12, RIP still at it, the guest active",
     NEEDS(PROC_HLT_EXITING))
{
	vmcs_set_controls(PROC_HLT_EXITING);
	for (u32 interrupts = 0; interrupts < 2; interrupts++) {
		CASE("RFLAGS.IF %u", interrupts);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | (interrupts ? RFLAGS_IF : 0));
		set_registers(0);
		instruction_run(&insn_hlt);
		expect_instruction_exit(&insn_hlt);
		expect_eq(vmcs_read(GUEST_ACTIVITY_STATE), ACTIVITY_ACTIVE);
	}
}

/* End the halt by the VMX-preemption timer. */
static void halt_until_timer(u64 rflags)
{
	run_halted_until_timer(guest_hlt, RFLAGS_FIXED | rflags, behind_hlt);
	expect_exit(EXIT_PREEMPTION_TIMER, .rip = (u64)behind_hlt);
}

/* End it by an interrupt. */
static void halt_until_interrupt(void)
{
	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	run_halted_until_interrupt(guest_hlt, RFLAGS_FIXED | RFLAGS_IF, TEST_VECTOR, behind_hlt);
	expect_exit(EXIT_EXTERNAL_INTERRUPT, .rip = (u64)behind_hlt);
	expect_eq(take_pending(TEST_VECTOR), 1);	/* it still waits: the exit did not acknowledge it */
}

TEST("exit.hlt.off", "with \"HLT exiting\" 0 HLT halts the guest, and a later exit saves that: activity state 1")
{
	if (has(PIN_ACTIVATE_VMX_PREEMPTION_TIMER)) {
		for (u32 interrupts = 0; interrupts < 2; interrupts++) {
			CASE("RFLAGS.IF %u", interrupts);
			halt_until_timer(interrupts ? RFLAGS_IF : 0);
			expect_eq(vmcs_read(GUEST_ACTIVITY_STATE), ACTIVITY_HLT);
			vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
		}
	} else {
		if (!has(PIN_EXTERNAL_INTERRUPT_EXITING))
			skip("needs a VMX-preemption timer, or interrupts that exit, to end the halt");
		halt_until_interrupt();
		expect_eq(vmcs_read(GUEST_ACTIVITY_STATE), ACTIVITY_HLT);
	}
}

TEST("exit.mwait", "MWAIT exits with reason 36 and says whether the monitor is armed", NEEDS(PROC_MWAIT_EXITING))
{
	/* MONITOR of a line that nobody writes to, then MWAIT; or MWAIT alone. */
	static const struct instruction armed = {
		"MONITOR, MWAIT", BYTES(0x0f, 0x01, 0xc8, 0x0f, 0x01, 0xc9), EXIT_MWAIT, 1
	};

	vmcs_set_controls(PROC_MWAIT_EXITING);
	CASE("no MONITOR before");
	set_registers((u64)instruction_operand);
	instruction_run(&insn_mwait);
	expect_instruction_exit(&insn_mwait);
	if (has(FEATURE_MONITOR) && has(FEATURE_MTRR)) {
		const u64 memory_types = memory_make_write_back();

		/* Whatever comes in between may disarm it: an SMI, an interrupt below this machine, the cache. */
		CASE("behind MONITOR, of a hundred times");
		set_registers((u64)page_alloc());
		for (u32 i = 0; i < 100; i++) {
			instruction_run(&armed);
			if (guest.outcome.number != EXIT_MWAIT || guest.outcome.qualification == 1)
				break;
		}
		wrmsr(IA32_MTRR_DEF_TYPE, memory_types);
		expect_exit(EXIT_MWAIT, .qualification = 1, .instruction_length = 3, .rip = (u64)instruction_code + 3);
		CASE("the control 0, the monitor not armed");
		vmcs_clear_controls(PROC_MWAIT_EXITING);
		instruction_run(&insn_mwait);
		expect_guest_done();
	}
}

TEST("exit.monitor", "MONITOR exits with reason 39", NEEDS(PROC_MONITOR_EXITING, FEATURE_MONITOR))
{
	vmcs_set_controls(PROC_MONITOR_EXITING);
	set_registers((u64)instruction_operand);
	instruction_run(&insn_monitor);
	expect_instruction_exit(&insn_monitor);
	CASE("the control 0");
	vmcs_clear_controls(PROC_MONITOR_EXITING);
	set_registers((u64)instruction_operand);
	instruction_run(&insn_monitor);
	expect_guest_done();
}

TEST("exit.pause", "PAUSE exits with reason 40 at any CPL", NEEDS(PROC_PAUSE_EXITING))
{
	for (u32 cpl = 0; cpl < 4; cpl += 3) {
		if (cpl == 3)
			guest_set_cpl3();
		CASE("CPL %u", cpl);
		vmcs_set_controls(PROC_PAUSE_EXITING);
		set_registers(0);
		instruction_run(&insn_pause);
		expect_instruction_exit(&insn_pause);
		CASE("CPL %u, the control 0", cpl);
		vmcs_clear_controls(PROC_PAUSE_EXITING);
		set_registers(0);
		instruction_run(&insn_pause);
		expect_guest_done();
	}
}

/* PAUSE RCX times, RDX ticks of the TSC and more between two. */
GUEST_ASM(guest_pauses,
	  "mov %rdx, %r8\n"
	  "1: pause\n\t"
	  "test %r8, %r8; jz 3f\n\t"
	  "rdtsc; mov %eax, %r9d\n"
	  "2: rdtsc; sub %r9d, %eax; cmp %r8d, %eax; jb 2b\n"
	  "3: dec %rcx; jnz 1b; ret");

static void run_pauses(u64 count, u64 ticks_between)
{
	guest.regs.rcx = count;
	guest.regs.rdx = ticks_between;
	guest_run(guest_pauses);
}

static void set_pause_loop(u32 gap, u32 window)
{
	vmcs_set_controls(PROC2_PAUSE_LOOP_EXITING);
	vmcs_write(PLE_GAP, gap);
	vmcs_write(PLE_WINDOW, window);
}

enum { MANY = 100000 };

TEST("exit.pause.ple",
     "with \"PAUSE-loop exiting\" a loop of PAUSEs exits with reason 40 once it is longer than PLE_Window",
     NEEDS(PROC2_PAUSE_LOOP_EXITING))
{
	set_pause_loop(0x10000000, 10000);
	run_pauses(MANY, 0);
	expect_exit(EXIT_PAUSE, .qualification = 0, .instruction_length = 2, .rip = (u64)guest_pauses + 3);
	CASE("the control 0");
	vmcs_clear_controls(PROC2_PAUSE_LOOP_EXITING);
	run_pauses(MANY, 0);
	expect_guest_done();
	CASE("a window that the loop does not reach");
	set_pause_loop(0x10000000, 0xffffffff);
	run_pauses(100, 0);
	expect_guest_done();
	if (!has(PROC_PAUSE_EXITING))
		return;
	CASE("\"PAUSE exiting\" too: every PAUSE");
	vmcs_set_controls(PROC_PAUSE_EXITING);
	run_pauses(1, 0);
	expect_exit(EXIT_PAUSE);
}

TEST("exit.pause.ple_gap_resets", "PAUSEs that are further apart than PLE_Gap never exit",
     NEEDS(PROC2_PAUSE_LOOP_EXITING))
{
	set_pause_loop(50, 100);
	run_pauses(200, 5000);
	expect_guest_done();
	CASE("the same with a gap that they keep");
	set_pause_loop(0x10000000, 100);
	run_pauses(200, 5000);
	expect_exit(EXIT_PAUSE);
}

TEST("exit.pause.ple_cpl3", "\"PAUSE-loop exiting\" plays no part at CPL 3", NEEDS(PROC2_PAUSE_LOOP_EXITING))
{
	set_pause_loop(0x10000000, 1000);
	run_pauses(MANY, 0);
	expect_exit(EXIT_PAUSE);
	guest_set_cpl3();
	CASE("CPL 3");
	run_pauses(MANY, 0);
	expect_guest_done();
}
