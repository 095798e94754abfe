/* SPDX-License-Identifier: BSD-2-Clause */
/* Every encoding, every width of operand ("VMREAD", "VMWRITE"). */
#include "vmxtest/vmxtest.h"
#include "libc/string.h"
#include "vmx/lacks.h"
#include "x86/model.h"

#define CANARY 0x5aa5c33c0ff0e11eull

enum { ENCODINGS = 0x8000 };

/* Of the 32,768 encodings: those of no field that the suite knows; of a field, there or not; of one that may be there. */
enum encoding_is { UNKNOWN, SUPPORTED, MISSING, EITHER };

static u8 encoding_is[ENCODINGS];

static enum encoding_is field_is(const struct field_info *field)
{
	if (field_exists(field))
		return SUPPORTED;
	/* CR3-target values: see vmcs.exists.cr3_targets. */
	return field->encoding >= CR3_TARGET_VALUE0 && field->encoding <= CR3_TARGET_VALUE3 ? EITHER : MISSING;
}

static void look_up_encodings(void)
{
	memset(encoding_is, UNKNOWN, sizeof(encoding_is));
	for (u32 i = 0; i < vmcs_field_count; i++) {
		const u32 encoding = vmcs_fields[i].encoding;

		encoding_is[encoding] = field_is(&vmcs_fields[i]);
		if (field_width(encoding) == FIELD_64)
			encoding_is[encoding | 1] = encoding_is[encoding];
	}
}

static u64 width_mask(u32 encoding)
{
	return encoding & 1 ? 0xffffffff : field_mask(encoding);
}

/* Without the cost of vmread() and vmwrite(), which recover from faults; for loops over all encodings. */
static struct outcome quick_outcome(bool invalid, bool valid)
{
	return outcome_from_rflags((invalid ? RFLAGS_CF : 0) | (valid ? RFLAGS_ZF : 0));
}

static struct outcome quick_vmread(u64 encoding, u64 *value)
{
	bool invalid, valid;

	asm volatile("vmread %3, %0"
		     : "+m"(*value), "=@ccc"(invalid), "=@ccz"(valid) : "r"(lacks_field(encoding)) : "memory");
	return quick_outcome(invalid, valid);
}

static struct outcome quick_vmwrite(u64 encoding, u64 value)
{
	bool invalid, valid;

	asm volatile("vmwrite %2, %3"
		     : "=@ccc"(invalid), "=@ccz"(valid) : "r"(value), "r"(lacks_field(encoding)) : "memory");
	return quick_outcome(invalid, valid);
}

/* Another error number, so that a stale one is seen: VMCLEAR of a misaligned address is error 2. */
static void poison_error(void)
{
	static const u64 misaligned = 1;

	asm volatile("vmclear %0" : : "m"(misaligned) : "cc", "memory");
}

static void expect_unsupported(u64 encoding)
{
	u64 value = CANARY;

	CASE("encoding %#lx", encoding);
	poison_error();
	expect_outcome(quick_vmread(encoding, &value), FAIL_VALID(VMERR_UNSUPPORTED_COMPONENT));
	expect_eq(value, CANARY);
	poison_error();
	expect_outcome(quick_vmwrite(encoding, 0), FAIL_VALID(VMERR_UNSUPPORTED_COMPONENT));
}

/* Encodings that are no field's today, and that a processor younger than the suite has all the same. */
static u32 later_fields;
static u64 first_later_field;

static void expect_unknown(u64 encoding)
{
	u64 value = 0;

	if (processor_is_known() || quick_vmread(encoding, &value).kind != OUTCOME_SUCCEED) {
		expect_unsupported(encoding);
		return;
	}
	if (!later_fields++)
		first_later_field = encoding;
	check_passed();
}

static void note_later_fields(void)
{
	if (later_fields)
		note("VMREAD takes %u encodings that the suite has no field for, the first is %#lx", later_fields,
		     first_later_field);
	later_fields = 0;
}

TEST("vmcs.rw.unsupported", "of all 32,768 encodings those of fields that are not there fail with error 12")
{
	look_up_encodings();
	for (u32 encoding = 0; encoding < ENCODINGS; encoding++) {
		const enum encoding_is is = encoding_is[encoding];
		u64 value = CANARY;

		if (is == UNKNOWN && walk_takes(encoding, ENCODINGS))
			expect_unknown(encoding);
		if (is == MISSING && walk_takes(encoding, ENCODINGS))
			expect_unsupported(encoding);
		if (is != SUPPORTED)
			continue;
		CASE("encoding %#x", encoding);
		expect_outcome(vmread(encoding, &value, NULL), SUCCEED);
	}
	note_later_fields();
}

TEST("vmcs.rw.high_access_other_width", "only 64-bit fields have odd encodings")
{
	for (u32 i = 0; i < vmcs_field_count; i++)
		if (field_width(vmcs_fields[i].encoding) != FIELD_64)
			expect_unsupported(vmcs_fields[i].encoding | 1);
}

TEST("vmcs.rw.reserved_encoding_bits", "bits 12 and 31:15 of an encoding are reserved")
{
	WALK_OVER(i, 0, vmcs_field_count) {
		expect_unknown(vmcs_fields[i].encoding | BIT(12));
		for (u32 bit = 15; bit < 32; bit++)
			expect_unknown(vmcs_fields[i].encoding | BIT(bit));
	}
	WALK_OVER(index, 0, 0x200)
		expect_unknown(BIT(12) | index << 1);
	note_later_fields();
}

TEST("vmcs.rw.upper32_encoding", "in 64-bit mode bits 63:32 of the encoding's register are 0")
{
	static const u32 fields[] = { GUEST_RIP, GUEST_ES_SELECTOR, TSC_OFFSET, EXIT_REASON, PIN_BASED_CONTROLS };

	for (u32 i = 0; i < ARRAY_SIZE(fields); i++) {
		const u64 before = vmcs_read(fields[i]);

		for (u32 bit = 32; bit < 64; bit++)
			expect_unsupported(fields[i] | BIT(bit));
		expect_eq(vmcs_read(fields[i]), before);
	}
}

/* VMREAD to a register, which vmread() does not. */
static u64 vmread_to_register(u64 encoding, u64 before, bool *failed)
{
	u64 value = before;

	asm volatile("vmread %2, %0" : "+r"(value), "=@ccbe"(*failed) : "r"(lacks_field(encoding)) : "memory");
	return value;
}

TEST("vmcs.rw.no_current", "with no current VMCS VMREAD and VMWRITE are VMfailInvalid and write nothing")
{
	const u64 region = physical_address(&vmcs_region);
	static const u32 encodings[] = { GUEST_RIP, EXIT_REASON, VPID, 0x7ffe };
	u64 in_memory = CANARY, in_register, in_vmcs;
	struct outcome read, write;
	bool failed;

	for (u32 i = 0; i < ARRAY_SIZE(encodings); i++) {
		vmcs_write(GUEST_RIP, CANARY);
		require_outcome(vmclear(&region, NULL), SUCCEED);
		in_register = vmread_to_register(encodings[i], CANARY, &failed);
		read = vmread(encodings[i], &in_memory, NULL);
		write = vmwrite(encodings[i], 0x77, NULL);
		require_outcome(vmptrld(&region, NULL), SUCCEED);
		in_vmcs = vmcs_read(GUEST_RIP);

		CASE("encoding %#x", encodings[i]);
		expect_outcome(read, FAIL_INVALID);
		expect_outcome(write, FAIL_INVALID);
		expect_eq(in_memory, CANARY);
		expect_eq(failed, true);
		expect_eq(in_register, CANARY);
		expect_eq(in_vmcs, CANARY);
	}
}

TEST("vmcs.rw.vmread_width_zero_extend",
     "VMREAD of a narrow field zero-extends to 64 bits, in a register or in memory")
{
	look_up_encodings();
	for (u32 encoding = 0; encoding < ENCODINGS; encoding++) {
		const u64 mask = width_mask(encoding);
		u64 value = ~0ull;
		bool failed;

		if (encoding_is[encoding] != SUPPORTED || mask == ~0ull)
			continue;
		CASE("encoding %#x", encoding);
		if (field_type(encoding) != FIELD_READ_ONLY)
			vmcs_write(encoding, ~0ull);
		expect_outcome(vmread(encoding, &value, NULL), SUCCEED);
		expect_bits(value, ~mask, 0);
		expect_eq(vmread_to_register(encoding, ~0ull, &failed), value);
		expect_eq(failed, false);
	}
}

TEST("vmcs.rw.vmwrite_width_truncate", "VMWRITE ignores the bits of its source that the field does not have")
{
	look_up_encodings();
	for (u32 encoding = 0; encoding < ENCODINGS; encoding++) {
		const u64 mask = width_mask(encoding);
		u64 before;

		if (encoding_is[encoding] != SUPPORTED || mask == ~0ull || field_type(encoding) == FIELD_READ_ONLY)
			continue;
		before = vmcs_read(encoding);
		CASE("encoding %#x", encoding);
		expect_outcome(vmwrite(encoding, before | ~mask, NULL), SUCCEED);
		expect_eq(vmcs_read(encoding), before);
		for (u32 bit = 16; bit < 64; bit++) {
			if (mask & BIT(bit))
				continue;
			vmcs_write(encoding, 0x1025 | BIT(bit));
			expect_eq(vmcs_read(encoding), 0x1025);
		}
	}
}

static void vmread_to(void *to, u64 encoding)
{
	asm volatile("vmread %1, (%0)" : : "r"(to), "r"(encoding) : "memory", "cc");
}

static void vmwrite_from(const void *from, u64 encoding)
{
	asm volatile("vmwrite (%0), %1" : : "r"(from), "r"(encoding) : "memory", "cc");
}

/* Of every width: 16, 32, 64, the high half, natural. */
static const u32 widths[] = {
	GUEST_ES_SELECTOR, GUEST_ES_LIMIT, TSC_OFFSET, TSC_OFFSET | 1, GUEST_RIP,
};

TEST("vmcs.rw.mem_operand", "a memory operand of VMREAD and VMWRITE is 8 bytes, at any address")
{
	u8 *page = page_alloc();
	const u64 last_bytes = PAGE_WINDOW + PAGE_SIZE - 8;

	for (u32 i = 0; i < ARRAY_SIZE(widths); i++) {
		const u64 mask = width_mask(widths[i]);

		for (u32 offset = 8; offset < 24; offset++) {
			u64 value = 0x1122334455667788 & mask;

			CASE("field %#x, offset %u", widths[i], offset);
			vmcs_write(widths[i], value);
			memset(page, 0x5a, 64);
			vmread_to(page + offset, widths[i]);
			expect_bytes(page + offset, &value, 8);
			memset(page + offset, 0x5a, 8);
			expect_filled(page, 0, 64, 0x5a);

			value = 0x99aabbccddeeff10;
			memcpy(page + offset, &value, 8);
			vmwrite_from(page + offset, widths[i]);
			expect_eq(vmcs_read(widths[i]), value & mask);
		}
	}

	/* The last 8 bytes of a page whose neighbour is not there. */
	page_map(PAGE_WINDOW, physical_address(page), PAGE_PRESENT | PAGE_WRITE);
	for (u32 i = 0; i < ARRAY_SIZE(widths); i++) {
		struct fault fault;

		CASE("field %#x at the end of a page", widths[i]);
		vmcs_write(widths[i], 0x4321);
		fault = TRY(vmread_to((void *)last_bytes, widths[i]));
		expect_no_fault(fault);
		expect_eq(*(u64 *)last_bytes, 0x4321);
		*(u64 *)last_bytes = 0x1234;
		fault = TRY(vmwrite_from((void *)last_bytes, widths[i]));
		expect_no_fault(fault);
		expect_eq(vmcs_read(widths[i]), 0x1234);
	}
}

/* One byte further. */
TEST("vmcs.rw.mem_second_page", "a memory operand of VMREAD and VMWRITE whose last byte is not there raises #PF")
{
	const u64 second_page = PAGE_WINDOW + PAGE_SIZE, across = second_page - 7;

	page_map(PAGE_WINDOW, physical_address(page_alloc()), PAGE_PRESENT | PAGE_WRITE);
	for (u32 i = 0; i < ARRAY_SIZE(widths); i++) {
		struct fault fault;

		CASE("field %#x", widths[i]);
		vmcs_write(widths[i], 0x1234);
		fault = TRY(vmread_to((void *)across, widths[i]));
		expect_fault(fault, VECTOR_PF, 2);
		expect_eq(fault.cr2, second_page);
		fault = TRY(vmwrite_from((void *)across, widths[i]));
		expect_fault(fault, VECTOR_PF, 0);
		expect_eq(fault.cr2, second_page);
		expect_eq(vmcs_read(widths[i]), 0x1234);
	}
}

TEST("vmcs.rw.mem_fault_no_effect", "VMREAD whose memory operand faults on its second page leaves the first as it was")
{
	u64 *const last_bytes = (u64 *)(PAGE_WINDOW + PAGE_SIZE - 8);

	page_map(PAGE_WINDOW, physical_address(page_alloc()), PAGE_PRESENT | PAGE_WRITE);
	for (u32 i = 0; i < ARRAY_SIZE(widths); i++)
		for (u32 beyond = 1; beyond < 8; beyond++) {
			CASE("field %#x, %u bytes on the second page", widths[i], beyond);
			vmcs_write(widths[i], 0x1234);
			*last_bytes = 0x1122334455667788;
			const struct fault fault = TRY(vmread_to((u8 *)last_bytes + beyond, widths[i]));

			expect_fault(fault, VECTOR_PF, 2);
			expect_eq(*last_bytes, 0x1122334455667788);
		}
}
