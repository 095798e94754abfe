/* SPDX-License-Identifier: BSD-2-Clause */
/* "Descriptor-table exiting": LGDT, LIDT, LLDT, LTR and the instructions that store those registers. */
#include "insn.h"

#include "libc/string.h"
#include "x86/tables.h"

/* Instruction information (SDM Vol. 3C): 29:28 which instruction, by these numbers. */
enum { IDENTITY_SHIFT = 28, IDENTITY_MASK = 3 << 28 };

struct table_instruction {
	struct instruction instruction;
	u32 identity;
};

/* The displacement of memory operands, which is their qualification; of register operands info.qual.register has it. */
#define DISPLACEMENT 0x40

static const struct table_instruction gdtr_idtr[] = {
	{ { "SGDT", BYTES(0x0f, 0x01, 0x40, DISPLACEMENT), EXIT_GDTR_IDTR, DISPLACEMENT }, 0 },
	{ { "SIDT", BYTES(0x0f, 0x01, 0x48, DISPLACEMENT), EXIT_GDTR_IDTR, DISPLACEMENT }, 1 },
	{ { "LGDT", BYTES(0x0f, 0x01, 0x50, DISPLACEMENT), EXIT_GDTR_IDTR, DISPLACEMENT }, 2 },
	{ { "LIDT", BYTES(0x0f, 0x01, 0x58, DISPLACEMENT), EXIT_GDTR_IDTR, DISPLACEMENT }, 3 },
};

static const struct table_instruction ldtr_tr[] = {
	{ { "SLDT to memory", BYTES(0x0f, 0x00, 0x40, DISPLACEMENT), EXIT_LDTR_TR, DISPLACEMENT }, 0 },
	{ { "STR to memory", BYTES(0x0f, 0x00, 0x48, DISPLACEMENT), EXIT_LDTR_TR, DISPLACEMENT }, 1 },
	{ { "LLDT from memory", BYTES(0x0f, 0x00, 0x50, DISPLACEMENT), EXIT_LDTR_TR, DISPLACEMENT }, 2 },
	{ { "LTR from memory", BYTES(0x0f, 0x00, 0x58, DISPLACEMENT), EXIT_LDTR_TR, DISPLACEMENT }, 3 },
	{ { "SLDT RCX", BYTES(0x48, 0x0f, 0x00, 0xc1), EXIT_LDTR_TR, NOT_LOOKED_AT }, 0 },
	{ { "STR CX", BYTES(0x66, 0x0f, 0x00, 0xc9), EXIT_LDTR_TR, NOT_LOOKED_AT }, 1 },
	{ { "LLDT CX", BYTES(0x0f, 0x00, 0xd1), EXIT_LDTR_TR, NOT_LOOKED_AT }, 2 },
	{ { "LTR CX", BYTES(0x0f, 0x00, 0xd9), EXIT_LDTR_TR, NOT_LOOKED_AT }, 3 },
};

static void run(const struct table_instruction *row)
{
	guest.regs.rax = (u64)instruction_operand;
	guest.regs.rcx = 0xfeed;
	instruction_run(&row->instruction);
}

static void expect_table_exit(const struct table_instruction *row)
{
	expect_instruction_exit(&row->instruction);
	expect_bits(vmcs_read(EXIT_INSTRUCTION_INFORMATION), IDENTITY_MASK, (u64)row->identity << IDENTITY_SHIFT);
}

static void check_rows_exit(const struct table_instruction *rows, size_t count)
{
	vmcs_set_controls(PROC2_DESCRIPTOR_TABLE_EXITING);
	for (size_t i = 0; i < count; i++) {
		CASE("%s", rows[i].instruction.text);
		run(&rows[i]);
		expect_table_exit(&rows[i]);
	}
}

TEST("exit.desctable.gdtr_idtr", "LGDT, LIDT, SGDT and SIDT exit with reason 46 and say which of them it was",
     NEEDS(PROC2_DESCRIPTOR_TABLE_EXITING))
{
	check_rows_exit(gdtr_idtr, ARRAY_SIZE(gdtr_idtr));
}

TEST("exit.desctable.ldtr_tr", "LLDT, LTR, SLDT and STR exit with reason 47 and say which of them it was",
     NEEDS(PROC2_DESCRIPTOR_TABLE_EXITING))
{
	check_rows_exit(ldtr_tr, ARRAY_SIZE(ldtr_tr));
}

static struct {
	struct table_register new_gdtr, new_idtr, gdtr, idtr;
	u16 ldtr, tr;
} shared;

static void guest_loads_and_stores(void)
{
	write_gdtr(shared.new_gdtr);
	shared.gdtr = read_gdtr();
	write_idtr(shared.new_idtr);
	shared.idtr = read_idtr();
	asm volatile("ltr %w0" : : "r"(SELECTOR_SPARE) : "memory");
	shared.tr = read_tr();
	write_ldtr(0);
	shared.ldtr = read_ldtr();
}

TEST("exit.desctable.off", "with \"descriptor-table exiting\" 0 the descriptor-table instructions work in the guest")
{
	const u16 tss = SELECTOR_TSS(0);
	const u64 available = ~(2ull << 40);		/* bit 1 of the type: busy */

	/* Copies of the tables, so that the guest's registers differ from the host's. */
	shared.new_gdtr = (struct table_register){ sizeof(gdt) - 1 - 8, (u64)memcpy(page_alloc(), gdt, sizeof(gdt)) };
	shared.new_idtr = (struct table_register){ sizeof(idt) - 1 - 16, (u64)memcpy(page_alloc(), idt, sizeof(idt)) };
	((u64 *)shared.new_gdtr.base)[SELECTOR_SPARE / 8] = gdt[tss / 8] & available;
	((u64 *)shared.new_gdtr.base)[SELECTOR_SPARE / 8 + 1] = gdt[tss / 8 + 1];
	shared.ldtr = 0xffff;

	guest_run(guest_loads_and_stores);
	expect_guest_done();
	expect_eq(shared.gdtr.base, shared.new_gdtr.base);
	expect_eq(shared.gdtr.limit, shared.new_gdtr.limit);
	expect_eq(shared.idtr.base, shared.new_idtr.base);
	expect_eq(shared.idtr.limit, shared.new_idtr.limit);
	expect_eq(shared.tr, SELECTOR_SPARE);
	expect_eq(shared.ldtr, 0);
	/* It was the guest's own registers that changed. */
	expect_eq(vmcs_read(GUEST_GDTR_BASE), shared.new_gdtr.base);
	expect_eq(vmcs_read(GUEST_GDTR_LIMIT), shared.new_gdtr.limit);
	expect_eq(vmcs_read(GUEST_IDTR_BASE), shared.new_idtr.base);
	expect_eq(vmcs_read(GUEST_IDTR_LIMIT), shared.new_idtr.limit);
	expect_eq(vmcs_read(GUEST_TR_SELECTOR), SELECTOR_SPARE);
	expect_eq(read_gdtr().base, tables_gdtr().base);
	expect_eq(read_idtr().base, tables_idtr().base);
	expect_eq(read_tr(), tss);
}

TEST("exit.desctable.cpl3_store", "SGDT, SIDT, SLDT and STR at CPL 3 with CR4.UMIP 0 exit, or work, as at CPL 0",
     NEEDS(PROC2_DESCRIPTOR_TABLE_EXITING))
{
	static const struct table_instruction *const stores[] = {
		&gdtr_idtr[0], &gdtr_idtr[1], &ldtr_tr[0], &ldtr_tr[1], &ldtr_tr[4], &ldtr_tr[5],
	};

	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) & ~(u64)CR4_UMIP);
	guest_set_cpl3();
	for (size_t i = 0; i < ARRAY_SIZE(stores); i++) {
		CASE("%s, not to exit", stores[i]->instruction.text);
		vmcs_clear_controls(PROC2_DESCRIPTOR_TABLE_EXITING);
		run(stores[i]);
		expect_guest_done();
		if (stores[i]->instruction.qualification == DISPLACEMENT)
			expect_ne(instruction_operand[DISPLACEMENT], OPERAND_BYTE);
		else
			expect_ne(guest.regs.rcx, 0xfeed);
		CASE("%s, to exit", stores[i]->instruction.text);
		vmcs_set_controls(PROC2_DESCRIPTOR_TABLE_EXITING);
		run(stores[i]);
		expect_table_exit(stores[i]);
	}
}

TEST("exit.prio.lgdt_memory", "LGDT, VMPTRLD and their like exit before a page fault on their operand",
     NEEDS(PROC2_DESCRIPTOR_TABLE_EXITING))
{
	static const struct instruction with_memory[] = {
		{ "LGDT", BYTES(0x0f, 0x01, 0x10), EXIT_GDTR_IDTR, 0 },
		{ "SIDT", BYTES(0x0f, 0x01, 0x08), EXIT_GDTR_IDTR, 0 },
		{ "LLDT", BYTES(0x0f, 0x00, 0x10), EXIT_LDTR_TR, 0 },
		{ "STR", BYTES(0x0f, 0x00, 0x08), EXIT_LDTR_TR, 0 },
		{ "VMPTRLD", BYTES(0x0f, 0xc7, 0x30), EXIT_VMPTRLD, 0 },
		{ "VMPTRST", BYTES(0x0f, 0xc7, 0x38), EXIT_VMPTRST, 0 },
		{ "VMCLEAR", BYTES(0x66, 0x0f, 0xc7, 0x30), EXIT_VMCLEAR, 0 },
		{ "VMXON", BYTES(0xf3, 0x0f, 0xc7, 0x30), EXIT_VMXON, 0 },
		{ "VMREAD", BYTES(0x0f, 0x78, 0x08), EXIT_VMREAD, 0 },
		{ "VMWRITE", BYTES(0x0f, 0x79, 0x08), EXIT_VMWRITE, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(with_memory); i++) {
		CASE("%s", with_memory[i].text);
		vmcs_set_controls(PROC2_DESCRIPTOR_TABLE_EXITING);
		guest.regs.rax = PAGE_WINDOW;		/* nothing is mapped there */
		instruction_run(&with_memory[i]);
		expect_instruction_exit(&with_memory[i]);
		if (with_memory[i].reason != EXIT_GDTR_IDTR && with_memory[i].reason != EXIT_LDTR_TR)
			continue;
		vmcs_clear_controls(PROC2_DESCRIPTOR_TABLE_EXITING);
		guest.regs.rax = PAGE_WINDOW;
		instruction_run(&with_memory[i]);
		expect(guest_has_faulted(), "the instruction ends in an exception of the guest, #PF, and in no exit");
		expect_eq(guest.fault.vector, VECTOR_PF);
		expect_between(PAGE_WINDOW, guest.fault.cr2, PAGE_WINDOW + 9);
	}
}
