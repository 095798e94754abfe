/* SPDX-License-Identifier: BSD-2-Clause */
/* Software interrupts and exceptions, and the other ways to use injection ("Event Injection"). */
#include "inject.h"
#include "x86/tables.h"
#include "x86/user.h"

/* The lengths that VM entry accepts: 1-15, and 0 by a capability. */
static u32 shortest(void)
{
	return has(CAP_MISC_INJECT_LENGTH_ZERO) ? 0 : 1;
}

static void expect_pushed_behind(u32 type, u32 vector)
{
	for (u32 length = shortest(); length <= 15; length++) {
		CASE("type %u, vector %u, length %u", type >> 8, vector, length);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
		inject((u32)INTERRUPTION_VALID | type | vector, 0, length);
		expect_arrival(vector, (u64)guest_start + length);
		expect_bits(arrival.frame.rflags, RFLAGS_IF | RFLAGS_RF, RFLAGS_IF);
		expect_bits(arrival.rflags, RFLAGS_IF, 0);
	}
}

TEST("inject.swint", "an injected software interrupt pushes RIP plus the instruction length")
{
	for (u32 vector = 32; vector < 256; vector += 31)
		expect_pushed_behind(INTERRUPTION_TYPE_SOFTWARE_INTERRUPT, vector);
	expect_pushed_behind(INTERRUPTION_TYPE_SOFTWARE_INTERRUPT, VECTOR_BP);
}

/* At CPL 3, through a gate of DPL 0 or 3. Whatever arrives calls the host from its handler. */
static void inject_at_cpl3(u32 information, u32 length, u8 gate_dpl)
{
	const u8 vector = information & 0xff, type = idt[vector].type;

	idt[vector].type = 0x8e | gate_dpl << 5;
	set_guest_cpl(3);
	arrival.count = 0;
	interrupt_handle(vector, note_arrival_and_call_host);
	interrupt_handle(VECTOR_GP, note_arrival_and_call_host);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, information);
	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, length);
	guest_run(guest_does_nothing);
	idt[vector].type = type;
	expect_exit(EXIT_VMCALL);
	expect_eq(guest.regs.rax, IN_HANDLER);
	expect_eq(arrival.count, 1);
	expect_eq(arrival.frame.cs, SELECTOR_USER_CODE64);
	expect_eq(arrival.frame.ss, SELECTOR_USER_DATA);
}

static void expect_gp_of_gate(u8 vector)
{
	enum { IDT = 2 };

	expect_eq(arrival.frame.vector, VECTOR_GP);
	expect_eq(arrival.frame.error_code, vector * 8 | IDT);
	expect_eq(arrival.frame.rip, (u64)guest_start);
}

static void expect_arrival_at_cpl3(u8 vector, u32 length)
{
	expect_eq(arrival.frame.vector, vector);
	expect_eq(arrival.frame.rip, (u64)guest_start + length);
}

TEST("inject.swint.dpl_fault", "an injected software interrupt at CPL 3 needs a gate of DPL 3")
{
	user_pages_on();
	for (u32 vector = 32; vector < 256; vector += 73) {
		CASE("vector %u", vector);
		inject_at_cpl3(INJECT(SOFTWARE_INTERRUPT, vector), 2, 0);
		expect_gp_of_gate(vector);
		inject_at_cpl3(INJECT(SOFTWARE_INTERRUPT, vector), 2, 3);
		expect_arrival_at_cpl3(vector, 2);
	}
	/* External interrupts and hardware exceptions do not ask. */
	CASE("external interrupt");
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	inject_at_cpl3(INJECT(EXTERNAL, 0x55), 0, 0);
	expect_arrival_at_cpl3(0x55, 0);
	CASE("hardware exception");
	inject_at_cpl3(INJECT(HARDWARE, VECTOR_UD), 0, 0);
	expect_arrival_at_cpl3(VECTOR_UD, 0);
}

TEST("inject.privsw", "an injected privileged software exception pushes RIP plus length, and ignores the gate's DPL")
{
	/* The twin; and a hypervisor below this one that maps tables and stacks late has then done it. */
	CASE("hardware exception");
	inject(INJECT(HARDWARE, VECTOR_DB), 0, 0);
	expect_arrival(VECTOR_DB, (u64)guest_start);
	expect_pushed_behind(INTERRUPTION_TYPE_PRIVILEGED, VECTOR_DB);
	user_pages_on();
	CASE("hardware exception, CPL 3");
	inject_at_cpl3(INJECT(HARDWARE, VECTOR_DB), 0, 0);
	expect_arrival_at_cpl3(VECTOR_DB, 0);
	CASE("CPL 3");
	inject_at_cpl3(INJECT(PRIVILEGED, VECTOR_DB), 1, 0);
	expect_arrival_at_cpl3(VECTOR_DB, 1);
}

TEST("inject.swexc", "an injected software exception pushes RIP plus length, and asks the gate's DPL")
{
	static const u8 vectors[] = { VECTOR_BP, VECTOR_OF };

	user_pages_on();
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		set_guest_cpl(0);
		expect_pushed_behind(INTERRUPTION_TYPE_SOFTWARE_EXCEPTION, vectors[i]);
		CASE("vector %u at CPL 3", vectors[i]);
		inject_at_cpl3(INJECT(SOFTWARE_EXCEPTION, vectors[i]), 1, 0);
		expect_gp_of_gate(vectors[i]);
		inject_at_cpl3(INJECT(SOFTWARE_EXCEPTION, vectors[i]), 1, 3);
		expect_arrival_at_cpl3(vectors[i], 1);
	}
}

TEST("inject.hlt_wakes", "an event that is injected into the HLT state leaves the guest active",
     NEEDS(CAP_MISC_ACTIVITY_HLT))
{
	static const u32 events[] = {
		INJECT(EXTERNAL, 0x55), INJECT(NMI, VECTOR_NMI), INJECT(HARDWARE, VECTOR_DB), INJECT(HARDWARE, VECTOR_MC),
	};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		CASE("interruption information %#x", events[i]);
		vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
		inject(events[i], 0, 0);
		expect_arrival(events[i] & 0xff, (u64)guest_start);
		expect_eq(vmcs_read(GUEST_ACTIVITY_STATE), ACTIVITY_ACTIVE);
	}
}

TEST("inject.movss_blocking_cleared", "an injected exception ends blocking by STI and by MOV SS")
{
	static const u32 blocking[] = { INTERRUPTIBILITY_STI, INTERRUPTIBILITY_MOV_SS };

	for (size_t i = 0; i < ARRAY_SIZE(blocking); i++) {
		CASE("interruptibility %#x", blocking[i]);
		arrival.count = 0;
		interrupt_handle(VECTOR_UD, note_arrival);
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, blocking[i]);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INJECT(HARDWARE, VECTOR_UD));
		if (!has(PIN_ACTIVATE_VMX_PREEMPTION_TIMER)) {
			inject(INJECT(HARDWARE, VECTOR_UD), 0, 0);
			expect_arrival(VECTOR_UD, (u64)guest_start);
			continue;
		}
		entry_stop_guest_at_once();
		/* The timer exits before the first instruction of the handler: nothing else can have ended it. */
		guest_enter();
		expect_exit(EXIT_PREEMPTION_TIMER, .rip = (u64)interrupt_entries + VECTOR_UD * INTERRUPT_ENTRY_SIZE);
		expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);
	}
}

TEST("inject.mtf", "an injected MTF VM exit comes before the first instruction, without \"monitor trap flag\"",
     NEEDS(PROC_MONITOR_TRAP_FLAG))
{
	static const u32 activities[] = { ACTIVITY_ACTIVE, ACTIVITY_HLT };

	for (size_t i = 0; i < ARRAY_SIZE(activities); i++) {
		if (activities[i] == ACTIVITY_HLT && !has(CAP_MISC_ACTIVITY_HLT))
			continue;
		CASE("activity %u", activities[i]);
		vmcs_write(GUEST_ACTIVITY_STATE, activities[i]);
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INJECT(OTHER, 0));
		guest_run(guest_does_nothing);
		expect_exit(EXIT_MONITOR_TRAP_FLAG, .rip = (u64)guest_start, .qualification = 0);
	}
	vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
	guest_resume();
	expect_guest_done();
}

TEST("inject.copy_exit_info", "an acknowledged interrupt is passed on by its exit information, bits 30:12 masked",
     NEEDS(EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT, PIN_EXTERNAL_INTERRUPT_EXITING))
{
	enum { VECTOR = 0x61 };

	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING, EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT);
	interrupt_handle(VECTOR, interrupt_counter);
	require_pend(VECTOR);
	/* RFLAGS.IF does not hold the exit back: 1 from the beginning, so that the interrupt may be injected. */
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	guest_run(guest_does_nothing);
	expect_exit(EXIT_EXTERNAL_INTERRUPT, .rip = (u64)guest_start);

	const u32 information = vmcs_read(EXIT_INTERRUPTION_INFORMATION);

	expect_bits(information, INTERRUPTION_VALID | INTERRUPTION_TYPE_MASK | 0xff,
		    INTERRUPTION_VALID | INTERRUPTION_TYPE_EXTERNAL | VECTOR);
	apic_eoi();
	interrupt_handle(VECTOR, note_arrival);
	arrival.count = 0;
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, information & ~0x7ffff000u);
	expect_bits(vmcs_read(GUEST_RFLAGS), RFLAGS_IF, RFLAGS_IF);
	guest_resume();
	expect_arrival(VECTOR, (u64)guest_start);
}
