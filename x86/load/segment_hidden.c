/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Loading Guest Segment Registers and Descriptor-Table Registers": selector, base, limit and access rights of ES, CS,
 * SS, DS, FS and GS come from the VMCS. The GDT says something else for each selector here.
 */
#include "segment.h"

#include "libc/string.h"
#include "tap/walk.h"

/* In brief, one in eleven of these walks over bits; of limits, for which the guest runs many times, one in forty. */
static bool takes_next(void)
{
	static u32 count;

	return walk_takes_nth(&count, 11);
}

static bool takes_next_limit(void)
{
	static u32 count;

	return walk_takes_nth(&count, 40);
}

enum { VMCALL_LENGTH = 3 };

static const enum segment_register data_segments[] = { SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS };
#define FOR_EACH_DATA_SEGMENT(r) \
	for (u32 i_ = 0, r; i_ < ARRAY_SIZE(data_segments) && (r = data_segments[i_], true); i_++)

/* Sixteen bytes below 4 GiB that the guest goes to. */
static volatile u32 words[4] ALIGNED(16) = { 0x11121314, 0x21222324, 0x31323334, 0x41424344 };

static u32 address_of(const volatile void *p)
{
	return (u32)(u64)p;
}

CODE(read_selectors, "mov %es, %eax; mov %cs, %ebx; mov %ss, %ecx; mov %ds, %edx; mov %fs, %esi; mov %gs, %edi");

static void expect_selectors(void)
{
	const u64 seen[] = { guest.regs.rax, guest.regs.rbx, guest.regs.rcx, guest.regs.rdx, guest.regs.rsi, guest.regs.rdi };

	expect_code_ran();
	for (enum segment_register r = SEG_ES; r <= SEG_GS; r++)
		expect_eq((u16)seen[r], vmcs_read(segment_selector(r)));
}

static void check_selectors(enum guest_mode mode)
{
	for (enum segment_register r = SEG_ES; r <= SEG_GS; r++) {
		const u16 home = vmcs_read(segment_selector(r));
		/* The RPLs of CS and SS are the CPL's; in virtual-8086 mode each selector is tied to a base. */
		const u32 first = r == SEG_CS || r == SEG_SS ? 2 : 0;

		for (u32 bit = first; bit <= 17; bit++) {
			const u16 selector = bit < 16 ? BIT(bit) : bit == 16 ? 0xfff8 : 0;

			if ((mode == MODE_VIRTUAL_8086 && r == SEG_CS) || !takes_next())
				continue;
			CASE("%s, %s selector %#x", guest_mode_names[mode], segment_names[r], selector);
			vmcs_write(segment_selector(r), selector);
			if (r != SEG_CS && r != SEG_SS)		/* the DPL is not below the RPL */
				vmcs_write(segment_rights(r), vmcs_read(segment_rights(r)) | RIGHTS_DPL);
			if (mode == MODE_VIRTUAL_8086)
				vmcs_write(segment_base(r), (u64)selector << 4);
			run_based_code(read_selectors);
			expect_selectors();
		}
		vmcs_write(segment_selector(r), home);
		if (mode == MODE_VIRTUAL_8086)
			vmcs_write(segment_base(r), (u64)home << 4);
	}
}

/* Base and offset, which add up to one word. Each bit of the base, with carries through all of it. */
static void check_bases(void)
{
	FOR_EACH_DATA_SEGMENT(r) {
		for (u32 bit = 2; bit < 32; bit++) {
			const u32 offset = bit & 1 ? BIT(bit) : -BIT(bit), base = address_of(&words[bit % 4]) - offset;

			if (!takes_next())
				continue;
			CASE("%s base %#x, offset %#x", segment_names[r], base, offset);
			set_segment(r, base, 0xffffffff, RIGHTS_DATA32);
			read_through(r, offset);
			expect_code_ran();
			expect_eq((u32)guest.regs.rax, words[bit % 4]);
			const u32 before = words[(bit + 1) % 4];

			write_through(r, offset + 4, before + bit);
			expect_code_ran();
			if (bit % 4 != 3) {
				expect_eq(words[(bit + 1) % 4], before + bit);
				words[(bit + 1) % 4] = before;
			}
		}
		set_segment(r, 0, 0xffffffff, RIGHTS_DATA32);
	}
}

static void check_code_bases(enum guest_mode mode)
{
	for (u32 bit = 0; bit < 32; bit++) {
		const u32 base = mode == MODE_REAL ? low_page() : BIT(bit);

		if (!takes_next())
			continue;
		CASE("%s, CS base %#x", guest_mode_names[mode], base);
		set_segment(SEG_CS, base, 0xffffffff, mode == MODE_REAL ? 0x809b : RIGHTS_CODE32);
		read_through(SEG_CS, address_of(&words[2]) - base);
		expect_code_ran();
		expect_eq((u32)guest.regs.rax, words[2]);
	}
	set_segment(SEG_CS, mode == MODE_REAL ? low_page() : 0, 0xffffffff, mode == MODE_REAL ? 0x809b : RIGHTS_CODE32);
}

/* With this limit the segment ends with the first byte of words[1]: 4 bytes at limit - 3 are inside. */
static void try_limit(enum segment_register r, u32 limit, u32 granularity)
{
	const volatile u8 *const last = (const volatile u8 *)&words[1];

	CASE("%s limit %#x", segment_names[r], limit);
	set_segment(r, (u32)(address_of(last) - limit), limit, 0x4093 | granularity);
	if (limit >= 3) {
		read_through(r, limit - 3);
		expect_code_ran();
		expect_eq((u32)guest.regs.rax, *(const volatile u32 *)(last - 3));
	}
	if (limit == 0xffffffff)
		return;
	for (u32 beyond = limit >= 2 ? limit - 2 : 0; beyond <= limit + 1; beyond++) {
		read_through(r, beyond);
		expect_exception(segment_vector(r));
	}
	write_through(r, limit - 1, 0);
	expect_exception(segment_vector(r));
}

static void check_limits(void)
{
	FOR_EACH_DATA_SEGMENT(r) {
		for (u32 bit = 0; bit <= 20; bit++) {
			const u32 limit = BIT(bit) - 1;

			if (!takes_next_limit())
				continue;
			try_limit(r, limit, 0);
			try_limit(r, limit ^ (bit ? 1 : 0), 0);
			try_limit(r, limit << 12 | 0xfff, RIGHTS_G);
			if (bit < 20)
				try_limit(r, BIT(bit) << 12 | 0xfff, RIGHTS_G);
		}
		set_segment(r, 0, 0xffffffff, RIGHTS_DATA32);
	}
}

/* Expand-down: the limit is the last offset that is outside; the segment ends with 4 GiB or 64 KiB. */
static void check_expand_down(void)
{
	static const u32 limits[] = { 0, 1, 3, 0xfff, 0x1234, 0x7fff, 0x8000, 0xfff0 };

	FOR_EACH_DATA_SEGMENT(r) {
		for (u32 i = 0; i < 2 * ARRAY_SIZE(limits); i++) {
			const u32 limit = limits[i / 2], rights = 0x97 | (i & 1 ? RIGHTS_DB : 0);

			if (!takes_next())
				continue;
			CASE("%s expand-down, limit %#x, rights %#x", segment_names[r], limit, rights);
			set_segment(r, (u32)(address_of(&words[1]) - limit - 1), limit, rights);
			read_through(r, limit + 1);
			expect_code_ran();
			expect_eq((u32)guest.regs.rax, words[1]);
			read_through(r, limit);
			expect_exception(segment_vector(r));

			/* The end of 64 KiB. */
			set_segment(r, (u32)(address_of(&words[1]) - 0xfffc), limit, rights);
			read_through(r, 0xfffc);
			expect_code_ran();
			expect_eq((u32)guest.regs.rax, words[1]);
			read_through(r, 0xfffd);
			if (i & 1)
				expect_code_ran();
			else
				expect_exception(segment_vector(r));
		}
		set_segment(r, 0, 0xffffffff, RIGHTS_DATA32);
	}
}

/*
 * The last byte of the code is the last one of CS; then the one before it. The code is written afresh each time: an
 * emulator may keep what it has decoded, with the limit of then.
 */
static void check_code_limits(void)
{
	const u32 size = read_selectors.end - read_selectors.start;
	u8 *const copy = page_alloc();

	for (u32 bit = 5; bit < 20; bit++)
		for (u32 short_by = 0; short_by < 2; short_by++) {
			const u32 limit = BIT(bit) + 0x1f;

			if (!takes_next())
				continue;
			CASE("CS limit %#x, less %u", limit, short_by);
			memcpy(copy, read_selectors.start, size);
			set_segment(SEG_CS, (u32)(address_of(copy) + size - 1 - limit), limit - short_by, 0x409b);
			guest_run_at((const void *)(u64)(limit + 1 - size));
			if (short_by) {
				expect_exception(VECTOR_GP);
				expect_eq(vmcs_read(GUEST_RIP), limit + 1 - VMCALL_LENGTH);
			} else {
				expect_code_ran();
			}
			CASE("CS limit %#x, RIP behind it", limit - short_by);
			guest_run_at((const void *)(u64)(limit - short_by + 1));
			expect_exception(VECTOR_GP);
			expect_eq(vmcs_read(GUEST_RIP), limit - short_by + 1);
		}
	set_segment(SEG_CS, 0, 0xffffffff, RIGHTS_CODE32);
}

static void check_rights(void)
{
	/* Data that may be written or not, and code that may be read. */
	static const struct { u32 type; bool write; } types[] = {
		{ 1, false }, { 3, true }, { 11, false }, { 15, false }, { 5, false }, { 7, true },
	};

	FOR_EACH_DATA_SEGMENT(r) {
		for (u32 i = 0; i < ARRAY_SIZE(types); i++) {
			const bool down = types[i].type == 5 || types[i].type == 7;

			if (r == SEG_SS && !types[i].write)
				continue;
			CASE("%s type %u", segment_names[r], types[i].type);
			set_segment(r, 0, down ? 0xfff : 0xffffffff, 0xc090 | types[i].type);
			read_through(r, address_of(&words[3]));
			expect_code_ran();
			expect_eq((u32)guest.regs.rax, words[3]);
			write_through(r, address_of(&words[3]), words[3] + 1);
			if (types[i].write) {
				expect_code_ran();
				expect_eq((u32)guest.regs.rcx, words[3]);
			} else {
				expect_exception(VECTOR_GP);
				expect_eq((u32)guest.regs.rcx, words[3] + 1);
			}
		}
		set_segment(r, 0, 0xffffffff, RIGHTS_DATA32);
	}
	for (u32 type = 9; type <= 15; type += 2) {
		CASE("CS type %u", type);
		set_segment(SEG_CS, 0, 0xffffffff, 0xc090 | type);
		read_through(SEG_CS, address_of(&words[3]));
		if (type & 2)
			expect_code_ran();
		else
			expect_exception(VECTOR_GP);
		write_through(SEG_CS, address_of(&words[3]), 0);
		expect_exception(VECTOR_GP);
	}
	set_segment(SEG_CS, 0, 0xffffffff, RIGHTS_CODE32);
}

CODE(push_once, ".code32; push %ecx; mov %esp, %ebx; .code64");

static void check_stack_size(void)
{
	u32 *const stack = page_alloc_many(32);		/* 128 KiB */

	for (u32 big = 0; big < 2; big++) {
		const u32 esp = big ? 0x1fffc : 0x2fffc;

		CASE("SS.B = %u", big);
		set_segment(SEG_SS, physical_address(stack), 0xffffffff, 0x8093 | (big ? RIGHTS_DB : 0));
		guest.regs.rcx = 0xabcd0 + big;
		vmcs_write(GUEST_RIP, (u64)push_once.start);
		vmcs_write(GUEST_RSP, 0x20000);
		guest_enter();
		expect_code_ran();
		expect_eq((u32)guest.regs.rbx, esp);
		expect_eq(stack[(big ? 0x1fffc : 0xfffc) / 4], 0xabcd0 + big);
	}
	set_segment(SEG_SS, 0, 0xffffffff, RIGHTS_DATA32);
}

CODE(read_reload_read, ".code32; mov %es:(%ebx), %eax; mov %es, %ecx; mov %ecx, %es; mov %es:(%ebx), %edx; .code64");

static void check_reload(void)
{
	CASE("ES is used until it is loaded again");
	vmcs_write(GUEST_ES_SELECTOR, SELECTOR_DATA);
	set_segment(SEG_ES, address_of(&words[1]) - address_of(&words[0]), 0xffffffff, RIGHTS_DATA32);
	guest.regs.rbx = address_of(&words[0]);
	run_based_code(read_reload_read);
	expect_code_ran();
	expect_eq((u32)guest.regs.rax, words[1]);
	expect_eq((u32)guest.regs.rcx, SELECTOR_DATA);
	expect_eq((u32)guest.regs.rdx, words[0]);
	set_segment(SEG_ES, 0, 0xffffffff, RIGHTS_DATA32);
}

CODE(read_flat, "mov %es:(%rbx), %eax; mov %cs:(%rbx), %ecx; mov %ss:(%rbx), %edx; mov %ds:(%rbx), %esi\n"
		"mov %fs:(%rbx), %edi; mov %gs:(%rbx), %ebp; push %rbx; pop %r8; movl $0x2b2b2b2b, %es:(%rbx)");

/* 64-bit mode looks at no base but those of FS and GS, and at no limit and no type. */
static void check_64bit(void)
{
	for (u32 i = 0; i < 2; i++) {
		const u64 base = i ? 0xfff00000 : 0x12345;

		start_segments(MODE_64BIT);
		for (enum segment_register r = SEG_ES; r <= SEG_GS; r++)
			set_segment(r, r >= SEG_FS ? 0 : base, i, r == SEG_CS ? 0x2099 : r == SEG_SS ? 0x93 : 0x91);
		CASE("64-bit mode, bases %#lx, limits %u", base, i);
		words[0] = 0x11121314;
		guest.regs.rbx = (u64)&words[0];
		run_code(read_flat);
		expect_code_ran();
		expect_eq(guest.regs.rax, 0x11121314);
		expect_eq(guest.regs.rcx, 0x11121314);
		expect_eq(guest.regs.rdx, 0x11121314);
		expect_eq(guest.regs.rsi, 0x11121314);
		expect_eq(guest.regs.rdi, 0x11121314);
		expect_eq(guest.regs.rbp, 0x11121314);
		expect_eq(guest.regs.r8, guest.regs.rbx);
		expect_eq(words[0], 0x2b2b2b2b);
	}
	words[0] = 0x11121314;
}

TEST("entry.load.seg.hidden",
     "selector, base, limit and rights of segment registers come from the VMCS, whatever the GDT says, until they are loaded again")
{
	FOR_EACH_MODE(mode) {
		start_segments(mode);
		check_selectors(mode);
	}
	FOR_EACH_SEGMENTED_MODE(mode) {
		start_segments(mode);
		/* Selectors that name nothing, behind the limit of the GDT; or null ones, which are as good. */
		for (enum segment_register r = SEG_ES; r <= SEG_GS; r++)
			vmcs_write(segment_selector(r), mode == MODE_PAE ? 0 : 0x1238 + 8 * r);
		check_code_bases(mode);
		check_bases();
		check_limits();
		if (mode == MODE_REAL)			/* types and sizes are protected mode's */
			continue;
		check_expand_down();
		check_code_limits();
		check_rights();
		check_stack_size();
		check_reload();
	}
	check_64bit();
}

TEST("entry.load.seg.unusable_data", "a segment register that is unusable raises #GP, or #SS for SS, outside 64-bit mode only")
{
	static const u32 rights[] = { 0x10000, 0x1c093, 0x10010, 0x100f3 };

	FOR_EACH_SEGMENTED_MODE(mode) {
		if (mode == MODE_REAL)
			continue;
		start_segments(mode);
		FOR_EACH_DATA_SEGMENT(r) {
			for (u32 i = 0; i < ARRAY_SIZE(rights); i++) {
				/* SS.DPL is the CPL. */
				if (r == SEG_SS && rights[i] & RIGHTS_DPL)
					continue;
				CASE("%s, %s rights %#x", guest_mode_names[mode], segment_names[r], rights[i]);
				set_segment(r, 0, 0xffffffff, rights[i]);
				read_through(r, address_of(&words[0]));
				expect_exception(segment_vector(r));
				write_through(r, address_of(&words[0]), 0);
				expect_exception(segment_vector(r));
				if (r == SEG_SS) {
					run_based_code(push_once);
					expect_exception(VECTOR_SS);
				}
			}
			CASE("%s, %s usable", guest_mode_names[mode], segment_names[r]);
			set_segment(r, 0, 0xffffffff, RIGHTS_DATA32);
			read_through(r, address_of(&words[0]));
			expect_code_ran();
			expect_eq((u32)guest.regs.rax, words[0]);
		}
	}
	start_segments(MODE_64BIT);
	CASE("64-bit mode");
	FOR_EACH_DATA_SEGMENT(r)
		set_segment(r, 0, 0, RIGHTS_NOT_USABLE);
	guest.regs.rbx = (u64)&words[0];
	run_code(read_flat);
	expect_code_ran();
	expect_eq(guest.regs.rax, 0x11121314);
	words[0] = 0x11121314;
}
