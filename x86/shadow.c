/* SPDX-License-Identifier: BSD-2-Clause */
/* VMCS shadowing: VMREAD and VMWRITE by the guest (SDM Vol. 3C, "VMREAD", "VMCS Shadowing Bitmap Addresses"). */
#include "vmxtest/vmxtest.h"
#include "x86/user.h"

#include "libc/string.h"

#define SHADOW_VMCS BIT(31)	/* of the revision identifier */

static struct vmcs_region *shadow;
static u8 *vmread_bitmap, *vmwrite_bitmap;

/* All fields of the processor, the high halves of 64-bit ones too. */
static struct {
	u32 encoding;
	u64 expected;			/* in the shadow VMCS */
	volatile u64 value;		/* what the guest reads or writes */
	volatile u64 rflags;
} fields[400];
static u32 field_count;

static void add_field(u32 encoding)
{
	fields[field_count++].encoding = encoding;
}

/* A value of the field's width that no other field has. */
static u64 pattern(u32 encoding, u32 salt)
{
	const u64 all = (encoding * 0x9e3779b97f4a7c15ull) ^ (salt * 0xd1b54a32d192ed03ull);

	return all & (encoding & 1 ? 0xffffffff : field_mask(encoding));
}

static void list_fields(void)
{
	field_count = 0;
	for (u32 i = 0; i < vmcs_field_count; i++) {
		const u32 encoding = vmcs_fields[i].encoding;

		if (!field_readable(&vmcs_fields[i]))
			continue;
		add_field(encoding);
		if (field_width(encoding) == FIELD_64)
			add_field(encoding | 1);
	}
}

static void load(struct vmcs_region *region)
{
	const u64 address = physical_address(region);

	require_outcome(vmptrld(&address, NULL), SUCCEED);
}

static void clear(struct vmcs_region *region)
{
	const u64 address = physical_address(region);

	require_outcome(vmclear(&address, NULL), SUCCEED);
}

static bool writable(u32 encoding)
{
	return has(CAP_MISC_VMWRITE_ANY_FIELD) || field_type(encoding) != FIELD_READ_ONLY;
}

/* A shadow VMCS with a value of its own in every field that may be written; then it is the link pointer's. */
static void use_shadow(void)
{
	list_fields();
	shadow = vmcs_region_alloc();
	shadow->revision |= SHADOW_VMCS;
	clear(shadow);
	load(shadow);
	for (u32 i = 0; i < field_count; i++)
		if (!(fields[i].encoding & 1) && writable(fields[i].encoding))
			vmwrite(fields[i].encoding, pattern(fields[i].encoding, 1), NULL);
	for (u32 i = 0; i < field_count; i++)
		require_outcome(vmread(fields[i].encoding, &fields[i].expected, NULL), SUCCEED);
	clear(shadow);
	load(&vmcs_region);

	vmread_bitmap = page_alloc();
	vmwrite_bitmap = page_alloc();
	vmcs_write(VMREAD_BITMAP_ADDRESS, physical_address(vmread_bitmap));
	vmcs_write(VMWRITE_BITMAP_ADDRESS, physical_address(vmwrite_bitmap));
	vmcs_write(VMCS_LINK_POINTER, physical_address(shadow));
	vmcs_set_controls(PROC2_VMCS_SHADOWING);
}

/* Put the fields of the shadow VMCS, as they are now, into fields[].expected. */
static void read_shadow(void)
{
	clear(shadow);
	load(shadow);
	for (u32 i = 0; i < field_count; i++)
		require_outcome(vmread(fields[i].encoding, &fields[i].expected, NULL), SUCCEED);
	clear(shadow);
	load(&vmcs_region);
}

static void guest_reads_fields(void)
{
	for (u32 i = 0; i < field_count; i++) {
		u64 value = 0x5a5a5a5a5a5a5a5a, rflags;

		asm volatile("vmread %2, %0; pushfq; pop %1"
			     : "+r"(value), "=r"(rflags) : "r"((u64)fields[i].encoding) : "cc", "memory");
		fields[i].value = value;
		fields[i].rflags = rflags & RFLAGS_ARITHMETIC;
	}
}

static void guest_writes_fields(void)
{
	for (u32 i = 0; i < field_count; i++) {
		u64 rflags;

		asm volatile("vmwrite %1, %2; pushfq; pop %0"
			     : "=r"(rflags) : "r"(fields[i].value), "r"((u64)fields[i].encoding) : "cc", "memory");
		fields[i].rflags = rflags & RFLAGS_ARITHMETIC;
	}
}

TEST("shadow.vmread_pass", "A guest's VMREAD with bit 0 in the bitmap reads the shadow VMCS, with no exit",
     NEEDS(PROC2_VMCS_SHADOWING))
{
	use_shadow();
	guest_run(guest_reads_fields);
	expect_guest_done();
	for (u32 i = 0; i < field_count; i++) {
		CASE("field %#x", fields[i].encoding);
		expect_eq(fields[i].rflags, 0);
		expect_eq(fields[i].value, fields[i].expected);
	}
	expect_at_least(field_count, 101);
}

TEST("shadow.vmwrite_pass", "A guest's VMWRITE with bit 0 in the bitmap writes the shadow VMCS and no other",
     NEEDS(PROC2_VMCS_SHADOWING))
{
	static u64 before[ARRAY_SIZE(fields)];

	use_shadow();
	for (u32 i = 0; i < field_count; i++) {
		fields[i].value = pattern(fields[i].encoding & ~1u, 2) >> (fields[i].encoding & 1 ? 32 : 0);
		vmread(fields[i].encoding, &before[i], NULL);
	}
	guest_run(guest_writes_fields);
	expect_guest_done();
	for (u32 i = 0; i < field_count; i++) {
		const u32 type = field_type(fields[i].encoding);
		u64 now = 0;

		CASE("field %#x", fields[i].encoding);
		expect_eq(fields[i].rflags, writable(fields[i].encoding) ? 0 : RFLAGS_ZF);
		/* An exit changes fields of the guest and of the exit; HOST_RSP is entry's own. */
		vmread(fields[i].encoding, &now, NULL);
		if (type == FIELD_CONTROL || (type == FIELD_HOST && fields[i].encoding != HOST_RSP))
			expect_eq(now, before[i]);
	}

	/* A field need not keep reserved bits: what it holds is what it would hold if the host had written the value. */
	read_shadow();
	load(shadow);
	for (u32 i = 0; i < field_count; i++)
		if (writable(fields[i].encoding))
			vmwrite(fields[i].encoding, fields[i].value, NULL);
	for (u32 i = 0; i < field_count; i++) {
		u64 by_host = 0;

		CASE("field %#x of the shadow VMCS", fields[i].encoding);
		vmread(fields[i].encoding, &by_host, NULL);
		expect_eq(fields[i].expected, by_host);
	}
	clear(shadow);
	load(&vmcs_region);
}

TEST("shadow.link_invalid", "With no link pointer VMREAD and VMWRITE that do not exit are VMfailInvalid",
     NEEDS(PROC2_VMCS_SHADOWING))
{
	use_shadow();
	vmcs_write(VMCS_LINK_POINTER, ~0ull);
	guest_run(guest_reads_fields);
	expect_guest_done();
	for (u32 i = 0; i < field_count; i++) {
		CASE("VMREAD of field %#x", fields[i].encoding);
		expect_eq(fields[i].rflags, RFLAGS_CF);
		expect_eq(fields[i].value, 0x5a5a5a5a5a5a5a5a);
	}
	guest_run(guest_writes_fields);
	expect_guest_done();
	for (u32 i = 0; i < field_count; i++) {
		CASE("VMWRITE of field %#x", fields[i].encoding);
		expect_eq(fields[i].rflags, RFLAGS_CF);
	}
}

GUEST_ASM(guest_vmreads, "vmread %rax, %rcx\n ret");
GUEST_ASM(guest_vmwrites, "vmwrite %rcx, %rax\n ret");

static void run_access(bool write, u64 encoding)
{
	guest.regs.rax = encoding;
	guest.regs.rcx = 0x5a5a5a5a5a5a5a5a;
	guest_run(write ? guest_vmwrites : guest_vmreads);
}

static void expect_access_exits(bool write)
{
	expect_exit(write ? EXIT_VMWRITE : EXIT_VMREAD, .instruction_length = 3,
		    .rip = (u64)(write ? guest_vmwrites : guest_vmreads));
	expect_eq(guest.regs.rcx, 0x5a5a5a5a5a5a5a5a);
}

TEST("shadow.bit_set_exits", "A set bit for bits 14:0 of the encoding exits, in its own bitmap only",
     NEEDS(PROC2_VMCS_SHADOWING))
{
	use_shadow();
	/* Encodings that are no fields as well: each bit alone, and all. */
	for (u32 bit = 0; bit < 15; bit++)
		add_field(BIT(bit));
	add_field(0x7fff);
	for (u32 i = 0; i < field_count; i++)
		for (u32 write = 0; write < 2; write++) {
			const u32 encoding = fields[i].encoding;
			u8 *own = write ? vmwrite_bitmap : vmread_bitmap, *other = write ? vmread_bitmap : vmwrite_bitmap;

			/* This bit alone in the own bitmap, every bit in the other. */
			CASE("encoding %#x, write %u", encoding, write);
			memset(own, 0, PAGE_SIZE);
			memset(other, 0xff, PAGE_SIZE);
			bitmap_set(own, encoding);
			run_access(write, encoding);
			expect_access_exits(write);

			/* Every bit but this. */
			memset(own, 0xff, PAGE_SIZE);
			bitmap_clear(own, encoding);
			run_access(write, encoding);
			expect_guest_done();
		}
}

TEST("shadow.high_encoding_exits", "An encoding with any of bits 63:15 set exits whatever the bitmap says",
     NEEDS(PROC2_VMCS_SHADOWING))
{
	use_shadow();
	for (u32 write = 0; write < 2; write++) {
		for (u32 bit = 15; bit < 64; bit++) {
			CASE("bit %u, write %u", bit, write);
			run_access(write, GUEST_ES_LIMIT | BIT(bit));
			expect_access_exits(write);
		}
		CASE("no such bit, write %u", write);
		run_access(write, GUEST_ES_LIMIT);
		expect_guest_done();
	}
}

static struct fault user_fault;

static void reads_a_field(void)
{
	u64 value;

	asm volatile("vmread %1, %0" : "=r"(value) : "r"((u64)GUEST_ES_LIMIT) : "cc", "memory");
}

static void writes_a_field(void)
{
	asm volatile("vmwrite %0, %1" : : "r"(0ull), "r"((u64)GUEST_ES_LIMIT) : "cc", "memory");
}

static void guest_user_reads(void)
{
	user_fault = user_run(reads_a_field);
}

static void guest_user_writes(void)
{
	user_fault = user_run(writes_a_field);
}

TEST("shadow.cpl3", "VMREAD and VMWRITE at CPL 3 that do not exit raise #GP(0)", NEEDS(PROC2_VMCS_SHADOWING))
{
	use_shadow();
	user_pages_on();
	guest_run(guest_user_reads);
	expect_guest_done();
	expect_fault(user_fault, VECTOR_GP, 0);
	guest_run(guest_user_writes);
	expect_guest_done();
	expect_fault(user_fault, VECTOR_GP, 0);

	/* With the bit set it is an exit, at CPL 3 too. */
	bitmap_set(vmread_bitmap, GUEST_ES_LIMIT);
	bitmap_set(vmwrite_bitmap, GUEST_ES_LIMIT);
	guest_run(guest_user_reads);
	expect_exit(EXIT_VMREAD);
	guest_run(guest_user_writes);
	expect_exit(EXIT_VMWRITE);
}

TEST("shadow.unsupported_error", "A field that there is not gives ZF, and error 12 in the ordinary VMCS",
     NEEDS(PROC2_VMCS_SHADOWING))
{
	const u64 vmxon_pointer = physical_address(&vmxon_region);

	use_shadow();
	/* No index of any width is as high; index 1FFH. */
	field_count = 0;
	for (u32 width = 0; width < 4; width++)
		for (u32 type = 0; type < 4; type++)
			add_field(width << 13 | type << 10 | 0x1ff << 1);

	for (u32 write = 0; write < 2; write++) {
		CASE("write %u", write);
		expect_outcome(vmclear(&vmxon_pointer, NULL), FAIL_VALID(VMERR_VMCLEAR_VMXON_POINTER));
		guest_run(write ? guest_writes_fields : guest_reads_fields);
		expect_guest_done();
		expect_eq(vmcs_read(VM_INSTRUCTION_ERROR), 12);
		for (u32 i = 0; i < field_count; i++) {
			CASE("encoding %#x, write %u", fields[i].encoding, write);
			expect_eq(fields[i].rflags, RFLAGS_ZF);
			if (!write)
				expect_eq(fields[i].value, 0x5a5a5a5a5a5a5a5a);
		}
	}
}
