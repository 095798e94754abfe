/* SPDX-License-Identifier: BSD-2-Clause */
/* Self-IPIs, HLT and the interrupt window with virtual-interrupt delivery (SDM Vol. 3C, "Self-IPI Virtualization"). */
#include "virtual.h"

#include "tap/pending.h"
#include "x86/wait.h"

enum { ICR_SELF = 1 << 18 };

static u32 max(u32 a, u32 b)
{
	return a > b ? a : b;
}

TEST("apic.vid.self_ipi", "A self-IPI sets VIRR, and RVI if it is higher; a vector below 16 exits behind the write",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_VIRTUAL_INTERRUPT_DELIVERY))
{
	use_virtual_interrupts();
	WALK_OVER(vector, 0, 256) {
		const u32 pending[] = { 16, max(vector, 17) - 1, vector, vector < 255 ? vector + 1 : 255, 255 };

		for (size_t i = 0; i < ARRAY_SIZE(pending); i++) {
			const u32 rvi = max(pending[i], 16);

			CASE("vector %#x, RVI %#x", vector, rvi);
			set_pending(rvi);
			guest_write_at(ACCESS_32, GUEST_APIC + APIC_ICR, ICR_SELF | vector);
			expect_eq(*virtual_register(APIC_ICR), ICR_SELF | vector);
			if (vector < 16) {
				expect_exit(EXIT_APIC_WRITE, .qualification = APIC_ICR,
					    .rip = (u64)ACCESS_32->behind_write);
				expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), rvi);
				expect_only_vectors(APIC_IRR, rvi, 0);
			} else {
				expect_guest_done();
				expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), max(vector, rvi));
				expect_only_vectors(APIC_IRR, rvi, vector);
			}
			expect_only_vectors(APIC_ISR, 0, 0);
		}
	}

	/* With IF = 1 it is delivered behind the write. */
	CASE("IF = 1");
	set_pending(16);
	*virtual_register(APIC_TPR) = 0x20;
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	taken_count = 0;
	guest_write_at(ACCESS_32, GUEST_APIC + APIC_ICR, ICR_SELF | 0x31);
	expect_guest_done();
	expect_eq(taken_count, 1);
	expect_eq(taken[0].vector, 0x31);
	expect_eq(taken[0].rip, (u64)ACCESS_32->behind_write);
}

TEST("apic.vid.icr_self", "Only a fixed, edge-triggered interrupt to self with no reserved bit is a self-IPI",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_VIRTUAL_INTERRUPT_DELIVERY))
{
	const u32 ignored = 1 << 11 | 1 << 14;	/* destination mode, level */

	use_virtual_interrupts();
	for (u32 shorthand = 0; shorthand < 4; shorthand++)
		for (u32 bit = 8; bit <= 32; bit++) {
			const u32 value = shorthand << 18 | 0x35 | (bit < 32 ? BIT(bit) : 0);
			const u32 high = value >> 18 & 3;
			const bool self = high == 1 && !(value & ~(u32)(0xff | ignored | 3 << 18));

			CASE("VICR_LO = %#x", value);
			set_pending(16);
			guest_write_at(ACCESS_32, GUEST_APIC + APIC_ICR, value);
			expect_eq(*virtual_register(APIC_ICR), value);
			if (self)
				expect_guest_done();
			else
				expect_exit(EXIT_APIC_WRITE, .qualification = APIC_ICR,
					    .rip = (u64)ACCESS_32->behind_write);
			expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), self ? 0x35 : 16);
			expect_only_vectors(APIC_IRR, 16, self ? 0x35 : 0);
		}
}

TEST("apic.vid.window_blocks", "With interrupt-window exiting no virtual interrupt is recognized",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_VIRTUAL_INTERRUPT_DELIVERY,
	   PROC_INTERRUPT_WINDOW_EXITING))
{
	use_virtual_interrupts();
	set_pending(0x45);
	vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	run_and_take_interrupts(guest_does_nothing);
	expect_exit(EXIT_INTERRUPT_WINDOW, .rip = (u64)guest_start);
	expect_eq(taken_count, 0);
	expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), 0x45);

	/* Without it the interrupt comes. */
	vmcs_clear_controls(PROC_INTERRUPT_WINDOW_EXITING);
	guest_resume();
	expect_guest_done();
	expect_eq(taken_count, 1);
	expect_eq(taken[0].vector, 0x45);
}

/* The shadow of STI ends with CLI: there is no boundary with IF = 1 at which anything may come. */
GUEST_ASM(guest_changes_if, "sti\n cli\n nop\n nop\n ret");

/* RVI is above VPPR, and an interrupt of the host's waits besides: with IF = 0 none of that gives the guest a virtual interrupt. */
TEST("apic.vid.if0", "With IF = 0 no virtual interrupt is delivered, whatever window and waiting interrupt",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_VIRTUAL_INTERRUPT_DELIVERY))
{
	use_virtual_interrupts();
	for (u32 set = 0; set < 4; set++) {
		if (set & 1 && !has(PROC_INTERRUPT_WINDOW_EXITING))
			continue;
		CASE("interrupt-window exiting %u, an external interrupt waits: %u", set & 1, set >> 1);
		if (set & 1)
			vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);
		else if (has(PROC_INTERRUPT_WINDOW_EXITING))
			vmcs_clear_controls(PROC_INTERRUPT_WINDOW_EXITING);
		set_pending(0x51);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
		if (set & 2)
			require_pend(0x71);
		run_and_take_interrupts(guest_changes_if);
		if (set & 2)
			expect_exit(EXIT_EXTERNAL_INTERRUPT);
		else
			expect_guest_done();
		expect_eq(taken_count, 0);
		expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), 0x51);
		expect_only_vectors(APIC_IRR, 0x51, 0);
		if (set & 2)
			expect_eq(take_pending(0x71), 1);
	}
}

GUEST_ASM(guest_halts, "sti\n hlt\n guest_behind_hlt: cli\n ret");
extern const u8 guest_behind_hlt[];

TEST("apic.vid.hlt", "A virtual interrupt wakes the guest from HLT",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_VIRTUAL_INTERRUPT_DELIVERY))
{
	use_virtual_interrupts();

	/* Entered in the HLT state. */
	if (has(CAP_MISC_ACTIVITY_HLT)) {
		CASE("VM entry to the HLT state");
		set_pending(0x45);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
		vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
		run_and_take_interrupts(guest_does_nothing);
		expect_guest_done();
		expect_eq(taken_count, 1);
		expect_eq(taken[0].rip, (u64)guest_start);
		vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
	}

	/* It waits while the guest halts: STI keeps it back until then. */
	CASE("STI; HLT");
	set_pending(0x46);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	run_and_take_interrupts(guest_halts);
	expect_guest_done();
	expect_eq(taken_count, 1);
	expect_eq(taken[0].rip, (u64)guest_behind_hlt);
}
