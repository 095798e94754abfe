/* SPDX-License-Identifier: BSD-2-Clause */
/* The monitor trap flag (SDM Vol. 3C, "Monitor Trap Flag"). */
#include "event.h"

enum { PENDING_BS = BIT(14) };

GUEST_ASM(guest_mtf_steps, "nop; mtf_1: mov $5, %ecx; mtf_2: push %rcx; mtf_3: pop %rcx; mtf_4: jmp mtf_6\n"
			   "ud2; mtf_6: xor %eax, %eax; mtf_7: ret");
extern const u8 mtf_1[], mtf_2[], mtf_3[], mtf_4[], mtf_6[], mtf_7[];

/* False: going on makes no sense. */
static bool expect_mtf_exit(const void *rip)
{
	return expect_exit(EXIT_MONITOR_TRAP_FLAG, .qualification = 0, .rip = (u64)rip) &&
	       expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), INTERRUPTION_VALID, 0) &&
	       expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);
}

/* Where a vector's gate leads. */
static const void *handler_of(u8 vector)
{
	return interrupt_entries + vector * INTERRUPT_ENTRY_SIZE;
}

/* Come to the function's first instruction: one step, the call in guest_start. */
static bool step_into(void (*function)(void))
{
	guest_run(function);
	return expect_mtf_exit(function);
}

/* And one step more. */
static void step_from(void (*function)(void), const void *to)
{
	if (!step_into(function))
		return;
	guest_resume();
	expect_mtf_exit(to);
}

TEST("feat.mtf.step", "Monitor trap flag = 1: an exit with reason 37 after each instruction",
     NEEDS(PROC_MONITOR_TRAP_FLAG))
{
	static const void *const rips[] = { guest_mtf_steps, mtf_1, mtf_2, mtf_3, mtf_4, mtf_6, mtf_7 };

	vmcs_set_controls(PROC_MONITOR_TRAP_FLAG);
	guest_run(guest_mtf_steps);		/* the first instruction is guest_start's call */
	for (u32 i = 0; i < ARRAY_SIZE(rips); i++) {
		CASE("step %u", i);
		if (!expect_mtf_exit(rips[i]))
			return;
		guest_resume();
	}
	vmcs_clear_controls(PROC_MONITOR_TRAP_FLAG);
	guest_resume();
	expect_guest_done();
}

GUEST_ASM(guest_mtf_ud, "ud2; ret");
GUEST_ASM(guest_mtf_int, "int $0x61; ret");		/* TEST_VECTOR */
GUEST_ASM(guest_mtf_pf, "mov (%rcx), %al; ret");

TEST("feat.mtf.event", "The MTF exit behind a fault or an event comes after its delivery, at the handler",
     NEEDS(PROC_MONITOR_TRAP_FLAG))
{
	vmcs_set_controls(PROC_MONITOR_TRAP_FLAG);
	CASE("#UD");
	step_from(guest_mtf_ud, handler_of(VECTOR_UD));
	CASE("INT 61H");
	interrupt_handle(TEST_VECTOR, interrupt_counter);
	step_from(guest_mtf_int, handler_of(TEST_VECTOR));
	CASE("#PF");
	guest.regs.rcx = BIT(46);
	step_from(guest_mtf_pf, handler_of(VECTOR_PF));

	/* An event that the entry injects, before any instruction. */
	CASE("injected interrupt");
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INTERRUPTION_VALID | INTERRUPTION_TYPE_EXTERNAL | TEST_VECTOR);
	guest_run(guest_mtf_steps);
	expect_mtf_exit(handler_of(TEST_VECTOR));
}

GUEST_ASM(guest_rep, "rep movsb; behind_rep: nop; ret");
extern const u8 behind_rep[];

TEST("feat.mtf.rep", "The MTF exit of a REP string instruction comes after its first iteration",
     NEEDS(PROC_MONITOR_TRAP_FLAG))
{
	static u8 from[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, to[8];

	vmcs_set_controls(PROC_MONITOR_TRAP_FLAG);
	if (!step_into(guest_rep))
		return;
	guest.regs.rcx = 3;
	guest.regs.rsi = (u64)from;
	guest.regs.rdi = (u64)to;
	for (u64 left = 2; left; left--) {
		CASE("%u iterations left", left);
		guest_resume();
		expect_mtf_exit(guest_rep);
		expect_eq(guest.regs.rcx, left);
		expect_eq(guest.regs.rsi, (u64)from + 3 - left);
		expect_eq(to[2 - left], 3 - left);
		expect_eq(to[3 - left], 0);
	}
	CASE("the last iteration");
	guest_resume();
	expect_eq(guest.regs.rcx, 0);
	if (vmcs_read(GUEST_RIP) == (u64)guest_rep)	/* one exit more, with nothing left to do */
		guest_resume();
	expect_mtf_exit(behind_rep);

	CASE("#PF of the first iteration");
	if (!step_into(guest_rep))
		return;
	guest.regs.rcx = 3;
	guest.regs.rsi = BIT(46);
	guest.regs.rdi = (u64)to;
	guest_resume();
	expect_mtf_exit(handler_of(VECTOR_PF));
}

GUEST_ASM(guest_cpuid, "cpuid; nop; ret");

TEST("feat.mtf.priority", "Another exit during the instruction takes the place of the MTF exit",
     NEEDS(PROC_MONITOR_TRAP_FLAG))
{
	vmcs_set_controls(PROC_MONITOR_TRAP_FLAG);
	CASE("CPUID");
	if (!step_into(guest_cpuid))
		return;
	guest_resume();
	expect_exit(EXIT_CPUID, .rip = (u64)guest_cpuid);
	CASE("exception");
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_UD));
	if (!step_into(guest_mtf_ud))
		return;
	guest_resume();
	expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)guest_mtf_ud);

	/* No MTF exit is left for the next entry. */
	CASE("the control 0 behind it");
	vmcs_clear_controls(PROC_MONITOR_TRAP_FLAG);
	guest_run(guest_mtf_steps);
	expect_guest_done();
}

TEST("feat.mtf.tf_pending", "An MTF exit with TF = 1 saves the single step as pending: BS = 1",
     NEEDS(PROC_MONITOR_TRAP_FLAG))
{
	vmcs_set_controls(PROC_MONITOR_TRAP_FLAG);
	for (u64 tf = 0; tf <= RFLAGS_TF; tf += RFLAGS_TF) {
		CASE("TF %u", tf >> 8);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | tf);
		vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
		if (!step_into(guest_mtf_steps))
			return;
		expect_bits(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), PENDING_BS, tf ? PENDING_BS : 0);
	}
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
}

TEST("feat.mtf.not_blocked", "Neither IF = 0 nor blocking by STI, MOV SS or NMI holds the MTF exit",
     NEEDS(PROC_MONITOR_TRAP_FLAG))
{
	static const struct {
		u64 rflags;
		u32 interruptibility;
	} cases[] = {
		{ RFLAGS_FIXED, 0 },
		{ RFLAGS_FIXED | RFLAGS_IF, 0 },
		{ RFLAGS_FIXED | RFLAGS_IF, INTERRUPTIBILITY_STI },
		{ RFLAGS_FIXED, INTERRUPTIBILITY_MOV_SS },
		{ RFLAGS_FIXED | RFLAGS_IF, INTERRUPTIBILITY_MOV_SS },
		{ RFLAGS_FIXED, INTERRUPTIBILITY_NMI },
	};

	vmcs_set_controls(PROC_MONITOR_TRAP_FLAG);
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		CASE("RFLAGS %#x, interruptibility state %#x", cases[i].rflags, cases[i].interruptibility);
		vmcs_write(GUEST_RFLAGS, cases[i].rflags);
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, cases[i].interruptibility);
		step_into(guest_mtf_steps);
		nmi_unblock();
	}
}
