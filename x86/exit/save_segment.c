/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Saving Segment Registers and Descriptor-Table Registers" (SDM Vol. 3C). The guest loads its segment registers from
 * a GDT of the test's own, in compatibility mode, where all of them take what their descriptor says.
 */
#include "hostload.h"

#include "libc/string.h"
#include "vmxtest/entry_guest.h"
#include "x86/page.h"
#include "x86/tables.h"
#include "x86/user.h"

/* GDT of the guest: the suite's, then a descriptor for each segment register; LDTR and TR need two slots. */
enum { OWN_FIRST = 512, OWN_ENTRIES = OWN_FIRST + 2 * SEGMENT_REGISTERS };

static u64 *own_gdt;

static u16 own_selector(enum segment_register r)
{
	return (OWN_FIRST + 2 * r) * 8;
}

/* A descriptor with G = 0 or 1; the limit is the one in the descriptor, 20 bits; rights as in the VMCS. */
static void set_descriptor(enum segment_register r, u64 base, u32 limit, u32 rights)
{
	u64 *slot = &own_gdt[OWN_FIRST + 2 * r];

	slot[0] = (limit & 0xffff) | (base & 0xffffff) << 16 | (u64)(rights & 0xff) << 40 |
		  (u64)(limit >> 16 & 0xf) << 48 | (u64)(rights >> 12 & 0xf) << 52 | (base >> 24 & 0xff) << 56;
	if (r == SEG_LDTR || r == SEG_TR)
		slot[1] = base >> 32;
}

static void make_own_gdt(void)
{
	own_gdt = page_alloc_many(2);
	memcpy(own_gdt, gdt, sizeof(gdt));
}

/*
 * Load all eight and exit: DI = LDTR and BX = TR in 64-bit mode, where they have 64-bit bases; CS by a far jump to
 * compatibility mode; then BP = SS, AX = ES, CX = DS, DX = FS, SI = GS.
 */
extern const u8 save_load_segments[], save_in_new_cs[], save_segments_loaded[];
extern struct { u32 offset; u16 selector; } __attribute__((packed)) save_cs_pointer;
asm(".pushsection .text\n"
    "save_load_segments: lldt %di; ltr %bx; ljmpl *save_cs_pointer\n"
    ".code32\n"
    "save_in_new_cs: mov %ebp, %ss; mov %esi, %gs; mov %edx, %fs; mov %ecx, %ds; mov %eax, %es\n"
    "save_segments_loaded: vmcall\n"
    ".code64\n.popsection\n"
    ".pushsection .data\nsave_cs_pointer: .long 0; .word 0\n.popsection");

static void run_loading_segments(u64 cs_base)
{
	start_over();
	vmcs_write(GUEST_GDTR_BASE, physical_address(own_gdt));
	vmcs_write(GUEST_GDTR_LIMIT, OWN_ENTRIES * 8 - 1);
	save_cs_pointer.offset = (u32)((u64)save_in_new_cs - cs_base);
	save_cs_pointer.selector = own_selector(SEG_CS);
	guest.regs.rdi = own_selector(SEG_LDTR);
	guest.regs.rbx = own_selector(SEG_TR);
	guest.regs.rbp = own_selector(SEG_SS);
	guest.regs.rax = own_selector(SEG_ES);
	guest.regs.rcx = own_selector(SEG_DS);
	guest.regs.rdx = own_selector(SEG_FS);
	guest.regs.rsi = own_selector(SEG_GS);
	guest_run_at(save_load_segments);
	expect_exit(EXIT_VMCALL);
}

/* Rights of round n as the descriptor has them; the accessed or the busy bit is set by the load. */
static u32 rights_number(enum segment_register r, u32 n)
{
	static const u8 data[] = { 0x91, 0x93, 0x95, 0x97, 0x9b, 0x9f };	/* writable or not, down, readable code */
	static const u8 stack[] = { 0x93, 0x97 };
	static const u8 code[] = { 0x99, 0x9b, 0x9d, 0x9f };
	static const u8 dpl[] = { 0, 3, 1, 2 };
	const u32 avl_g = (n & 1) << 12 | (n >> 1 & 1) << 15;

	switch (r) {
	case SEG_CS:
		return code[n % 4] | avl_g | RIGHTS_DB;
	case SEG_SS:
		return stack[n % 2] | avl_g | (n >> 2 & 1) * RIGHTS_DB;
	case SEG_LDTR:
		return 0x82 | avl_g;
	case SEG_TR:
		return 0x8b | avl_g;
	default:
		return data[(n + r) % 6] | avl_g | (n >> 2 & 1) * RIGHTS_DB | dpl[(n + r) / 3 % 4] << 5;
	}
}

static u64 base_number(enum segment_register r, u32 n)
{
	const bool wide = r == SEG_LDTR || r == SEG_TR;		/* 64-bit bases in IA-32e mode */

	/* The code must stay within reach: with G = 0 the base is near it, and else offsets wrap at 4 GiB. */
	if (r == SEG_CS)
		return rights_number(r, n) & RIGHTS_G ? BIT(n / 2 % 32) : (u64)save_in_new_cs - 0x4000 - n % 0x100;
	return wide ? (n & 1 ? ~BIT((n + r) % 47) : BIT((n + r) % 47)) : BIT((n + 5 * r) % 32) | r;
}

static u32 limit_number(enum segment_register r, u32 n)
{
	if (r == SEG_CS && rights_number(r, n) & RIGHTS_G)
		return base_number(r, n) > (u64)save_in_new_cs ? 0xfffff : BIT(n % 20) | 0x1ff;
	if (r == SEG_CS)
		return BIT(n % 20) | 0x7fff;
	return r == SEG_TR ? 0x67 + 0x111 * n : (BIT((n + 3 * r) % 20) | r) & 0xfffff;
}

TEST("save.seg", "selector, base, limit and access rights of all eight segment registers are saved")
{
	make_own_gdt();
	WALK_OVER(n, 0, 96) {
		/* The load makes a segment accessed and a TSS busy. */
		for (enum segment_register r = 0; r < SEGMENT_REGISTERS; r++)
			set_descriptor(r, base_number(r, n), limit_number(r, n),
				       rights_number(r, n) & ~(r == SEG_TR ? 2u : r == SEG_LDTR ? 0 : 1u));
		CASE("round %u", n);
		run_loading_segments(base_number(SEG_CS, n));
		expect_eq(vmcs_read(GUEST_RIP), (u32)((u64)save_segments_loaded - base_number(SEG_CS, n)));
		for (enum segment_register r = 0; r < SEGMENT_REGISTERS; r++) {
			const u32 rights = rights_number(r, n), limit = limit_number(r, n);

			CASE("round %u, %s", n, segment_names[r]);
			expect_eq(vmcs_read(segment_selector(r)), own_selector(r));
			expect_eq(vmcs_read(segment_base(r)), base_number(r, n));
			expect_eq(vmcs_read(segment_limit(r)), rights & RIGHTS_G ? limit << 12 | 0xfff : limit);
			expect_eq(vmcs_read(segment_rights(r)), rights);
		}
	}
}

TEST("save.ar_unused_bits", "bits 31:17 and 11:8 of saved access rights are 0")
{
	static const u64 high = 0xfffe0000, middle = 0xf00;

	make_own_gdt();
	/* In a descriptor they are limit bits 19:16, all ones here. */
	for (enum segment_register r = 0; r < SEGMENT_REGISTERS; r++)
		set_descriptor(r, 0, 0xfffff, rights_number(r, 2));
	own_gdt[own_selector(SEG_TR) / 8] &= ~(2ull << 40);
	run_loading_segments(0);
	for (enum segment_register r = 0; r < SEGMENT_REGISTERS; r++) {
		CASE("%s loaded by the guest", segment_names[r]);
		expect_bits(vmcs_read(segment_rights(r)), high | middle, 0);
	}
	/* In the field of an unusable register they are not checked. */
	start_over();
	for (enum segment_register r = 0; r < SEGMENT_REGISTERS; r++)
		if (r != SEG_CS && r != SEG_SS && r != SEG_TR)
			vmcs_write(segment_rights(r), 0xffffffff);
	guest_run(guest_ends);
	expect_guest_done();
	for (enum segment_register r = 0; r < SEGMENT_REGISTERS; r++) {
		CASE("%s, unusable", segment_names[r]);
		expect_bits(vmcs_read(segment_rights(r)), high | middle, 0);
	}
}

GUEST_ASM(save_null_segments, "xor %eax, %eax; mov %eax, %es; mov %eax, %ds; mov %eax, %fs; mov %eax, %ss; lldt %ax\n"
			      "vmcall");

TEST("save.seg_unusable", "an unusable segment register is saved with bit 16 = 1, its selector and SS.DPL as they are")
{
	/* By the guest: null selectors, in SS too at CPL 0 in 64-bit mode. GS is this_cpu()'s. */
	exit_probe_on();
	vmcs_write(GUEST_LDTR_SELECTOR, SELECTOR_SPARE);
	vmcs_write(GUEST_LDTR_ACCESS_RIGHTS, 0x82);
	vmcs_write(GUEST_LDTR_LIMIT, 0xff);
	vmcs_write(GUEST_GS_ACCESS_RIGHTS, RIGHTS_DATA32);
	guest_run_at(save_null_segments);
	expect_exit(EXIT_VMCALL);
	for (enum segment_register r = 0; r < SEGMENT_REGISTERS; r++) {
		const bool usable = r == SEG_CS || r == SEG_GS || r == SEG_TR;

		CASE("null selector in %s", segment_names[r]);
		expect_bits(vmcs_read(segment_rights(r)), RIGHTS_NOT_USABLE, usable ? 0 : RIGHTS_NOT_USABLE);
		if (!usable)
			expect_eq(vmcs_read(segment_selector(r)), 0);
	}
	expect_bits(vmcs_read(GUEST_SS_ACCESS_RIGHTS), RIGHTS_DPL, 0);
	/* CS is always usable. */
	expect_eq(vmcs_read(GUEST_CS_ACCESS_RIGHTS), RIGHTS_CODE64);

	/* By VM entry: whatever the selectors are. The bases of FS and GS live on; see below for the others. */
	for (u32 cpl = 0; cpl < 4; cpl++) {
		start_over();
		if (cpl)
			guest_set_cpl3();
		vmcs_write(GUEST_CS_SELECTOR, SELECTOR_CODE64 | cpl);
		vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE64 | cpl << 5);
		vmcs_write(GUEST_CS_LIMIT, 0xffffffff);
		for (enum segment_register r = 0; r < SEGMENT_REGISTERS; r++) {
			if (r == SEG_CS || r == SEG_TR)
				continue;
			vmcs_write(segment_selector(r), r == SEG_LDTR ? 0x1238 : 0x5678 + 0x1000 * r + cpl);
			vmcs_write(segment_rights(r), RIGHTS_NOT_USABLE | (r == SEG_SS ? cpl << 5 : 0));
		}
		vmcs_write(GUEST_FS_BASE, 0x123456789a00);
		vmcs_write(GUEST_GS_BASE, -0x123456789ll);
		guest_run_at(save_segments_loaded);
		CASE("CPL %u", cpl);
		expect_exit(EXIT_VMCALL);
		for (enum segment_register r = 0; r < SEGMENT_REGISTERS; r++) {
			if (r == SEG_CS || r == SEG_TR)
				continue;
			CASE("%s at CPL %u", segment_names[r], cpl);
			expect_bits(vmcs_read(segment_rights(r)), RIGHTS_NOT_USABLE, RIGHTS_NOT_USABLE);
			expect_eq(vmcs_read(segment_selector(r)), r == SEG_LDTR ? 0x1238 : 0x5678 + 0x1000 * r + cpl);
		}
		expect_bits(vmcs_read(GUEST_SS_ACCESS_RIGHTS), RIGHTS_DPL, cpl << 5);
		expect_eq(vmcs_read(GUEST_FS_BASE), 0x123456789a00);
		expect_eq(vmcs_read(GUEST_GS_BASE), -0x123456789ll);
		expect_eq(vmcs_read(GUEST_CS_SELECTOR), SELECTOR_CODE64 | cpl);
		expect_eq(vmcs_read(GUEST_CS_LIMIT), 0xffffffff);
		expect_eq(vmcs_read(GUEST_CS_ACCESS_RIGHTS), RIGHTS_CODE64 | cpl << 5);
	}
}

TEST("save.seg_base_high", "saved bases of ES, SS and DS have 0 in bits 63:32, and LDTR's is canonical")
{
	static const enum vmcs_field rights[] = { GUEST_ES_ACCESS_RIGHTS, GUEST_SS_ACCESS_RIGHTS, GUEST_DS_ACCESS_RIGHTS };
	static const enum vmcs_field bases[] = { GUEST_ES_BASE, GUEST_SS_BASE, GUEST_DS_BASE };
	const u32 width = linear_address_width();

	/* Only unusable registers can have other bits at VM entry. */
	for (u32 bit = 32; bit < 64; bit++) {
		CASE("base bit %u", bit);
		start_over();
		for (u32 i = 0; i < ARRAY_SIZE(bases); i++) {
			vmcs_write(rights[i], RIGHTS_NOT_USABLE);
			vmcs_write(bases[i], BIT(bit) | BIT(bit - 32));
		}
		vmcs_write(GUEST_LDTR_BASE, BIT(bit));
		guest_run(guest_ends);
		expect_guest_done();
		for (u32 i = 0; i < ARRAY_SIZE(bases); i++)
			expect_bits(vmcs_read(bases[i]), 0xffffffff00000000, 0);
		const s64 ldtr = vmcs_read(GUEST_LDTR_BASE);

		expect_eq(ldtr, ldtr << (64 - width) >> (64 - width));
	}
}

static struct fault user_fault;

static void user_exits(void)
{
	asm volatile("cpuid" : : "a"(0) : "rbx", "rcx", "rdx");
}

static void guest_exits_at_cpl3(void)
{
	user_fault = user_run(user_exits);
}

/* A conforming code segment of DPL 0 run at CPL 3: SS.DPL is the CPL, CS.DPL is not. */
TEST("save.ss_dpl_cpl", "the saved SS.DPL is the CPL", NEEDS(PROC_USE_MSR_BITMAPS))
{
	for (enum guest_mode mode = 0; mode < GUEST_MODES; mode++) {
		const u32 cpl = mode == MODE_VIRTUAL_8086 ? 3 : mode >= MODE_CPL1 && mode <= MODE_CPL3 ? mode : 0;

		if (!guest_mode_exists(mode))
			continue;
		CASE("%s", guest_mode_names[mode]);
		start_over();
		guest_run_mode(mode);
		expect_guest_done();
		expect_bits(vmcs_read(GUEST_SS_ACCESS_RIGHTS), RIGHTS_DPL, cpl << 5);
	}

	CASE("a guest that goes to CPL 3 and comes back");
	start_over();
	user_pages_on();
	vmcs_use_msr_bitmap();			/* the library looks into the APIC on the way back */
	guest_run(guest_exits_at_cpl3);
	expect_exit(EXIT_CPUID);
	expect_bits(vmcs_read(GUEST_SS_ACCESS_RIGHTS), RIGHTS_DPL, 3 << 5);
	guest_skip_instruction();
	guest_resume();
	expect_guest_done();
	expect_bits(vmcs_read(GUEST_SS_ACCESS_RIGHTS), RIGHTS_DPL, 0);

	CASE("conforming code of DPL 0 at CPL 3");
	start_over();
	guest_set_cpl3();
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, 0xa09f);
	guest.regs.rdi = (u64)user_exits;
	guest_run_at(user_exits);
	expect_exit(EXIT_CPUID);
	expect_bits(vmcs_read(GUEST_SS_ACCESS_RIGHTS), RIGHTS_DPL, 3 << 5);
	expect_bits(vmcs_read(GUEST_CS_ACCESS_RIGHTS), RIGHTS_DPL, 0);
}

static struct table_register guest_gdtr, guest_idtr;

GUEST_ASM(save_load_tables, "lgdt (%rax); lidt (%rcx); vmcall");

static void expect_tables_saved(u64 gdtr, u16 gdtr_limit, u64 idtr, u16 idtr_limit)
{
	CASE("GDTR %#lx, %#x; IDTR %#lx, %#x", gdtr, gdtr_limit, idtr, idtr_limit);
	guest_gdtr = (struct table_register){ gdtr_limit, gdtr };
	guest_idtr = (struct table_register){ idtr_limit, idtr };
	guest.regs.rax = (u64)&guest_gdtr;
	guest.regs.rcx = (u64)&guest_idtr;
	guest_run_at(save_load_tables);
	expect_exit(EXIT_VMCALL);
	expect_eq(vmcs_read(GUEST_GDTR_BASE), gdtr);
	expect_eq(vmcs_read(GUEST_GDTR_LIMIT), gdtr_limit);
	expect_eq(vmcs_read(GUEST_IDTR_BASE), idtr);
	expect_eq(vmcs_read(GUEST_IDTR_LIMIT), idtr_limit);
}

TEST("save.gdtr_idtr", "base and limit of GDTR and IDTR are saved, with bits 31:16 of the limit 0")
{
	const u64 half = BIT(linear_address_width() - 1);

	for (u32 bit = 0; BIT(bit) < half; bit++) {
		expect_tables_saved(BIT(bit), BIT(bit % 16), -half | BIT(bit), ~BIT(bit % 16));
		expect_tables_saved(~BIT(bit), ~BIT(bit % 16), half - 1 - BIT(bit), BIT(bit % 16));
	}
}
