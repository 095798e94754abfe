/* SPDX-License-Identifier: BSD-2-Clause */
/* External-interrupt exiting, and acknowledge interrupt on exit (SDM Vol. 3C, "Other Causes of VM Exits"). */
#include "event.h"

enum { IF_0 = RFLAGS_FIXED, IF_1 = RFLAGS_FIXED | RFLAGS_IF };

/* Every vector of an interrupt; the spurious one is none, and takes no EOI. */
#define FOR_EACH_VECTOR(vector)					\
	WALK_OVER(vector, 32, 256)				\
		if (vector == APIC_SPURIOUS_VECTOR) { } else

static volatile u32 taken_in_guest, taken_in_host, last_vector;
static volatile u32 progress;
static u8 vector_to_send;

static void take(struct exception_frame *frame)
{
	if (guest_running)
		taken_in_guest++;
	else
		taken_in_host++;
	last_vector = frame->vector;
	apic_eoi();
}

static void handle(u8 vector)
{
	interrupt_handle(vector, take);
	taken_in_guest = taken_in_host = last_vector = progress = 0;
}

/* Without the APIC-timer watchdog, whose control and interrupt are the test's own subject. */
static void own_interrupts(bool exiting)
{
	let_guest_use_apic();
	guest.apic_timer_watchdog = false;
	if (exiting)
		vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	else
		vmcs_clear_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
}

static void enter_with(u64 rflags, void (*function)(void))
{
	vmcs_write(GUEST_RFLAGS, rflags);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	guest_run(function);
}

static void guest_sends_interrupt(void)
{
	progress = 1;
	interrupt_arrives(vector_to_send);
	progress = 2;
}

static void guest_pends_interrupt(void)
{
	interrupt_pend(vector_to_send);
}

static void guest_sends_interrupt_behind_cli(void)
{
	interrupts_on();
	asm volatile("nop");
	interrupts_off();
	guest_sends_interrupt();
}

static void guest_sends_interrupt_behind_sti(void)
{
	interrupts_on();
	guest_sends_interrupt();
	interrupts_off();
}

static void guest_takes_pending_and_sends(void)
{
	interrupts_on();
	wait_until(taken_in_guest, WAIT_MS);
	guest_sends_interrupt();
	interrupts_off();
}

static void expect_interrupt_exit(void)
{
	if (!expect_exit(EXIT_EXTERNAL_INTERRUPT, .qualification = 0))
		return;
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);
	expect_eq(taken_in_guest, 0);
	expect_eq(taken_in_host, 0);
}

TEST("exec.extint.on", "External-interrupt exiting = 1: an unmasked interrupt exits, and CLI does not block it",
     NEEDS(PIN_EXTERNAL_INTERRUPT_EXITING, PROC_USE_MSR_BITMAPS))
{
	static const struct {
		const char *name;
		u64 rflags;
		void (*function)(void);
		u64 saved_if;
	} cases[] = {
		{ "IF = 1", IF_1, guest_sends_interrupt, RFLAGS_IF },
		{ "STI in the guest", IF_0, guest_sends_interrupt_behind_sti, RFLAGS_IF },
		{ "CLI in the guest", IF_1, guest_sends_interrupt_behind_cli, 0 },
		{ "STI and CLI in the guest", IF_0, guest_sends_interrupt_behind_cli, 0 },
	};

	own_interrupts(true);
	vector_to_send = TEST_VECTOR;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		CASE("%s", cases[i].name);
		handle(TEST_VECTOR);
		enter_with(cases[i].rflags, cases[i].function);
		expect_interrupt_exit();
		expect_eq(progress, 1);
		expect_bits(vmcs_read(GUEST_RFLAGS), RFLAGS_IF, cases[i].saved_if);
		let_interrupts_in();
		expect_eq(taken_in_host, 1);

		/* The guest goes on where it was. */
		taken_in_host = 0;
		guest_resume();
		expect_guest_done();
		expect_eq(progress, 2);
		expect_eq(taken_in_host, 0);
		expect_eq(taken_in_guest, 0);
	}

	/* What the TPR masks is not sent to the processor. */
	CASE("masked by the TPR");
	handle(TEST_VECTOR);
	write_cr8(TEST_VECTOR >> 4);
	enter_with(IF_1, guest_pends_interrupt);
	expect_guest_done();
	expect_requested(TEST_VECTOR);
	write_cr8((TEST_VECTOR >> 4) - 1);
	enter_with(IF_1, guest_does_nothing);
	expect_interrupt_exit();
	write_cr8(0);
	let_interrupts_in();
	expect_eq(taken_in_host, 1);
}

TEST("exec.extint.off", "External-interrupt exiting = 0: with IF = 1 the interrupt goes through the guest's IDT",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	own_interrupts(false);
	FOR_EACH_VECTOR(vector) {
		CASE("vector %#x", vector);
		vector_to_send = vector;
		handle(vector);
		enter_with(IF_1, guest_sends_interrupt);
		expect_guest_done();
		expect_eq(taken_in_guest, 1);
		expect_eq(taken_in_host, 0);
		expect_eq(last_vector, vector);
		interrupt_handle(vector, NULL);
	}
}

TEST("exec.extint.off_if0", "External-interrupt exiting = 0: with IF = 0 the interrupt stays pending",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	own_interrupts(false);
	vector_to_send = TEST_VECTOR;

	CASE("sent in the guest");
	handle(TEST_VECTOR);
	enter_with(IF_0, guest_pends_interrupt);
	expect_guest_done();
	expect_eq(taken_in_guest, 0);
	expect_eq(taken_in_host, 0);
	expect_requested(TEST_VECTOR);
	let_interrupts_in();

	CASE("pending in the host, IF = 0 in the guest");
	handle(TEST_VECTOR);
	require_pend(TEST_VECTOR);
	enter_with(IF_0, guest_does_nothing);
	expect_guest_done();
	expect_eq(taken_in_guest, 0);
	expect_requested(TEST_VECTOR);

	CASE("pending in the host, IF = 1 in the guest");
	enter_with(IF_1, guest_does_nothing);
	expect_guest_done();
	expect_eq(taken_in_guest, 1);
	expect_not_requested(TEST_VECTOR);

	CASE("STI in the guest");
	handle(TEST_VECTOR);
	require_pend(TEST_VECTOR);
	enter_with(IF_0, guest_takes_pending_and_sends);
	expect_guest_done();
	expect_eq(taken_in_guest, 2);
	expect_eq(taken_in_host, 0);
}

TEST("exec.extint.off_if0_host", "An interrupt that stayed pending in a guest with IF = 0 comes when the host lets it in",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	own_interrupts(false);
	vector_to_send = TEST_VECTOR;
	let_interrupts_in();			/* nothing is pending, as a hypervisor below may see only now */
	handle(TEST_VECTOR);
	enter_with(IF_0, guest_pends_interrupt);
	expect_guest_done();
	require_requested(TEST_VECTOR);
	expect_eq(taken_in_host, 0);
	let_interrupts_in();
	expect_eq(taken_in_guest, 0);
	expect_eq(taken_in_host, 1);
}

TEST("exec.extint.pending_at_entry", "An interrupt that is pending at VM entry exits before the first instruction",
     NEEDS(PIN_EXTERNAL_INTERRUPT_EXITING, PROC_USE_MSR_BITMAPS))
{
	own_interrupts(true);
	handle(TEST_VECTOR);
	require_pend(TEST_VECTOR);
	for (int i = 0; i < 3; i++) {		/* nobody takes it: it exits each time */
		CASE("entry %u", i);
		enter_with(IF_1, guest_does_nothing);
		expect_interrupt_exit();
		expect_eq(vmcs_read(GUEST_RIP), (u64)guest_start);
	}
	let_interrupts_in();
	expect_eq(taken_in_host, 1);
	enter_with(IF_1, guest_does_nothing);
	expect_guest_done();
}

TEST("exec.extint.entry_if0", "External-interrupt exiting = 1: an interrupt exits from a guest entered with IF = 0",
     NEEDS(PIN_EXTERNAL_INTERRUPT_EXITING, PROC_USE_MSR_BITMAPS))
{
	own_interrupts(true);
	CASE("pending at entry");
	handle(TEST_VECTOR);
	require_pend(TEST_VECTOR);
	enter_with(IF_0, guest_does_nothing);
	expect_interrupt_exit();
	expect_eq(vmcs_read(GUEST_RIP), (u64)guest_start);
	let_interrupts_in();
	expect_eq(taken_in_host, 1);

	CASE("sent by the guest");
	handle(TEST_VECTOR);
	vector_to_send = TEST_VECTOR;
	enter_with(IF_0, guest_sends_interrupt);
	expect_interrupt_exit();
	expect_eq(progress, 1);
	let_interrupts_in();
	expect_eq(taken_in_host, 1);
}

TEST("exec.extint.shadow", "Blocking by STI or MOV SS holds an interrupt's exit for one instruction at the most",
     NEEDS(PIN_EXTERNAL_INTERRUPT_EXITING, PROC_USE_MSR_BITMAPS))
{
	own_interrupts(true);
	for (u32 blocking = INTERRUPTIBILITY_STI; blocking <= INTERRUPTIBILITY_MOV_SS; blocking <<= 1) {
		CASE("interruptibility state %#x", blocking);
		handle(TEST_VECTOR);
		require_pend(TEST_VECTOR);
		vmcs_write(GUEST_RFLAGS, IF_1);
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, blocking);
		guest_run(guest_does_nothing);
		expect_exit(EXIT_EXTERNAL_INTERRUPT);
		if (vmcs_read(GUEST_RIP) == (u64)guest_start) {
			expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), blocking);
		} else {
			expect_eq(vmcs_read(GUEST_RIP), (u64)guest_does_nothing);
			expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);
		}
		let_interrupts_in();
		expect_eq(taken_in_host, 1);
	}
}

/* Halts until the APIC's timer fires. */
GUEST_ASM(guest_halts, "sti; hlt; behind_hlt: cli; ret");
extern const u8 behind_hlt[];

TEST("exec.extint.hlt", "An interrupt that exits wakes a halted guest; the exit saves activity state HLT",
     NEEDS(PIN_EXTERNAL_INTERRUPT_EXITING, PROC_USE_MSR_BITMAPS))
{
	own_interrupts(true);
	expect(run_halted_until_interrupt(guest_halts, IF_0, TEST_VECTOR, behind_hlt), "the exit finds the guest behind its HLT");
	handle(TEST_VECTOR);
	expect_interrupt_exit();
	expect_eq(vmcs_read(GUEST_ACTIVITY_STATE), ACTIVITY_HLT);
	expect_eq(vmcs_read(GUEST_RIP), (u64)behind_hlt);
	let_interrupts_in();
	expect_eq(taken_in_host, 1);
	vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
	guest_resume();
	expect_guest_done();
}

TEST("exit.ack.on", "Acknowledge interrupt on exit = 1: the exit moves the vector from IRR to ISR and reports it",
     NEEDS(EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT, PIN_EXTERNAL_INTERRUPT_EXITING, PROC_USE_MSR_BITMAPS))
{
	own_interrupts(true);
	vmcs_set_controls(EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT);
	FOR_EACH_VECTOR(vector) {
		CASE("vector %#x", vector);
		vector_to_send = vector;
		handle(vector);
		enter_with(IF_1, guest_sends_interrupt);
		expect_interrupt_exit();
		expect_eq(vmcs_read(EXIT_INTERRUPTION_INFORMATION),
			  INTERRUPTION_VALID | INTERRUPTION_TYPE_EXTERNAL | vector);
		expect_in_service(vector);
		expect_not_requested(vector);
		apic_eoi();
		let_interrupts_in();
		expect_eq(taken_in_host, 0);
		interrupt_handle(vector, NULL);
	}

	/* The higher one first; the other stays requested. */
	CASE("two vectors");
	handle(TEST_VECTOR);
	handle(LOWER_VECTOR);
	require_pend(LOWER_VECTOR);
	require_pend(TEST_VECTOR);
	enter_with(IF_1, guest_does_nothing);
	expect_interrupt_exit();
	expect_eq(vmcs_read(EXIT_INTERRUPTION_INFORMATION), INTERRUPTION_VALID | TEST_VECTOR);
	expect_requested(LOWER_VECTOR);
	expect_not_in_service(LOWER_VECTOR);
	apic_eoi();
	enter_with(IF_1, guest_does_nothing);
	expect_interrupt_exit();
	expect_eq(vmcs_read(EXIT_INTERRUPTION_INFORMATION), INTERRUPTION_VALID | LOWER_VECTOR);
	expect_in_service(LOWER_VECTOR);
	apic_eoi();

	/* An exit for another reason acknowledges nothing. */
	CASE("exit by VMCALL");
	own_interrupts(false);
	handle(TEST_VECTOR);
	require_pend(TEST_VECTOR);
	enter_with(IF_0, guest_does_nothing);
	expect_guest_done();
	expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), INTERRUPTION_VALID, 0);
	expect_requested(TEST_VECTOR);
	expect_not_in_service(TEST_VECTOR);
	let_interrupts_in();
	expect_eq(taken_in_host, 1);
}

TEST("exit.ack.off", "Acknowledge interrupt on exit = 0: the interrupt stays in IRR and comes with STI in the host",
     NEEDS(PIN_EXTERNAL_INTERRUPT_EXITING, PROC_USE_MSR_BITMAPS))
{
	own_interrupts(true);
	vmcs_clear_controls(EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT);
	FOR_EACH_VECTOR(vector) {
		CASE("vector %#x", vector);
		vector_to_send = vector;
		handle(vector);
		enter_with(IF_1, guest_sends_interrupt);
		expect_interrupt_exit();
		expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), INTERRUPTION_VALID, 0);
		expect_requested(vector);
		expect_not_in_service(vector);
		let_interrupts_in();
		expect_eq(taken_in_host, 1);
		expect_eq(last_vector, vector);
		interrupt_handle(vector, NULL);
	}
}
