/* SPDX-License-Identifier: BSD-2-Clause */
/* APIC-access exits with EPT (SDM Vol. 3C, "Guest-Physical Accesses to the APIC-Access Page"). */
#include "pages.h"
#include "vmx/ept.h"
#include "x86/interrupt.h"
#include "x86/tables.h"

GUEST_ASM(guest_breaks_too, "guest_breaks_too_at: int3\n ret");
extern const u8 guest_breaks_too_at[];

TEST("apic.access.guest_physical", "A guest-physical access to the APIC-access page exits with type 15 or 10",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC2_ENABLE_EPT))
{
	const u64 linear = PAGE_WINDOW + (1ull << 30);
	u64 table;

	use_access_page();
	page_map(linear, physical_address(idt), PAGE_PRESENT | PAGE_WRITE);
	table = (u64)page_entry(linear, 1) & ~0xfffull;
	vmcs_use_ept();
	/* By a page of 4 KBytes: through a larger one the processor may act as with the control 0. */
	ept_map(physical_address(access_page), physical_address(access_page), EPT_RWX | EPT_WB);

	/* Through the guest's mapping the page is what it is without EPT. */
	guest_read_at(ACCESS_32, GUEST_APIC + 0x300);
	expect_exit(EXIT_APIC_ACCESS, .qualification = ACCESS_READ | 0x300);
	guest_read_at(ACCESS_32, linear);
	expect_guest_done();

	/* The guest's page table is in it: its walk is no access by a linear address. */
	ept_map(table, physical_address(access_page), EPT_RWX | EPT_WB);
	ept_flush();
	guest_read_at(ACCESS_32, linear);
	expect_exit(EXIT_APIC_ACCESS, .rip = (u64)ACCESS_32->read);
	expect_eq(vmcs_read(EXIT_QUALIFICATION) & ~0xfffull, ACCESS_GUEST_PHYSICAL);
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);

	vmcs_write(GUEST_IDTR_BASE, linear);
	guest_run(guest_breaks_too);
	expect_exit(EXIT_APIC_ACCESS, .rip = (u64)guest_breaks_too_at,
		    .idt_vectoring = INTERRUPTION_VALID | INTERRUPTION_TYPE_SOFTWARE_EXCEPTION | VECTOR_BP);
	expect_eq(vmcs_read(EXIT_QUALIFICATION) & ~0xfffull, ACCESS_GUEST_PHYSICAL_EVENT);
}
