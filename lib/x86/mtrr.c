/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/mtrr.h"

#include "machine/memory.h"
#include "x86/feature.h"
#include "x86/page.h"
#include "x86/processor.h"

enum {
	MOST_VARIABLE = 32,
	CAP_COUNT = 0xff, CAP_FIXED = BIT(8),
	DEF_FIXED_ENABLE = BIT(10), DEF_ENABLE = BIT(11),
	MASK_VALID = BIT(11),
	FIXED_END = 0x100000,
};

static struct {
	bool known, enabled, fixed_enabled;
	u8 default_type;
	u32 count;
	u64 base[MOST_VARIABLE], mask[MOST_VARIABLE];
	u8 fixed[FIXED_END / PAGE_SIZE];
} mtrrs;

/* Each fixed-range register has eight types, of so many bytes each. */
static const struct {
	u64 start, end, unit;
	u32 first_msr;
} fixed_ranges[] = {
	{ 0x00000, 0x80000, 0x10000, IA32_MTRR_FIX64K_00000 },
	{ 0x80000, 0xc0000, 0x4000, 0x258 },
	{ 0xc0000, 0x100000, 0x1000, 0x268 },
};

static void read_fixed(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(fixed_ranges); i++)
		for (u64 at = fixed_ranges[i].start; at < fixed_ranges[i].end; at += PAGE_SIZE) {
			const u64 n = (at - fixed_ranges[i].start) / fixed_ranges[i].unit;

			mtrrs.fixed[at / PAGE_SIZE] = rdmsr(fixed_ranges[i].first_msr + n / 8) >> n % 8 * 8;
		}
}

static void read_mtrrs(void)
{
	mtrrs.known = true;
	if (!has_feature(FEATURE_MTRR))
		return;

	const u64 cap = rdmsr(IA32_MTRRCAP), def = rdmsr(IA32_MTRR_DEF_TYPE);

	mtrrs.enabled = def & DEF_ENABLE;
	mtrrs.default_type = def;
	mtrrs.fixed_enabled = mtrrs.enabled && cap & CAP_FIXED && def & DEF_FIXED_ENABLE;
	if (mtrrs.fixed_enabled)
		read_fixed();
	for (u32 n = 0; mtrrs.enabled && n < (cap & CAP_COUNT) && n < MOST_VARIABLE; n++) {
		const u64 mask = rdmsr(IA32_MTRR_PHYSMASK0 + 2 * n);

		if (!(mask & MASK_VALID))
			continue;
		mtrrs.base[mtrrs.count] = rdmsr(IA32_MTRR_PHYSBASE0 + 2 * n);
		mtrrs.mask[mtrrs.count++] = mask & PAGE_ADDRESS_MASK;
	}
}

/* "MTRR Precedences": uncacheable before all others, write-through before write-back; other overlaps are undefined. */
static u8 stronger(u8 a, u8 b)
{
	return a < b ? a : b;
}

static u8 type_of(u64 address)
{
	u8 type = 0xff;

	if (!mtrrs.enabled)
		return memory_is_ram(address, address + PAGE_SIZE) ? MEMORY_WB : MEMORY_UC;
	if (mtrrs.fixed_enabled && address < FIXED_END)
		return mtrrs.fixed[address / PAGE_SIZE];
	for (u32 n = 0; n < mtrrs.count; n++)
		if (!((address ^ mtrrs.base[n]) & mtrrs.mask[n]))
			type = stronger(type, mtrrs.base[n]);
	return type == 0xff ? mtrrs.default_type : type;
}

/* The next address behind this one at which the type may be another. */
static u64 next_edge(u64 address)
{
	u64 edge = BIT(32);

	if (!mtrrs.enabled)
		return memory_next_edge(address, edge);
	if (address < FIXED_END)
		return address + PAGE_SIZE;
	for (u32 n = 0; n < mtrrs.count; n++) {
		const u64 base = mtrrs.base[n] & PAGE_ADDRESS_MASK, size = mtrrs.mask[n] & -mtrrs.mask[n];

		if (base > address && base < edge)
			edge = base;
		if (base + size > address && base + size < edge)
			edge = base + size;
	}
	return edge;
}

enum memory_type memory_type_at(u64 physical, u64 *end)
{
	if (!mtrrs.known)
		read_mtrrs();

	const u8 type = type_of(physical);

	*end = next_edge(physical);
	while (*end < BIT(32) && type_of(*end) == type)
		*end = next_edge(*end);
	return type == 2 || type == 3 || type > MEMORY_WB ? MEMORY_UC : type;	/* reserved */
}
