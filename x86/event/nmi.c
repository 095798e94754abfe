/* SPDX-License-Identifier: BSD-2-Clause */
/* NMIs in VMX non-root operation, without virtual NMIs (SDM Vol. 3C, "Other Causes of VM Exits"). */
#include "event.h"

#include "libc/string.h"

void expect_nmi_exit(void)
{
	if (!expect_exit(EXIT_EXCEPTION_OR_NMI, .qualification = 0))
		return;
	expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), ~(u64)INTERRUPTION_NMI_UNBLOCKING, NMI_INFORMATION);
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);
}

GUEST_ASM(guest_iret, ".globl guest_iret_at, guest_iret_done\n"
		      "mov %ss, %eax; mov %rsp, %rcx; push %rax; push %rcx; pushfq; mov %cs, %eax; push %rax\n"
		      "lea guest_iret_done(%rip), %rax; push %rax; guest_iret_at: iretq; guest_iret_done: ret");

static volatile u64 guest_progress;

void guest_does_nothing(void)
{
}

static void guest_sends_nmi(void)
{
	guest_progress = 1;
	nmi_arrives();
	guest_progress = 2;
}

static void guest_pends_nmi(void)
{
	nmi_pend();
}

static void guest_waits(void)
{
	guest_progress = 1;
	wait_until(guest_progress != 1, WAIT_MS);
}

/* On the other processor: an NMI to the first one, once its guest runs. */
static void send_nmi_to_guest(UNUSED void *unused)
{
	if (wait_for_other(guest_progress == 1, WAIT_MS))
		apic_send_ipi(cpu_number(0)->apic_id, APIC_DELIVERY_NMI);
}

static void exit_by_own_nmi(void)
{
	guest_progress = 0;
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	guest_run(guest_sends_nmi);
	expect_nmi_exit();
	expect_eq(guest_progress, 1);
	nmi_unblock();
}

static void exit_by_nmi_of_other_processor(void)
{
	guest_progress = 0;
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	on_cpu_start(1, send_nmi_to_guest, NULL);
	guest_run(guest_waits);
	expect_nmi_exit();
	expect_eq(guest_progress, 1);
	guest_progress = 2;
	on_cpu_wait(1);
	nmi_unblock();
}

TEST("exec.nmi.exit", "NMI exiting = 1: an NMI exits with reason 0, type 2, vector 2",
     NEEDS(PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS))
{
	let_guest_use_apic();
	interrupt_handle(VECTOR_NMI, interrupt_counter);
	vmcs_set_controls(PIN_NMI_EXITING);

	for (u64 rflags = RFLAGS_FIXED; rflags <= (RFLAGS_FIXED | RFLAGS_IF); rflags += RFLAGS_IF) {
		/* Bit 2 of the exception bitmap has no part in it. */
		for (u32 bitmap = 0; bitmap <= BIT(VECTOR_NMI); bitmap += BIT(VECTOR_NMI)) {
			CASE("RFLAGS %#x, exception bitmap %#x", rflags, bitmap);
			vmcs_write(GUEST_RFLAGS, rflags);
			vmcs_write(EXCEPTION_BITMAP, bitmap);
			exit_by_own_nmi();
		}
	}
	expect_eq(nmis_taken(), 0);
}

TEST("exec.nmi.exit_other_cpu", "NMI exiting = 1: an NMI from another processor exits the running guest",
     NEEDS(PIN_NMI_EXITING, NEED_CPUS(2)))
{
	vmcs_set_controls(PIN_NMI_EXITING);
	exit_by_nmi_of_other_processor();
}

TEST("exec.nmi.saved_blocking", "An exit by an NMI saves blocking by NMI as 0: the NMI blocks after the exit",
     NEEDS(PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS))
{
	let_guest_use_apic();
	vmcs_set_controls(PIN_NMI_EXITING);
	exit_by_own_nmi();
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);
}

/* The guest's own handler of vector 2. */
static struct {
	volatile u32 taken, taken_in_host, nested;
	volatile bool send_another, call_host;
} handled;

static void nmi_handler(UNUSED struct exception_frame *frame)
{
	const u32 taken = ++handled.taken;

	handled.taken_in_host += !guest_running;
	if (handled.send_another) {
		handled.send_another = false;
		nmi_pend();				/* blocked until the IRET of this handler */
		handled.nested += handled.taken - taken;
	}
	if (handled.call_host)
		guest_call_host(0);
}

/* The handler sends one more: the guest waits for both. */
static void guest_takes_two_nmis(void)
{
	guest_sends_nmi();
	wait_until(handled.taken >= 2, SELF_MS);
}

static void handle_nmis(void)
{
	memset(&handled, 0, sizeof(handled));
	interrupt_handle(VECTOR_NMI, nmi_handler);
}

TEST("exec.nmi.guest", "NMI exiting = 0: an NMI is delivered through vector 2 of the guest",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	let_guest_use_apic();
	for (u64 rflags = RFLAGS_FIXED; rflags <= (RFLAGS_FIXED | RFLAGS_IF); rflags += RFLAGS_IF) {
		CASE("RFLAGS %#x", rflags);
		handle_nmis();
		vmcs_write(GUEST_RFLAGS, rflags);
		guest_run(guest_sends_nmi);
		expect_guest_done();
		expect_eq(handled.taken, 1);

		CASE("RFLAGS %#x, an NMI in the handler", rflags);
		handle_nmis();
		handled.send_another = true;
		guest_run(guest_takes_two_nmis);
		expect_guest_done();
		expect_eq(handled.taken, 2);
		expect_eq(handled.nested, 0);
		expect_eq(handled.taken_in_host, 0);
		expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);

		/* In the handler NMIs are blocked, and the exit shows it. */
		CASE("RFLAGS %#x, an exit from the handler", rflags);
		handle_nmis();
		handled.call_host = true;
		guest_run(guest_sends_nmi);
		expect_exit(EXIT_VMCALL);
		expect_eq(handled.taken, 1);
		expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI);
		guest_skip_instruction();
		guest_resume();
		expect_guest_done();
		expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);
		expect_eq(handled.taken, 1);
	}
}

TEST("exec.exc.nmi_bit2", "Bit 2 of the exception bitmap does not make an NMI exit, nor keep it from it",
     NEEDS(PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS))
{
	static const u32 bitmaps[] = { 0, BIT(VECTOR_NMI), ~(u32)BIT(VECTOR_NMI), ~0u };

	let_guest_use_apic();
	for (u32 i = 0; i < ARRAY_SIZE(bitmaps); i++) {
		CASE("NMI exiting 0, exception bitmap %#x", bitmaps[i]);
		handle_nmis();
		vmcs_clear_controls(PIN_NMI_EXITING);
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
		vmcs_write(EXCEPTION_BITMAP, bitmaps[i]);
		guest_run(guest_sends_nmi);
		expect_guest_done();
		expect_eq(handled.taken, 1);

		CASE("NMI exiting 1, exception bitmap %#x", bitmaps[i]);
		vmcs_set_controls(PIN_NMI_EXITING);
		exit_by_own_nmi();
		expect_eq(handled.taken, 1);
	}
}

TEST("exec.nmi.blocked_after_exit", "An NMI exit leaves NMIs blocked in the host until IRET; other exits do not",
     NEEDS(PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS))
{
	let_guest_use_apic();
	vmcs_set_controls(PIN_NMI_EXITING);

	CASE("exit by VMCALL");
	handle_nmis();
	guest_run(guest_does_nothing);
	expect_guest_done();
	nmi_arrives();
	expect_eq(handled.taken, 1);

	CASE("exit by NMI, one more in the host");
	guest_run(guest_sends_nmi);
	expect_nmi_exit();
	expect_eq(handled.taken, 1);
	nmi_pend();
	expect_eq(handled.taken, 1);
	nmi_pend();
	expect_eq(handled.taken, 1);
	nmi_unblock();
	wait_until(handled.taken >= 2, SELF_MS);
	wait_for_nothing();
	/* One NMI pends behind the one that is blocked; whether a second one is held too the manual leaves open. */
	expect_between(2, handled.taken, 3);

	CASE("NMIs are unblocked again");
	handled.taken = 0;
	nmi_arrives();
	expect_eq(handled.taken, 1);
}

static u32 taken_before, taken_after;
static u64 wait_behind_iret_ms;

static void guest_pends_nmi_and_irets(void)
{
	nmi_pend();
	taken_before = handled.taken;
	guest_iret();
	wait_until(handled.taken, wait_behind_iret_ms);
	taken_after = handled.taken;
}

TEST("exec.nmi.iret_unblocks", "NMI exiting = 0: IRET in the guest ends blocking by NMI", NEEDS(PROC_USE_MSR_BITMAPS))
{
	let_guest_use_apic();
	CASE("a blocked NMI and IRET");
	wait_behind_iret_ms = SELF_MS;
	handle_nmis();
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_NMI);
	guest_run(guest_pends_nmi_and_irets);
	expect_guest_done();
	expect_eq(taken_before, 0);
	expect_eq(taken_after, 1);
	expect_eq(handled.taken_in_host, 0);
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);

	CASE("IRET with no NMI");
	handle_nmis();
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_NMI);
	guest_run(guest_iret);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);
	nmi_arrives();
	expect_eq(handled.taken, 1);

	/* Without an IRET the blocking stays, through the exit and into the host. */
	CASE("no IRET");
	handle_nmis();
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_NMI);
	guest_run(guest_pends_nmi);
	expect_guest_done();
	expect_eq(handled.taken, 0);
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI);
	nmi_unblock();
	wait_until(handled.taken, SELF_MS);
	expect_eq(handled.taken, 1);
	expect_eq(handled.taken_in_host, 1);
}

TEST("exec.nmi.iret_no_effect", "NMI exiting = 1, virtual NMIs = 0: IRET in the guest does not end blocking by NMI",
     NEEDS(PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS))
{
	let_guest_use_apic();
	handle_nmis();
	vmcs_set_controls(PIN_NMI_EXITING);

	wait_behind_iret_ms = 10;
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_NMI);
	guest_run(guest_pends_nmi_and_irets);
	expect_guest_done();			/* no exit by the NMI, before or behind the IRET */
	expect_eq(taken_after, 0);
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI);
	nmi_unblock();
	wait_until(handled.taken, SELF_MS);
	expect_eq(handled.taken, 1);
	expect_eq(handled.taken_in_host, 1);
}
