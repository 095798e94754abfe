/* SPDX-License-Identifier: BSD-2-Clause */
/* What goes wrong while an injected event is delivered ("VM Exits During Event Injection"). */
#include "inject.h"
#include "vmx/ept.h"
#include "x86/tables.h"

enum { ERROR_EXT = 1, ERROR_IDT = 2, GATE_PRESENT = 0x80 };

#define EXCEPTION(vector) (u32)(INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | (vector))

static void make_absent(u8 vector) { idt[vector].type &= ~GATE_PRESENT; }
static void make_present(u8 vector) { idt[vector].type |= GATE_PRESENT; }

/* Inject through a gate that is not present: #NP, which exits or is delivered. */
static void inject_through_absent_gate(u32 information, u32 error_code)
{
	const u8 vector = information & 0xff;

	make_absent(vector);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, information);
	vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, error_code);
	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, 2);
	guest_run(guest_does_nothing);
	make_present(vector);
}

/* The error code of #NP says that the event was external, unless software raised it. */
static const struct {
	u32 information, ext;
} events[] = {
	{ INJECT(EXTERNAL, 0x55), ERROR_EXT },
	{ INJECT(EXTERNAL, 0xaa), ERROR_EXT },
	{ INJECT(NMI, VECTOR_NMI), ERROR_EXT },
	{ INJECT(HARDWARE, VECTOR_UD), ERROR_EXT },
	{ INJECT(SOFTWARE_INTERRUPT, 0x55), 0 },
	{ INJECT(SOFTWARE_EXCEPTION, VECTOR_BP), 0 },
};

TEST("inject.nested_exception", "a fault in delivery exits by the exception bitmap, with the event")
{
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		const u32 vector = events[i].information & 0xff, code = vector * 8 | ERROR_IDT | events[i].ext;

		CASE("interruption information %#x", events[i].information);
		vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_NP));
		inject_through_absent_gate(events[i].information, 0);
		expect_exit(EXIT_EXCEPTION_OR_NMI, .interruption_error = code, .rip = (u64)guest_start);
		expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), ~(u64)INTERRUPTION_NMI_UNBLOCKING,
			    EXCEPTION(VECTOR_NP) | INTERRUPTION_ERROR_CODE);
		expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), ~(u64)INTERRUPTION_NMI_UNBLOCKING, events[i].information);
		if (events[i].ext == 0)
			expect_eq(vmcs_read(EXIT_INSTRUCTION_LENGTH), 2);

		vmcs_write(EXCEPTION_BITMAP, 0);
		inject_through_absent_gate(events[i].information, 0);
		expect_guest_fault(VECTOR_NP, code);
		nmi_unblock();
	}
}

/* Inject, exit for a fault in the delivery, and inject what that exit reported. */
static void reinject(u32 event)
{
	const u32 vector = event & 0xff, type = event & INTERRUPTION_TYPE_MASK;
	const bool software = type >= INTERRUPTION_TYPE_SOFTWARE_INTERRUPT;

	CASE("interruption information %#x", event);
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_NP));
	inject_through_absent_gate(event, 0);
	expect_exit(EXIT_EXCEPTION_OR_NMI);
	arrival.count = 0;
	interrupt_handle(vector, note_arrival);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION,
		   vmcs_read(IDT_VECTORING_INFORMATION) & ~(u64)INTERRUPTION_NMI_UNBLOCKING);
	vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, vmcs_read(IDT_VECTORING_ERROR_CODE));
	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, vmcs_read(EXIT_INSTRUCTION_LENGTH));
	guest_resume();
	expect_arrival(vector, (u64)guest_start + (software ? 2 : 0));
	interrupt_handle(vector, NULL);
	nmi_unblock();
}

TEST("inject.idtv_reinject", "what IDT-vectoring information holds can be injected again")
{
	static const u32 again[] = {
		INJECT(EXTERNAL, 0x55), INJECT(NMI, VECTOR_NMI), INJECT(HARDWARE, VECTOR_UD),
		INJECT(HARDWARE, VECTOR_AC) | INTERRUPTION_ERROR_CODE, INJECT(SOFTWARE_INTERRUPT, 0x77),
		INJECT(SOFTWARE_EXCEPTION, VECTOR_BP),
	};

	for (size_t i = 0; i < ARRAY_SIZE(again); i++)
		reinject(again[i]);
}

TEST("inject.idtv_reinject.int1", "the same of an INT1")
{
	reinject(INJECT(PRIVILEGED, VECTOR_DB));
}

TEST("inject.double_fault", "a fault in the delivery of a contributory exception is #DF, of an interrupt itself")
{
	static const struct {
		u8 vector;
		bool error_code, contributory;
	} cases[] = {
		{ VECTOR_DE, false, true }, { VECTOR_TS, true, true }, { VECTOR_SS, true, true }, { VECTOR_GP, true, true },
		{ VECTOR_PF, true, true }, { VECTOR_UD, false, false }, { VECTOR_AC, true, false }, { VECTOR_BR, false, false },
	};

	for (u32 n = 0; n < 2 * ARRAY_SIZE(cases); n++) {
		const u8 vector = cases[n / 2].vector;
		const u32 result = cases[n / 2].contributory ? VECTOR_DF : VECTOR_NP;
		const u32 code = result == VECTOR_DF ? 0 : (u32)vector * 8 | ERROR_IDT | ERROR_EXT;

		CASE("vector %u, %s", vector, n & 1 ? "exiting" : "through the guest's IDT");
		vmcs_write(EXCEPTION_BITMAP, n & 1 ? BIT(result) : 0);
		inject_through_absent_gate(EXCEPTION(vector) | (cases[n / 2].error_code ? INTERRUPTION_ERROR_CODE : 0), 0);
		if (n & 1)
			expect_exit(EXIT_EXCEPTION_OR_NMI, .interruption = EXCEPTION(result) | INTERRUPTION_ERROR_CODE,
				    .interruption_error = code);
		else
			expect_guest_fault(result, code);
	}
	CASE("external interrupt");
	vmcs_write(EXCEPTION_BITMAP, 0);
	inject_through_absent_gate(INJECT(EXTERNAL, 0x55), 0);
	expect_guest_fault(VECTOR_NP, 0x55 * 8 | ERROR_IDT | ERROR_EXT);
}

/* At what RIP is open: that of a triple fault is the return pointer of the #DF, which the manual calls undefined. */
TEST("inject.triple_fault", "a fault in the delivery of an injected #DF is a triple fault")
{
	vmcs_write(EXCEPTION_BITMAP, 0xffffffff & ~BIT(VECTOR_NP));
	inject_through_absent_gate(EXCEPTION(VECTOR_DF) | INTERRUPTION_ERROR_CODE, 0);
	expect_exit(EXIT_TRIPLE_FAULT, .qualification = 0);
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);
}

TEST("inject.ept_violation", "an EPT violation in the delivery of an injected event exits with the event",
     NEEDS(PROC2_ENABLE_EPT))
{
	const u64 stack_page = ((u64)guest_stack + GUEST_STACK_SIZE - 1) & ~0xfffull;

	vmcs_use_ept();
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		if ((events[i].information & INTERRUPTION_TYPE_MASK) == INTERRUPTION_TYPE_NMI)
			continue;	/* has a stack of its own */
		CASE("interruption information %#x", events[i].information);
		*ept_entry(stack_page, 1) &= ~(u64)EPT_WRITE;
		ept_flush();
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
		arrival.count = 0;
		interrupt_handle(events[i].information & 0xff, note_arrival);
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, events[i].information);
		vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, 2);
		guest_run(guest_does_nothing);
		expect_exit(EXIT_EPT_VIOLATION, .rip = (u64)guest_start);
		expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), ~(u64)INTERRUPTION_NMI_UNBLOCKING, events[i].information);
		expect_eq(arrival.count, 0);

		/* Mend it and inject what was reported: now it arrives. */
		*ept_entry(stack_page, 1) |= EPT_WRITE;
		ept_flush();
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, events[i].information);
		guest_resume();
		expect_arrival(events[i].information & 0xff, (u64)guest_start + (events[i].ext ? 0 : 2));
		interrupt_handle(events[i].information & 0xff, NULL);
	}
}
