/* SPDX-License-Identifier: BSD-2-Clause */
/* INVVPID (SDM Vol. 3C, "INVVPID-Invalidate Translations Based on VPID"). */
#include "instruction.h"

#include "vmx/ept.h"

#define INVALID_OPERAND FAIL_VALID(VMERR_INVALID_OPERAND_TO_INVEPT_INVVPID)

static bool type_supported(u64 type)
{
	static const u32 needs[] = {
		CAP_INVVPID_INDIVIDUAL_ADDRESS, CAP_INVVPID_SINGLE_CONTEXT, CAP_INVVPID_ALL_CONTEXT,
		CAP_INVVPID_SINGLE_CONTEXT_RETAINING_GLOBALS,
	};

	return type < ARRAY_SIZE(needs) && has(needs[type]);
}

TEST("insn.invvpid.types", "INVVPID with a type that IA32_VMX_EPT_VPID_CAP does not report fails with error 28",
     NEEDS(CAP_INVVPID))
{
	const struct invvpid_descriptor descriptor = { 1, 0 };

	for (u64 type = 0; type < 256; type++) {
		CASE("type %#lx", type);
		expect_outcome(invvpid(type, &descriptor, NULL), type_supported(type) ? SUCCEED : INVALID_OPERAND);
	}
	for (u32 bit = 8; bit < 32; bit++) {
		for (u64 type = 0; type < 4; type++) {
			CASE("type %#lx", type | BIT(bit));
			expect_outcome(invvpid(type | BIT(bit), &descriptor, NULL), INVALID_OPERAND);
		}
	}
}

TEST("insn.invvpid.type_64bit", "In 64-bit mode the INVVPID type is all 64 bits of the register: bits 63:32 make it unsupported",
     NEEDS(CAP_INVVPID))
{
	const struct invvpid_descriptor descriptor = { 1, 0 };

	for (u32 bit = 32; bit < 64; bit++) {
		for (u64 type = 0; type < 4; type++) {
			CASE("type %#lx", type | BIT(bit));
			expect_outcome(invvpid(type | BIT(bit), &descriptor, NULL), INVALID_OPERAND);
		}
	}
}

TEST("insn.invvpid.vpid_high_bits", "INVVPID with any of bits 63:16 of its descriptor set fails with error 28",
     NEEDS(CAP_INVVPID))
{
	for (u64 type = 0; type < 4; type++) {
		if (!type_supported(type))
			continue;
		for (u32 bit = 0; bit < 64; bit++) {
			const struct invvpid_descriptor descriptor = { BIT(bit) | 1, 0 };

			CASE("type %u, descriptor bit %u", type, bit);
			expect_outcome(invvpid(type, &descriptor, NULL), bit < 16 ? SUCCEED : INVALID_OPERAND);
		}
	}
}

TEST("insn.invvpid.vpid_zero", "INVVPID with VPID 0 fails with error 28, but for all contexts", NEEDS(CAP_INVVPID))
{
	const struct invvpid_descriptor zero = { 0, 0 };

	for (u64 type = 0; type < 4; type++) {
		const struct invvpid_descriptor highest = { 0xffff, 0 };

		if (!type_supported(type))
			continue;
		CASE("type %u", type);
		expect_outcome(invvpid(type, &zero, NULL),
			       type == INVVPID_ALL_CONTEXT ? SUCCEED : INVALID_OPERAND);
		expect_outcome(invvpid(type, &highest, NULL), SUCCEED);
	}
}

/* Canonical is what all of the processor's linear-address bits make so; the other types take no address. */
TEST("insn.invvpid.noncanonical", "INVVPID for one non-canonical address fails with error 28",
     NEEDS(CAP_INVVPID_INDIVIDUAL_ADDRESS))
{
	const u32 width = linear_address_width();
	const u64 good[] = { 0, BIT(width - 1) - 1, ~(BIT(width - 1) - 1), ~0ull };
	const u64 bad[] = { BIT(width - 1), ~BIT(width - 1), BIT(63), BIT(63) - 1, BIT(62), 0xa5a5a5a5a5a5a5a5 };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		const struct invvpid_descriptor descriptor = { 1, good[i] };

		CASE("address %#lx", good[i]);
		expect_outcome(invvpid(INVVPID_INDIVIDUAL_ADDRESS, &descriptor, NULL), SUCCEED);
	}
	for (u64 type = 0; type < 4; type++) {
		if (!type_supported(type))
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			const struct invvpid_descriptor descriptor = { 1, bad[i] };

			CASE("type %u, address %#lx", type, bad[i]);
			expect_outcome(invvpid(type, &descriptor, NULL),
				       type == INVVPID_INDIVIDUAL_ADDRESS ? INVALID_OPERAND : SUCCEED);
		}
	}
}

/*
 * Pages of the window whose guest translation changes between two entries. The host
 * writes the page tables, never the pages: its own TLB has no part in it.
 */
enum { PAGES = 8 };
static volatile u64 seen[PAGES];

static void guest_reads_pages(void)
{
	for (u32 i = 0; i < PAGES; i++)
		seen[i] = *(volatile u64 *)(PAGE_WINDOW + i * PAGE_SIZE);
}

static u64 page_holding(u64 value)
{
	u64 *page = page_alloc();

	*page = value;
	return physical_address(page);
}

/* Page i holds base + i. */
static void map_pages(u64 base, u64 flags)
{
	for (u32 i = 0; i < PAGES; i++)
		page_map(PAGE_WINDOW + i * PAGE_SIZE, page_holding(base + i), PAGE_PRESENT | PAGE_WRITE | flags);
}

static void expect_guest_sees(u64 base)
{
	guest_run(guest_reads_pages);
	expect_guest_done();
	for (u32 i = 0; i < PAGES; i++)
		expect_eq(seen[i], base + i);
}

/* Fill the TLB under VPIDs 1 and 2 with one mapping, change it, and invalidate for one VPID. */
static void remap_and_invalidate(u64 type, u64 flags)
{
	static const u16 vpids[] = { 1, 2, 0x8001, 0xffff };

	vmcs_set_controls(PROC2_ENABLE_VPID);
	for (size_t i = 0; i < ARRAY_SIZE(vpids); i++) {
		CASE("VPID %#lx", vpids[i]);
		vpid_flush_all();
		vmcs_write(VPID, vpids[i]);
		map_pages(0x100, flags);
		expect_guest_sees(0x100);

		map_pages(0x200, flags);
		for (u32 page = 0; page < (type == INVVPID_INDIVIDUAL_ADDRESS ? PAGES : 1); page++) {
			const struct invvpid_descriptor descriptor = {
				vpids[i], PAGE_WINDOW + page * PAGE_SIZE + 0x123,
			};

			expect_outcome(invvpid(type, &descriptor, NULL), SUCCEED);
		}
		expect_guest_sees(0x200);
	}
	vpid_flush_all();
}

TEST("insn.invvpid.addr_invalidates", "After INVVPID for one address the guest walks its page tables for it",
     NEEDS(PROC2_ENABLE_VPID, CAP_INVVPID_INDIVIDUAL_ADDRESS))
{
	remap_and_invalidate(INVVPID_INDIVIDUAL_ADDRESS, 0);
}

/* That other VPIDs keep theirs is allowed and cannot be relied on. */
TEST("insn.invvpid.single_context", "After INVVPID for one VPID the guest walks its page tables for all addresses",
     NEEDS(PROC2_ENABLE_VPID, CAP_INVVPID_SINGLE_CONTEXT, FEATURE_PGE))
{
	remap_and_invalidate(INVVPID_SINGLE_CONTEXT, 0);
	vmcs_write(GUEST_CR4, read_cr4() | CR4_PGE);
	remap_and_invalidate(INVVPID_SINGLE_CONTEXT, PAGE_GLOBAL);
}

TEST("insn.invvpid.retain_global", "INVVPID retaining globals invalidates the translations that are not global",
     NEEDS(PROC2_ENABLE_VPID, CAP_INVVPID_SINGLE_CONTEXT_RETAINING_GLOBALS, FEATURE_PGE))
{
	vmcs_write(GUEST_CR4, read_cr4() | CR4_PGE);
	remap_and_invalidate(INVVPID_SINGLE_CONTEXT_RETAINING_GLOBALS, 0);
}
