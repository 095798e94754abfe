/* SPDX-License-Identifier: BSD-2-Clause */
/* The log of the pages that a guest makes dirty (SDM Vol. 3C, "Page-Modification Logging"). */
#include "window.h"

enum { AD = EPT_ACCESSED | EPT_DIRTY };

static u64 *log_page;

static u64 flags_of_page(void)
{
	return *ept_entry(GUEST_PHYSICAL, 1) & AD;
}

/* Only D: with an A to set, too, a processor looks at the index. */
static void clear_dirty(void)
{
	*ept_entry(GUEST_PHYSICAL, 1) &= ~(u64)EPT_DIRTY;
	ept_flush();
}

static void use_log(u32 index)
{
	log_page = page_alloc();
	use_window();
	*page_entry(LINEAR, 1) |= PAGE_ACCESSED | PAGE_DIRTY;
	vmcs_write(EPT_POINTER, vmcs_read(EPT_POINTER) | EPTP_ACCESSED_DIRTY);
	vmcs_write(PML_ADDRESS, physical_address(log_page));
	vmcs_set_controls(PROC2_ENABLE_PML);
	/* Run once with room for all: the guest's stack, page tables and this file's variables are dirty then. */
	vmcs_write(PML_INDEX, 511);
	guest.regs.rcx = RETS;
	guest_access(WRITE, LINEAR);
	expect_guest_done();
	clear_dirty();
	vmcs_write(PML_INDEX, index);
	for (u32 i = 0; i < 512; i++)
		log_page[i] = ~0ull;
}

TEST("pml.log", "A write that sets D logs the page's guest-physical address and lowers the index",
     NEEDS(PROC2_ENABLE_EPT, PROC2_ENABLE_PML, CAP_EPT_ACCESSED_AND_DIRTY_FLAGS))
{
	static const u32 indexes[] = { 511, 510, 256, 255, 1, 0 };

	for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
		use_log(indexes[i]);
		guest.regs.rcx = RETS;
		guest_access(WRITE, LINEAR + 0xab8);
		CASE("index %u", indexes[i]);
		expect_guest_done();
		expect_eq(log_page[indexes[i]], GUEST_PHYSICAL);
		expect_eq(vmcs_read(PML_INDEX), (u16)(indexes[i] - 1));
		expect_eq(flags_of_page(), AD);
		expect_filled(log_page, 0, indexes[i] * sizeof(u64), 0xff);
		expect_filled(log_page, (indexes[i] + 1) * sizeof(u64), PAGE_SIZE, 0xff);
	}
}

TEST("pml.no_log_clean", "A write with D already 1, a read and a fetch are not logged",
     NEEDS(PROC2_ENABLE_EPT, PROC2_ENABLE_PML, CAP_EPT_ACCESSED_AND_DIRTY_FLAGS))
{
	use_log(300);
	expect_access_works(READ, LINEAR);
	expect_access_works(FETCH, LINEAR);
	*ept_entry(GUEST_PHYSICAL, 1) |= AD;
	ept_flush();
	expect_access_works(WRITE, LINEAR);
	expect_eq(vmcs_read(PML_INDEX), 300);
	expect_eq(log_page[300], ~0ull);

	/* The twin. */
	clear_dirty();
	expect_access_works(WRITE, LINEAR);
	expect_eq(vmcs_read(PML_INDEX), 299);
	expect_eq(log_page[300], GUEST_PHYSICAL);
}

TEST("pml.full", "With the index outside 0-511 a write that would set D exits, and D stays 0",
     NEEDS(PROC2_ENABLE_EPT, PROC2_ENABLE_PML, CAP_EPT_ACCESSED_AND_DIRTY_FLAGS))
{
	static const u32 indexes[] = { 0xffff, 512, 513, 0x1000, 0x8000 };

	for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
		use_log(indexes[i]);
		guest.regs.rcx = 0x1234;
		guest_access(WRITE, LINEAR);
		CASE("index %#x", indexes[i]);
		expect_exit(EXIT_PAGE_MODIFICATION_LOG_FULL, .rip = access_rip(WRITE, LINEAR));
		expect_bits(vmcs_read(EXIT_QUALIFICATION), BIT(12), 0);	/* the one bit that is defined: no IRET */
		expect_eq(vmcs_read(PML_INDEX), indexes[i]);
		expect_eq(flags_of_page() & EPT_DIRTY, 0);
		expect_eq(*(u64 *)window_page, RETS);

		/* With room the same write goes on. */
		vmcs_write(PML_INDEX, 5);
		guest_resume();
		expect_guest_done();
		expect_eq(log_page[5], GUEST_PHYSICAL);
		expect_eq(vmcs_read(PML_INDEX), 4);
	}
}

TEST("pml.ad_off", "Without A/D flags nothing is logged",
     NEEDS(PROC2_ENABLE_EPT, PROC2_ENABLE_PML, CAP_EPT_ACCESSED_AND_DIRTY_FLAGS))
{
	use_log(7);
	vmcs_write(EPT_POINTER, vmcs_read(EPT_POINTER) & ~(u64)EPTP_ACCESSED_DIRTY);
	ept_flush();
	expect_access_works(WRITE, LINEAR);
	expect_eq(flags_of_page(), EPT_ACCESSED);
	expect_eq(vmcs_read(PML_INDEX), 7);
	expect_eq(log_page[7], ~0ull);

	/* Nor is there an exit for want of room. */
	vmcs_write(PML_INDEX, 0xffff);
	expect_access_works(WRITE, LINEAR);

	/* With the flags, but without the control: D is set, and that is all. */
	vmcs_write(EPT_POINTER, vmcs_read(EPT_POINTER) | EPTP_ACCESSED_DIRTY);
	vmcs_clear_controls(PROC2_ENABLE_PML);
	ept_flush();
	expect_access_works(WRITE, LINEAR);
	expect_eq(flags_of_page(), AD);
	expect_eq(vmcs_read(PML_INDEX), 0xffff);
	expect_eq(log_page[7], ~0ull);
}

TEST("pml.guest_walk", "A guest paging-structure access that sets D of its page is logged",
     NEEDS(PROC2_ENABLE_EPT, PROC2_ENABLE_PML, CAP_EPT_ACCESSED_AND_DIRTY_FLAGS))
{
	const u64 pte_page = (u64)page_entry(LINEAR, 1) & ~0xfffull;

	use_log(40);
	*ept_entry(pte_page, 1) &= ~(u64)AD;
	ept_flush();
	expect_access_works(READ, LINEAR);
	expect_eq(vmcs_read(PML_INDEX), 39);
	expect_eq(log_page[40] & ~0xfffull, pte_page);	/* bits 11:0: pml.log */
	expect_eq(*ept_entry(pte_page, 1) & AD, AD);
}
