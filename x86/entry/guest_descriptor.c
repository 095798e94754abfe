/* SPDX-License-Identifier: BSD-2-Clause */
/* TR and LDTR ("Checks on Guest Segment Registers"), GDTR and IDTR ("... Descriptor-Table Registers"). */
#include "vmxtest/entry_guest.h"

enum { TYPE = 0xf };

/* All 256 values of type, S, DPL and P; those whose other fields are legal decide by the field of the mask. */
static void try_low_rights(enum segment_register r, u32 decides, bool (*legal)(u32 rights), u32 legal_type)
{
	const u32 limit = vmcs_read(segment_limit(r));

	entry_guest_keep();
	WALK_OVER(rights, 0, 0x100) {
		const u32 others = ~decides & (TYPE | RIGHTS_S | RIGHTS_P);

		if ((rights & others) == ((legal_type | RIGHTS_P) & others))
			entry_try_segment(r, rights, limit, legal(rights));
	}
}

static bool busy_tss(u32 rights) { return (rights & TYPE) == 3 || (rights & TYPE) == 11; }
static bool busy_tss64(u32 rights) { return (rights & TYPE) == 11; }
static bool ldt(u32 rights) { return (rights & TYPE) == 2; }
static bool system(u32 rights) { return !(rights & RIGHTS_S); }
static bool present(u32 rights) { return rights & RIGHTS_P; }
static bool system_and_present(u32 rights) { return system(rights) && present(rights); }
static bool always(UNUSED u32 rights) { return true; }

/* In IA-32e mode and out of it. */
static void try_tr(u32 decides, bool (*legal)(u32 rights), bool (*legal_in_ia32e)(u32 rights))
{
	entry_stop_guest_at_once();
	try_low_rights(SEG_TR, decides, legal_in_ia32e, 11);
	entry_guest_compatibility();
	try_low_rights(SEG_TR, decides, legal_in_ia32e, 11);
	entry_guest_32bit();
	try_low_rights(SEG_TR, decides, legal, 11);
	try_low_rights(SEG_TR, decides, legal, 3);
	if (!has(PROC2_UNRESTRICTED_GUEST))
		return;
	entry_guest_real();
	try_low_rights(SEG_TR, decides, legal, 11);
	try_low_rights(SEG_TR, decides, legal, 3);
}

TEST("entry.guest.tr.ar.type", "TR is a busy TSS, of 64 bits in IA-32e mode")
{
	try_tr(TYPE, busy_tss, busy_tss64);
}

TEST("entry.guest.tr.ar.s", "TR has S = 0")
{
	try_tr(RIGHTS_S, system, system);
}

TEST("entry.guest.tr.ar.p", "TR has P = 1")
{
	try_tr(RIGHTS_P, present, present);
}

/* Each bit of the limit alone missing and alone set, with both granularities. */
static void try_granularity(enum segment_register r, u32 rights, bool checked)
{
	entry_guest_keep();
	WALK_OVER(n, 0, 2 * 2 * 33) {
		const u32 bit = n / 4 < 32 ? BIT(n / 4) : 0;
		const u32 limit = n & 1 ? bit : ~bit, g = n & 2 ? RIGHTS_G : 0;
		const bool low_missing = (limit & 0xfff) != 0xfff, high_set = limit & 0xfff00000;

		entry_try_segment(r, rights | g, limit, !checked || (!(low_missing && g) && !(high_set && !g)));
		/* The other half made legal: one rule decides. */
		entry_try_segment(r, rights | g, limit | 0xfff, !checked || !high_set || g);
		entry_try_segment(r, rights | g, limit & 0xfffff, !checked || !low_missing || !g);
	}
}

TEST("entry.guest.tr.ar.g", "the limit of TR agrees with its G")
{
	entry_stop_guest_at_once();
	try_granularity(SEG_TR, RIGHTS_TSS32, true);
	entry_guest_32bit();
	try_granularity(SEG_TR, RIGHTS_TSS16, true);
}

TEST("entry.guest.tr.ar.unusable", "TR is usable")
{
	entry_stop_guest_at_once();
	entry_guest_keep();
	entry_try_segment(SEG_TR, RIGHTS_TSS32 | RIGHTS_NOT_USABLE, 0x67, false);
	entry_try_segment(SEG_TR, RIGHTS_NOT_USABLE, 0x67, false);
	entry_try_segment(SEG_TR, RIGHTS_TSS32, 0x67, true);
	entry_guest_32bit();
	entry_guest_keep();
	entry_try_segment(SEG_TR, RIGHTS_TSS16 | RIGHTS_NOT_USABLE, 0x67, false);
	entry_try_segment(SEG_TR, RIGHTS_TSS16, 0x67, true);
}

/* Bits 11:8 and 31:17; bits 14:12 (AVL, L, D/B) are nobody's business. Was there one that VMWRITE does not drop? */
static bool try_reserved(enum segment_register r, u32 rights, bool checked)
{
	const u32 reserved = 0xfffe0f00;
	u32 dropped = 0;

	entry_guest_keep();
	for (u32 bit = 8; bit < 32; bit++)
		if (bit != 15 && bit != 16 &&
		    !entry_try_segment(r, rights | BIT(bit), 0xffff, !(checked && BIT(bit) & reserved)))
			dropped |= BIT(bit);
	entry_try_segment(r, rights, 0xffff, true);
	if (dropped)
		note("%s: VMWRITE drops bits %#x of the access rights, which could not be tried", segment_names[r], dropped);
	return reserved & ~dropped;
}

TEST("entry.guest.tr.ar.reserved", "bits 11:8 and 31:17 of the rights of TR are 0")
{
	bool tried;

	entry_stop_guest_at_once();
	tried = try_reserved(SEG_TR, RIGHTS_TSS32, true);
	entry_guest_32bit();
	tried |= try_reserved(SEG_TR, RIGHTS_TSS16, true);
	if (!tried)
		skip("VMWRITE drops the reserved bits of access rights, so that there is nothing to try");
}

/* Usable: the rule decides. Not usable: all is well. */
static void try_ldtr(u32 decides, bool (*legal)(u32 rights))
{
	entry_stop_guest_at_once();
	entry_guest_ldtr();
	try_low_rights(SEG_LDTR, decides, legal, 2);
	entry_guest_32bit();
	try_low_rights(SEG_LDTR, decides, legal, 2);
	entry_guest_keep();
	WALK_OVER(rights, 0, 0x100)
		entry_try_segment(SEG_LDTR, rights | RIGHTS_NOT_USABLE, 0xffff, always(rights));
}

TEST("entry.guest.ldtr.ar.type", "a usable LDTR is an LDT")
{
	try_ldtr(TYPE, ldt);
}

TEST("entry.guest.ldtr.ar.s_p", "a usable LDTR has S = 0 and P = 1")
{
	try_ldtr(RIGHTS_S | RIGHTS_P, system_and_present);
}

TEST("entry.guest.ldtr.ar.g", "the limit of a usable LDTR agrees with its G, and no reserved bit is set")
{
	entry_stop_guest_at_once();
	entry_guest_ldtr();
	try_granularity(SEG_LDTR, RIGHTS_LDT, true);
	try_reserved(SEG_LDTR, RIGHTS_LDT, true);
	try_granularity(SEG_LDTR, RIGHTS_LDT | RIGHTS_NOT_USABLE, false);
	try_reserved(SEG_LDTR, RIGHTS_LDT | RIGHTS_NOT_USABLE, false);
}

ENTRY_CHECK("entry.guest.gdtr.base", "the base of GDTR is canonical", ALWAYS, FIELDS(GUEST_GDTR_BASE),
	    .bad = NONCANONICAL, .refused = BY_INVALID_GUEST_STATE, .good = CANONICAL_ENDS);

ENTRY_CHECK("entry.guest.idtr.base", "the base of IDTR is canonical", ALWAYS, FIELDS(GUEST_IDTR_BASE),
	    .bad = NONCANONICAL, .refused = BY_INVALID_GUEST_STATE, .good = CANONICAL_ENDS);

ENTRY_CHECK("entry.guest.gdtr.limit", "bits 31:16 of the limit of GDTR are 0", ALWAYS, FIELDS(GUEST_GDTR_LIMIT),
	    .bad = FLIPPED_BITS(0xffff0000), .refused = BY_INVALID_GUEST_STATE, .good = VALUES(0, 7, 0x8000, 0xffff));

ENTRY_CHECK("entry.guest.idtr.limit", "bits 31:16 of the limit of IDTR are 0", ALWAYS, FIELDS(GUEST_IDTR_LIMIT),
	    .bad = FLIPPED_BITS(0xffff0000), .refused = BY_INVALID_GUEST_STATE, .good = VALUES(0, 7, 0x8000, 0xffff));
