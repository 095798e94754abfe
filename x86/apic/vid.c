/* SPDX-License-Identifier: BSD-2-Clause */
/* "Virtual-interrupt delivery" (SDM Vol. 3C, "Evaluation and Delivery of Virtual Interrupts", "EOI Virtualization"). */
#include "virtual.h"

/* Not with IF = 0, nor behind STI or MOV SS: there one instruction later. */
static void expect_blocking_delays(void)
{
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	CASE("IF = 0");
	set_pending(0x51);
	run_and_take_interrupts(guest_does_nothing);
	expect_guest_done();
	expect_eq(taken_count, 0);
	expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), 0x51);

	CASE("behind STI");
	set_pending(0x51);
	run_and_take_interrupts(guest_sets_if);
	expect_guest_done();
	expect_eq(taken_count, 1);
	expect_eq(taken[0].rip, (u64)guest_behind_sti_shadow);

	CASE("behind MOV SS");
	set_pending(0x51);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_MOV_SS);
	run_and_take_interrupts(guest_does_nothing);
	expect_guest_done();
	expect_eq(taken_count, 1);
	expect_eq(taken[0].rip, (u64)guest_does_nothing);	/* behind the CALL at guest_start */
}

TEST("apic.vid.deliver", "A virtual interrupt above VPPR goes through the guest's IDT, with no exit",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_VIRTUAL_INTERRUPT_DELIVERY))
{
	use_virtual_interrupts();
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);

	/* Every vector, at VM entry: RIP is still the first instruction's. */
	WALK_OVER(vector, 16, 256) {
		if (!vector_can_be_handled(vector))
			continue;
		CASE("vector %#x", vector);
		set_pending(vector);
		run_and_take_interrupts(guest_does_nothing);
		expect_guest_done();
		expect_eq(taken_count, 1);
		expect_eq(taken[0].vector, vector);
		expect_eq(taken[0].rip, (u64)guest_start);
	}

	/* Every class against every priority of the task, at VM entry. */
	for (u32 class = 1; class < 16; class++)
		for (u32 priority = 0; priority < 16; priority++) {
			CASE("RVI[7:4] = %u, VTPR[7:4] = %u", class, priority);
			set_pending(class << 4 | 0xf);
			*virtual_register(APIC_TPR) = priority << 4;
			run_and_take_interrupts(guest_does_nothing);
			expect_guest_done();
			expect_eq(taken_count, class > priority);
		}

	/* And when the guest lowers its priority, right behind the instruction. */
	for (u32 class = 1; class < 16; class++)
		for (u32 priority = 0; priority < 16; priority++) {
			CASE("RVI[7:4] = %u, CR8 from 15 to %u", class, priority);
			set_pending(class << 4 | 0xf);
			*virtual_register(APIC_TPR) = 0xf0;
			guest.regs.rcx = priority;
			run_and_take_interrupts(guest_sets_cr8);
			expect_guest_done();
			expect_eq(taken_count, class > priority);
			expect_eq(taken_count ? taken[0].rip : (u64)guest_behind_cr8, (u64)guest_behind_cr8);
		}

	expect_blocking_delays();
}

TEST("apic.vid.state", "Delivery moves the vector from VIRR to VISR, sets SVI and VPPR, and RVI is the next",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_VIRTUAL_INTERRUPT_DELIVERY))
{
	use_virtual_interrupts();
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	WALK_OVER(vector, 32, 256) {
		/* Lower ones that wait: in the same class, one below, far below; 0 for none. */
		const u32 lower[] = { 0, vector - 1, vector - 7, 18 };

		for (size_t i = 0; i < ARRAY_SIZE(lower); i++) {
			CASE("vector %#x, next %#x", vector, lower[i]);
			set_pending(vector);
			if (lower[i])
				set_vector(APIC_IRR, lower[i]);
			set_vector(APIC_ISR, 17);
			vmcs_write(GUEST_INTERRUPT_STATUS, 17 << 8 | vector);
			run_and_take_interrupts(guest_does_nothing);
			expect_guest_done();
			/* Only if its class is higher than the one in service. */
			expect_eq(taken_count, 1);
			expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), vector << 8 | lower[i]);
			expect_eq(*virtual_register(APIC_PPR), vector & 0xf0);
			expect_only_vectors(APIC_ISR, vector, 17);
			expect_only_vectors(APIC_IRR, lower[i], 0);
		}
	}
}

TEST("apic.vid.ppr", "VPPR is VTPR, or the class of SVI where that is higher",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_VIRTUAL_INTERRUPT_DELIVERY))
{
	use_virtual_interrupts();
	vmcs_write(TPR_THRESHOLD, 15);		/* is not looked at with virtual-interrupt delivery */
	for (u32 priority = 0; priority < 16; priority++)
		for (u32 service = 0; service < 16; service++) {
			const u32 vtpr = priority << 4 | (service ^ 5), svi = service << 4 | (priority ^ 10);
			const u32 vppr = priority >= service ? vtpr : svi & 0xf0;

			CASE("VTPR %#x, SVI %#x", vtpr, svi);
			vmcs_write(GUEST_INTERRUPT_STATUS, svi << 8);
			*virtual_register(APIC_TPR) = 0xff;
			*virtual_register(APIC_PPR) = 0xdeadbeef;
			guest_write_at(ACCESS_32, GUEST_APIC + APIC_TPR, 0xffffff00 | vtpr);
			expect_guest_done();
			expect_eq(*virtual_register(APIC_TPR), vtpr);
			expect_eq(*virtual_register(APIC_PPR), vppr);

			/* VM entry does it as well, and MOV to CR8. */
			*virtual_register(APIC_PPR) = 0xdeadbeef;
			guest_run(guest_does_nothing);
			expect_guest_done();
			expect_eq(*virtual_register(APIC_PPR), vppr);
			guest.regs.rcx = priority;
			guest_run(guest_sets_cr8);
			expect_guest_done();
			expect_eq(*virtual_register(APIC_PPR), priority >= service ? priority << 4 : svi & 0xf0);
			expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), svi << 8);
		}
}

/* Of each vector, with a bit of the EOI-exit bitmap that is this, while all others are not. */
static void end_each_vector(bool exits)
{
	use_virtual_interrupts();
	for (u32 vector = 18; vector < 256; vector++) {
		const u32 below = vector & 1 ? vector - 1 : vector & 2 ? vector / 2 + 8 : 0;

		CASE("vector %#x, below it %#x", vector, below);
		set_in_service(vector, below);
		set_eoi_exit_bitmap(vector, exits);
		*virtual_register(APIC_TPR) = 0x23;
		*virtual_register(APIC_EOI) = 0xffffffff;
		guest_write_at(ACCESS_32, GUEST_APIC + APIC_EOI, 0x12345678);
		if (exits)
			expect_exit(EXIT_VIRTUALIZED_EOI, .qualification = vector,
				    .rip = (u64)ACCESS_32->behind_write);
		else
			expect_guest_done();
		expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), below << 8);
		expect_eq(*virtual_register(APIC_PPR), (below >> 4) > 2 ? below & 0xf0 : 0x23);
		expect_eq(*virtual_register(APIC_EOI), 0);
		expect_only_vectors(APIC_ISR, below, 0);
	}
}

TEST("apic.vid.eoi_exit", "An EOI of a vector whose bit of the EOI-exit bitmap is 1 ends SVI and exits",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_VIRTUAL_INTERRUPT_DELIVERY))
{
	end_each_vector(true);
}

TEST("apic.vid.eoi", "An EOI ends SVI and finds the next, with no exit if the vector's bit of the EOI-exit bitmap is 0",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_VIRTUAL_INTERRUPT_DELIVERY))
{
	end_each_vector(false);

	/* It is evaluated anew: what waits below the class of the ended one is delivered behind the write. */
	set_in_service(0x71, 0);
	set_eoi_exit_bitmap(0x71, false);
	*virtual_register(APIC_TPR) = 0;
	set_vector(APIC_IRR, 0x65);
	vmcs_write(GUEST_INTERRUPT_STATUS, 0x71 << 8 | 0x65);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	taken_count = 0;
	guest_write_at(ACCESS_32, GUEST_APIC + APIC_EOI, 0);
	expect_guest_done();
	expect_eq(taken_count, 1);
	expect_eq(taken[0].rip, (u64)ACCESS_32->behind_write);
}
