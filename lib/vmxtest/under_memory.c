/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's memory as the guest may reach it: a walk of its page tables with
 * every rule of SDM Vol. 3A, "Paging" but protection keys, which no test here
 * puts on an operand. Guest-physical addresses are the host's.
 */
#include "vmxtest/under.h"
#include "x86/page.h"

enum { ERROR_P = 1, ERROR_W = 2, ERROR_U = 4, ERROR_RSVD = 8 };

struct access {
	u64 linear;
	bool write, user;
};

static unsigned int levels(void)
{
	return under_cr4() & CR4_LA57 ? 5 : 4;
}

bool under_canonical(u64 linear)
{
	const unsigned int unused = 64 - (12 + 9 * levels());

	return (u64)((s64)(linear << unused) >> unused) == linear;
}

static u64 reserved_bits(u64 entry, unsigned int level)
{
	const bool leaf = level == 1 || entry & PAGE_LARGE;
	const u64 nx = under_efer() & EFER_NXE ? 0 : PAGE_NX;
	const u64 physical = 0x000fffffffffffffull & ~(BIT(physical_address_width()) - 1);

	if (level >= 4 || (level == 3 && !has_feature(FEATURE_PAGE1GB)))
		return physical | nx | PAGE_LARGE;
	if (leaf && level > 1)
		return physical | nx | ((BIT(12 + 9 * (level - 1)) - 1) & ~0x1fffull);
	return physical | nx;
}

static bool fault(const struct access *access, u32 error_code)
{
	under_inject_page_fault(access->linear, error_code | (access->write ? ERROR_W : 0) |
				(access->user ? ERROR_U : 0));
	return false;
}

static bool permitted(const struct access *access, u64 rights)
{
	if (access->user)
		return rights & PAGE_USER && (!access->write || rights & PAGE_WRITE);
	if (rights & PAGE_USER && under_cr4() & CR4_SMAP && !(vmcs_read(GUEST_RFLAGS) & RFLAGS_AC))
		return false;
	return !access->write || rights & PAGE_WRITE || !(under_cr0() & CR0_WP);
}

/* The byte's place in memory; false: the fault is injected. */
static bool translate(const struct access *access, u8 **byte)
{
	u64 *entries[5], *table = (u64 *)(vmcs_read(GUEST_CR3) & PAGE_ADDRESS_MASK);
	u64 rights = PAGE_WRITE | PAGE_USER;
	unsigned int level = levels();

	for (;; level--) {
		u64 *entry = &table[access->linear >> (12 + 9 * (level - 1)) & 511];

		if (!(*entry & PAGE_PRESENT))
			return fault(access, 0);
		if (*entry & reserved_bits(*entry, level))
			return fault(access, ERROR_P | ERROR_RSVD);
		rights &= *entry;
		entries[level - 1] = entry;
		if (level == 1 || *entry & PAGE_LARGE)
			break;
		table = (u64 *)(*entry & PAGE_ADDRESS_MASK);
	}
	if (!permitted(access, rights))
		return fault(access, ERROR_P);

	for (unsigned int at = levels(); at >= level; at--)
		*entries[at - 1] |= PAGE_ACCESSED;
	if (access->write)
		*entries[level - 1] |= PAGE_DIRTY;

	const u64 offset = BIT(12 + 9 * (level - 1)) - 1;

	*byte = (u8 *)((*entries[level - 1] & PAGE_ADDRESS_MASK & ~offset) | (access->linear & offset));
	return true;
}

static bool translate_all(u64 linear, u32 size, bool write, bool user, u8 *bytes[])
{
	for (u32 i = 0; i < size; i++) {
		const struct access access = { linear + i, write, user };

		if (!under_canonical(access.linear)) {
			under_inject_code(VECTOR_GP, 0);
			return false;
		}
		if (!translate(&access, &bytes[i]))
			return false;
	}
	return true;
}

enum { LARGEST_OPERAND = 16 };

bool under_read(u64 linear, void *to, u32 size, bool user)
{
	u8 *bytes[LARGEST_OPERAND];

	if (!translate_all(linear, size, false, user, bytes))
		return false;
	for (u32 i = 0; i < size; i++)
		((u8 *)to)[i] = *bytes[i];
	under_note_breakpoints(linear, size, false, false);
	return true;
}

bool under_may_write(u64 linear, u32 size, bool user)
{
	u8 *bytes[LARGEST_OPERAND];

	return translate_all(linear, size, true, user, bytes);
}

bool under_write(u64 linear, const void *from, u32 size, bool user)
{
	u8 *bytes[LARGEST_OPERAND];

	if (!translate_all(linear, size, true, user, bytes))
		return false;
	for (u32 i = 0; i < size; i++)
		*bytes[i] = ((const u8 *)from)[i];
	under_note_breakpoints(linear, size, true, false);
	return true;
}

static bool is_legacy_prefix(u8 byte)
{
	static const u8 prefixes[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3 };

	for (size_t i = 0; i < sizeof(prefixes); i++)
		if (prefixes[i] == byte)
			return true;
	return false;
}

bool under_has_prefix(u8 prefix)
{
	const u64 base = under_in_64bit_mode() ? 0 : vmcs_read(GUEST_CS_BASE);
	const u64 first = base + vmcs_read(GUEST_RIP), length = vmcs_read(EXIT_INSTRUCTION_LENGTH);

	for (u64 i = 0; i < length; i++) {
		u8 *byte;

		/* The processor has just fetched it: no fault. */
		if (!translate_all(first + i, 1, false, under_cpl() == 3, &byte) || *byte == prefix)
			return true;
		if (!is_legacy_prefix(*byte))
			return false;
	}
	return false;
}

/* SDM Vol. 3C, "Information for VM Exits Due to Instruction Execution": the same bits wherever there is an operand. */
u64 under_operand(u32 information)
{
	static const enum vmcs_field bases[] = {
		GUEST_ES_BASE, GUEST_CS_BASE, GUEST_SS_BASE, GUEST_DS_BASE, GUEST_FS_BASE, GUEST_GS_BASE,
	};
	const u32 segment = information >> 15 & 7, address_size = information >> 7 & 7;
	u64 offset = guest.outcome.qualification;

	if (!(information & BIT(27)))
		offset += under_gpr(information >> 23 & 0xf);
	if (!(information & BIT(22)))
		offset += under_gpr(information >> 18 & 0xf) << (information & 3);
	if (address_size < 2)
		offset &= address_size ? 0xffffffff : 0xffff;
	if (under_in_64bit_mode())
		return offset + (segment >= 4 ? vmcs_read(bases[segment]) : 0);
	return (u32)(offset + vmcs_read(bases[segment]));
}
