/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Virtualize APIC accesses" without "APIC-register virtualization" (SDM Vol. 3C, "Virtualizing Memory-Mapped
 * APIC Accesses"; exit qualification: "Basic VM-Exit Information").
 */
#include "pages.h"
#include "x86/interrupt.h"
#include "x86/tables.h"

#include "libc/string.h"

/* Every register of the page by every width, but 080H where the TPR shadow virtualizes it. */
static void expect_every_access_exits(u32 type, bool tpr_shadow)
{
	u32 turn = 0;

	for (size_t i = 0; i < ARRAY_SIZE(accesses); i++) {
		const struct access *access = &accesses[i];

		for (u32 offset = 0; offset < PAGE_SIZE; offset += 16) {
			if ((tpr_shadow && offset == APIC_TPR && access->width <= 4) || !walk_takes_nth(&turn, 9))
				continue;
			CASE("offset %#x, %u bytes, TPR shadow %u", offset, access->width, tpr_shadow);
			if (type == ACCESS_WRITE)
				guest_write_at(access, GUEST_APIC + offset, 0xc3c3c3c3c3c3c3c3);
			else
				guest_read_at(access, GUEST_APIC + offset);
			expect_exit(EXIT_APIC_ACCESS, .qualification = type | offset,
				    .rip = (u64)(type == ACCESS_WRITE ? access->write : access->read));
			if (type == ACCESS_READ)
				expect_eq(guest.regs.rcx, ~0ull);
		}
	}
	expect_access_page_untouched();
}

TEST("apic.access.read_exit", "A read of the APIC-access page exits with its offset, type 0",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW))
{
	use_access_page();
	expect_every_access_exits(ACCESS_READ, false);
	use_virtual_page();
	expect_every_access_exits(ACCESS_READ, true);
	expect_virtual_page_filled();
}

TEST("apic.access.write_exit", "A write to the APIC-access page exits with its offset, type 1",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW))
{
	use_access_page();
	expect_every_access_exits(ACCESS_WRITE, false);
	use_virtual_page();
	expect_every_access_exits(ACCESS_WRITE, true);
	expect_virtual_page_filled();
}

TEST("apic.access.tpr_read", "A read of offset 080H returns VTPR from the virtual-APIC page",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW))
{
	use_access_page();
	use_virtual_page();
	for (size_t i = 0; i < 3; i++)
		WALK_OVER(value, 0, 0x100) {
			const u32 vtpr = (value ^ 0xc3) << 24 | (value ^ 0x96) << 8 | value;

			CASE("VTPR %#x, %u bytes", vtpr, accesses[i].width);
			*virtual_register(APIC_TPR) = vtpr;
			guest_read_at(&accesses[i], GUEST_APIC + APIC_TPR);
			expect_guest_done();
			expect_bits(guest.regs.rcx, accesses[i].mask, vtpr);
			expect_eq(*virtual_register(APIC_TPR), vtpr);
		}
	expect_access_page_untouched();
}

TEST("apic.access.tpr_no_shadow", "Without TPR shadow an access to offset 080H exits too",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES))
{
	use_access_page();
	for (size_t i = 0; i < ARRAY_SIZE(accesses); i++) {
		CASE("%u bytes", accesses[i].width);
		guest_read_at(&accesses[i], GUEST_APIC + APIC_TPR);
		expect_exit(EXIT_APIC_ACCESS, .qualification = ACCESS_READ | APIC_TPR, .rip = (u64)accesses[i].read);
		guest_write_at(&accesses[i], GUEST_APIC + APIC_TPR, 0);
		expect_exit(EXIT_APIC_ACCESS, .qualification = ACCESS_WRITE | APIC_TPR,
			    .rip = (u64)accesses[i].write);
	}
	expect_access_page_untouched();
}

static void expect_memory_read_at(const struct access *access, u64 guest_address, const u8 *page, u32 offset)
{
	u64 memory = 0;

	CASE("offset %#x, %u bytes", offset, access->width);
	memcpy(&memory, page + offset, access->width);
	guest_read_at(access, guest_address + offset);
	expect_guest_done();
	expect_bits(guest.regs.rcx, access->mask, memory);
}

/* The guest finds the page's bytes. */
static void expect_memory_read(u64 guest_address, const u8 *page)
{
	u32 turn = 0;

	for (size_t i = 0; i < ARRAY_SIZE(accesses); i++)
		for (u32 offset = 0; offset < PAGE_SIZE; offset += 16)
			if (walk_takes_nth(&turn, 9))
				expect_memory_read_at(&accesses[i], guest_address, page, offset);
}

/* The guest finds the page's bytes, and what it writes stays as written: no register behind it. */
static void expect_plain_memory(u64 guest_address, const u8 *page)
{
	u32 turn = 0;

	for (size_t i = 0; i < ARRAY_SIZE(accesses); i++) {
		const struct access *access = &accesses[i];

		for (u32 offset = 0; offset < PAGE_SIZE; offset += 16) {
			if (!walk_takes_nth(&turn, 9))
				continue;

			const u64 value = 0x8899aabbccddeeff ^ (u64)offset << 24 ^ (u64)i << 60;
			u64 memory = 0;

			expect_memory_read_at(access, guest_address, page, offset);
			guest_write_at(access, guest_address + offset, value);
			expect_guest_done();
			memcpy(&memory, page + offset, 8);
			expect_bits(memory, access->mask, value & access->mask);
		}
	}
}

TEST("apic.access.off", "Without virtualize APIC accesses the page is plain memory",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW))
{
	use_access_page();
	vmcs_clear_controls(PROC2_VIRTUALIZE_APIC_ACCESSES);
	expect_plain_memory(GUEST_APIC, access_page);

	use_virtual_page();
	expect_plain_memory(GUEST_APIC, access_page);
	expect_virtual_page_filled();
}

/* No writes: while it runs a guest must not modify what its VMCS points to ("Software Access to Related Structures"). */
TEST("apic.access.maps_not_vapic", "A read of the virtual-APIC page itself is one of plain memory",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW))
{
	use_access_page();
	use_virtual_page();
	expect_memory_read(GUEST_VIRTUAL, virtual_page);
	expect_virtual_page_filled();
	expect_access_page_untouched();

	/* Through the APIC-access page the same read is one of a register, or exits. */
	guest_read_at(ACCESS_32, GUEST_APIC + APIC_TPR);
	expect_guest_done();
	expect_eq((u32)guest.regs.rcx, *virtual_register(APIC_TPR));
	guest_read_at(ACCESS_32, GUEST_APIC + APIC_TPR + 0x10);
	expect_exit(EXIT_APIC_ACCESS, .qualification = ACCESS_READ | (APIC_TPR + 0x10));
}

TEST("apic.access.width", "An access wider than 32 bits, or not within 3:0 of its 16 bytes, exits",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW))
{
	use_access_page();
	use_virtual_page();
	for (size_t i = 0; i < ARRAY_SIZE(accesses); i++) {
		const u32 width = accesses[i].width;

		/* All that touch a byte of 080H-08FH but the one that is within 080H-083H and begins at 080H. */
		for (u32 offset = APIC_TPR + 1 - width; offset < APIC_TPR + 0x10; offset++) {
			if (offset == APIC_TPR && width <= 4)
				continue;
			CASE("offset %#x, %u bytes", offset, width);
			guest_read_at(&accesses[i], GUEST_APIC + offset);
			expect_exit(EXIT_APIC_ACCESS, .qualification = ACCESS_READ | offset);
			guest_write_at(&accesses[i], GUEST_APIC + offset, ~0ull);
			expect_exit(EXIT_APIC_ACCESS, .qualification = ACCESS_WRITE | offset);
		}
	}
	expect_virtual_page_filled();
	expect_access_page_untouched();
}

TEST("apic.access.fetch_exit", "A fetch from the APIC-access page exits with its offset, type 2",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW))
{
	static const u32 offsets[] = { 0, 1, APIC_TPR, APIC_EOI, 0x7ff, 0x800, 0xfff };

	use_access_page();
	memset(access_page, 0xc3, PAGE_SIZE);	/* RET */
	for (u32 tpr_shadow = 0; tpr_shadow < 2; tpr_shadow++) {
		if (tpr_shadow)
			use_virtual_page();
		for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
			CASE("offset %#x, TPR shadow %u", offsets[i], tpr_shadow);
			guest_run((void (*)(void))(GUEST_APIC + offsets[i]));
			expect_exit(EXIT_APIC_ACCESS, .qualification = ACCESS_FETCH | offsets[i],
				    .rip = GUEST_APIC + offsets[i]);
		}
	}

	/* The same code, without the control, runs. */
	vmcs_clear_controls(PROC2_VIRTUALIZE_APIC_ACCESSES);
	guest_run((void (*)(void))(GUEST_APIC + APIC_EOI));
	expect_guest_done();
}

GUEST_ASM(guest_breaks, "guest_breaks_at: int3\n ret");
extern const u8 guest_breaks_at[];

TEST("apic.access.event_delivery", "An access during event delivery exits with type 3, the event in IDT-vectoring",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES))
{
	use_access_page();
	/* The IDT of the guest is in the APIC-access page: its gate of #BP is at 030H. */
	vmcs_write(GUEST_IDTR_BASE, GUEST_APIC);
	guest_run(guest_breaks);
	expect_exit(EXIT_APIC_ACCESS, .rip = (u64)guest_breaks_at, .instruction_length = 1,
		    .idt_vectoring = INTERRUPTION_VALID | INTERRUPTION_TYPE_SOFTWARE_EXCEPTION | VECTOR_BP);
	expect_eq(vmcs_read(EXIT_QUALIFICATION) & ~0xfull, ACCESS_EVENT_DELIVERY | VECTOR_BP * sizeof(struct gate));

	/* An access by an instruction reports no event. */
	vmcs_write(GUEST_IDTR_BASE, physical_address(idt));
	guest_read_at(ACCESS_32, GUEST_APIC + APIC_TPR);
	expect_exit(EXIT_APIC_ACCESS, .qualification = ACCESS_READ | APIC_TPR);
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);
}
