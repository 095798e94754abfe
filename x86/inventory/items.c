/* SPDX-License-Identifier: BSD-2-Clause */
/* CPUID and the MSRs that say what a processor can do (SDM Vol. 2A, CPUID; Vol. 3C, Appendix A; Vol. 4). */
#include "inventory.h"

#include "console/console.h"
#include "libc/printf.h"
#include "x86/fault.h"
#include "x86/feature.h"
#include "x86/model.h"

/* Leaves whose subleaves go on as long as they say something: a type or a level that is 0 is none. */
enum { LEAF_CACHES = 4, LEAF_FEATURES = 7, LEAF_TOPOLOGY = 0xb, LEAF_XSAVE = 0xd, LEAF_TRACE = 0x14, LEAF_TOPOLOGY_2 = 0x1f };
enum { LAST_BASIC = 0x24, MOST_SUBLEAVES = 8, HYPERVISOR_LEAVES = 16, HYPERVISOR_STEP = 0x100, HYPERVISOR_BASES = 3 };

static const struct {
	u32 msr;
	u32 feature;		/* 0: of every processor */
} msrs[] = {
	{ IA32_PLATFORM_ID, 0 },
	{ IA32_APIC_BASE, FEATURE_APIC },
	{ IA32_FEATURE_CONTROL, FEATURE_VMX },
	{ IA32_CORE_CAPABILITIES, FEATURE_CORE_CAPABILITIES },
	{ IA32_MTRRCAP, FEATURE_MTRR },
	{ IA32_ARCH_CAPABILITIES, FEATURE_ARCH_CAPABILITIES },
	{ IA32_MISC_ENABLE, 0 },
	{ IA32_PERF_CAPABILITIES, FEATURE_PDCM },
};

static struct item *add(struct items *items, enum item_kind kind, u32 index, u32 subleaf)
{
	struct item *item = &items->item[items->count];

	if (items->count < MOST_ITEMS - 1)
		items->count++;
	*item = (struct item){ .kind = kind, .index = index, .subleaf = subleaf };
	return item;
}

static struct cpuid add_cpuid(struct items *items, u32 leaf, u32 subleaf)
{
	const struct cpuid c = cpuid(leaf, subleaf);

	*add(items, ITEM_CPUID, leaf, subleaf) = (struct item){ ITEM_CPUID, leaf, subleaf, true, { c.eax, c.ebx, c.ecx, c.edx } };
	return c;
}

static void add_msr(struct items *items, u32 msr)
{
	struct item *item = add(items, ITEM_MSR, msr, 0);
	volatile u64 value = 0;

	item->there = !TRY(value = rdmsr(msr)).raised;
	item->value[0] = (u32)value;
	item->value[1] = value >> 32;
}

/* How many subleaves there are, as far as subleaf 0, or the last one, says so. */
static bool another_subleaf(u32 leaf, u32 subleaf, struct cpuid first, struct cpuid last)
{
	switch (leaf) {
	case LEAF_CACHES: return last.eax & 0x1f;
	case LEAF_TOPOLOGY:
	case LEAF_TOPOLOGY_2: return last.ecx >> 8 & 0xff;
	case LEAF_FEATURES:
	case LEAF_TRACE: return subleaf < first.eax;
	case LEAF_XSAVE: return subleaf < 1;
	default: return false;
	}
}

static void add_leaf(struct items *items, u32 leaf)
{
	const struct cpuid first = add_cpuid(items, leaf, 0);
	struct cpuid last = first;

	for (u32 i = 0; i < MOST_SUBLEAVES && another_subleaf(leaf, i, first, last); i++)
		last = add_cpuid(items, leaf, i + 1);
}

static void add_leaves(struct items *items, u32 from, u32 most)
{
	const u32 highest = cpuid(from, 0).eax;

	for (u32 leaf = from; leaf <= from + most && leaf <= highest; leaf++)
		add_leaf(items, leaf);
}

/* One that hands out another's interface has its own leaves at 40000100H. */
static void add_hypervisors(struct items *items)
{
	for (u32 i = 0; has_feature(FEATURE_HYPERVISOR) && i < HYPERVISOR_BASES; i++) {
		const u32 base = 0x40000000 + i * HYPERVISOR_STEP;
		const u32 highest = cpuid(base, 0).eax;

		if (highest < base || highest >= base + HYPERVISOR_STEP)
			return;
		for (u32 leaf = base; leaf <= highest && leaf < base + HYPERVISOR_LEAVES; leaf++)
			add_cpuid(items, leaf, 0);
	}
}

static void add_microcode(struct items *items)
{
	struct item *item = add(items, ITEM_MSR, IA32_BIOS_SIGN_ID, 0);

	item->there = microcode_revision(&item->value[1]);
}

void items_gather(void *argument)
{
	struct items *items = argument;

	items->count = 0;
	add_leaves(items, 0, LAST_BASIC);
	add_leaves(items, 0x80000000, 8);
	add_hypervisors(items);
	add_microcode(items);
	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++)
		if (!msrs[i].feature || has_feature(msrs[i].feature))
			add_msr(items, msrs[i].msr);
	for (u32 msr = IA32_VMX_BASIC; has_feature(FEATURE_VMX) && msr <= IA32_VMX_EXIT_CTLS2; msr++)
		add_msr(items, msr);
}

const struct item *items_find(const struct items *items, const struct item *like)
{
	for (u32 i = 0; i < items->count; i++) {
		const struct item *item = &items->item[i];

		if (item->kind == like->kind && item->index == like->index && item->subleaf == like->subleaf)
			return item;
	}
	return NULL;
}

bool item_same(const struct item *a, const struct item *b)
{
	for (int i = 0; i < 4; i++)
		if (a->value[i] != b->value[i])
			return false;
	return a->there == b->there;
}

static u32 lines;

void inventory_line(u32 cpu, const char *format, ...)
{
	char text[160];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	print("# inventory: %u %s\n", cpu, text);
	lines++;
}

void inventory_end(const char *part)
{
	print("# inventory: end %s %u\n", part, lines);
	lines = 0;
}

void inventory_item(u32 cpu, const struct item *item)
{
	const u32 *v = item->value;

	if (item->kind == ITEM_CPUID)
		inventory_line(cpu, "cpuid %x %x %08x %08x %08x %08x", item->index, item->subleaf, v[0], v[1], v[2], v[3]);
	else if (item->there)
		inventory_line(cpu, "msr %x %08x%08x", item->index, v[1], v[0]);
	else
		inventory_line(cpu, "msr %x -", item->index);
}
