/* SPDX-License-Identifier: BSD-2-Clause */
/* What happens first after a VM entry: blocking, windows, the timer ("Special Features of VM Entry"). */
#include "inject.h"
#include "vmx/bitmaps.h"
#include "x86/tables.h"

enum { VECTOR = 0x61 };

/* The first instruction, at guest_start, calls the function: behind it RIP is here. */
#define BEHIND_FIRST_INSTRUCTION ((u64)guest_does_nothing)

/* Enter with one kind of blocking and interrupts on. */
static void enter_blocked(u32 interruptibility)
{
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, interruptibility);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	guest_run(guest_does_nothing);
}

static volatile u64 interrupted_rip;

static void note_rip(struct exception_frame *frame)
{
	interrupted_rip = frame->rip;
}

/* VECTOR pends, and the guest takes it at the first boundary where nothing blocks it. Returns where that was. */
static u64 rip_of_interrupt(u32 interruptibility)
{
	interrupt_handle(VECTOR, note_rip);
	interrupted_rip = 0;
	require_pend(VECTOR);
	enter_blocked(interruptibility);
	expect_guest_done();
	if (apic_in_service(VECTOR))
		apic_eoi();
	return interrupted_rip;
}

/* That it exits one instruction later is no promise: with external-interrupt exiting, neither need block it. */
static void expect_interrupt_exits(u32 interruptibility)
{
	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	require_pend(VECTOR);
	enter_blocked(interruptibility);
	expect_exit(EXIT_EXTERNAL_INTERRUPT);
	if (interruptibility && vmcs_read(GUEST_RIP) != (u64)guest_start)
		expect_eq(vmcs_read(GUEST_RIP), BEHIND_FIRST_INSTRUCTION);
	else
		expect_eq(vmcs_read(GUEST_RIP), (u64)guest_start);
	take_pending(VECTOR);
}

static void expect_window_waits(u32 interruptibility)
{
	vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);
	CASE("interrupt window, blocking %#x", interruptibility);
	enter_blocked(interruptibility);
	expect_exit(EXIT_INTERRUPT_WINDOW, .rip = BEHIND_FIRST_INSTRUCTION);
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);
	CASE("interrupt window, no blocking");
	enter_blocked(0);
	expect_exit(EXIT_INTERRUPT_WINDOW, .rip = (u64)guest_start);
	vmcs_clear_controls(PROC_INTERRUPT_WINDOW_EXITING);
}

static void expect_interrupts_wait_for_one_instruction(u32 interruptibility)
{
	if (has(PROC_INTERRUPT_WINDOW_EXITING))
		expect_window_waits(interruptibility);
	if (has(PIN_EXTERNAL_INTERRUPT_EXITING)) {
		CASE("an interrupt that exits, blocking %#x", interruptibility);
		expect_interrupt_exits(interruptibility);
		CASE("an interrupt that exits, no blocking");
		expect_interrupt_exits(0);
	}
	vmcs_clear_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	guest.apic_timer_watchdog = false;
	CASE("an interrupt for the guest, blocking %#x", interruptibility);
	expect_eq(rip_of_interrupt(interruptibility), BEHIND_FIRST_INSTRUCTION);
	CASE("an interrupt for the guest, no blocking");
	expect_eq(rip_of_interrupt(0), (u64)guest_start);
}

TEST("after.sti_blocking", "blocking by STI holds interrupts and their window for one instruction")
{
	expect_interrupts_wait_for_one_instruction(INTERRUPTIBILITY_STI);
}

TEST("after.movss_blocking", "blocking by MOV SS holds interrupts and their window for one instruction")
{
	expect_interrupts_wait_for_one_instruction(INTERRUPTIBILITY_MOV_SS);
}

static volatile u32 nmis_before_iret, nmis_after_iret;

static void guest_pends_nmi_then_irets(void)
{
	nmi_pend();
	nmis_before_iret = interrupt_count[VECTOR_NMI];
	nmi_unblock();
	wait_until(interrupt_count[VECTOR_NMI], WAIT_MS);
	nmis_after_iret = interrupt_count[VECTOR_NMI];
}

static void guest_takes_nmi_then_irets(void)
{
	nmi_arrives();
	nmis_before_iret = interrupt_count[VECTOR_NMI];
	nmi_unblock();
	nmis_after_iret = interrupt_count[VECTOR_NMI];
}

TEST("after.nmi_blocking", "blocking by NMI holds physical NMIs until the guest's IRET",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	for (u32 blocked = 0; blocked < 2; blocked++) {
		CASE("blocking by NMI %u", blocked);
		let_guest_use_apic();
		interrupt_handle(VECTOR_NMI, interrupt_counter);
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, blocked ? INTERRUPTIBILITY_NMI : 0);
		guest_run(blocked ? guest_pends_nmi_then_irets : guest_takes_nmi_then_irets);
		expect_guest_done();
		expect_eq(nmis_before_iret, blocked ? 0 : 1);
		expect_eq(nmis_after_iret, 1);
		expect_bits(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI, 0);
	}
}

static void guest_sends_nmi(void)
{
	nmi_arrives();
}

/* Give the NMI that exited to the host, whose NMIs are blocked since. */
static void end_nmi_exit(void)
{
	expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), ~(u64)INTERRUPTION_NMI_UNBLOCKING,
		    INTERRUPTION_VALID | INTERRUPTION_TYPE_NMI | VECTOR_NMI);
	nmi_unblock();
}

TEST("after.vnmi_blocking", "virtual-NMI blocking closes the NMI window until IRET, and holds no physical NMI",
     NEEDS(PIN_VIRTUAL_NMIS, PROC_NMI_WINDOW_EXITING, PROC_USE_MSR_BITMAPS))
{
	let_guest_use_apic();
	vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_NMI);
	guest_run(guest_sends_nmi);
	expect_exit(EXIT_EXCEPTION_OR_NMI);
	end_nmi_exit();
	expect_bits(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI, INTERRUPTIBILITY_NMI);

	vmcs_set_controls(PROC_NMI_WINDOW_EXITING);
	guest_run(guest_does_nothing);
	expect_guest_done();
	guest_run(nmi_unblock);
	expect_exit(EXIT_NMI_WINDOW);
	expect_bits(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI, 0);
}

TEST("after.vnmi_unblocked", "an entry without blocking by NMI ends the virtual-NMI blocking that an earlier one had",
     NEEDS(PIN_VIRTUAL_NMIS, PROC_NMI_WINDOW_EXITING))
{
	vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_NMI);
	guest_run(guest_does_nothing);
	expect_guest_done();
	expect_bits(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI, INTERRUPTIBILITY_NMI);
	vmcs_set_controls(PROC_NMI_WINDOW_EXITING);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	guest_run(nmi_unblock);
	expect_exit(EXIT_NMI_WINDOW, .rip = (u64)guest_start);
	vmcs_clear_controls(PROC_NMI_WINDOW_EXITING);
	guest_run(nmi_unblock);		/* for the tests that follow, on a target that keeps it */
}

TEST("after.intwin.immediate", "interrupt-window exiting with IF = 1 exits before the first instruction",
     NEEDS(PROC_INTERRUPT_WINDOW_EXITING))
{
	vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);
	enter_blocked(0);
	expect_exit(EXIT_INTERRUPT_WINDOW, .rip = (u64)guest_start, .qualification = 0);
	CASE("RFLAGS.IF = 0");
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	guest_run(guest_does_nothing);
	expect_guest_done();
}

TEST("after.intwin.after_injection", "the interrupt window opens behind an injection whose handler keeps IF = 1",
     NEEDS(PROC_INTERRUPT_WINDOW_EXITING))
{
	enum { TRAP_GATE = 0x8f };
	const u64 handler = (u64)interrupt_entries + VECTOR * INTERRUPT_ENTRY_SIZE;
	const u8 type = idt[VECTOR].type;

	vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);
	CASE("a trap gate");
	idt[VECTOR].type = TRAP_GATE;
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INJECT(EXTERNAL, VECTOR));
	enter_blocked(0);
	idt[VECTOR].type = type;
	expect_exit(EXIT_INTERRUPT_WINDOW, .rip = handler);

	/* An interrupt gate: behind the handler's IRET, which goes back to guest_start. */
	CASE("an interrupt gate");
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	inject(INJECT(EXTERNAL, VECTOR), 0, 0);
	expect_exit(EXIT_INTERRUPT_WINDOW, .rip = (u64)guest_start);
	expect_eq(arrival.count, 1);
}

TEST("after.nmiwin.immediate", "NMI-window exiting exits before the first instruction",
     NEEDS(PIN_VIRTUAL_NMIS, PROC_NMI_WINDOW_EXITING))
{
	vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS, PROC_NMI_WINDOW_EXITING);
	for (u32 n = 0; n < 2; n++) {
		CASE("RFLAGS.IF %u", n);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | (n ? RFLAGS_IF : 0));
		guest_run(guest_does_nothing);
		expect_exit(EXIT_NMI_WINDOW, .rip = (u64)guest_start, .qualification = 0);
	}
	CASE("blocking by MOV SS");
	enter_blocked(INTERRUPTIBILITY_MOV_SS);
	expect_exit(EXIT_NMI_WINDOW, .rip = BEHIND_FIRST_INSTRUCTION);
}

TEST("after.mtf.pending", "with \"monitor trap flag\" the guest exits behind its first instruction",
     NEEDS(PROC_MONITOR_TRAP_FLAG))
{
	vmcs_set_controls(PROC_MONITOR_TRAP_FLAG);
	guest_run(guest_does_nothing);
	expect_exit(EXIT_MONITOR_TRAP_FLAG, .rip = BEHIND_FIRST_INSTRUCTION, .qualification = 0);
}

static void expect_timer_at(u64 rip)
{
	vmcs_write(VMX_PREEMPTION_TIMER_VALUE, 0);
	guest_run(guest_does_nothing);
	expect_exit(EXIT_PREEMPTION_TIMER, .rip = rip, .qualification = 0);
}

TEST("after.preempt.zero", "a VMX-preemption timer of 0 exits before the first instruction, behind injection and #DB",
     NEEDS(PIN_ACTIVATE_VMX_PREEMPTION_TIMER))
{
	enum { PENDING_BS = BIT(14) };
	static const u32 events[] = {
		INJECT(EXTERNAL, VECTOR), INJECT(EXTERNAL, 0xfe), INJECT(NMI, VECTOR_NMI), INJECT(HARDWARE, VECTOR_UD),
		INJECT(HARDWARE, VECTOR_GP) | INTERRUPTION_ERROR_CODE, INJECT(SOFTWARE_INTERRUPT, 0x80),
	};

	expect_timer_at((u64)guest_start);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		CASE("interruption information %#x", events[i]);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, events[i]);
		vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, 2);
		expect_timer_at((u64)interrupt_entries + (events[i] & 0xff) * INTERRUPT_ENTRY_SIZE);
	}
	CASE("pending debug exception");
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, PENDING_BS);
	expect_timer_at((u64)interrupt_entries + VECTOR_DB * INTERRUPT_ENTRY_SIZE);
	nmi_unblock();
}
