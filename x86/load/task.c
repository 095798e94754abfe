/* SPDX-License-Identifier: BSD-2-Clause */
/* "Loading Guest Segment Registers and Descriptor-Table Registers": LDTR and TR. */
#include "segment.h"

#include "libc/string.h"
#include "x86/tables.h"
#include "x86/user.h"

CODE(store_selectors, "str %eax; sldt %ebx");

static void try_selectors(enum guest_mode mode, u16 tr, u16 ldtr)
{
	CASE("%s, TR %#x, LDTR %#x", guest_mode_names[mode], tr, ldtr);
	vmcs_write(GUEST_TR_SELECTOR, tr);
	vmcs_write(GUEST_LDTR_SELECTOR, ldtr);
	run_code(store_selectors);
	expect_code_ran();
	expect_eq((u16)guest.regs.rax, tr);
	expect_eq((u16)guest.regs.rbx, ldtr);
}

static void use_ldt(u64 base, u32 limit)
{
	vmcs_write(GUEST_LDTR_BASE, base);
	vmcs_write(GUEST_LDTR_LIMIT, limit);
	vmcs_write(GUEST_LDTR_ACCESS_RIGHTS, RIGHTS_LDT);
}

static void check_selectors(void)
{
	FOR_EACH_MODE(mode) {
		if (mode == MODE_VIRTUAL_8086 || mode == MODE_REAL)	/* STR and SLDT are not recognized there */
			continue;
		for (u32 usable = 0; usable < 2; usable++) {
			start_in(mode);
			if (usable)
				use_ldt(0, 0xffff);
			for (u32 bit = 0; bit < 16; bit++)
				if (bit != 2)				/* TI is 0 */
					try_selectors(mode, BIT(bit), 0xfffb & ~BIT(bit));
			try_selectors(mode, 0xfffb, 0);
		}
	}
}

CODE(load_limit_of, "mov $-1, %eax; lsl %ebx, %eax");

static u32 limit_of(u16 selector)
{
	guest.regs.rbx = selector;
	run_code(load_limit_of);
	expect_code_ran();
	return guest.regs.rax;
}

enum { IN_LDT = 4 };

static void check_ldt(void)
{
	u64 *const ldt = page_alloc_many(2);
	u32 turn = 0;

	for (u32 i = 0; i < 1024; i++)
		ldt[i] = 0x0000930000000000 | (0x2000 + i);
	for (u32 i = 0; i < 512; i += i < 8 ? 1 : 63)
		for (u32 index = 0; index < 512; index = index * 2 + 1) {
			if (!walk_takes_nth(&turn, 7))
				continue;
			CASE("LDTR base %#lx, descriptor %u", physical_address(ldt + i), index);
			use_ldt(physical_address(ldt + i), 0xfff);
			expect_eq(limit_of(index * 8 | IN_LDT), 0x2000 + i + index);
			use_ldt(physical_address(ldt + i), index * 8 + 7);
			expect_eq(limit_of(index * 8 | IN_LDT), 0x2000 + i + index);
			use_ldt(physical_address(ldt + i), index * 8 + 6);
			expect_eq(limit_of(index * 8 | IN_LDT), 0xffffffff);
		}
	for (u32 bit = 12; bit < 39; bit++) {
		page_map(PAGE_WINDOW | BIT(bit), physical_address(ldt), PAGE_PRESENT | PAGE_WRITE);
		CASE("LDTR base %#lx", PAGE_WINDOW | BIT(bit));
		use_ldt(PAGE_WINDOW | BIT(bit), 0xfff);
		expect_eq(limit_of(8 | IN_LDT), 0x2001);
	}
	CASE("an unusable LDTR");
	vmcs_write(GUEST_LDTR_ACCESS_RIGHTS, RIGHTS_NOT_USABLE | RIGHTS_LDT);
	expect_eq(limit_of(8 | IN_LDT), 0xffffffff);
}

/* A TSS with an I/O bitmap in which only one port is allowed. The processor looks at two bytes of it. */
enum { BITMAP = 0x70, PORT = 0x80, TSS_END = BITMAP + PORT / 8 + 1 };

CODE(read_port, "in %dx, %al");

static void make_tss(void *at)
{
	struct tss *const tss = memset(at, 0, TSS_END + 16);

	tss->iomap_base = BITMAP;
	memset((u8 *)at + BITMAP, 0xff, PORT / 8 + 8);
	((u8 *)at)[BITMAP + PORT / 8] = 0xfe;
}

static void use_tss(u64 base, u32 limit, u32 rights)
{
	vmcs_write(GUEST_TR_BASE, base);
	vmcs_write(GUEST_TR_LIMIT, limit);
	vmcs_write(GUEST_TR_ACCESS_RIGHTS, rights);
}

static void expect_port(u16 port, bool allowed)
{
	guest.regs.rdx = port;
	run_code(read_port);
	if (allowed)
		expect_code_ran();
	else
		expect_exception(VECTOR_GP);
}

/* Code at CPL 3, which may use port 80H by the TSS alone. */
static void start_at_cpl3(enum guest_mode mode)
{
	start_segments(mode);
	user_pages_on();
	vmcs_write(GUEST_CS_SELECTOR, SELECTOR_CODE64 | 3);
	vmcs_write(GUEST_SS_SELECTOR, SELECTOR_DATA | 3);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, vmcs_read(GUEST_CS_ACCESS_RIGHTS) | RIGHTS_DPL);
	vmcs_write(GUEST_SS_ACCESS_RIGHTS, vmcs_read(GUEST_SS_ACCESS_RIGHTS) | RIGHTS_DPL);
}

static void check_tss_in(enum guest_mode mode, u8 *pages)
{
	const bool long_mode = mode == MODE_64BIT || mode == MODE_COMPATIBILITY;

	start_at_cpl3(mode);
	for (u32 offset = 0; offset < PAGE_SIZE; offset += 0x24c) {
		const u64 base = physical_address(pages + offset);

		CASE("%s, TR base %#lx", guest_mode_names[mode], base);
		make_tss(pages + offset);
		use_tss(base, TSS_END, RIGHTS_TSS32);
		expect_port(PORT, true);
		expect_port(PORT + 1, false);
		CASE("%s, TR base %#lx, limit %#x", guest_mode_names[mode], base, TSS_END - 1);
		use_tss(base, TSS_END - 1, RIGHTS_TSS32);
		expect_port(PORT, false);
		CASE("%s, TR base %#lx, limit %#x", guest_mode_names[mode], base, 0xfffff);
		use_tss(base, 0xfffff, RIGHTS_TSS32);
		expect_port(PORT, true);
		if (!long_mode) {
			CASE("%s, a 16-bit TSS has no I/O bitmap", guest_mode_names[mode]);
			use_tss(base, TSS_END, RIGHTS_TSS16);
			expect_port(PORT, false);
		}
		memset(pages + offset, 0xff, TSS_END + 16);
	}
}

static void check_tss_bases(u8 *page)
{
	start_at_cpl3(MODE_64BIT);
	make_tss(page);
	for (u32 bit = 12; bit < 39; bit++) {
		page_map(PAGE_WINDOW | BIT(bit), physical_address(page), PAGE_PRESENT | PAGE_WRITE);
		CASE("TR base %#lx", PAGE_WINDOW | BIT(bit));
		use_tss(PAGE_WINDOW | BIT(bit), TSS_END, RIGHTS_TSS32);
		expect_port(PORT, true);
	}
}

CODE(raise_ud, "ud2");
GUEST_ASM(ud_lands, "mov %rsp, %rbx; vmcall");

/* An exception at CPL 3 takes its stack from the TSS. */
static void check_stack_of_tss(u8 *page)
{
	struct gate *const table = page_alloc();
	u8 *const stacks = page_alloc();

	table[VECTOR_UD] = gate_to(ud_lands, 0, 0);
	start_at_cpl3(MODE_64BIT);
	vmcs_write(EXCEPTION_BITMAP, 0);
	vmcs_write(GUEST_IDTR_BASE, physical_address(table));
	for (u32 i = 1; i < 8; i++) {
		const u64 stack = physical_address(stacks) + 512 * i;

		CASE("RSP0 = %#lx", stack);
		start_at_cpl3(MODE_64BIT);
		vmcs_write(EXCEPTION_BITMAP, 0);
		vmcs_write(GUEST_IDTR_BASE, physical_address(table));
		make_tss(page + 64 * i);
		((struct tss *)(page + 64 * i))->rsp[0] = stack;
		use_tss(physical_address(page + 64 * i), TSS_END, RIGHTS_TSS32);
		run_code(raise_ud);
		expect_exit(EXIT_VMCALL, .rip = (u64)ud_lands + 3);
		expect_eq(guest.regs.rbx, stack - 40);
	}
}

TEST("entry.load.tr_ldtr", "TR and LDTR come from the guest fields: STR and SLDT read the selectors, and TSS and LDT are used")
{
	u8 *const pages = page_alloc_many(2);

	check_selectors();
	start_segments(MODE_64BIT);
	check_ldt();
	start_segments(MODE_COMPATIBILITY);
	check_ldt();
	check_tss_in(MODE_64BIT, pages);
	check_tss_in(MODE_COMPATIBILITY, pages);
	check_tss_in(MODE_PAE, pages);
	check_tss_bases(pages);
	check_stack_of_tss(pages);
}
