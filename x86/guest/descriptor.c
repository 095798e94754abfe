/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptor tables, TR and LDTR, and the instructions that ask about descriptors. */
#include "segment.h"

/* ---- GDTR and IDTR */

TEST("guest.desc.gdtr", "SGDT stores what LGDT loaded: 16 bits of limit and 64 of base")
{
	static const u64 bases[] = { 0x123456789abc, 0xffff800000000000, 0x7fffffffffff, 0xffffffff };

	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		write_gdtr((struct table_register){ 0xa5c3, bases[i] });
		const struct table_register now = read_gdtr();
		write_gdtr(tables_gdtr());
		CASE("base %#lx", bases[i]);
		expect_eq(now.base, bases[i]);
		expect_eq(now.limit, 0xa5c3);
	}
}

TEST("guest.desc.idtr", "SIDT stores what LIDT loaded: 16 bits of limit and 64 of base")
{
	static const u64 bases[] = { 0x123456789abc, 0xffff800000000000, 0x7fffffffffff, 0xffffffff };

	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		write_idtr((struct table_register){ 0x5a3c, bases[i] });
		const struct table_register now = read_idtr();
		write_idtr(tables_idtr());
		CASE("base %#lx", bases[i]);
		expect_eq(now.base, bases[i]);
		expect_eq(now.limit, 0x5a3c);
	}
}

TEST("guest.desc.base_canonical", "LGDT and LIDT refuse a base that is not canonical")
{
	struct fault fault = TRY(write_gdtr((struct table_register){ 0xffff, NOT_CANONICAL }));

	write_gdtr(tables_gdtr());
	expect_fault(fault, VECTOR_GP, 0);
	fault = TRY(write_idtr((struct table_register){ 0xffff, NOT_CANONICAL }));
	write_idtr(tables_idtr());
	expect_fault(fault, VECTOR_GP, 0);
}

TEST("guest.desc.gdt_limit", "a selector is refused if its descriptor does not end within the GDT's limit")
{
	struct table_register gdtr = tables_gdtr();

	set_spare(flat(DATA, FLAGS_D), 0);
	gdtr.limit = SELECTOR_SPARE + 6;
	write_gdtr(gdtr);
	struct fault fault = load_fs(SELECTOR_SPARE);
	gdtr.limit = SELECTOR_SPARE + 7;
	write_gdtr(gdtr);
	expect_fault(fault, VECTOR_GP, SELECTOR_SPARE);
	fault = load_fs(SELECTOR_SPARE);
	write_gdtr(tables_gdtr());
	set_spare(0, 0);
	expect_no_fault(fault);
}

/* ---- LDTR */

static u64 ldt[4] ALIGNED(16);

static void set_ldt(u8 access)
{
	const u64 base = (u64)ldt;

	set_spare((sizeof(ldt) - 1) | (base & 0xffffff) << 16 | (u64)access << 40 | (base >> 24 & 0xff) << 56,
			base >> 32);
}

TEST("guest.desc.ldt", "a selector with TI=1 takes its descriptor from the LDT")
{
	ldt[1] = flat(DATA, FLAGS_D);
	set_ldt(LDT);
	write_ldtr(SELECTOR_SPARE);
	const struct fault inside = load_fs(8 | 4), beyond = load_fs(sizeof(ldt) | 4);
	const u16 stored = read_ldtr();
	write_ldtr(0);
	const struct fault none = load_fs(8 | 4);
	set_spare(0, 0);
	expect_no_fault(inside);
	expect_fault(beyond, VECTOR_GP, sizeof(ldt) | 4);
	expect_eq(stored, SELECTOR_SPARE);
	expect_fault(none, VECTOR_GP, 8 | 4);
}

TEST("guest.desc.lldt", "LLDT takes a present LDT descriptor of the GDT alone")
{
	struct fault fault;

	for (u8 type = 0; type < 32; type++) {
		set_ldt(PRESENT | type);
		fault = TRY(write_ldtr(SELECTOR_SPARE));
		write_ldtr(0);
		CASE("type %#x", type);
		if (type == 2)
			expect_no_fault(fault);
		else
			expect_fault(fault, VECTOR_GP, SELECTOR_SPARE);
	}
	set_ldt(LDT & ~PRESENT);
	fault = TRY(write_ldtr(SELECTOR_SPARE));
	set_spare(0, 0);
	expect_fault(fault, VECTOR_NP, SELECTOR_SPARE);
	fault = TRY(write_ldtr(SELECTOR_SPARE | 4));
	expect_fault(fault, VECTOR_GP, SELECTOR_SPARE | 4);
}

/* ---- TR */

static struct tss spare_tss ALIGNED(16);

static void set_tss(u8 access)
{
	const u64 base = (u64)&spare_tss;

	spare_tss = this_cpu()->tss;
	set_spare((sizeof(spare_tss) - 1) | (base & 0xffffff) << 16 | (u64)access << 40 | (base >> 24 & 0xff) << 56,
		  base >> 32);
}

static struct fault load_tr(u16 selector)
{
	return TRY(asm volatile("ltr %w0" : : "r"((u64)selector) : "memory"));
}

TEST("guest.task.ltr", "LTR loads TR and makes the TSS busy")
{
	set_tss(TSS_AVAILABLE);
	const struct fault fault = load_tr(SELECTOR_SPARE);
	const u64 descriptor = gdt[SELECTOR_SPARE / 8];
	const u16 tr = read_tr();
	const struct fault again = load_tr(SELECTOR_SPARE);
	set_spare(0, 0);
	cpu_load_tables(this_cpu());
	expect_no_fault(fault);
	expect_eq(descriptor >> 40 & 0xff, TSS_BUSY);
	expect_eq(tr, SELECTOR_SPARE);
	expect_fault(again, VECTOR_GP, SELECTOR_SPARE);
}

TEST("guest.task.ltr_types", "LTR refuses all types but an available 64-bit TSS")
{
	for (u8 type = 0; type < 32; type++) {
		if (type == (TSS_AVAILABLE & 31))
			continue;
		set_tss(PRESENT | type);
		const struct fault fault = load_tr(SELECTOR_SPARE);
		CASE("type %#x", type);
		expect_fault(fault, VECTOR_GP, SELECTOR_SPARE);
	}
	set_tss(TSS_AVAILABLE & ~PRESENT);
	struct fault fault = load_tr(SELECTOR_SPARE);
	set_spare(0, 0);
	expect_fault(fault, VECTOR_NP, SELECTOR_SPARE);
	fault = load_tr(0);
	expect_fault(fault, VECTOR_GP, 0);
	fault = load_tr(SELECTOR_SPARE | 4);
	expect_fault(fault, VECTOR_GP, SELECTOR_SPARE | 4);
	cpu_load_tables(this_cpu());
}

TEST("guest.task.str", "STR and SLDT store 16 bits to memory, and clear bits 31:16 or 63:16 of a wider register")
{
	u64 memory = ~0ull, str = ~0ull, str32 = ~0ull, str16 = ~0ull, sldt = ~0ull;

	asm volatile("str %0" : "+m"(memory));
	asm volatile("str %q0" : "+r"(str));
	asm volatile("str %k0" : "+r"(str32));
	asm volatile("str %w0" : "+r"(str16));
	asm volatile("sldt %k0" : "+r"(sldt));
	expect_eq(memory, 0xffffffffffff0000 | read_tr());
	expect_eq(str, read_tr());
	expect_eq(str32, read_tr());
	expect_eq(str16, 0xffffffffffff0000 | read_tr());
	expect_eq(sldt, 0);
}

TEST("guest.task.jump", "a far jump to a TSS raises #GP with its selector: IA-32e mode switches no tasks")
{
	static struct far_pointer target = { 0, SELECTOR_SPARE };

	set_tss(TSS_AVAILABLE);
	const struct fault fault = TRY(asm volatile("ljmp *%0" : : "m"(target)));
	set_spare(0, 0);
	expect_fault(fault, VECTOR_GP, SELECTOR_SPARE);
}

/* ---- LAR, LSL, VERR, VERW, ARPL */

static bool lar(u16 selector, u32 *rights)
{
	bool valid;

	asm volatile("lar %2, %0" : "+r"(*rights), "=@ccz"(valid) : "r"((u32)selector));
	return valid;
}

static bool lsl(u16 selector, u32 *limit)
{
	bool valid;

	asm volatile("lsl %2, %0" : "+r"(*limit), "=@ccz"(valid) : "r"((u32)selector));
	return valid;
}

/* In IA-32e mode: segments, LDT, 64-bit TSSs; LAR also call gates. */
static bool lsl_takes(u8 type)
{
	return (type & 0x10) || type == 2 || type == 9 || type == 11;
}

TEST("guest.desc.lar", "LAR gives bytes 7:4 AND 00FxFF00H of the descriptors it takes, and ZF=0 for the others")
{
	for (u8 type = 0; type < 32; type++) {
		u32 rights = 0x12345678;

		set_spare(flat(PRESENT | type, 0xb) | 0xffull << 56, 0);
		const bool valid = lar(SELECTOR_SPARE, &rights);
		CASE("type %#x", type);
		expect_eq(valid, lsl_takes(type) || type == 12);
		if (valid)
			expect_eq(rights & 0xf0ff00, 0xb00000u | (PRESENT | type) << 8);
		else
			expect_eq(rights, 0x12345678);
	}
	set_spare(0, 0);
}

TEST("guest.desc.lsl", "LSL gives the limit in bytes of the descriptors it takes, and ZF=0 for the others")
{
	for (u8 type = 0; type < 32; type++) {
		u32 limit = 0x12345678;

		set_spare(0x000a00000000bcde | (u64)(PRESENT | type) << 40 | BIT(55), 0);
		bool valid = lsl(SELECTOR_SPARE, &limit);
		CASE("type %#x", type);
		expect_eq(valid, lsl_takes(type));
		expect_eq(limit, lsl_takes(type) ? 0xabcdefff : 0x12345678);
		set_spare(0x000a00000000bcde | (u64)(PRESENT | type) << 40, 0);
		valid = lsl(SELECTOR_SPARE, &limit);
		if (valid)
			expect_eq(limit, 0xabcde);
	}
	set_spare(0, 0);
}

TEST("guest.desc.lar_selectors", "LAR and LSL of a null selector, or of one beyond the GDT, give ZF=0")
{
	static const u16 selectors[] = { 0, 3, 0x5000, 0xc };
	u32 value = 1;

	for (size_t i = 0; i < ARRAY_SIZE(selectors); i++) {
		CASE("selector %#x", selectors[i]);
		expect(!lar(selectors[i], &value), "ZF=0");
		expect(!lsl(selectors[i], &value), "ZF=0");
	}
	expect_eq(value, 1);
}

static bool verr(u16 selector)
{
	bool ok;

	asm volatile("verr %1" : "=@ccz"(ok) : "r"(selector));
	return ok;
}

static bool verw(u16 selector)
{
	bool ok;

	asm volatile("verw %1" : "=@ccz"(ok) : "r"(selector));
	return ok;
}

TEST("guest.desc.verr", "VERR gives ZF=1 for segments that can be read")
{
	for (u8 type = 0; type < 32; type++) {
		set_spare(flat(PRESENT | type, FLAGS_D), 0);
		CASE("type %#x", type);
		expect_eq(verr(SELECTOR_SPARE), (type & 0x10) && (!(type & 8) || (type & 2)));
	}
	set_spare(0, 0);
	expect(!verr(0), "ZF=0");
	expect(!verr(0x5000), "ZF=0");
}

TEST("guest.desc.verw", "VERW gives ZF=1 for data segments that can be written")
{
	for (u8 type = 0; type < 32; type++) {
		set_spare(flat(PRESENT | type, FLAGS_D), 0);
		CASE("type %#x", type);
		expect_eq(verw(SELECTOR_SPARE), (type & 0x1a) == 0x12);
	}
	set_spare(0, 0);
	expect(!verw(0), "ZF=0");
	expect(!verw(0x5000), "ZF=0");
}

static u16 asked;
static u32 answers;
static void user_asks(void)
{
	u32 value = 0;

	answers = lar(asked, &value) | lsl(asked, &value) << 1 | verr(asked) << 2 | verw(asked) << 3;
}

TEST("guest.desc.privilege", "at CPL 3, LAR, LSL, VERR and VERW give ZF=0 for segments of DPL 0")
{
	user_pages_on();
	asked = SELECTOR_DATA;
	struct fault fault = user_run(user_asks);
	expect_no_fault(fault);
	expect_eq(answers, 0);
	asked = SELECTOR_USER_DATA;
	fault = user_run(user_asks);
	expect_no_fault(fault);
	expect_eq(answers, 15);
}

u32 arpl_result[2];
CODE32(arpl_32, "mov $0x50, %eax; mov $3, %ecx; arpl %cx, %ax; mov %eax, arpl_result; setz arpl_result + 4");
CODE32(arpl_none, "mov $0x53, %eax; mov $1, %ecx; arpl %cx, %ax; mov %eax, arpl_result; setz arpl_result + 4");

TEST("guest.desc.arpl", "ARPL raises the RPL in compatibility mode")
{
	arpl_result[1] = 0;
	struct fault fault = run_code32(arpl_32);
	expect_no_fault(fault);
	expect_eq(arpl_result[0], 0x53);
	expect_eq(arpl_result[1] & 1, 1);
	fault = run_code32(arpl_none);
	expect_no_fault(fault);
	expect_eq(arpl_result[0], 0x53);
	expect_eq(arpl_result[1] & 1, 0);
}

TEST("guest.desc.movsxd", "the opcode of ARPL is MOVSXD in 64-bit mode")
{
	u64 value;

	asm volatile(".byte 0x48, 0x63, 0xc1" : "=a"(value) : "c"(0x80000001ull));	/* movslq %ecx, %rax */
	expect_eq(value, 0xffffffff80000001);
}
