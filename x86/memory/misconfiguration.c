/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EPT misconfigurations, and the bits that may be anything (SDM Vol. 3C, "EPT Misconfigurations"). That the exit
 * qualification is cleared is looked at in ept.misconfig.qual alone.
 */
#include "window.h"
#include "tap/reserved.h"

#include "libc/string.h"

enum { LEVELS = 4 };

static bool entry_is_leaf(unsigned int level, u64 value)
{
	return level == 1 || (level < LEVELS && value & EPT_LARGE);
}

/* What tables are on the way: at level 4 every access of the guest goes through the entry. */
static void expect_entry_misconfigured(unsigned int level, u64 value)
{
	u64 *entry = ept_entry(GUEST_PHYSICAL, level);
	const u64 saved = *entry;

	*entry = value;
	ept_flush();
	if (level == 4) {
		guest_access(READ, LINEAR);
		expect_exit(EXIT_EPT_MISCONFIGURATION);
	} else {
		for (enum access_kind access = 0; access < ACCESSES; access++)
			expect_misconfiguration(access, 0x120);
	}
	*entry = saved;
	ept_flush();
}

/* The twin: with this value the guest reads, fetches, and writes if the page is as cacheable as it is in the host. */
static void expect_entry_works(unsigned int level, u64 value)
{
	u64 *entry = ept_entry(GUEST_PHYSICAL, level);
	const u64 saved = *entry;
	const bool same_type = !entry_is_leaf(level, value) || (value & EPT_TYPE_MASK) == EPT_WB;

	*entry = value;
	ept_flush();
	for (enum access_kind access = 0; access < ACCESSES; access++)
		if (access != WRITE || same_type)
			expect_access_works(access, LINEAR);
	*entry = saved;
	ept_flush();
}

static u64 entry_at(unsigned int level)
{
	return *ept_entry(GUEST_PHYSICAL, level);
}

/* Put a large page where the window's table was: as before for the guest if `to` is the window's host page. */
static u64 large_leaf(unsigned int level)
{
	const u64 bytes = level == 2 ? 2ull << 20 : 1ull << 30;

	/* The guest's page is where the large page has window_page. */
	page_map(LINEAR, (GUEST_PHYSICAL & ~(bytes - 1)) | (physical_address(window_page) & (bytes - 1)),
		 PAGE_PRESENT | PAGE_WRITE);
	return (physical_address(window_page) & ~(bytes - 1)) | EPT_RWX | EPT_WB | EPT_LARGE;
}

/* A misconfigured large leaf: the guest-physical address is the one in the guest's PTE. */
static void expect_leaf_misconfigured(unsigned int level, u64 value)
{
	u64 *entry = ept_entry(GUEST_PHYSICAL, level);
	const u64 saved = *entry;

	*entry = value;
	ept_flush();
	for (enum access_kind access = 0; access < ACCESSES; access++) {
		guest_access(access, LINEAR);
		expect_exit(EXIT_EPT_MISCONFIGURATION, .physical = *page_entry(LINEAR, 1) & PAGE_ADDRESS_MASK);
	}
	*entry = saved;
	ept_flush();
}

TEST("ept.misconfig.write_only", "Bits 2:0 = 010 or 110 are a misconfiguration at every level",
     NEEDS(PROC2_ENABLE_EPT))
{
	use_window();
	for (unsigned int level = 1; level <= LEVELS; level++)
		for (u64 permissions = 2; permissions <= 6; permissions += 4) {
			CASE("level %u, bits 2:0 = %u", level, permissions);
			expect_entry_misconfigured(level, (entry_at(level) & ~(u64)EPT_RWX) | permissions);
			expect_entry_works(level, entry_at(level) | EPT_READ | EPT_EXECUTE);
		}
}

TEST("ept.misconfig.exec_only_unsup", "Bits 2:0 = 100 are a misconfiguration without execute-only translations",
     NEEDS(PROC2_ENABLE_EPT, LACKS(CAP_EPT_EXECUTE_ONLY)))
{
	use_window();
	for (unsigned int level = 1; level <= LEVELS; level++) {
		CASE("level %u", level);
		expect_entry_misconfigured(level, (entry_at(level) & ~(u64)EPT_RWX) | EPT_EXECUTE);
	}
}

TEST("ept.misconfig.memtype", "A leaf with memory type 2, 3 or 7 is a misconfiguration", NEEDS(PROC2_ENABLE_EPT))
{
	use_window();
	write_back_window();
	for (unsigned int level = 1; level <= 3; level++) {
		if ((level == 2 && !has(CAP_EPT_2M_PAGES)) || (level == 3 && !has(CAP_EPT_1G_PAGES)))
			continue;

		const u64 leaf = level == 1 ? entry_at(1) : large_leaf(level);

		for (u64 type = 0; type < 8; type++) {
			const u64 value = (leaf & ~(u64)EPT_TYPE_MASK) | type << 3;

			CASE("level %u, memory type %u", level, type);
			if (type == 2 || type == 3 || type == 7)
				expect_leaf_misconfigured(level, value);
			else
				expect_entry_works(level, value);
		}
	}
}

TEST("ept.misconfig.reserved_addr", "A bit from the physical-address width to 51 is a misconfiguration",
     NEEDS(PROC2_ENABLE_EPT))
{
	need_reserved_address_bit();
	use_window();
	for (unsigned int level = 1; level <= LEVELS; level++)
		for (u32 bit = physical_address_width(); bit < 52; bit++) {
			CASE("level %u, bit %u", level, bit);
			expect_entry_misconfigured(level, entry_at(level) | BIT(bit));
			/* Whatever the permissions. */
			if (level < LEVELS)
				expect_entry_misconfigured(level, (entry_at(level) & ~(u64)EPT_RWX) | BIT(bit) |
							   EPT_READ);
		}
}

TEST("ept.misconfig.reserved_nonleaf", "Bits 6:3 of an entry that names a table, and bit 7 of a PML4E, are reserved",
     NEEDS(PROC2_ENABLE_EPT))
{
	use_window();
	for (unsigned int level = 2; level <= LEVELS; level++) {
		for (u32 bit = 3; bit <= (level == 4 ? 7 : 6); bit++) {
			CASE("level %u, bit %u", level, bit);
			expect_entry_misconfigured(level, entry_at(level) | BIT(bit));
		}
		CASE("level %u, none", level);
		expect_entry_works(level, entry_at(level));
	}
}

TEST("ept.misconfig.large_align", "Low address bits of a 2-MByte or 1-GByte leaf are reserved",
     NEEDS(PROC2_ENABLE_EPT, CAP_EPT_2M_PAGES))
{
	use_window();
	for (unsigned int level = 2; level <= 3; level++) {
		if (level == 3 && !has(CAP_EPT_1G_PAGES))
			continue;

		const u64 leaf = large_leaf(level);

		for (u32 bit = 12; bit < (level == 2 ? 21 : 30); bit++) {
			CASE("level %u, bit %u", level, bit);
			expect_leaf_misconfigured(level, leaf | BIT(bit));
		}
		CASE("level %u, none", level);
		expect_entry_works(level, leaf);
	}
}

TEST("ept.misconfig.large_unsupported", "Bit 7 is reserved where there are no pages of the size",
     NEEDS(PROC2_ENABLE_EPT, LACKS(CAP_EPT_1G_PAGES)))
{
	use_window();
	CASE("PDPTE");
	expect_leaf_misconfigured(3, large_leaf(3));
	if (!has(CAP_EPT_2M_PAGES)) {
		CASE("PDE");
		expect_leaf_misconfigured(2, large_leaf(2));
	}
}

TEST("ept.misconfig.qual", "A misconfiguration has qualification 0 and the guest-physical address",
     NEEDS(PROC2_ENABLE_EPT))
{
	use_window();
	for (unsigned int level = 1; level <= LEVELS; level++) {
		u64 *const entry = ept_entry(GUEST_PHYSICAL, level);
		const u64 saved = *entry;

		CASE("level %u", level);
		*entry = (saved & ~(u64)EPT_RWX) | EPT_WRITE;
		ept_flush();
		guest_access(READ, LINEAR);
		expect_exit(EXIT_EPT_MISCONFIGURATION, .qualification = 0);
		*entry = saved;
	}
	*ept_entry(GUEST_PHYSICAL, 1) = physical_address(window_page) | EPT_WRITE | EPT_WB;
	for (u32 bit = 12; bit < physical_address_width() && bit < 48; bit++) {
		const u64 physical = BIT(bit < 34 ? 34 : 33) | BIT(bit);

		for (enum access_kind access = 0; access < ACCESSES; access++) {
			CASE("guest-physical address %#x, %s", physical, access_names[access]);
			ept_map(physical, physical_address(window_page), EPT_WRITE | EPT_WB);
			page_map(LINEAR, physical, PAGE_PRESENT | PAGE_WRITE);
			ept_flush();
			guest_access(access, LINEAR + bit * 8);
			expect_exit(EXIT_EPT_MISCONFIGURATION, .qualification = 0, .physical = physical + bit * 8,
				    .rip = access_rip(access, LINEAR + bit * 8));
		}
	}
}

TEST("ept.misconfig.priority",
     "A misconfiguration comes before a violation by permissions, but not before an entry above it that is not present",
     NEEDS(PROC2_ENABLE_EPT))
{
	use_window();
	for (unsigned int level = 1; level <= 3; level++) {
		const u64 bad = (entry_at(level) & ~(u64)EPT_RWX) | EPT_WRITE;

		/* No read permission, and an illegal combination. */
		CASE("level %u, write-only", level);
		expect_entry_misconfigured(level, bad);

		for (unsigned int above = level + 1; above <= 3; above++) {
			const u64 saved = entry_at(above);

			/* Above, an entry that forbids the write and the fetch: known only at the end of the walk. */
			*ept_entry(GUEST_PHYSICAL, above) = (saved & ~(u64)EPT_RWX) | EPT_READ;
			CASE("level %u misconfigured, level %u read-only", level, above);
			expect_entry_misconfigured(level, bad);

			/* Above, an entry that is not present: the walk ends there. */
			*ept_entry(GUEST_PHYSICAL, above) = saved & ~(u64)EPT_RWX;
			CASE("level %u misconfigured, level %u not present", level, above);
			u64 *entry = ept_entry(GUEST_PHYSICAL, level);
			const u64 below = *entry;

			*entry = bad;
			ept_flush();
			for (enum access_kind access = 0; access < ACCESSES; access++)
				expect_violation(access, 0, 0x120);
			*entry = below;
			*ept_entry(GUEST_PHYSICAL, above) = saved;
		}
	}
}

/*
 * Bits that a present entry of a level may have with no effect while A/D flags are off, and the controls that give some of
 * them a meaning: mode-based execution (10), verification of guest paging and its write accesses (57, 58), shadow
 * stacks (60), sub-page permissions (61), #VE (63). The baseline has all of those 0.
 */
static u64 ignored_bits(unsigned int level)
{
	const u64 bits = BIT(8) | BIT(9) | BIT(10) | BIT(11) | 0xfffull << 52;

	return level == 1 ? bits | BIT(7) : bits;
}

TEST("ept.ignored_bits", "Bits 11:8 and 63:52 of a present entry, all but 2:0 of another, are ignored",
     NEEDS(PROC2_ENABLE_EPT))
{
	use_window();
	for (unsigned int level = 1; level <= LEVELS; level++) {
		WALK_OVER(bit, 0, 64)
			if (ignored_bits(level) & BIT(bit)) {
				CASE("level %u, present, bit %u", level, bit);
				expect_entry_works(level, entry_at(level) | BIT(bit));
			}
		CASE("level %u, present, all", level);
		expect_entry_works(level, entry_at(level) | ignored_bits(level));
	}
	for (unsigned int level = 1; level <= 3; level++)
		WALK_OVER(bit, 2, 65) {
			const u64 saved = entry_at(level);

			/* Bit 2: none of them; bit 64: all. */
			CASE("level %u, not present, bit %u", level, bit);
			*ept_entry(GUEST_PHYSICAL, level) = bit == 2 ? 0 : bit == 64 ? ~7ull : BIT(bit);
			ept_flush();
			for (enum access_kind access = 0; access < ACCESSES; access++)
				expect_violation(access, 0, 0x120);
			*ept_entry(GUEST_PHYSICAL, level) = saved;
			ept_flush();
		}
}
