/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/ept.h"

#include "x86/fault.h"
#include "x86/mtrr.h"

enum { LEVELS = 4, ENTRIES = 512 };

/* Bytes that one entry of a level maps. */
static u64 span(unsigned int level)
{
	return 1ull << (12 + 9 * (level - 1));
}

static u64 *next_table(u64 entry)
{
	return (u64 *)(entry & PAGE_ADDRESS_MASK);
}

u64 ept_pointer(const u64 *pml4)
{
	return physical_address(pml4) | (LEVELS - 1) << 3 | (has(CAP_EPT_MEMORY_TYPE_WB) ? 6 : 0);
}

u64 *ept_root(void)
{
	return next_table(vmcs_read(EPT_POINTER));
}

/* Replace a large page by a table of the next smaller ones with the same rights. */
static void split(u64 *entry, unsigned int level)
{
	u64 *table = page_alloc();
	const u64 leaf = level == 2 ? *entry & ~(u64)EPT_LARGE : *entry;

	for (u64 i = 0; i < ENTRIES; i++)
		table[i] = leaf + i * span(level - 1);
	*entry = physical_address(table) | EPT_RWX;
}

static u64 *entry_below(u64 *root, u64 guest_physical, unsigned int level)
{
	u64 *table = root;

	for (unsigned int at = LEVELS;; at--) {
		u64 *entry = &table[guest_physical / span(at) % ENTRIES];

		if (at == level)
			return entry;
		if (!*entry)
			*entry = physical_address(page_alloc()) | EPT_RWX;
		else if (at < LEVELS && *entry & EPT_LARGE)
			split(entry, at);
		table = next_table(*entry);
	}
}

u64 *ept_entry(u64 guest_physical, unsigned int level)
{
	return entry_below(ept_root(), guest_physical, level);
}

void ept_map(u64 guest_physical, u64 host_physical, u64 flags)
{
	*ept_entry(guest_physical, 1) = host_physical | flags;
}

/* [start, end) to itself with one memory type; by large pages as far as they fit. */
static void map_to_itself(u64 *root, u64 start, u64 end, enum memory_type type)
{
	u64 bytes;

	for (u64 at = start; at < end; at += bytes) {
		const unsigned int level = has(CAP_EPT_2M_PAGES) && at % span(2) == 0 && end - at >= span(2) ? 2 : 1;

		*entry_below(root, at, level) = at | EPT_RWX | type << EPT_TYPE_SHIFT | (level == 2 ? EPT_LARGE : 0);
		bytes = span(level);
	}
}

static void map_identity(u64 *root)
{
	u64 start, end;

	for (u64 at = 0; at < BIT(32); at = end) {
		const enum memory_type type = memory_type_at(at, &end);

		map_to_itself(root, at, end, type);
	}
	for (u32 n = 0; page_reached(n, &start, &end); n++)	/* what the guest says may go there */
		map_to_itself(root, start, end, MEMORY_UC);
}

void vmcs_use_ept(void)
{
	u64 *const root = page_alloc();		/* not asked of the VMCS 2048 times: where the suite is a guest a VMREAD may exit */

	vmcs_write(EPT_POINTER, ept_pointer(root));
	vmcs_set_controls(PROC2_ENABLE_EPT);
	map_identity(root);
	ept_flush();
}

void ept_flush(void)
{
	const struct invept_descriptor descriptor = { .eptp = vmcs_read(EPT_POINTER) };

	if (invept(has(CAP_INVEPT_SINGLE_CONTEXT) ? INVEPT_SINGLE_CONTEXT : INVEPT_ALL_CONTEXT, &descriptor, NULL)
	    .kind != OUTCOME_SUCCEED)
		throw("INVEPT does not succeed");
}

void vpid_flush_all(void)
{
	const struct invvpid_descriptor descriptor = { .vpid = 0 };

	if (invvpid(INVVPID_ALL_CONTEXT, &descriptor, NULL).kind != OUTCOME_SUCCEED)
		throw("INVVPID of all contexts does not succeed");
}
