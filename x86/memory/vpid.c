/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VPIDs and what VM entries, VM exits and INVVPID do to cached translations (SDM Vol. 3C, "Caching Translation
 * Information"). A processor may drop any translation at any time: no test asks for a stale one.
 */
#include "window.h"

#include "libc/string.h"

#define WINDOW LINEAR

static u64 *page_a, *page_b;
static u64 *pml4_a, *pml4_b;		/* twins but for the window: one leads to page A, one to B */

enum { VALUE_A = 0xaaaa, VALUE_B = 0xbbbb };

static void alloc_pages(void)
{
	page_a = page_alloc();
	page_b = page_alloc();
	*page_a = VALUE_A;
	*page_b = VALUE_B;
}

static u64 *clone_tables_with_window_to(const u64 *page)
{
	u64 *pml4 = page_alloc();

	*page_entry(WINDOW, 4) = 0;
	page_map(WINDOW, physical_address(page), PAGE_PRESENT | PAGE_WRITE);
	return memcpy(pml4, (const void *)(read_cr3() & PAGE_ADDRESS_MASK), PAGE_SIZE);
}

static void alloc_tables(void)
{
	alloc_pages();
	pml4_a = clone_tables_with_window_to(page_a);
	pml4_b = clone_tables_with_window_to(page_b);
}

static u64 guest_reads_window(void)
{
	guest_access(READ, WINDOW);
	expect_guest_done();
	return guest.regs.rcx;
}

static u64 host_reads_window(void)
{
	return *(const volatile u64 *)WINDOW;
}

static u64 guest_reads_window_as(u16 vpid, const u64 *pml4)
{
	vmcs_write(VPID, vpid);
	vmcs_write(GUEST_CR3, physical_address(pml4));
	return guest_reads_window();
}

TEST("vpid.separate", "A translation cached under one VPID is not used under another",
     NEEDS(PROC2_ENABLE_VPID, CAP_INVVPID_ALL_CONTEXT))
{
	alloc_tables();
	vpid_flush_all();
	vmcs_set_controls(PROC2_ENABLE_VPID);

	/* Two VPIDs that differ in one bit, with the other bits 0 and 1. */
	for (u32 bit = 0; bit < 16; bit++)
		for (u32 others = 0; others < 2; others++) {
			const u16 with = others ? 0xffff : BIT(bit) | BIT((bit + 1) % 16);
			const u16 without = with & ~BIT(bit);

			CASE("VPIDs %#x and %#x", with, without);
			vpid_flush_all();
			for (u32 turn = 0; turn < 3; turn++) {
				expect_eq(guest_reads_window_as(with, pml4_a), VALUE_A);
				expect_eq(guest_reads_window_as(without, pml4_b), VALUE_B);
			}
		}
	vpid_flush_all();
}

TEST("vpid.host_zero", "The guest uses no translation of the host's (VPID 0), nor the host the guest's",
     NEEDS(PROC2_ENABLE_VPID, CAP_INVVPID_ALL_CONTEXT))
{
	alloc_tables();		/* the host's window leads to page B */
	vpid_flush_all();
	vmcs_set_controls(PROC2_ENABLE_VPID);
	invlpg((void *)WINDOW);
	for (u32 turn = 0; turn < 4; turn++) {
		CASE("VPID %#x", BIT(turn * 5));
		expect_eq(host_reads_window(), VALUE_B);
		expect_eq(guest_reads_window_as(BIT(turn * 5), pml4_a), VALUE_A);
		expect_eq(host_reads_window(), VALUE_B);
		expect_eq(guest_reads_window_as(BIT(turn * 5), pml4_a), VALUE_A);
	}
	vpid_flush_all();
}

static volatile u64 *entry_to_change;
static u64 entry_value;

static void guest_changes_entry(void)
{
	entry_value = *(volatile u64 *)WINDOW;	/* cached in the guest */
	*entry_to_change ^= physical_address(page_a) ^ physical_address(page_b);
}

/*
 * Entry and exit flush: whoever changes an entry of the tables, the other one sees it, with no INVLPG. The entry at
 * a level above leads to a table of its own, so that paging-structure caches are tried too.
 */
static void expect_transitions_flush(u64 flags)
{
	for (unsigned int level = 1; level <= 3; level++) {
		u64 *table_a = page_a, *table_b = page_b;

		/* Two chains of tables below the level, one to page A, one to B. */
		for (unsigned int below = 1; below < level; below++) {
			u64 *up_a = page_alloc(), *up_b = page_alloc();
			const u64 index = WINDOW >> (12 + 9 * (below - 1)) & 511;

			up_a[index] = physical_address(table_a) | flags;
			up_b[index] = physical_address(table_b) | flags;
			table_a = up_a;
			table_b = up_b;
		}

		volatile u64 *entry = page_entry(WINDOW, level);
		const u64 saved = *entry;

		*entry = physical_address(table_a) | flags;
		invlpg((void *)WINDOW);
		for (u32 turn = 0; turn < 4; turn++) {
			CASE("level %u, flags %#x, turn %u", level, flags, turn);
			expect_eq(host_reads_window(), VALUE_A);	/* cached in the host */
			*entry = physical_address(table_b) | flags;
			expect_eq(guest_reads_window(), VALUE_B);	/* entry has flushed */
			expect_eq(host_reads_window(), VALUE_B);
			*entry = physical_address(table_a) | flags;
			expect_eq(guest_reads_window(), VALUE_A);
		}
		*entry = saved;
		invlpg((void *)WINDOW);
	}
}

TEST("vpid.off_flush", "Without VPID every VM entry and VM exit flushes linear and combined mappings",
     NEEDS(PROC2_ENABLE_VPID, FEATURE_PGE))
{
	alloc_pages();
	page_map(WINDOW, physical_address(page_a), PAGE_PRESENT | PAGE_WRITE);
	expect_transitions_flush(PAGE_PRESENT | PAGE_WRITE);

	/* The VPID field has a value, which counts for nothing while the control is 0. */
	vmcs_write(VPID, 1);
	expect_transitions_flush(PAGE_PRESENT | PAGE_WRITE);

	/* Global pages: the guest's and the host's CR4.PGE are 1. */
	const u64 cr4 = read_cr4();

	write_cr4(cr4 | CR4_PGE);
	vmcs_write(GUEST_CR4, cr4 | CR4_PGE);
	vmcs_write(HOST_CR4, cr4 | CR4_PGE);
	expect_transitions_flush(PAGE_PRESENT | PAGE_WRITE | PAGE_GLOBAL);

	/* The other way: the guest changes the entry, the host must see it. */
	entry_to_change = page_entry(WINDOW, 1);
	*entry_to_change = physical_address(page_a) | PAGE_PRESENT | PAGE_WRITE | PAGE_GLOBAL;
	for (u32 turn = 0; turn < 4; turn++) {
		const u64 before = turn & 1 ? VALUE_B : VALUE_A;

		CASE("turn %u", turn);
		invlpg((void *)WINDOW);
		expect_eq(host_reads_window(), before);
		guest_run(guest_changes_entry);
		expect_guest_done();
		expect_eq(entry_value, before);
		expect_eq(host_reads_window(), VALUE_A + VALUE_B - before);
	}
	write_cr4(cr4);

	/* With EPT: combined mappings. */
	if (has(PROC2_ENABLE_EPT)) {
		vmcs_write(GUEST_CR4, cr4);
		vmcs_write(HOST_CR4, cr4);
		vmcs_use_ept();
		expect_transitions_flush(PAGE_PRESENT | PAGE_WRITE);
	}
}

static bool invalidate(u64 type, u16 vpid)
{
	const struct invvpid_descriptor descriptor = { .vpid = vpid, .linear_address = WINDOW };

	return expect_outcome(invvpid(type, &descriptor, NULL), SUCCEED);
}

TEST("vpid.on_keep", "With VPID a stale translation may last till INVVPID of any type, and never longer",
     NEEDS(PROC2_ENABLE_VPID, CAP_INVVPID, CAP_INVVPID_ALL_CONTEXT))
{
	static const struct { u64 type; u32 capability; } types[] = {
		{ INVVPID_INDIVIDUAL_ADDRESS, CAP_INVVPID_INDIVIDUAL_ADDRESS },
		{ INVVPID_SINGLE_CONTEXT, CAP_INVVPID_SINGLE_CONTEXT },
		{ INVVPID_ALL_CONTEXT, CAP_INVVPID_ALL_CONTEXT },
		{ INVVPID_SINGLE_CONTEXT_RETAINING_GLOBALS, CAP_INVVPID_SINGLE_CONTEXT_RETAINING_GLOBALS },
	};
	const u64 flags = PAGE_PRESENT | PAGE_WRITE;

	alloc_pages();
	vmcs_set_controls(PROC2_ENABLE_VPID);
	vpid_flush_all();
	page_map(WINDOW, physical_address(page_a), flags);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		for (u32 bit = 0; bit < 16 && has(types[i].capability); bit++) {
			u64 seen;

			CASE("INVVPID type %u, VPID %#x", types[i].type, BIT(bit));
			vmcs_write(VPID, BIT(bit));
			expect_eq(guest_reads_window(), VALUE_A);
			*page_entry(WINDOW, 1) = physical_address(page_b) | flags;
			seen = guest_reads_window();
			expect_either(seen, VALUE_A, VALUE_B);
			invalidate(types[i].type, BIT(bit));
			expect_eq(guest_reads_window(), VALUE_B);

			/* And a change of rights: the page goes. */
			*page_entry(WINDOW, 1) = 0;
			invalidate(types[i].type, BIT(bit));
			guest_access(READ, WINDOW);
			expect_guest_fault(VECTOR_PF, 0);
			expect_eq(guest.fault.cr2, WINDOW);
			*page_entry(WINDOW, 1) = physical_address(page_a) | flags;
			invalidate(types[i].type, BIT(bit));
		}
	vpid_flush_all();
}

TEST("vpid.sixteen_bits", "Every VPID with one bit set, and FFFFH, is accepted",
     NEEDS(PROC2_ENABLE_VPID, CAP_INVVPID_ALL_CONTEXT))
{
	alloc_tables();
	vpid_flush_all();
	vmcs_set_controls(PROC2_ENABLE_VPID);
	for (u32 bit = 0; bit <= 16; bit++) {
		CASE("VPID %#x", bit < 16 ? BIT(bit) : 0xffff);
		expect_eq(guest_reads_window_as(bit < 16 ? BIT(bit) : 0xffff, pml4_a), VALUE_A);
	}
	vpid_flush_all();
}
