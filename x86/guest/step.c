/* SPDX-License-Identifier: BSD-2-Clause */
/* "Single-Step Exception Condition", and INT1. */
#include "debug.h"

CODE(step, "pushfq; orq $0x100, (%rsp); popfq; step_first: nop; step_second: nop");
LABEL(step_first); LABEL(step_second);

TEST("guest.db.step", "TF=1 traps behind the instruction that follows POPF, with DR6.BS=1")
{
	write_dr6(DR6_ONES);
	const struct fault fault = TRY(step());
	expect_fault(fault, VECTOR_DB, 0);
	expect_eq(fault.frame.rip, (u64)step_second);
	expect_eq(read_dr6() & DR6_EVENTS, DR6_BS);
	expect_eq(fault.frame.rflags & RFLAGS_TF, RFLAGS_TF);
}

static u64 steps[16];
static volatile u32 step_count;
static u64 handler_rflags;

static void notes_steps(struct exception_frame *frame)
{
	handler_rflags = read_rflags();
	if (step_count < ARRAY_SIZE(steps))
		steps[step_count] = frame->rip;
	step_count++;
}

static void count_steps(void (*function)(void))
{
	step_count = 0;
	write_dr6(DR6_ONES);
	interrupt_handle(VECTOR_DB, notes_steps);
	function();
	interrupt_handle(VECTOR_DB, NULL);
}

#define STEP_ON "pushfq; orq $0x100, (%rsp); popfq;"
#define STEP_OFF "pushfq; andq $~0x100, (%rsp); popfq;"

CODE(step_three, STEP_ON "nop; three_1: nop; three_2: nop; three_3:" STEP_OFF);
LABEL(three_1); LABEL(three_2); LABEL(three_3);

TEST("guest.db.step_each", "TF=1 traps behind each instruction, with TF=0 in the handler")
{
	count_steps(step_three);
	expect_eq(steps[0], (u64)three_1);
	expect_eq(steps[1], (u64)three_2);
	expect_eq(steps[2], (u64)three_3);
	expect_eq(step_count, 3 + 3);		/* PUSHF, AND and the POPF that clears TF */
	expect_eq(handler_rflags & RFLAGS_TF, 0);
}

CODE(step_mov_ss, "mov %ss, %eax;" STEP_ON "nop; ss_1: mov %eax, %ss; nop; ss_2: nop; ss_3:" STEP_OFF);
LABEL(ss_1); LABEL(ss_2); LABEL(ss_3);

TEST("guest.db.step_mov_ss", "no single-step trap comes between MOV SS and the next instruction")
{
	count_steps(step_mov_ss);
	expect_eq(steps[0], (u64)ss_1);
	expect_eq(steps[1], (u64)ss_2);
	expect_eq(steps[2], (u64)ss_3);
}

CODE(step_int, STEP_ON "int $0x63; step_behind_int: nop; step_behind_nop:" STEP_OFF);
LABEL(step_behind_int); LABEL(step_behind_nop);

TEST("guest.db.step_int", "INT n with TF=1 leads to its handler untrapped; the instruction behind it traps")
{
	interrupt_handle(0x63, interrupt_counter);
	count_steps(step_int);
	expect_eq(interrupt_count[0x63], 1);
	expect_eq(steps[0], (u64)step_behind_nop);
}

CODE(step_rep, "push %rdi; sub $16, %rsp; mov %rsp, %rdi; mov $3, %ecx; xor %eax, %eax;" STEP_ON
     "rep_here: rep stosb; rep_behind:" STEP_OFF "add $16, %rsp; pop %rdi");
LABEL(rep_here); LABEL(rep_behind);

TEST("guest.db.step_rep", "a REP string instruction traps after each iteration")
{
	count_steps(step_rep);
	expect_eq(steps[0], (u64)rep_here);
	expect_eq(steps[1], (u64)rep_here);
	expect_eq(steps[2], (u64)rep_behind);
}

CODE(step_ud, STEP_ON "step_at_ud: ud2");
LABEL(step_at_ud);

TEST("guest.db.step_fault", "an instruction that faults does not trap, and its saved flags have TF=1")
{
	write_dr6(DR6_ONES);
	const struct fault fault = TRY(step_ud());
	expect_fault(fault, VECTOR_UD, 0);
	expect_eq(fault.frame.rip, (u64)step_at_ud);
	expect_eq(fault.frame.rflags & RFLAGS_TF, RFLAGS_TF);
	expect_eq(read_dr6() & DR6_EVENTS, 0);
}

CODE(user_nops, "nop; user_nop_2: nop");
LABEL(user_nop_2);

TEST("guest.db.step_iret", "an IRET that sets TF traps behind the first instruction that it leads to")
{
	user_pages_on();
	write_dr6(DR6_ONES);
	const struct fault fault = run_at((const void *)user_nops, SELECTOR_USER_CODE64, SELECTOR_USER_DATA, RFLAGS_TF);
	expect_fault(fault, VECTOR_DB, 0);
	expect_eq(fault.frame.rip, (u64)user_nop_2);
	expect_eq(fault.frame.cs & 3, 3);
	expect_eq(read_dr6() & DR6_EVENTS, DR6_BS);
}

CODE(int1, ".byte 0xf1; behind_int1:");
LABEL(behind_int1);

TEST("guest.db.int1", "INT1 raises #DB with the address behind it, and leaves BS and B0-B3 alone")
{
	write_dr6(DR6_ONES);
	const struct fault fault = TRY(int1());
	expect_fault(fault, VECTOR_DB, 0);
	expect_eq(fault.frame.rip, (u64)behind_int1);
	expect_eq(read_dr6() & DR6_EVENTS, 0);
}

TEST("guest.db.rf", "IRET with RF=1 suppresses an instruction breakpoint once")
{
	user_pages_on();
	write_dr0((u64)user_nops);
	write_dr6(DR6_ONES);
	write_dr7(DR7_FIXED | 1);	/* DR0: an instruction */
	const struct fault with = run_at((const void *)user_nops, SELECTOR_USER_CODE64, SELECTOR_USER_DATA,
			RFLAGS_RF | RFLAGS_TF);
	const struct fault without = run_at((const void *)user_nops, SELECTOR_USER_CODE64, SELECTOR_USER_DATA, 0);
	write_dr7(DR7_FIXED);
	write_dr0(0);
	expect_fault(with, VECTOR_DB, 0);
	expect_eq(with.frame.rip, (u64)user_nop_2);
	expect_eq(with.frame.rflags & RFLAGS_RF, 0);
	expect_fault(without, VECTOR_DB, 0);
	expect_eq(without.frame.rip, (u64)user_nops);
}

static volatile u8 written;

/* "Certain debug exceptions may clear bits 0-3. The remaining contents of the DR6 register are never cleared". */
TEST("guest.db.dr6_keeps", "a #DB clears neither BD, BS nor BT of one before")
{
	write_dr6(DR6_ONES | DR6_BD | DR6_BT);
	const struct fault stepped = TRY(step());
	expect_fault(stepped, VECTOR_DB, 0);
	expect_bits(read_dr6(), DR6_BD | DR6_BS, DR6_BD | DR6_BS);
	expect_bits(read_dr6(), DR6_BT, DR6_BT);

	/* And one of another kind leaves BS, too. */
	write_dr0((u64)&written);
	write_dr7(DR7_FIXED | 1 | 1 << 16);	/* DR0: a write of a byte */
	const struct fault stopped = TRY(written = 1; asm volatile("nop" : : : "memory"));
	write_dr7(DR7_FIXED);
	write_dr0(0);
	expect_fault(stopped, VECTOR_DB, 0);
	expect_bits(read_dr6(), DR6_BD | DR6_BS, DR6_BD | DR6_BS);
	expect_bits(read_dr6(), DR6_BT, DR6_BT);
	write_dr6(DR6_ONES);
}
