/* SPDX-License-Identifier: BSD-2-Clause */
/* The mode that VM entry establishes, by "IA-32e mode guest", CS.L, CS.D, CR0.PE, CR0.PG and RFLAGS.VM. */
#include "segment.h"

#include "libc/string.h"
#include "vmx/ept.h"
#include "x86/interrupt.h"
#include "x86/tables.h"

/*
 * Bytes that mean something else in code of each size: MOV with an immediate of 4 or 2 bytes (then two NOPs), and a REX
 * prefix or DEC before INC.
 */
enum { VMCALL_BYTES = 3, HLT_BYTES = 1 };

CODE(say_size, ".byte 0xb8, 1, 0, 0x90, 0x90, 0x48, 0xff, 0xc0");
enum { SIZE_16 = 1, SIZE_32 = 0x90900001, SIZE_64 = 0x90900002 };

static void expect_size(u32 size)
{
	guest.regs.rax = 0;
	run_code(say_size);
	expect_code_ran();
	expect_eq((u32)guest.regs.rax, size);
	/* And the host is a 64-bit one again. */
	expect_eq(rdmsr(IA32_EFER) & (EFER_LMA | EFER_LME), EFER_LMA | EFER_LME);
	expect_eq(read_cs(), SELECTOR_CODE64);
	expect_eq(read_cr3(), vmcs_read(HOST_CR3));
}

CODE(read_efer, "mov $0xc0000080, %ecx; rdmsr; mov %cr0, %rbx; mov %cr4, %rcx");

static void expect_efer(u64 lma)
{
	if (!has(PROC_USE_MSR_BITMAPS))
		return;
	vmcs_use_msr_bitmap();
	run_code(read_efer);
	expect_code_ran();
	expect_eq((u32)guest.regs.rax & EFER_LMA, lma);
	expect_eq((u32)guest.regs.rbx, (u32)vmcs_read(GUEST_CR0));
	expect_eq((u32)guest.regs.rcx, (u32)vmcs_read(GUEST_CR4));
}

TEST("entry.load.ia32e_compat", "with \"IA-32e mode guest\" CS.L = 1 is 64-bit mode, and CS.L = 0 is compatibility mode with CS.D's size")
{
	static const struct { u32 rights, size; } rights[] = {
		{ RIGHTS_CODE64, SIZE_64 }, { RIGHTS_CODE32, SIZE_32 }, { 0x809b, SIZE_16 }, { 0xa099, SIZE_64 }, { 0xc099, SIZE_32 },
		{ 0xa09f, SIZE_64 }, { 0xc09d, SIZE_32 }, { 0x809d, SIZE_16 },
	};

	for (u32 pass = 0; pass < 2; pass++)
		for (u32 i = 0; i < ARRAY_SIZE(rights); i++) {
			CASE("CS rights %#x", rights[i].rights);
			vmcs_write(GUEST_CS_ACCESS_RIGHTS, rights[i].rights);
			/* What the GDT has for the selector does not matter. */
			vmcs_write(GUEST_CS_SELECTOR, pass ? SELECTOR_CODE64 : SELECTOR_CODE32);
			vmcs_write(GUEST_CS_LIMIT, 0xffffffff);
			expect_size(rights[i].size);
			if (rights[i].size != SIZE_16)
				expect_efer(EFER_LMA);
		}
}

/* In 32-bit protected mode: what a gate of 8 bytes leads to, through a stack of 4-byte words. */
CODE(do_int, ".code32; mov $0x11223344, %ebx; push %ebx; int $0x41; hlt; .code64");
GUEST_ASM(int32_lands, ".code32; pop %eax; pop %ecx; pop %edx; pop %esi; vmcall; .code64");

static void check_interrupt32(void)
{
	u64 *const table = page_alloc();
	const u64 entry = physical_address(int32_lands);

	table[0x41] = (entry & 0xffff) | (u64)SELECTOR_CODE32 << 16 | 0x8e0000000000 | (entry & 0xffff0000) << 32;
	vmcs_write(GUEST_IDTR_BASE, physical_address(table));
	vmcs_write(GUEST_IDTR_LIMIT, 0x41 * 8 + 7);
	run_code(do_int);
	expect_exit(EXIT_VMCALL, .rip = entry + 4);
	expect_eq((u32)guest.regs.rax, (u64)do_int.end - VMCALL_BYTES - HLT_BYTES);
	expect_eq((u16)guest.regs.rcx, vmcs_read(GUEST_CS_SELECTOR));
	expect_eq((u32)guest.regs.rdx & RFLAGS_FIXED, RFLAGS_FIXED);
	expect_eq((u32)guest.regs.rsi, 0x11223344);
}

TEST("entry.load.legacy32",
     "without \"IA-32e mode guest\" a guest of a 64-bit host is outside IA-32e mode, and its exits lead to the 64-bit host")
{
	static const struct { u32 rights, size; } rights[] = {
		{ RIGHTS_CODE32, SIZE_32 }, { 0x809b, SIZE_16 }, { 0xe09b, SIZE_32 }, { RIGHTS_CODE64, SIZE_16 },
	};
	static const enum guest_mode modes[] = { MODE_PAE, MODE_32BIT };

	for (u32 m = 0; m < ARRAY_SIZE(modes); m++) {
		start_segments(modes[m]);
		for (u32 i = 0; i < ARRAY_SIZE(rights); i++) {
			/* CS.L is ignored there. */
			CASE("%s, CS rights %#x", guest_mode_names[modes[m]], rights[i].rights);
			vmcs_write(GUEST_CS_ACCESS_RIGHTS, rights[i].rights);
			vmcs_write(GUEST_CS_LIMIT, 0xffffffff);
			expect_size(rights[i].size);
		}
		vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE32);
		expect_efer(0);
		CASE("%s, an interrupt", guest_mode_names[modes[m]]);
		check_interrupt32();
	}
	CASE("virtual-8086 mode");
	start_segments(MODE_VIRTUAL_8086);
	expect_size(SIZE_16);
}

/* Real mode: far from CS base = selector * 16. */
CODE(read_everything, ".code16; mov %cs, %eax; mov %ds:(%ebx), %ecx; mov %es:(%ebx), %edx; mov %cr0, %esi; smsw %di; .code64");
CODE(do_real_int, ".code16; mov $0x5678, %bx; push %bx; int $0x41; hlt; .code64");
GUEST_ASM(real_int_lands, ".code16; pop %ax; pop %cx; pop %dx; pop %si; vmcall; .code64");

static void check_real_interrupt(void)
{
	enum { HANDLER = 0x100, STACK = 0x400 };
	u32 *const table = page_alloc();
	u8 saved[16], *const low = (u8 *)low_page() + HANDLER;
	u8 *const stack = page_alloc();

	/* The handler at (low_page() / 16) : HANDLER, by a table of 4-byte pointers that is not at 0. */
	memcpy(saved, low, sizeof(saved));
	memcpy(low, real_int_lands, sizeof(saved));
	table[0x41] = (low_page() >> 4) << 16 | HANDLER;
	vmcs_write(GUEST_IDTR_BASE, physical_address(table));
	vmcs_write(GUEST_IDTR_LIMIT, 0x41 * 4 + 3);
	set_segment(SEG_SS, physical_address(stack), 0xffff, 0x93);
	vmcs_write(GUEST_CS_SELECTOR, 0x1357);
	vmcs_write(GUEST_RSP, STACK);
	guest.regs.rbx = 0;
	memcpy((void *)low_page(), do_real_int.start, do_real_int.end - do_real_int.start);
	vmcs_write(GUEST_RIP, 0);
	guest_enter();
	memcpy(low, saved, sizeof(saved));
	CASE("INT in real mode");
	expect_exit(EXIT_VMCALL, .rip = HANDLER + 4);
	expect_eq((u16)guest.regs.rax, do_real_int.end - do_real_int.start - VMCALL_BYTES - HLT_BYTES);
	expect_eq((u16)guest.regs.rcx, 0x1357);
	expect_eq((u16)guest.regs.rdx & RFLAGS_FIXED, RFLAGS_FIXED);
	expect_eq((u16)guest.regs.rsi, 0x5678);
	expect_eq(*(u16 *)(stack + STACK - 2), 0x5678);
	expect_eq(*(u16 *)(stack + STACK - 6), 0x1357);
}

TEST("entry.load.real_mode", "an unrestricted guest with CR0.PE = 0 runs 16-bit code in real-address mode, with bases from the VMCS",
     NEEDS(PROC2_UNRESTRICTED_GUEST))
{
	u32 *const marks = page_alloc();

	start_segments(MODE_REAL);
	expect_size(SIZE_16);
	marks[0] = 0xcafe0000;
	marks[1] = 0xcafe0001;
	for (u32 selector = 1; selector < 0x10000; selector *= 2) {
		CASE("CS, DS and ES selector %#x", selector);
		vmcs_write(GUEST_CS_SELECTOR, selector);
		vmcs_write(GUEST_DS_SELECTOR, selector);
		vmcs_write(GUEST_ES_SELECTOR, selector);
		set_segment(SEG_DS, physical_address(marks), 0xffff, 0x93);
		set_segment(SEG_ES, physical_address(marks + 1) - 0x1000, 0xffff, 0x93);
		guest.regs.rbx = 0;
		run_code(read_everything);
		expect_code_ran();
		expect_eq((u16)guest.regs.rax, selector);
		expect_eq((u32)guest.regs.rcx, marks[0]);
		guest.regs.rbx = 0x1000;
		run_code(read_everything);
		expect_code_ran();
		expect_eq((u32)guest.regs.rdx, marks[1]);
		expect_eq(guest.regs.rsi & (CR0_PE | CR0_PG), 0);
		expect_eq(guest.regs.rdi & CR0_PE, 0);
	}
	check_real_interrupt();
}

CODE(read_flat32, ".code32; mov (%ebx), %eax; mov %cr0, %ecx; .code64");

TEST("entry.load.unpaged", "an unrestricted guest with CR0.PE = 1 and CR0.PG = 0 runs with linear addresses as guest-physical ones",
     NEEDS(PROC2_UNRESTRICTED_GUEST))
{
	u32 *const page = page_alloc();

	start_segments(MODE_UNPAGED);
	vmcs_write(GUEST_CR3, physical_address(page_alloc()));		/* maps nothing */
	expect_size(SIZE_32);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, 0x809b);
	expect_size(SIZE_16);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE32);
	expect_efer(0);
	/* EPT alone translates: each bit of the address, where the image is not. */
	for (u32 bit = 12; bit < 32; bit++) {
		const u32 address = BIT(bit) | 0x3000000;

		CASE("linear address %#x", address);
		page[bit] = 0xfeed0000 + bit;
		ept_map(address, physical_address(page), EPT_RWX | EPT_WB);
		ept_flush();
		guest.regs.rbx = address + 4 * bit;
		run_code(read_flat32);
		expect_code_ran();
		expect_eq((u32)guest.regs.rax, 0xfeed0000 + bit);
		expect_eq(guest.regs.rcx & (CR0_PE | CR0_PG), CR0_PE);
		ept_map(address, address, EPT_RWX | EPT_WB);
	}
}
