/* SPDX-License-Identifier: BSD-2-Clause */
/* Accessed and dirty flags for EPT (SDM Vol. 3C, "Accessed and Dirty Flags for EPT"). */
#include "window.h"

enum { LEVELS = 4, AD = EPT_ACCESSED | EPT_DIRTY };

static void use_window_with_flags(void)
{
	use_window();
	/* So that the guest's walk has nothing to set: what it does to the EPT is then the same every time. */
	*page_entry(LINEAR, 1) |= PAGE_ACCESSED | PAGE_DIRTY;
	expect_access_works(READ, LINEAR);
	vmcs_write(EPT_POINTER, vmcs_read(EPT_POINTER) | EPTP_ACCESSED_DIRTY);
}

static void clear_flags(void)
{
	for (unsigned int level = 1; level <= LEVELS; level++)
		*ept_entry(GUEST_PHYSICAL, level) &= ~(u64)AD;
	ept_flush();
}

static u64 flags_at(unsigned int level)
{
	return *ept_entry(GUEST_PHYSICAL, level) & AD;
}

TEST("ept.ad.access", "With A/D flags every entry that is used gets A, and no other",
     NEEDS(PROC2_ENABLE_EPT, CAP_EPT_ACCESSED_AND_DIRTY_FLAGS))
{
	use_window_with_flags();
	for (enum access_kind access = 0; access < ACCESSES; access++) {
		clear_flags();
		ept_map(GUEST_PHYSICAL + PAGE_SIZE, physical_address(window_page), EPT_RWX | EPT_WB);
		expect_access_works(access, LINEAR);
		for (unsigned int level = 1; level <= LEVELS; level++) {
			CASE("%s, level %u", access_names[access], level);
			expect_set(flags_at(level), EPT_ACCESSED);
			/* D is for the entry that maps a page. */
			if (level > 1)
				expect_eq(flags_at(level) & EPT_DIRTY, 0);
		}
		CASE("%s, the neighbour", access_names[access]);
		expect_eq(*ept_entry(GUEST_PHYSICAL + PAGE_SIZE, 1) & AD, 0);
	}
}

/* The leaf at a level, large or not, is clean behind a read and a fetch, dirty behind a write. */
static void expect_dirty_by_write(unsigned int level, u64 leaf)
{
	u64 *entry = ept_entry(GUEST_PHYSICAL, level);

	for (enum access_kind access = 0; access < ACCESSES; access++) {
		CASE("%s, leaf of level %u", access_names[access], level);
		*entry = leaf;
		ept_flush();
		expect_access_works(access, LINEAR);
		expect_eq(*entry, leaf | EPT_ACCESSED | (access == WRITE ? EPT_DIRTY : 0));
		/* Flags that are set stay. */
		*entry = leaf | AD;
		ept_flush();
		expect_access_works(access, LINEAR);
		expect_eq(*entry, leaf | AD);
	}
}

TEST("ept.ad.dirty", "With A/D flags a write sets D in the leaf",
     NEEDS(PROC2_ENABLE_EPT, CAP_EPT_ACCESSED_AND_DIRTY_FLAGS))
{
	use_window_with_flags();
	clear_flags();
	expect_dirty_by_write(1, *ept_entry(GUEST_PHYSICAL, 1));

	/* The page of the guest's PTE, too: what the walk does there counts as a write. */
	u64 *table = ept_entry((u64)page_entry(LINEAR, 1), 1);

	*table &= ~(u64)AD;
	ept_flush();
	CASE("the guest's page table");
	expect_access_works(READ, LINEAR);
	expect_eq(*table & AD, AD);

	for (unsigned int level = 2; level <= 3; level++) {
		const u64 bytes = level == 2 ? 2ull << 20 : 1ull << 30;

		if (!has(level == 2 ? CAP_EPT_2M_PAGES : CAP_EPT_1G_PAGES))
			continue;
		page_map(LINEAR, (GUEST_PHYSICAL & ~(bytes - 1)) | (physical_address(window_page) & (bytes - 1)),
			 PAGE_PRESENT | PAGE_WRITE | PAGE_ACCESSED | PAGE_DIRTY);
		expect_dirty_by_write(level, (physical_address(window_page) & ~(bytes - 1)) | EPT_RWX | EPT_WB |
				      EPT_LARGE);
	}
}

TEST("ept.ad.off", "Without A/D flags bits 8 and 9 stay as they are", NEEDS(PROC2_ENABLE_EPT))
{
	use_window();
	for (u64 flags = 0; flags <= AD; flags += EPT_ACCESSED) {
		for (unsigned int level = 1; level <= LEVELS; level++)
			*ept_entry(GUEST_PHYSICAL, level) = (*ept_entry(GUEST_PHYSICAL, level) & ~(u64)AD) | flags;
		ept_flush();
		for (enum access_kind access = 0; access < ACCESSES; access++) {
			expect_access_works(access, LINEAR);
			for (unsigned int level = 1; level <= LEVELS; level++) {
				CASE("%s, level %u, bits 9:8 = %u", access_names[access], level, flags >> 8);
				expect_eq(flags_at(level), flags);
			}
		}
	}
}
