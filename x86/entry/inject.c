/* SPDX-License-Identifier: BSD-2-Clause */
/* External interrupts, NMIs and hardware exceptions that VM entry injects ("Event Injection"). */
#include "inject.h"
#include "x86/page.h"
#include "x86/tables.h"

enum { GATE_TRAP = 0x8f };

TEST("inject.extint", "an injected external interrupt goes through its gate of the guest's IDT")
{
	WALK_OVER(vector, 32, 256) {
		CASE("vector %u", vector);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
		inject(INJECT(EXTERNAL, vector), 0, 0);
		expect_arrival(vector, (u64)guest_start);
		expect_bits(arrival.frame.rflags, RFLAGS_IF | RFLAGS_FIXED, RFLAGS_IF | RFLAGS_FIXED);
		expect_bits(arrival.rflags, RFLAGS_IF, 0);
		expect_eq(arrival.frame.cs, SELECTOR_CODE64);
		expect_eq(arrival.frame.rsp, (u64)(guest_stack + GUEST_STACK_SIZE));
	}
	CASE("a trap gate");
	const u8 type = idt[0x44].type;
	idt[0x44].type = GATE_TRAP;
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	inject(INJECT(EXTERNAL, 0x44), 0, 0);
	idt[0x44].type = type;
	expect_arrival(0x44, (u64)guest_start);
	expect_bits(arrival.rflags, RFLAGS_IF, RFLAGS_IF);
}

/* The TPR holds physical interrupts back; injection does not ask it. */
TEST("inject.extint_no_ack", "an injected external interrupt neither asks nor changes the local APIC")
{
	enum { REQUESTED = 0x61, OTHER = 0x42 };
	static const u8 injected[] = { REQUESTED, OTHER, 0xe1 };

	write_cr8(15);
	require_pend(REQUESTED);
	for (size_t i = 0; i < ARRAY_SIZE(injected); i++) {
		CASE("vector %#x", injected[i]);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
		inject(INJECT(EXTERNAL, injected[i]), 0, 0);
		expect_arrival(injected[i], (u64)guest_start);
		expect_not_in_service(injected[i]);
		expect_requested(REQUESTED);
		expect_not_in_service(REQUESTED);
		expect_not_requested(OTHER);
	}
	write_cr8(0);
	take_pending(REQUESTED);
}

TEST("inject.nmi", "an injected NMI goes through gate 2, whatever RFLAGS.IF is")
{
	for (u32 n = 0; n < 2; n++) {
		const u64 rflags = RFLAGS_FIXED | (n ? RFLAGS_IF : 0);

		CASE("RFLAGS.IF = %u", n);
		vmcs_write(GUEST_RFLAGS, rflags);
		inject(INJECT(NMI, VECTOR_NMI), 0, 0);
		expect_arrival(VECTOR_NMI, (u64)guest_start);
		expect_bits(arrival.frame.rflags, RFLAGS_IF | RFLAGS_FIXED, rflags);
		expect_bits(arrival.rflags, RFLAGS_IF, 0);
	}
}

/* Exit in the handler, then behind its IRET. */
static void inject_nmi_with_exits(void)
{
	arrival.count = 0;
	interrupt_handle(VECTOR_NMI, note_arrival_and_call_host);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INJECT(NMI, VECTOR_NMI));
	guest_run(guest_does_nothing);
	require_eq(arrival.count, 1);
	expect_exit(EXIT_VMCALL);
	expect_eq(guest.regs.rax, IN_HANDLER);
}

TEST("inject.nmi_vnmi_blocking", "an injected NMI blocks virtual NMIs until the guest's IRET", NEEDS(PIN_VIRTUAL_NMIS))
{
	vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
	inject_nmi_with_exits();
	expect_bits(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI, INTERRUPTIBILITY_NMI);
	guest_skip_instruction();
	guest_resume();
	expect_guest_done();
	expect_bits(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI, 0);
}

static volatile u32 arrivals_in_handler;

static void pend_nmi_in_handler(struct exception_frame *frame)
{
	const u64 rip = frame->rip;

	note_arrival(frame);
	if (arrival.count > 1) {
		frame->rip = rip;	/* guest_waits_for_second, which then ends */
		return;
	}
	nmi_pend();
	arrivals_in_handler = arrival.count;
}

static void guest_waits_for_second(void)
{
	wait_until(arrival.count >= 2, WAIT_MS);
}

/*
 * That it does follows from delivery as if it had been generated normally; "Interruptibility State" of the chapter on VM
 * entries says that without virtual NMIs they are blocked if and only if the field says so. So a guest without the
 * blocking is a note, and all that depends on it is left out: the second NMI would come in the handler of the first.
 */
TEST("inject.nmi_phys_blocking", "an injected NMI blocks NMIs in the guest until its IRET, if it blocks any",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	inject_nmi_with_exits();
	if (!(vmcs_read(GUEST_INTERRUPTIBILITY_STATE) & INTERRUPTIBILITY_NMI)) {
		note("an injected NMI does not block NMIs without virtual NMIs");
		return;
	}
	guest_skip_instruction();
	guest_resume();
	expect_guest_done();
	expect_bits(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI, 0);
	nmi_unblock();

	let_guest_use_apic();
	arrival.count = arrivals_in_handler = 0;
	interrupt_handle(VECTOR_NMI, pend_nmi_in_handler);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INJECT(NMI, VECTOR_NMI));
	guest_run(guest_waits_for_second);
	expect_guest_done();
	expect_eq(arrivals_in_handler, 1);	/* the second one had to wait */
	expect_eq(arrival.count, 2);		/* and came at the IRET */
}

/* Which hardware exceptions push an error code (in protected mode; #CP as well, where it exists). */
static bool has_error_code(u32 vector)
{
	return vector == VECTOR_DF || (vector >= VECTOR_TS && vector <= VECTOR_PF) || vector == VECTOR_AC;
}

/* "The value of RF in the RFLAGS image pushed is not modified": a fault that is no injection would push 1. */
TEST("inject.hwexc", "an injected hardware exception goes through its gate of the guest's IDT, and pushes RF as it is")
{
	for (u32 vector = 0; vector <= VECTOR_VE; vector++) {
		const u32 error_code = has_error_code(vector) ? INTERRUPTION_ERROR_CODE : 0;

		if (vector == VECTOR_NMI || vector == 9 || vector == 15)
			continue;
		for (u64 rf = 0; rf <= RFLAGS_RF; rf += RFLAGS_RF) {
			CASE("vector %u, RF %u", vector, rf != 0);
			vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF | rf);
			inject(INJECT(HARDWARE, vector) | error_code, 0, 0);
			expect_arrival(vector, (u64)guest_start);
			expect_eq(arrival.frame.error_code, 0);
			expect_bits(arrival.frame.rflags, RFLAGS_IF | RFLAGS_RF, RFLAGS_IF | rf);
			expect_bits(arrival.rflags, RFLAGS_IF | RFLAGS_RF, 0);
		}
	}
}

TEST("inject.hwexc.errcode", "an injected exception pushes the VM-entry exception error code")
{
	for (u32 vector = 0; vector <= VECTOR_AC; vector++) {
		if (!has_error_code(vector))
			continue;
		for (u32 bit = 0; bit < 15; bit++) {
			CASE("vector %u, error code %#lx", vector, BIT(bit));
			inject(INJECT(HARDWARE, vector) | INTERRUPTION_ERROR_CODE, BIT(bit), 0);
			expect_arrival(vector, (u64)guest_start);
			expect_eq(arrival.frame.error_code, BIT(bit));
		}
		inject(INJECT(HARDWARE, vector) | INTERRUPTION_ERROR_CODE, 0x7fff, 0);
		expect_eq(arrival.frame.error_code, 0x7fff);
	}
	/* Without the flag nothing is pushed, whatever the field holds. */
	CASE("#UD with an error-code field that is not 0");
	inject(INJECT(HARDWARE, VECTOR_UD), 0x7fff, 0);
	expect_arrival(VECTOR_UD, (u64)guest_start);
	expect_eq(arrival.frame.error_code, 0);
	expect_eq(arrival.frame.rsp, (u64)(guest_stack + GUEST_STACK_SIZE));
}

static volatile u64 cr2_seen, dr6_seen;

static void note_cr2_and_dr6(struct exception_frame *frame)
{
	note_arrival(frame);
	cr2_seen = read_cr2();
	dr6_seen = read_dr6();
	guest_call_host(IN_HANDLER);
}

TEST("inject.hwexc.no_dr6_cr2", "injection of #PF leaves CR2 alone; of #DB DR6, DR7 and IA32_DEBUGCTL",
     NEEDS(ENTRYCTL_LOAD_DEBUG_CONTROLS, EXITCTL_SAVE_DEBUG_CONTROLS))
{
	static const u64 cr2s[] = { 0, ~0ull, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa };
	enum { GENERAL_DETECT = BIT(13), DR7_FIXED = 0x400, DEBUGCTL_BTF = 2 };

	for (size_t i = 0; i < ARRAY_SIZE(cr2s); i++) {
		CASE("#PF with CR2 = %#lx", cr2s[i]);
		interrupt_handle(VECTOR_PF, note_cr2_and_dr6);
		write_cr2(cr2s[i]);
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INJECT(HARDWARE, VECTOR_PF) | INTERRUPTION_ERROR_CODE);
		guest_run(guest_does_nothing);
		expect_exit(EXIT_VMCALL);
		expect_eq(cr2_seen, cr2s[i]);
	}
	interrupt_handle(VECTOR_PF, NULL);

	/* A #DB of its own would clear DR7.GD and set bits of DR6. Reading them in the handler would meet GD: exit. */
	const u64 dr6 = read_dr6();

	CASE("#DB");
	interrupt_handle(VECTOR_DB, note_arrival_and_call_host);
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS, EXITCTL_SAVE_DEBUG_CONTROLS);
	vmcs_write(GUEST_DR7, DR7_FIXED | GENERAL_DETECT);
	vmcs_write(GUEST_IA32_DEBUGCTL, DEBUGCTL_BTF);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INJECT(HARDWARE, VECTOR_DB));
	guest_run(guest_does_nothing);
	expect_exit(EXIT_VMCALL);
	expect_eq(guest.regs.rax, IN_HANDLER);
	expect_eq(vmcs_read(GUEST_DR7), DR7_FIXED | GENERAL_DETECT);
	expect_eq(vmcs_read(GUEST_IA32_DEBUGCTL), DEBUGCTL_BTF);
	expect_eq(read_dr6(), dr6);
}

TEST("inject.not_intercepted", "an injected exception or NMI does not exit because of the exception bitmap")
{
	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);
	for (u32 vector = 0; vector <= VECTOR_VE; vector++) {
		const u32 error_code = has_error_code(vector) ? INTERRUPTION_ERROR_CODE : 0;

		if (vector == VECTOR_NMI || vector == 9 || vector == 15)
			continue;
		CASE("vector %u", vector);
		inject(INJECT(HARDWARE, vector) | error_code, 0, 0);
		expect_arrival(vector, (u64)guest_start);
	}
	if (!has(PIN_NMI_EXITING))
		return;
	vmcs_set_controls(PIN_NMI_EXITING);
	CASE("NMI with NMI exiting");
	inject(INJECT(NMI, VECTOR_NMI), 0, 0);
	expect_arrival(VECTOR_NMI, (u64)guest_start);
	nmi_unblock();		/* with "NMI exiting" and no virtual NMIs the guest's IRET does not */
}

TEST("inject.not_intercepted_extint", "an injected external interrupt does not exit",
     NEEDS(PIN_EXTERNAL_INTERRUPT_EXITING))
{
	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	for (u32 vector = 32; vector < 256; vector += 37) {
		CASE("vector %u", vector);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
		inject(INJECT(EXTERNAL, vector), 0, 0);
		expect_arrival(vector, (u64)guest_start);
	}
}

TEST("inject.valid_cleared", "a VM exit clears the valid bit of the injected event and nothing else of it")
{
	static const u32 events[] = {
		INJECT(EXTERNAL, 0x55), INJECT(EXTERNAL, 0xaa), INJECT(NMI, VECTOR_NMI), INJECT(HARDWARE, VECTOR_UD),
		INJECT(HARDWARE, VECTOR_GP) | INTERRUPTION_ERROR_CODE,
	};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		CASE("interruption information %#x", events[i]);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
		inject(events[i], 0x1234, 7);
		expect_guest_done();
		expect_eq(vmcs_read(VM_ENTRY_INTERRUPTION_INFORMATION), events[i] & ~INTERRUPTION_VALID);
		expect_eq(vmcs_read(VM_ENTRY_EXCEPTION_ERROR_CODE), 0x1234);
		expect_eq(vmcs_read(VM_ENTRY_INSTRUCTION_LENGTH), 7);
	}
	/* Cleared, so that the next entry injects nothing. */
	arrival.count = 0;
	interrupt_handle(VECTOR_GP, note_arrival);
	guest_run(guest_does_nothing);
	expect_guest_done();
	expect_eq(arrival.count, 0);

	/* A failed entry is no exit of the guest: the event is still to be injected. */
	CASE("a failed entry");
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, events[0]);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	expect_guest_state(false);
	expect_eq(vmcs_read(VM_ENTRY_INTERRUPTION_INFORMATION), events[0]);
}
