/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions with a memory operand that the processor only describes: descriptor tables, INVPCID. */
#include "vmx/ept.h"
#include "vmxtest/under.h"

/* ---- LGDT, SGDT, LIDT, SIDT */

enum { SGDT, SIDT, LGDT, LIDT };

static void store_table(u64 linear, u32 size, enum vmcs_field base, enum vmcs_field limit)
{
	const struct table_register table = { vmcs_read(limit), vmcs_read(base) };

	if (under_write(linear, &table, size, under_cpl() == 3))
		under_retire();
}

static void load_table(u64 linear, u32 size, u64 mask, enum vmcs_field base, enum vmcs_field limit)
{
	struct table_register table = { 0, 0 };

	if (!under_read(linear, &table, size, false))
		return;
	if (!under_canonical(table.base & mask)) {
		under_inject_code(VECTOR_GP, 0);
		return;
	}
	vmcs_write(base, table.base & mask);
	vmcs_write(limit, table.limit);
	under_retire();
}

void under_gdtr_idtr(void)
{
	const u32 information = vmcs_read(EXIT_INSTRUCTION_INFORMATION), which = information >> 28 & 3;
	const enum vmcs_field base = which & 1 ? GUEST_IDTR_BASE : GUEST_GDTR_BASE;
	const enum vmcs_field limit = which & 1 ? GUEST_IDTR_LIMIT : GUEST_GDTR_LIMIT;
	const u64 linear = under_operand(information);
	const bool wide = under_in_64bit_mode();

	if (which == SGDT || which == SIDT)
		store_table(linear, wide ? 10 : 6, base, limit);
	else
		load_table(linear, wide ? 10 : 6, wide ? ~0ull : information & BIT(11) ? 0xffffffff : 0xffffff, base,
			   limit);
}

/* ---- LLDT, SLDT, LTR, STR */

enum { SLDT, STR, LLDT, LTR };
enum { TYPE_LDT = 2, TYPE_TSS = 9, TYPE_TSS_BUSY = 11 };

struct system_descriptor {
	u64 low, high;
};

static u32 type_of(const struct system_descriptor *descriptor)
{
	return descriptor->low >> 40 & 0x1f;		/* with S, which must be 0 */
}

/* The descriptor of a selector, or the exception that it raises. */
static bool fetch(u16 selector, u32 type, struct system_descriptor *descriptor)
{
	const u64 base = vmcs_read(GUEST_GDTR_BASE), limit = vmcs_read(GUEST_GDTR_LIMIT);
	const u32 error_code = selector & ~3u, offset = selector & ~7u;
	const u32 size = under_in_64bit_mode() ? 16 : 8;

	descriptor->high = 0;
	if (selector & 4 || offset + size - 1 > limit) {
		under_inject_code(VECTOR_GP, error_code);
		return false;
	}
	if (!under_read(base + offset, descriptor, size, false))
		return false;
	if (type_of(descriptor) != type || descriptor->high >> 40 & 0x1f) {
		under_inject_code(VECTOR_GP, error_code);
		return false;
	}
	if (!(descriptor->low & BIT(47))) {
		under_inject_code(VECTOR_NP, error_code);
		return false;
	}
	return true;
}

static u64 base_of(const struct system_descriptor *descriptor)
{
	return (descriptor->low >> 16 & 0xffffff) | (descriptor->low >> 56) << 24 | descriptor->high << 32;
}

static u32 limit_of(const struct system_descriptor *descriptor)
{
	const u32 limit = (descriptor->low & 0xffff) | (descriptor->low >> 32 & 0xf0000);

	return descriptor->low & BIT(55) ? limit << 12 | 0xfff : limit;
}

static void load_ldtr(u16 selector)
{
	struct system_descriptor descriptor;

	if (!(selector & ~3u)) {
		vmcs_write(GUEST_LDTR_SELECTOR, selector);
		vmcs_write(GUEST_LDTR_ACCESS_RIGHTS, RIGHTS_NOT_USABLE);
		under_retire();
		return;
	}
	if (!fetch(selector, TYPE_LDT, &descriptor))
		return;
	if (!under_canonical(base_of(&descriptor))) {
		under_inject_code(VECTOR_GP, selector & ~3u);
		return;
	}
	vmcs_write(GUEST_LDTR_SELECTOR, selector);
	vmcs_write(GUEST_LDTR_BASE, base_of(&descriptor));
	vmcs_write(GUEST_LDTR_LIMIT, limit_of(&descriptor));
	vmcs_write(GUEST_LDTR_ACCESS_RIGHTS, descriptor.low >> 40 & 0xf0ff);
	under_retire();
}

static void load_tr(u16 selector)
{
	struct system_descriptor descriptor;

	if (!(selector & ~3u)) {
		under_inject_code(VECTOR_GP, 0);
		return;
	}
	if (!fetch(selector, TYPE_TSS, &descriptor))
		return;
	if (!under_canonical(base_of(&descriptor))) {
		under_inject_code(VECTOR_GP, selector & ~3u);
		return;
	}
	descriptor.low |= (u64)(TYPE_TSS ^ TYPE_TSS_BUSY) << 40;
	if (!under_write(vmcs_read(GUEST_GDTR_BASE) + (selector & ~7u), &descriptor.low, 8, false))
		return;
	vmcs_write(GUEST_TR_SELECTOR, selector);
	vmcs_write(GUEST_TR_BASE, base_of(&descriptor));
	vmcs_write(GUEST_TR_LIMIT, limit_of(&descriptor));
	vmcs_write(GUEST_TR_ACCESS_RIGHTS, descriptor.low >> 40 & 0xf0ff);
	under_retire();
}

static void store_selector(u32 information, u16 selector)
{
	const u32 gpr = information >> 3 & 0xf;

	if (!(information & BIT(10))) {
		if (!under_write(under_operand(information), &selector, 2, under_cpl() == 3))
			return;
	} else {
		/* The information does not say how wide a register is. */
		under_set_gpr(gpr, under_has_prefix(0x66) ? (under_gpr(gpr) & ~0xffffull) | selector : selector);
	}
	under_retire();
}

void under_ldtr_tr(void)
{
	const u32 information = vmcs_read(EXIT_INSTRUCTION_INFORMATION);
	u16 selector = under_gpr(information >> 3 & 0xf);

	switch (information >> 28 & 3) {
	case SLDT:
		store_selector(information, vmcs_read(GUEST_LDTR_SELECTOR));
		return;
	case STR:
		store_selector(information, vmcs_read(GUEST_TR_SELECTOR));
		return;
	}
	if (!(information & BIT(10)) && !under_read(under_operand(information), &selector, 2, false))
		return;
	if ((information >> 28 & 3) == LLDT)
		load_ldtr(selector);
	else
		load_tr(selector);
}

/* ---- INVPCID */

enum { INVPCID_ADDRESS = 0, INVPCID_CONTEXT = 1 };

static void invpcid_of_nothing(u64 type)
{
	const u64 descriptor[2] = { 0, 0 };

	asm volatile("invpcid %0, %1" : : "m"(descriptor), "r"(type) : "memory");
}

void under_invpcid(void)
{
	const u32 information = vmcs_read(EXIT_INSTRUCTION_INFORMATION);
	const u64 whole = under_gpr(information >> 28 & 0xf), type = under_in_64bit_mode() ? whole : (u32)whole;
	u64 descriptor[2];

	/* Which types there are says the processor; what it makes of a descriptor depends on the guest's CR4. */
	if (!UNDER_TRY(invpcid_of_nothing(type)) ||
	    !under_read(under_operand(information), descriptor, sizeof(descriptor), false))
		return;
	if (descriptor[0] & ~0xfffull || (type == INVPCID_ADDRESS && !under_canonical(descriptor[1])) ||
	    (type <= INVPCID_CONTEXT && descriptor[0] && !(under_cr4() & CR4_PCIDE))) {
		under_inject_code(VECTOR_GP, 0);
		return;
	}
	under_flush_all();
	under_retire();
}
