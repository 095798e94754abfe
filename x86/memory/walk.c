/* SPDX-License-Identifier: BSD-2-Clause */
/* EPT violations and the guest's own paging structures (SDM Vol. 3C, "EPT Violations"; exit qualification). */
#include "window.h"

/* The EPT entry of the page that holds the guest's paging-structure entry of LINEAR at a level. */
static u64 *ept_entry_of_table(unsigned int level)
{
	return ept_entry((u64)page_entry(LINEAR, level), 1);
}

static void set_table_permissions(unsigned int level, u64 permissions)
{
	u64 *entry = ept_entry_of_table(level);

	*entry = (*entry & ~(u64)EPT_RWX) | permissions;
	ept_flush();
}

/* The violation is at the guest's entry of this level; bit 0 or 1 says what the access was. */
static void expect_walk_violation(unsigned int level, u64 accesses, u64 permissions)
{
	expect_exit(EXIT_EPT_VIOLATION, .physical = (u64)page_entry(LINEAR, level));
	expect_bits(vmcs_read(EXIT_QUALIFICATION), EPT_VIOLATION_DEFINED,
		    accesses | permissions << EPT_VIOLATION_PERMISSIONS_SHIFT | EPT_VIOLATION_LINEAR_VALID);
	expect_eq(vmcs_read(GUEST_LINEAR_ADDRESS) & ~0xfffull, LINEAR);
}

TEST("ept.viol.bit7_bit8", "Bit 8 is 1 for the page itself, 0 for a guest paging-structure entry",
     NEEDS(PROC2_ENABLE_EPT))
{
	use_window();
	for (enum access_kind access = 0; access < ACCESSES; access++) {
		CASE("the page, %s", access_names[access]);
		*ept_entry(GUEST_PHYSICAL, 1) &= ~(u64)EPT_RWX;
		ept_flush();
		expect_violation(access, 0, 0x120);
		restore_window();

		for (unsigned int level = 1; level <= 3; level++) {
			CASE("guest entry of level %u, %s", level, access_names[access]);
			set_table_permissions(level, 0);
			guest_access(access, LINEAR + 0x120);
			expect_walk_violation(level, EPT_VIOLATION_READ, 0);
			expect_eq(vmcs_read(GUEST_LINEAR_ADDRESS), LINEAR + 0x120);
			expect_eq(vmcs_read(GUEST_RIP), access_rip(access, LINEAR + 0x120));
			set_table_permissions(level, EPT_RWX);
			expect_access_works(access, LINEAR);
		}
	}
}

TEST("ept.viol.guest_ad_update", "Setting A or D in a guest entry on a read-only EPT page gives a write violation",
     NEEDS(PROC2_ENABLE_EPT))
{
	enum { A = PAGE_ACCESSED, D = PAGE_DIRTY };
	static const struct { enum access_kind access; u64 flags; bool updates; } cases[] = {
		{ READ, 0, true }, { READ, D, true }, { READ, A, false }, { READ, A | D, false },
		{ FETCH, 0, true }, { FETCH, A, false },
		{ WRITE, 0, true }, { WRITE, A, true }, { WRITE, A | D, false },
	};
	volatile u64 *pte;

	use_window();
	pte = page_entry(LINEAR, 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const u64 value = GUEST_PHYSICAL | PAGE_PRESENT | PAGE_WRITE | cases[i].flags;

		CASE("%s, A and D %#x", access_names[cases[i].access], cases[i].flags);
		*pte = value;
		set_table_permissions(1, EPT_READ);
		guest.regs.rcx = RETS;
		guest_access(cases[i].access, LINEAR);
		if (!cases[i].updates) {
			expect_guest_done();
			continue;
		}
		expect_exit(EXIT_EPT_VIOLATION, .physical = (u64)pte);
		expect_bits(vmcs_read(EXIT_QUALIFICATION), EPT_VIOLATION_DEFINED & ~(u64)EPT_VIOLATION_READ,
			    EPT_VIOLATION_WRITE | EPT_READ << EPT_VIOLATION_PERMISSIONS_SHIFT |
			    EPT_VIOLATION_LINEAR_VALID);
		expect_eq(*pte, value);

		set_table_permissions(1, EPT_READ | EPT_WRITE);
		guest_resume();
		expect_guest_done();
		expect_eq(*pte & ~(u64)D, (value | A) & ~(u64)D);
		expect_eq(*pte & D, cases[i].access == WRITE ? D : cases[i].flags & D);
	}
}

TEST("ept.viol.guest_walk_write", "With A/D flags a guest paging-structure access counts as a write",
     NEEDS(PROC2_ENABLE_EPT, CAP_EPT_ACCESSED_AND_DIRTY_FLAGS))
{
	use_window();
	*page_entry(LINEAR, 1) |= PAGE_ACCESSED | PAGE_DIRTY;
	expect_access_works(READ, LINEAR);	/* sets A above */
	vmcs_write(EPT_POINTER, vmcs_read(EPT_POINTER) | EPTP_ACCESSED_DIRTY);
	for (unsigned int level = 1; level <= 3; level++)
		for (enum access_kind access = 0; access < ACCESSES; access++) {
			CASE("guest entry of level %u, %s", level, access_names[access]);
			set_table_permissions(level, EPT_READ);
			guest_access(access, LINEAR);
			expect_walk_violation(level, EPT_VIOLATION_READ | EPT_VIOLATION_WRITE, EPT_READ);
			set_table_permissions(level, EPT_RWX);
			expect_access_works(access, LINEAR);
		}

	/* Without the flags it is a read. */
	vmcs_write(EPT_POINTER, vmcs_read(EPT_POINTER) & ~(u64)EPTP_ACCESSED_DIRTY);
	set_table_permissions(1, EPT_READ);
	expect_access_works(READ, LINEAR);
}

TEST("ept.viol.guest_pf_first", "A page fault of the guest comes before the violation of the page",
     NEEDS(PROC2_ENABLE_EPT))
{
	enum { PF_PRESENT = BIT(0), PF_WRITE = BIT(1), PF_FETCH = BIT(4) };
	const bool nx = rdmsr(IA32_EFER) & EFER_NXE;

	use_window();
	*ept_entry(GUEST_PHYSICAL, 1) &= ~(u64)EPT_RWX;
	ept_flush();

	page_map(LINEAR, GUEST_PHYSICAL, PAGE_PRESENT);
	guest_access(WRITE, LINEAR + 8);
	expect_guest_fault(VECTOR_PF, PF_PRESENT | PF_WRITE);
	expect_eq(guest.fault.cr2, LINEAR + 8);
	expect_violation(READ, 0, 8);		/* what the guest's tables allow */

	page_map(LINEAR, GUEST_PHYSICAL, 0);
	guest_access(READ, LINEAR + 8);
	expect_guest_fault(VECTOR_PF, 0);
	expect_eq(guest.fault.cr2, LINEAR + 8);

	if (nx) {
		page_map(LINEAR, GUEST_PHYSICAL, PAGE_PRESENT | PAGE_WRITE | PAGE_NX);
		guest_access(FETCH, LINEAR + 8);
		expect_guest_fault(VECTOR_PF, PF_PRESENT | PF_FETCH);
		expect_violation(WRITE, 0, 8);
	}

	/* But a violation on the way to the entry that says so comes first. */
	set_table_permissions(1, 0);
	guest_access(READ, LINEAR + 8);
	expect_walk_violation(1, EPT_VIOLATION_READ, 0);
}
