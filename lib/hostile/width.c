/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A processor of another physical-address width. CPUID says it, and VM entry and the VMX instructions follow: an address
 * that the other processor would refuse gets a bit that this one refuses, too; one that it would take loses the bits that
 * this one has not. So this one judges in the other's name, and the rest of its checks stays its own. The same in the
 * entries of EPT paging structures. Page tables of linear addresses and MOV CR3 stay this processor's.
 */
#include "hostile/internal.h"

#include "libc/string.h"
#include "machine/memory.h"
#include "vmx/controls.h"
#include "vmx/vmcs.h"
#include "x86/fault.h"
#include "x86/page.h"

enum { MOST_PATCHES = 64 };
#define REFUSED BIT(51)			/* a bit that is above any width but 52 */

static unsigned int own_width(void)
{
	static unsigned int width;

	if (!width) {
		const bool lies = hostile.lies_in_cpuid;

		hostile.lies_in_cpuid = false;
		width = physical_address_width();
		hostile.lies_in_cpuid = lies;
	}
	return width;
}

/* Bits of an address that one of the two processors takes and the other does not. */
static u64 zone(void)
{
	return (BIT(own_width()) - 1) ^ (BIT(hostile.width) - 1);
}

u64 hostile_address(u64 address)
{
	if (!hostile.width || !(address & zone()))
		return address;
	if (hostile.width < own_width())	/* one that this processor refuses stays: all ones may mean that there is none */
		return address >> own_width() ? address : address | REFUSED;
	return address >> 52 ? address : address & ~zone();
}

const void *hostile_operand(const void *operand, size_t words)
{
	static u64 copy[2];

	if (!hostile.width || TRY(memcpy(copy, operand, words * sizeof(u64))).raised || hostile_address(copy[0]) == copy[0])
		return operand;
	copy[0] = hostile_address(copy[0]);
	return copy;
}

/* Fields that hold a physical address; those of lists of MSRs with the field of their length. */
static const struct {
	enum vmcs_field field, count;
	bool present_bit;		/* not looked at without bit 0 */
} addresses[] = {
	{ .field = IO_BITMAP_A_ADDRESS }, { .field = IO_BITMAP_B_ADDRESS }, { .field = MSR_BITMAP_ADDRESS },
	{ .field = VM_EXIT_MSR_STORE_ADDRESS, .count = VM_EXIT_MSR_STORE_COUNT },
	{ .field = VM_EXIT_MSR_LOAD_ADDRESS, .count = VM_EXIT_MSR_LOAD_COUNT },
	{ .field = VM_ENTRY_MSR_LOAD_ADDRESS, .count = VM_ENTRY_MSR_LOAD_COUNT },
	{ .field = PML_ADDRESS }, { .field = VIRTUAL_APIC_ADDRESS }, { .field = APIC_ACCESS_ADDRESS },
	{ .field = POSTED_INTERRUPT_DESCRIPTOR_ADDRESS }, { .field = EPTP_LIST_ADDRESS }, { .field = EPT_POINTER },
	{ .field = VMREAD_BITMAP_ADDRESS }, { .field = VMWRITE_BITMAP_ADDRESS },
	{ .field = VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS }, { .field = VMCS_LINK_POINTER },
	{ .field = SUB_PAGE_PERMISSION_TABLE_POINTER },
	{ .field = GUEST_CR3 }, { .field = HOST_CR3 },
	{ .field = GUEST_PDPTE0, .present_bit = true }, { .field = GUEST_PDPTE1, .present_bit = true },
	{ .field = GUEST_PDPTE2, .present_bit = true }, { .field = GUEST_PDPTE3, .present_bit = true },
};

static struct {
	u64 before, after;
} changed[ARRAY_SIZE(addresses)];

static struct {
	u64 *entry, bits;		/* what was turned in it */
} patches[MOST_PATCHES];
static u32 patch_count;

static bool read_field(enum vmcs_field field, u64 *value)
{
	return field_exists(field_find(field)) && vmread(field, value, NULL).kind == OUTCOME_SUCCEED;
}

static bool is_on(enum control control)
{
	const enum control_word word = control_word(control);
	u64 value;

	return (!control_word_activator[word] || is_on(control_word_activator[word])) &&
	       read_field(control_words[word].field, &value) && value & control_bit(control);
}

/* The whole list must lie below the width: its last byte counts, too. */
static u64 list_address(u64 address, enum vmcs_field count_field)
{
	u64 count = 0;

	if (read_field(count_field, &count) && count && hostile.width < own_width() &&
	    (address + 16 * count - 1) & ~(BIT(hostile.width) - 1) & (BIT(own_width()) - 1))
		return address | REFUSED;
	return hostile_address(address);
}

static void patch(u64 *entry, u64 value)
{
	if (patch_count == MOST_PATCHES)
		return;
	patches[patch_count].entry = entry;
	patches[patch_count++].bits = *entry ^ value;
	*entry = value;
}

static void patch_table(u64 table, unsigned int level);

static void patch_entry(u64 *entry, unsigned int level)
{
	const u64 was = *entry;

	if (was & zone())
		patch(entry, hostile_address(was & ((1ull << 52) - 1)) | (was & ~((1ull << 52) - 1)));
	else if (level > 1 && !(was & PAGE_LARGE))
		patch_table(was & PAGE_ADDRESS_MASK, level - 1);
}

/* A test may have a thousand tables with few entries each: eight are looked at in one go. */
static void patch_table(u64 table, unsigned int level)
{
	enum { AT_ONCE = 8, PRESENT = 7 };
	u64 *entry = (u64 *)table, *const end = entry + 512;

	if (!memory_is_ram(table, table + PAGE_SIZE))
		return;
	for (; entry < end; entry += AT_ONCE) {
		const u64 any = entry[0] | entry[1] | entry[2] | entry[3] | entry[4] | entry[5] | entry[6] | entry[7];

		for (u32 i = 0; any & PRESENT && i < AT_ONCE; i++)
			if (entry[i] & PRESENT)
				patch_entry(&entry[i], level);
	}
}

/* PDPTEs in memory at CR3, which VM entry loads without EPT. */
static void patch_pdptes(u64 cr3)
{
	u64 *const table = (u64 *)(cr3 & 0xffffffe0);

	for (u32 i = 0; i < 4 && memory_is_ram((u64)table, (u64)table + 32); i++)
		if (table[i] & PAGE_PRESENT && hostile_address(table[i]) != table[i])
			patch(&table[i], hostile_address(table[i]));
}

static bool uses_pae_paging(void)
{
	u64 cr0, cr4;

	return read_field(GUEST_CR0, &cr0) && read_field(GUEST_CR4, &cr4) && cr0 & CR0_PG && cr4 & CR4_PAE &&
	       !is_on(ENTRYCTL_IA32E_MODE_GUEST);
}

/* What VMFUNC 0 chooses from. */
static void patch_eptp_list(u64 address)
{
	u64 *const list = (u64 *)(address & PAGE_ADDRESS_MASK);

	for (u32 i = 0; memory_is_ram((u64)list, (u64)list + PAGE_SIZE) && i < 512; i++)
		if (hostile_address(list[i]) != list[i])
			patch(&list[i], hostile_address(list[i]));
}

void hostile_width_before_entry(void)
{
	u64 value, pointer;

	patch_count = 0;
	for (size_t i = 0; hostile.width && i < ARRAY_SIZE(addresses); i++) {
		changed[i].before = changed[i].after = 0;
		if (!read_field(addresses[i].field, &value) || value == ~0ull || (addresses[i].present_bit && !(value & 1)))
			continue;
		pointer = addresses[i].count ? list_address(value, addresses[i].count) : hostile_address(value);
		if (pointer == value)
			continue;
		changed[i].before = value;
		changed[i].after = pointer;
		vmwrite(addresses[i].field, pointer, NULL);
	}
	if (!hostile.width)
		return;
	if (is_on(PROC2_ENABLE_EPT)) {
		if (read_field(EPT_POINTER, &pointer) && pointer >> 12)
			patch_table(pointer & PAGE_ADDRESS_MASK, 4);
	} else if (uses_pae_paging() && read_field(GUEST_CR3, &pointer)) {
		patch_pdptes(pointer);
	}
	if (is_on(PROC2_ENABLE_VM_FUNCTIONS) && read_field(EPTP_LIST_ADDRESS, &pointer))
		patch_eptp_list(pointer);
}

void hostile_width_after_entry(void)
{
	u64 value;

	if (!hostile.width)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++)
		if (changed[i].before != changed[i].after && read_field(addresses[i].field, &value) && value == changed[i].after)
			vmwrite(addresses[i].field, changed[i].before, NULL);
	for (; patch_count; patch_count--)
		*patches[patch_count - 1].entry ^= patches[patch_count - 1].bits;
}
