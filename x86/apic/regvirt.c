/* SPDX-License-Identifier: BSD-2-Clause */
/* "APIC-register virtualization" (SDM Vol. 3C, "Virtualizing Reads from / Writes to the APIC-Access Page"). */
#include "pages.h"

/* Registers that a read finds in the virtual-APIC page, and those that a write goes to. */
static bool read_is_virtualized(u32 reg)
{
	switch (reg) {
	case APIC_ID: case APIC_VERSION: case APIC_TPR: case APIC_EOI: case APIC_LDR: case APIC_DFR: case APIC_SVR:
	case APIC_ISR ... APIC_ISR + 0x70: case APIC_TMR ... APIC_TMR + 0x70: case APIC_IRR ... APIC_IRR + 0x70:
	case APIC_ESR: case APIC_ICR: case APIC_ICR_HIGH: case APIC_LVT_TIMER ... APIC_LVT_ERROR:
	case APIC_TIMER_INITIAL: case APIC_TIMER_DIVIDE:
		return true;
	}
	return false;
}

static bool write_is_virtualized(u32 reg)
{
	switch (reg) {
	case APIC_ID: case APIC_TPR: case APIC_EOI: case APIC_LDR: case APIC_DFR: case APIC_SVR: case APIC_ESR:
	case APIC_ICR: case APIC_ICR_HIGH: case APIC_LVT_TIMER ... APIC_LVT_ERROR: case APIC_TIMER_INITIAL:
	case APIC_TIMER_DIVIDE:
		return true;
	}
	return false;
}

static void use_register_virtualization(void)
{
	use_access_page();
	use_virtual_page();
	vmcs_set_controls(PROC2_APIC_REGISTER_VIRTUALIZATION);
}

/* Is an access of the width at the offset wholly within bytes 3:0 of its register? */
static bool within_register(u32 offset, u32 width)
{
	return offset % 16 + width <= 4;
}

/* Every byte of the page, and every width that begins there and does not leave the page. */
static void run_reads(bool virtualized)
{
	u32 turn = 0;

	for (size_t i = 0; i < ARRAY_SIZE(accesses); i++) {
		const struct access *access = &accesses[i];

		for (u32 offset = 0; offset + access->width <= 0x410; offset++) {
			const bool expected = read_is_virtualized(offset & ~0xfu) && within_register(offset, access->width);
			u64 memory = 0;

			if (expected != virtualized || !walk_takes_nth(&turn, 9))
				continue;
			CASE("offset %#x, %u bytes", offset, access->width);
			guest_read_at(access, GUEST_APIC + offset);
			if (!virtualized) {
				expect_exit(EXIT_APIC_ACCESS, .qualification = ACCESS_READ | offset,
					    .rip = (u64)access->read);
				continue;
			}
			for (u32 byte = 0; byte < access->width; byte++)
				memory |= (u64)virtual_page[offset + byte] << 8 * byte;
			expect_guest_done();
			expect_bits(guest.regs.rcx, access->mask, memory);
		}
	}
	expect_virtual_page_filled();
	expect_access_page_untouched();
}

TEST("apic.regvirt.read", "A read of a virtualized register returns what the virtual-APIC page holds",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_APIC_REGISTER_VIRTUALIZATION))
{
	use_register_virtualization();
	run_reads(true);
}

TEST("apic.regvirt.read_other", "A read of another offset, or not within a register, exits",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_APIC_REGISTER_VIRTUALIZATION))
{
	use_register_virtualization();
	run_reads(false);
	for (u32 offset = 0x410; offset < PAGE_SIZE; offset += 16) {
		CASE("offset %#x", offset);
		guest_read_at(ACCESS_32, GUEST_APIC + offset);
		expect_exit(EXIT_APIC_ACCESS, .qualification = ACCESS_READ | offset);
	}
}

TEST("apic.regvirt.write_trap", "A write to a virtualized register is stored and exits behind; others exit before",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_APIC_REGISTER_VIRTUALIZATION))
{
	use_register_virtualization();
	for (u32 reg = 0; reg < PAGE_SIZE; reg += 16) {
		const u64 value = 0xa5c3960f ^ reg << 12;

		if (reg == APIC_ICR_HIGH)
			continue;		/* no exit: apic.regvirt.icr_hi */
		CASE("offset %#x", reg);
		fill_virtual_page();
		guest_write_at(ACCESS_32, GUEST_APIC + reg, value);
		if (!write_is_virtualized(reg)) {
			expect_exit(EXIT_APIC_ACCESS, .qualification = ACCESS_WRITE | reg, .rip = (u64)ACCESS_32->write);
			expect_virtual_page_filled();
		} else if (reg == APIC_TPR) {
			expect_guest_done();	/* threshold 0 */
			expect_eq(*virtual_register(reg), (u8)value);
		} else {
			expect_exit(EXIT_APIC_WRITE, .qualification = reg, .rip = (u64)ACCESS_32->behind_write);
			expect_eq(*virtual_register(reg), value);
			refill_register(reg);
			expect_virtual_page_filled();
			/* The guest goes on behind the instruction. */
			guest_resume();
			expect_guest_done();
		}
	}
	expect_access_page_untouched();

	/* Narrow writes, with the offset of their first byte; what crosses the end of the register exits before. */
	for (size_t i = 0; i < ARRAY_SIZE(accesses); i++)
		for (u32 offset = APIC_SVR; offset < APIC_SVR + 16; offset++) {
			const struct access *access = &accesses[i];

			CASE("offset %#x, %u bytes", offset, access->width);
			fill_virtual_page();
			guest_write_at(access, GUEST_APIC + offset, 0x1122334455667788);
			if (!within_register(offset, access->width)) {
				expect_exit(EXIT_APIC_ACCESS, .qualification = ACCESS_WRITE | offset);
			} else {
				expect_exit(EXIT_APIC_WRITE, .qualification = offset, .rip = (u64)access->behind_write);
				for (u32 byte = 0; byte < access->width; byte++)
					expect_eq(virtual_page[offset + byte], (u8)(0x1122334455667788 >> 8 * byte));
				refill_register(APIC_SVR);
			}
			expect_virtual_page_filled();
		}
}

TEST("apic.regvirt.icr_hi", "A write to 310H keeps bits 31:24 alone and does not exit",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_APIC_REGISTER_VIRTUALIZATION))
{
	use_register_virtualization();
	for (u32 bit = 0; bit <= 32; bit++) {
		const u32 value = bit == 32 ? 0xffffffff : BIT(bit);

		CASE("value %#x", value);
		fill_virtual_page();
		guest_write_at(ACCESS_32, GUEST_APIC + APIC_ICR_HIGH, value);
		expect_guest_done();
		expect_eq(*virtual_register(APIC_ICR_HIGH), value & 0xff000000);
		refill_register(APIC_ICR_HIGH);
		expect_virtual_page_filled();
	}
}
