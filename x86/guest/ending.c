/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of each instruction that a hypervisor may carry out in the guest's stead: traps, shadows, RF, flags, paging flags. */
#include "ending.h"

#include "tap/pending.h"

TEST("guest.end.step", "TF=1 traps behind each instruction that a hypervisor may emulate, with BS alone in DR6")
{
	endings_begin();
	FOR_EACH_ENDING(e) {
		if (e->kind == HALTS)
			continue;
		CASE("%s", e->text);
		write_dr6(DR6_ONES);
		const struct fault fault = ending_run(e->code, RFLAGS_FIXED | RFLAGS_TF);
		expect_fault(fault, VECTOR_DB, 0);
		expect_eq(fault.frame.rip, (u64)e->behind);
		expect_bits(fault.frame.rflags, RFLAGS_TF | RFLAGS_RF, RFLAGS_TF);
		expect_eq(read_dr6() & DR6_EVENTS, DR6_BS);
	}
	endings_end();
}

/* An interrupt of the timer ends the wait of a processor that has lost the trap. */
TEST("guest.end.step_hlt", "TF=1 traps behind HLT: a debug exception wakes a processor that is halted")
{
	enum { VECTOR = 0x62 };
	const struct apic_timer_count count = apic_timer_count(300);

	endings_begin();
	FOR_EACH_ENDING(e) {
		if (e->kind != HALTS)
			continue;
		write_dr6(DR6_ONES);
		apic_write(APIC_LVT_TIMER, VECTOR);
		apic_write(APIC_TIMER_DIVIDE, count.divide);
		apic_write(APIC_TIMER_INITIAL, count.initial);
		interrupt_handle(VECTOR, interrupt_counter);
		const struct fault fault = ending_run(e->code, RFLAGS_FIXED | RFLAGS_TF | RFLAGS_IF);
		const u32 left = apic_read(APIC_TIMER_CURRENT);
		apic_write(APIC_TIMER_INITIAL, 0);
		apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
		apic_write(APIC_TIMER_DIVIDE, 0);
		take_pending(VECTOR);
		expect_fault(fault, VECTOR_DB, 0);
		expect_eq(fault.frame.rip, (u64)e->behind);
		expect_eq(read_dr6() & DR6_EVENTS, DR6_BS);
		expect_ne(left, 0);		/* it has not waited for the timer */
	}
	endings_end();
}

TEST("guest.end.breakpoint", "an instruction breakpoint stops before each of them, and RF=1 lets it pass that one alone")
{
	endings_begin();
	FOR_EACH_ENDING(e) {
		write_dr0((u64)e->code);
		write_dr1((u64)e->behind);
		CASE("%s, RF = 0", e->text);
		write_dr6(DR6_ONES);
		write_dr7(DR7_FIXED | 1 | 4);
		struct fault fault = ending_run(e->code, RFLAGS_FIXED);
		expect_fault(fault, VECTOR_DB, 0);
		expect_eq(fault.frame.rip, (u64)e->code);
		expect_eq(read_dr6() & DR6_EVENTS, 1);
		if (e->kind == HALTS)
			continue;
		/* RF is cleared when the instruction is complete: what is behind it stops again. */
		CASE("%s, RF = 1", e->text);
		write_dr6(DR6_ONES);
		fault = ending_run(e->code, RFLAGS_FIXED | RFLAGS_RF);
		expect_fault(fault, VECTOR_DB, 0);
		expect_eq(fault.frame.rip, (u64)e->behind);
		expect_eq(read_dr6() & DR6_EVENTS, 2);
	}
	endings_end();
}

TEST("guest.end.sti", "the shadow of STI ends behind each of them: there a waiting interrupt comes, and not before")
{
	enum { VECTOR = 0x62 };

	endings_begin();
	FOR_EACH_ENDING(e) {
		CASE("STI; %s", e->text);
		require_pend(VECTOR);
		const struct fault fault = ending_run(e->sti, RFLAGS_FIXED);
		expect_fault(fault, VECTOR, 0);
		expect_eq(fault.frame.rip, (u64)e->sti_behind);
		take_pending(VECTOR);
	}
	endings_end();
}

TEST("guest.end.mov_ss", "no single-step trap comes between MOV SS and each of them, and one comes behind it")
{
	endings_begin();
	FOR_EACH_ENDING(e) {
		if (e->kind == HALTS)
			continue;
		CASE("MOV SS; %s, TF = 1", e->text);
		write_dr6(DR6_ONES);
		const struct fault step = ending_run(e->ss, RFLAGS_FIXED | RFLAGS_TF);
		expect_fault(step, VECTOR_DB, 0);
		expect_eq(step.frame.rip, (u64)e->ss_behind);
		expect_eq(read_dr6() & DR6_EVENTS, DR6_BS);
	}
	endings_end();
}

TEST("guest.end.flags", "each of them leaves the arithmetic flags as they were, but RDRAND and RDSEED")
{
	endings_begin();
	FOR_EACH_ENDING(e) {
		if (e->kind == HALTS || e->kind == SETS_FLAGS)
			continue;
		for (u64 flags = 0; flags <= RFLAGS_ARITHMETIC; flags += RFLAGS_ARITHMETIC) {
			CASE("%s, flags %#lx", e->text, flags);
			const struct fault fault = ending_run(e->code, RFLAGS_FIXED | flags);
			expect_no_fault(fault);
			expect_eq(ending_flags, RFLAGS_FIXED | flags);
		}
	}
	endings_end();
}

/* INVPCID's descriptor is left out: that it meets a breakpoint no sentence says. */
TEST("guest.end.data_breakpoint", "a data breakpoint traps behind each of them that reads or writes its bytes")
{
	endings_begin();
	FOR_EACH_ENDING(e) {
		if (e->operand == NO_OPERAND || e->operand == INVPCID_IN)
			continue;
		const bool writes = e->operand == BYTES_OUT;

		write_dr0((u64)ending_operand);
		for (u64 condition = 1; condition <= 3; condition += 2) {	/* a write; either */
			CASE("%s, R/W %u", e->text, condition);
			write_dr6(DR6_ONES);
			write_dr7(DR7_FIXED | 1 | condition << 16);
			const struct fault fault = ending_run(e->code, RFLAGS_FIXED);
			write_dr7(DR7_FIXED);
			if (!writes && condition == 1) {
				expect_no_fault(fault);
				continue;
			}
			expect_fault(fault, VECTOR_DB, 0);
			expect_eq(fault.frame.rip, (u64)e->behind);
			expect_eq(read_dr6() & DR6_EVENTS, 1);
		}
	}
	endings_end();
}

TEST("guest.end.io_breakpoint", "with CR4.DE=1, an I/O breakpoint traps behind each access to its port", NEEDS(FEATURE_DE))
{
	endings_begin();
	write_dr1(0x80);
	FOR_EACH_ENDING(e) {
		/* Whether REP INS meets its breakpoint when RCX is 0 no sentence says. */
		if (e->kind == HALTS || e->kind == REPEATS_NEVER)
			continue;
		const bool accesses = e->edx == 0x80 || e->code[0] == 0xe4 || e->code[0] == 0xe6;

		CASE("%s", e->text);
		write_dr6(DR6_ONES);
		write_dr7(DR7_FIXED | 4 | 2 << 20);
		const struct fault fault = ending_run(e->code, RFLAGS_FIXED);
		write_dr7(DR7_FIXED);
		if (!accesses) {
			expect_no_fault(fault);
			continue;
		}
		expect_fault(fault, VECTOR_DB, 0);
		expect_eq(fault.frame.rip, (u64)e->behind);
		expect_eq(read_dr6() & DR6_EVENTS, 2);
	}
	endings_end();
}

TEST("guest.end.accessed_dirty", "each of them that reads memory sets the accessed flag of its page, one that writes the dirty flag too")
{
	void *page = map_window(PAGE_PRESENT | PAGE_WRITE);
	u64 *entry = page_entry(PAGE_WINDOW, 1);

	endings_begin();
	FOR_EACH_ENDING(e) {
		if (e->operand == NO_OPERAND)
			continue;
		const u64 written = e->operand == BYTES_OUT ? PAGE_DIRTY : 0;

		CASE("%s", e->text);
		ending_copy_operand(page);
		ending_operand_at(PAGE_WINDOW);
		*entry &= ~(u64)(PAGE_ACCESSED | PAGE_DIRTY);
		invlpg(WINDOW_PAGE);
		const struct fault fault = ending_run(e->code, RFLAGS_FIXED);
		expect_no_fault(fault);
		expect_eq(*entry & (PAGE_ACCESSED | PAGE_DIRTY), PAGE_ACCESSED | written);
	}
	endings_end();
}

TEST("guest.end.fault", "each of them that faults on its operand has done nothing: RIP is its own, RF=1, and no register has changed")
{
	page_entry(PAGE_WINDOW, 1);
	endings_begin();
	FOR_EACH_ENDING(e) {
		if (e->operand == NO_OPERAND)
			continue;
		CASE("%s", e->text);
		ending_operand_at(PAGE_WINDOW);
		write_dr6(DR6_ONES);
		const struct fault fault = ending_run(e->code, RFLAGS_FIXED | RFLAGS_TF | RFLAGS_ARITHMETIC);
		expect_fault(fault, VECTOR_PF, e->operand == BYTES_OUT ? PF_W : 0);
		expect_between(PAGE_WINDOW, fault.cr2, PAGE_WINDOW + 15);	/* which part of an operand is read first is open */
		expect_eq(fault.frame.rip, (u64)e->code);
		expect_eq(fault.frame.rflags & ~(u64)RFLAGS_RF, RFLAGS_FIXED | RFLAGS_TF | RFLAGS_ARITHMETIC);
		expect_bits(fault.frame.rflags, RFLAGS_RF, RFLAGS_RF);
		expect_eq(fault.frame.rsi, PAGE_WINDOW);
		expect_eq(fault.frame.rdi, PAGE_WINDOW);
		expect_eq(fault.frame.rcx, e->ecx);
		expect_eq(read_dr6() & DR6_EVENTS, 0);
	}
	endings_end();
}
