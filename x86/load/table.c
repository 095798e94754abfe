/* SPDX-License-Identifier: BSD-2-Clause */
/* "Loading Guest Segment Registers and Descriptor-Table Registers": GDTR and IDTR. */
#include "segment.h"

#include "libc/string.h"
#include "x86/interrupt.h"
#include "x86/tables.h"

extern struct table_register load_gdtr, load_idtr;
struct table_register load_gdtr, load_idtr;

CODE(store_tables64, "sgdt load_gdtr(%rip); sidt load_idtr(%rip)");
CODE(store_tables32, ".code32; sgdt load_gdtr; sidt load_idtr; .code64");

/* In 32-bit code six bytes are stored: the base is the lower half of the field. */
static void try_tables(enum guest_mode mode, u64 gdtr, u16 gdtr_limit, u64 idtr, u16 idtr_limit)
{
	const u64 stored = mode == MODE_64BIT ? ~0ull : 0xffffffff;

	CASE("%s, GDTR base %#lx, limit %#x", guest_mode_names[mode], gdtr, gdtr_limit);
	memset(&load_gdtr, 0, sizeof(load_gdtr));
	memset(&load_idtr, 0, sizeof(load_idtr));
	vmcs_write(GUEST_GDTR_BASE, gdtr);
	vmcs_write(GUEST_GDTR_LIMIT, gdtr_limit);
	vmcs_write(GUEST_IDTR_BASE, idtr);
	vmcs_write(GUEST_IDTR_LIMIT, idtr_limit);
	run_code(mode == MODE_64BIT ? store_tables64 : store_tables32);
	expect_code_ran();
	expect_eq(load_gdtr.base, gdtr & stored);
	expect_eq(load_gdtr.limit, gdtr_limit);
	expect_eq(load_idtr.base, idtr & stored);
	expect_eq(load_idtr.limit, idtr_limit);
}

static void check_stored(void)
{
	FOR_EACH_MODE(mode) {
		if (mode == MODE_VIRTUAL_8086 || mode == MODE_REAL)	/* 16-bit code may store 24 bits */
			continue;
		start_in(mode);
		WALK_OVER(n, 0, CANONICAL_VALUES) {
			const u16 limit = n & 1 ? ~BIT(n / 2 % 16) : BIT(n / 2 % 16);

			try_tables(mode, canonical_value(n), limit, canonical_value(CANONICAL_VALUES - 1 - n), ~limit);
		}
	}
}

/* LSL: the limit of the descriptor, or all ones. */
CODE(load_limit, "mov $-1, %eax; lsl %ebx, %eax");

static u32 limit_of(u16 selector)
{
	guest.regs.rbx = selector;
	run_code(load_limit);
	expect_code_ran();
	return guest.regs.rax;
}

/* A table whose descriptors, of data segments, say by their limits which they are. */
static void fill_with_marks(u64 *table, u32 entries, u32 mark)
{
	for (u32 i = 0; i < entries; i++)
		table[i] = 0x0000930000000000 | (mark + i);
}

static void check_gdt_is_used(void)
{
	u64 *const pages = page_alloc_many(2);
	u32 turn = 0;

	fill_with_marks(pages, 1024, 0x1000);
	for (u32 i = 0; i < 512; i += i < 8 ? 1 : 63) {
		vmcs_write(GUEST_GDTR_BASE, physical_address(pages + i));
		vmcs_write(GUEST_GDTR_LIMIT, 0xfff);
		for (u32 index = 1; index < 512; index *= 2) {
			if (!walk_takes_nth(&turn, 7))
				continue;
			CASE("GDTR base %#lx, descriptor %u", physical_address(pages + i), index);
			expect_eq(limit_of(index * 8), 0x1000 + i + index);
			vmcs_write(GUEST_GDTR_LIMIT, index * 8 + 7);
			expect_eq(limit_of(index * 8), 0x1000 + i + index);
			vmcs_write(GUEST_GDTR_LIMIT, index * 8 + 6);
			expect_eq(limit_of(index * 8), 0xffffffff);
			vmcs_write(GUEST_GDTR_LIMIT, 0xfff);
		}
	}
	for (u32 bit = 12; bit < 39; bit++) {
		page_map(PAGE_WINDOW | BIT(bit), physical_address(pages), PAGE_PRESENT | PAGE_WRITE);
		vmcs_write(GUEST_GDTR_BASE, PAGE_WINDOW | BIT(bit));
		CASE("GDTR base %#lx", PAGE_WINDOW | BIT(bit));
		expect_eq(limit_of(8), 0x1001);
	}
	vmcs_write(GUEST_GDTR_BASE, tables_gdtr().base);
	vmcs_write(GUEST_GDTR_LIMIT, tables_gdtr().limit);
}

/* INT n for any n: the second byte is the vector. */
extern u8 load_int_n[];
asm(".pushsection .data\n.balign 64\nload_int_n: int $0; vmcall\n.popsection");
GUEST_ASM(int_lands, "pop %rax; vmcall");

static void run_int(u32 vector)
{
	load_int_n[1] = vector;
	guest_run_at(load_int_n);
}

static void check_idt_is_used(void)
{
	struct gate *const table = page_alloc_many(2);

	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);
	WALK_OVER(vector, 0, 256) {
		const u64 base = physical_address(table) + (vector % 8) * 0x100 + vector % 3;

		memset(table, 0, 2 * PAGE_SIZE);
		*(struct gate *)(base + vector * sizeof(struct gate)) = gate_to(int_lands, 0, 0);
		vmcs_write(GUEST_IDTR_BASE, base);
		for (u32 short_by = 0; short_by < 2; short_by++) {
			CASE("vector %u, IDTR limit %#x", vector, vector * 16 + 15 - short_by);
			vmcs_write(GUEST_IDTR_LIMIT, vector * 16 + 15 - short_by);
			run_int(vector);
			if (short_by) {
				expect_exit(EXIT_EXCEPTION_OR_NMI, .interruption_error = vector << 3 | 2);
				continue;
			}
			expect_exit(EXIT_VMCALL);
			expect_eq(guest.regs.rax, physical_address(load_int_n) + 2);
		}
	}
}

TEST("entry.load.gdtr_idtr", "GDTR and IDTR have base and limit from the guest fields: SGDT and SIDT store them, and they are used")
{
	check_stored();
	start_in(MODE_64BIT);
	check_gdt_is_used();
	check_idt_is_used();
}
