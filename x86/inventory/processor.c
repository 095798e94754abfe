/* SPDX-License-Identifier: BSD-2-Clause */
/* Inventory: what each processor says of itself. Needs no VMX. */
#include "inventory.h"
#include "tap/plain.h"

#include "x86/cpu.h"
#include "x86/page.h"
#include "x86/time.h"

static struct items first, own, again;

/* What a hypervisor says of the time, and of itself, may be another thing each time. */
static bool is_steady(const struct item *item)
{
	return item->kind != ITEM_CPUID || item->index < 0x40000000 || item->index > 0x4fffffff;
}

static void expect_steady(u32 cpu, const struct items *before, const struct items *after)
{
	expect_eq(after->count, before->count);
	for (u32 i = 0; i < before->count && i < after->count; i++) {
		const struct item *a = &before->item[i], *b = &after->item[i];

		if (!is_steady(a))
			continue;
		if (a->kind == ITEM_CPUID)
			CASE("processor %u, CPUID %#x subleaf %#x", cpu, a->index, a->subleaf);
		else
			CASE("processor %u, MSR %#x", cpu, a->index);
		expect(item_same(a, b), "it says the same again");
	}
}

TEST("inventory.processor", "the processor says the same of itself again, which is reported")
{
	items_gather(&first);
	items_gather(&again);
	expect_steady(0, &first, &again);

	for (u32 i = 0; i < first.count; i++)
		inventory_item(0, &first.item[i]);
	inventory_line(0, "apic %x", this_cpu()->apic_id);
	inventory_line(0, "width %u %u", physical_address_width(), linear_address_width());
	inventory_line(0, "tsc %lu from %s", tsc_per_ms(), tsc_source());
	inventory_end("processor");
}

/* What differs from the first processor; the runner knows what has to. */
static void report_difference(u32 cpu)
{
	inventory_line(cpu, "apic %x", cpu_number(cpu)->apic_id);
	for (u32 i = 0; i < own.count; i++) {
		const struct item *item = &own.item[i], *same = items_find(&first, item);

		if (!same || !item_same(item, same))
			inventory_item(cpu, item);
	}
	for (u32 i = 0; i < first.count; i++)
		if (!items_find(&own, &first.item[i]))
			inventory_line(cpu, "lacks %s %x %x", first.item[i].kind == ITEM_CPUID ? "cpuid" : "msr", first.item[i].index,
				       first.item[i].subleaf);
}

TEST("inventory.processors", "each other processor says the same of itself again; where they differ is reported", NEEDS(NEED_CPUS(2)))
{
	items_gather(&first);
	for (u32 cpu = 1; cpu < cpus_online(); cpu++) {
		require_no_fault(on_cpu(cpu, items_gather, &own));
		require_no_fault(on_cpu(cpu, items_gather, &again));
		expect_steady(cpu, &own, &again);
		report_difference(cpu);
	}
	inventory_end("processors");
}
