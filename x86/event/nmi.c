/* SPDX-License-Identifier: BSD-2-Clause */
/* NMIs in VMX non-root operation, without virtual NMIs (SDM Vol. 3C, "Other Causes of VM Exits"). */
#include "event.h"

void expect_nmi_exit(void)
{
	if (!expect_exit(EXIT_EXCEPTION_OR_NMI, .qualification = 0))
		return;
	expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), ~(u64)INTERRUPTION_NMI_UNBLOCKING, NMI_INFORMATION);
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);
}

static u64 guest_progress;

static void guest_sends_nmi(void)
{
	guest_progress = 1;
	send_nmi();
	guest_progress = 2;
}

static void guest_waits(void)
{
	guest_progress = 1;
	while (guest_progress == 1)
		cpu_relax();
}

/* On the other processor: an NMI to the first one, once its guest runs. */
static void send_nmi_to_guest(void *argument)
{
	while (*(volatile u64 *)argument != 1)
		cpu_relax();
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
	on_cpu_start(1, send_nmi_to_guest, &guest_progress);
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
