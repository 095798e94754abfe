/* SPDX-License-Identifier: BSD-2-Clause */
/* What fields hold ("VMREAD", "VMWRITE", "Field Encoding in VMCS"). */
#include "vmxtest/vmxtest.h"

/* Bits of a field that a processor must keep; of access rights it may drop the reserved ones. */
static u64 kept_bits(u32 encoding)
{
	const bool access_rights = encoding >= GUEST_ES_ACCESS_RIGHTS && encoding <= GUEST_TR_ACCESS_RIGHTS;

	return access_rights ? 0x1f0ff : field_mask(encoding);
}

static bool writable(const struct field_info *field)
{
	return field_exists(field) &&
	       (field_type(field->encoding) != FIELD_READ_ONLY || has(CAP_MISC_VMWRITE_ANY_FIELD));
}

static void check_keeps(const struct field_info *field, u64 value)
{
	u64 found = ~value;

	CASE("%s = %#lx", field->name, value);
	CASE_SETS(field->encoding, value);
	expect_outcome(vmwrite(field->encoding, value, NULL), SUCCEED);
	expect_outcome(vmread(field->encoding, &found, NULL), SUCCEED);
	expect_bits(found, kept_bits(field->encoding) | ~field_mask(field->encoding),
		    value & kept_bits(field->encoding));
}

/* Each bit alone, each bit missing, and what wider sources leave: nothing. */
static void check_holds_all_patterns(const struct field_info *field)
{
	WALK_OVER(bit, 0, 64) {
		check_keeps(field, BIT(bit));
		check_keeps(field, ~BIT(bit));
	}
	check_keeps(field, 0);
	check_keeps(field, ~0ull);
	check_keeps(field, 0x123456789abcdef0);
}

struct field_class {
	enum field_width width;
	enum field_type type;
};

static void check_class(const void *data)
{
	const struct field_class *class = data;
	bool any = false;

	for (u32 i = 0; i < vmcs_field_count; i++)
		if (field_width(vmcs_fields[i].encoding) == class->width &&
		    field_type(vmcs_fields[i].encoding) == class->type && writable(&vmcs_fields[i])) {
			check_holds_all_patterns(&vmcs_fields[i]);
			any = true;
		}
	if (!any)
		skip("needs a field of this kind");
}

#define CLASS(id, title, width_, type_)					\
	TAP_ROW(vmx_fixture, id, title, .run = check_class,		\
		.data = &(const struct field_class){ width_, type_ })

CLASS("vmcs.rw.16bit_control", "16-bit control fields hold 16 bits", FIELD_16, FIELD_CONTROL);
CLASS("vmcs.rw.16bit_guest", "16-bit guest-state fields hold 16 bits", FIELD_16, FIELD_GUEST);
CLASS("vmcs.rw.16bit_host", "16-bit host-state fields hold 16 bits", FIELD_16, FIELD_HOST);
CLASS("vmcs.rw.64bit_control", "64-bit control fields hold 64 bits", FIELD_64, FIELD_CONTROL);
CLASS("vmcs.rw.64bit_guest", "64-bit guest-state fields hold 64 bits", FIELD_64, FIELD_GUEST);
CLASS("vmcs.rw.64bit_host", "64-bit host-state fields hold 64 bits", FIELD_64, FIELD_HOST);
CLASS("vmcs.rw.32bit_control", "32-bit control fields hold 32 bits", FIELD_32, FIELD_CONTROL);
CLASS("vmcs.rw.32bit_guest", "32-bit guest-state fields hold 32 bits", FIELD_32, FIELD_GUEST);
CLASS("vmcs.rw.32bit_host", "host IA32_SYSENTER_CS holds 32 bits", FIELD_32, FIELD_HOST);
CLASS("vmcs.rw.nat_control", "natural-width control fields hold 64 bits", FIELD_NATURAL, FIELD_CONTROL);
CLASS("vmcs.rw.nat_guest", "natural-width guest-state fields hold 64 bits", FIELD_NATURAL, FIELD_GUEST);
CLASS("vmcs.rw.nat_host", "natural-width host-state fields hold 64 bits", FIELD_NATURAL, FIELD_HOST);

/* A value that no other field has, in whichever of its bits a field keeps. */
static u64 value_of(u32 field_number, u64 flip)
{
	return ((field_number + 1) * 0x0101010101010101ull ^ 0x00ff33550f5a0000) ^ flip;
}

static void write_all(u64 flip)
{
	for (u32 i = 0; i < vmcs_field_count; i++)
		if (writable(&vmcs_fields[i]))
			vmcs_write(vmcs_fields[i].encoding, value_of(i, flip));
}

static void check_all(u64 flip)
{
	for (u32 i = 0; i < vmcs_field_count; i++) {
		const u32 encoding = vmcs_fields[i].encoding;

		if (!writable(&vmcs_fields[i]))
			continue;
		CASE("%s", vmcs_fields[i].name);
		expect_bits(vmcs_read(encoding), kept_bits(encoding) | ~field_mask(encoding),
			    value_of(i, flip) & kept_bits(encoding));
	}
}

static bool existing[256];

static void find_existing(void)
{
	require_between(1, vmcs_field_count, ARRAY_SIZE(existing));
	for (u32 i = 0; i < vmcs_field_count; i++)
		existing[i] = field_exists(&vmcs_fields[i]);
}

static u64 sum_of_all(void)
{
	u64 sum = 0;

	for (u32 i = 0; i < vmcs_field_count; i++)
		if (existing[i])
			sum = (sum << 1 | sum >> 63) ^ vmcs_read(vmcs_fields[i].encoding);
	return sum;
}

TEST("vmcs.rw.all_rw", "every field keeps its own value while all others are written")
{
	find_existing();
	write_all(0);
	check_all(0);
	write_all(~0ull);
	check_all(~0ull);
	/* One field changed leaves all others: a sum tells, then each is looked at. */
	for (u32 i = 0; i < vmcs_field_count; i++) {
		u64 kept;

		if (!writable(&vmcs_fields[i]))
			continue;
		kept = sum_of_all();
		vmcs_write(vmcs_fields[i].encoding, ~value_of(i, ~0ull));
		vmcs_write(vmcs_fields[i].encoding, value_of(i, ~0ull));
		if (sum_of_all() != kept)
			check_all(~0ull);
	}
}

TEST("vmcs.rw.ro_read", "every read-only data field can be read")
{
	for (u32 i = 0; i < vmcs_field_count; i++) {
		u64 value = 0;

		if (field_type(vmcs_fields[i].encoding) != FIELD_READ_ONLY || !field_exists(&vmcs_fields[i]))
			continue;
		CASE("%s", vmcs_fields[i].name);
		expect_outcome(vmread(vmcs_fields[i].encoding, &value, NULL), SUCCEED);
		expect_bits(value, ~field_mask(vmcs_fields[i].encoding), 0);
	}
}

TEST("vmcs.rw.ro_all", "read-only data fields can be written where IA32_VMX_MISC[29] is 1; else it is error 13")
{
	for (u32 i = 0; i < vmcs_field_count; i++) {
		const struct field_info *field = &vmcs_fields[i];
		u64 before, after = 0;

		if (field_type(field->encoding) != FIELD_READ_ONLY || !field_exists(field))
			continue;
		if (has(CAP_MISC_VMWRITE_ANY_FIELD)) {
			check_holds_all_patterns(field);
			continue;
		}
		/* The failure itself writes the VM-instruction error. */
		vmwrite(field->encoding, 0, NULL);
		before = vmcs_read(field->encoding);
		CASE("%s", field->name);
		expect_outcome(vmwrite(field->encoding, ~before, NULL), FAIL_VALID(VMERR_VMWRITE_READ_ONLY));
		vmread(field->encoding, &after, NULL);
		expect_eq(after, before);
		if (field_width(field->encoding) == FIELD_64)
			expect_outcome(vmwrite(field->encoding | 1, 0, NULL), FAIL_VALID(VMERR_VMWRITE_READ_ONLY));
	}
}

TEST("vmcs.rw.ar_reserved_bits", "access rights keep bits 7:0, 15:12 and 16; of the others a processor may drop any")
{
	for (u32 encoding = GUEST_ES_ACCESS_RIGHTS; encoding <= GUEST_TR_ACCESS_RIGHTS; encoding += 2) {
		for (u32 bit = 0; bit < 32; bit++) {
			vmcs_write(encoding, BIT(bit));
			CASE("field %#x, bit %u", encoding, bit);
			if (kept_bits(encoding) & BIT(bit))
				expect_eq(vmcs_read(encoding), BIT(bit));
			else
				expect_bits(vmcs_read(encoding), ~BIT(bit), 0);
		}
	}
}

/* 64-bit fields: the halves. */
static void check_high_access(const struct field_info *field)
{
	const u32 low = field->encoding, high = field->encoding | 1;
	u64 value = ~0ull;

	CASE("%s", field->name);
	vmcs_write(low, 0x0123456789abcdef);
	expect_outcome(vmread(high, &value, NULL), SUCCEED);
	expect_eq(value, 0x01234567);
	/* Bits 63:32 of the source are not for this half. */
	expect_outcome(vmwrite(high, 0xfeedfacedeadbeef, NULL), SUCCEED);
	expect_eq(vmcs_read(low), 0xdeadbeef89abcdef);
	expect_eq(vmcs_read(high), 0xdeadbeef);
	for (u32 bit = 0; bit < 32; bit++) {
		CASE("%s, bit %u of the high half", field->name, bit);
		vmcs_write(high, BIT(bit));
		expect_eq(vmcs_read(low), BIT(bit + 32) | 0x89abcdef);
		expect_eq(vmcs_read(high), BIT(bit));
	}
	vmcs_write(low, 0x1122334455667788);
	expect_eq(vmcs_read(high), 0x11223344);
}

TEST("vmcs.rw.64bit_high_access", "an odd encoding is bits 63:32 of a 64-bit field and leaves bits 31:0")
{
	check_high_access(field_find(TSC_OFFSET));
	check_high_access(field_find(VMCS_LINK_POINTER));
	check_high_access(field_find(IO_BITMAP_A_ADDRESS));
}

TEST("vmcs.rw.64bit_high_all", "every 64-bit field has a high half that can be read and written")
{
	for (u32 i = 0; i < vmcs_field_count; i++)
		if (field_width(vmcs_fields[i].encoding) == FIELD_64 && writable(&vmcs_fields[i]))
			check_high_access(&vmcs_fields[i]);
}
