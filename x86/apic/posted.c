/* SPDX-License-Identifier: BSD-2-Clause */
/* "Process posted interrupts" (SDM Vol. 3C, "Posted-Interrupt Processing"). */
#include "virtual.h"
#include "x86/wait.h"

enum { NOTIFICATION = 0xf2, OTHER = 0xf3 };

struct posted_interrupt_descriptor {
	u64 pir[4];			/* a bit a vector */
	u64 notification;		/* bit 0: ON; the rest is software's */
	u64 unused[3];
} ALIGNED(64);

static struct posted_interrupt_descriptor descriptor;

/* Three vectors wait in PIR; the physical interrupt waits in the local APIC, for the host has IF = 0. */
static void post(u8 physical_vector)
{
	descriptor = (struct posted_interrupt_descriptor){ .notification = 0xa5a5a5a5a5a5a500 | 1 };
	descriptor.pir[0x31 / 64] |= BIT(0x31 % 64);
	descriptor.pir[0x7f / 64] |= BIT(0x7f % 64);
	descriptor.pir[0xc0 / 64] |= BIT(0xc0 % 64);
	require_pend(physical_vector);
}

static void use_posted_interrupts(void)
{
	use_virtual_interrupts();
	vmcs_write(POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, physical_address(&descriptor));
	vmcs_write(POSTED_INTERRUPT_NOTIFICATION_VECTOR, NOTIFICATION);
	vmcs_set_controls(PIN_PROCESS_POSTED_INTERRUPTS, EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT);
}

static void guest_waits_for_processing(void)
{
	wait_until(!(*(volatile u64 *)&descriptor.notification & 1), WAIT_MS);
}

static void run_with_posted(u64 rflags)
{
	set_pending(16);
	*virtual_register(APIC_TPR) = 0x20;
	vmcs_write(GUEST_RFLAGS, rflags);
	run_and_take_interrupts(guest_waits_for_processing);
}

TEST("apic.posted.process", "The notification vector clears ON, moves PIR to VIRR, raises RVI, and does not exit",
     NEEDS(PIN_PROCESS_POSTED_INTERRUPTS, PROC2_VIRTUAL_INTERRUPT_DELIVERY, PROC2_VIRTUALIZE_APIC_ACCESSES))
{
	use_posted_interrupts();

	/* The guest has IF = 0: what was posted waits. */
	post(NOTIFICATION);
	run_with_posted(RFLAGS_FIXED);
	expect_guest_done();
	expect_eq(taken_count, 0);
	expect_eq(descriptor.notification, 0xa5a5a5a5a5a5a500);
	for (u32 i = 0; i < 4; i++)
		expect_eq(descriptor.pir[i], 0);
	expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), 0xc0);
	expect_eq(*virtual_register(APIC_IRR), 1 << 16);
	expect_eq(*virtual_register(APIC_IRR + 0x31 / 32 * 16), 1u << 0x31 % 32);
	expect_eq(*virtual_register(APIC_IRR + 0x7f / 32 * 16), 1u << 0x7f % 32);
	expect_eq(*virtual_register(APIC_IRR + 0xc0 / 32 * 16), 1u << 0xc0 % 32);

	/* With IF = 1 the highest is delivered; the others are below its class. */
	post(NOTIFICATION);
	run_with_posted(RFLAGS_FIXED | RFLAGS_IF);
	expect_guest_done();
	expect_eq(taken_count, 1);
	expect_eq(taken[0].vector, 0xc0);
	expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), 0xc0 << 8 | 0x7f);
}

TEST("apic.posted.other_vector", "Any other external interrupt exits, and nothing is posted",
     NEEDS(PIN_PROCESS_POSTED_INTERRUPTS, PROC2_VIRTUAL_INTERRUPT_DELIVERY, PROC2_VIRTUALIZE_APIC_ACCESSES))
{
	use_posted_interrupts();
	for (u32 bit = 0; bit < 5; bit++) {
		const u8 vector = NOTIFICATION ^ BIT(bit);

		CASE("vector %#x", vector);
		post(vector);
		run_with_posted(RFLAGS_FIXED | RFLAGS_IF);
		expect_exit(EXIT_EXTERNAL_INTERRUPT,
			    .interruption = INTERRUPTION_VALID | INTERRUPTION_TYPE_EXTERNAL | vector);
		apic_eoi();
		expect_eq(taken_count, 0);
		expect_eq(descriptor.notification, 0xa5a5a5a5a5a5a501);
		expect_eq(descriptor.pir[0xc0 / 64], BIT(0xc0 % 64));
		expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), 16);
	}
}

TEST("apic.posted.eoi", "Processing writes EOI to the local APIC",
     NEEDS(PIN_PROCESS_POSTED_INTERRUPTS, PROC2_VIRTUAL_INTERRUPT_DELIVERY, PROC2_VIRTUALIZE_APIC_ACCESSES))
{
	use_posted_interrupts();
	for (u32 turn = 0; turn < 3; turn++) {
		CASE("turn %u", turn);
		post(NOTIFICATION);
		run_with_posted(RFLAGS_FIXED);
		expect_guest_done();
		expect_not_requested(NOTIFICATION);
		expect_not_in_service(NOTIFICATION);
	}
}
