/* SPDX-License-Identifier: BSD-2-Clause */
/* Pending debug exceptions at a VM entry ("Delivery of Pending Debug Exceptions after VM Entry"). */
#include "inject.h"

enum {
	PENDING_B0 = BIT(0), PENDING_B1 = BIT(1), PENDING_B3 = BIT(3), PENDING_ENABLED = BIT(12), PENDING_BS = BIT(14),
	DR6_CAUSES = 0xf | BIT(14),
};
#define BEHIND_FIRST_INSTRUCTION ((u64)guest_does_nothing)

static volatile u64 dr6_in_handler;

static void note_debug_exception(struct exception_frame *frame)
{
	note_arrival(frame);
	dr6_in_handler = read_dr6();
	frame->rflags &= ~(u64)RFLAGS_TF;
}

static void enter_with_pending(u64 pending, u64 rflags, u32 interruptibility)
{
	arrival.count = 0;
	dr6_in_handler = 0;
	interrupt_handle(VECTOR_DB, note_debug_exception);
	write_dr6(0xffff0ff0);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | rflags);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, interruptibility);
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, pending);
	guest_run(guest_does_nothing);
	write_dr6(0xffff0ff0);
}

static const u64 valid[] = {
	PENDING_BS, PENDING_ENABLED | PENDING_B0, PENDING_ENABLED | PENDING_B3, PENDING_ENABLED | PENDING_B1 | PENDING_B3,
	PENDING_BS | PENDING_ENABLED | PENDING_B0,
};

TEST("after.pdbg.deliver", "a valid pending debug exception is delivered before the first instruction, with DR6 loaded")
{
	for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
		CASE("pending %#lx", valid[i]);
		enter_with_pending(valid[i], 0, 0);
		expect_arrival(VECTOR_DB, (u64)guest_start);
		expect_bits(dr6_in_handler, DR6_CAUSES, valid[i] & DR6_CAUSES);
		expect_eq(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), 0);
	}
	CASE("nothing pending");
	enter_with_pending(0, 0, 0);
	expect_guest_done();
	expect_eq(arrival.count, 0);
}

TEST("after.pdbg.bits_only", "bits 3:0 alone make no pending debug exception")
{
	for (u64 bits = 1; bits < 16; bits++) {
		CASE("pending %#lx", bits);
		enter_with_pending(bits, 0, 0);
		expect_guest_done();
		expect_eq(arrival.count, 0);
	}
}

/* A single step pends with TF = 1. Behind the next instruction, which TF traps, it is one #DB. */
TEST("after.pdbg.hold_movss", "blocking by MOV SS holds a pending #DB for one instruction, and merges it with the next")
{
	enter_with_pending(PENDING_BS, RFLAGS_TF, INTERRUPTIBILITY_MOV_SS);
	expect_arrival(VECTOR_DB, BEHIND_FIRST_INSTRUCTION);
	expect_bits(dr6_in_handler, BIT(14), BIT(14));

	CASE("no blocking");
	enter_with_pending(PENDING_BS, RFLAGS_TF, 0);
	expect_arrival(VECTOR_DB, (u64)guest_start);
}

TEST("after.pdbg.intercept", "a pending #DB exits by the exception bitmap, with its bits in the qualification")
{
	for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
		CASE("pending %#lx", valid[i]);
		vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_DB));
		enter_with_pending(valid[i], 0, 0);
		expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)guest_start,
			    .qualification = valid[i] & DR6_CAUSES,
			    .interruption = INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | VECTOR_DB);
		expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);
		expect_eq(arrival.count, 0);
	}
}

TEST("after.pdbg.discarded_by_vectoring", "an injected interrupt or exception drops pending debug exceptions")
{
	static const u32 events[] = {
		INJECT(EXTERNAL, 0x61), INJECT(NMI, VECTOR_NMI), INJECT(HARDWARE, VECTOR_UD),
		INJECT(HARDWARE, VECTOR_GP) | INTERRUPTION_ERROR_CODE,
	};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		for (size_t n = 0; n < ARRAY_SIZE(valid); n++) {
			const u8 vector = events[i] & 0xff;

			CASE("interruption information %#x, pending %#lx", events[i], valid[n]);
			interrupt_handle(vector, note_arrival);
			vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, events[i]);
			enter_with_pending(valid[n], RFLAGS_IF, 0);
			expect_arrival(vector, (u64)guest_start);
		}
	}
}
