/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VM-exit instruction information and the displacement in the exit qualification, over the address forms of 64-bit,
 * 32-bit and 16-bit code (SDM Vol. 3C, "Information for VM Exits Due to Instruction Execution").
 */
#include "info_operand.h"
#include "info_instructions.h"

#include "libc/string.h"
#include "x86/page.h"

#define INSTRUCTION(text_, prefix_, reason_, need_, ...)				\
	{ .text = text_, .prefix = prefix_, .reason = reason_, .need = need_, ##__VA_ARGS__ }
#define OPCODE(...) .opcode = { __VA_ARGS__ }, .opcode_length = sizeof((const u8[]){ __VA_ARGS__ })

static const struct operand_instruction vmread_vmwrite[] = {
	INSTRUCTION("VMREAD", 0, EXIT_VMREAD, 0, OPCODE(0x0f, 0x78), .second = true, .may_be_register = true),
	INSTRUCTION("VMWRITE", 0, EXIT_VMWRITE, 0, OPCODE(0x0f, 0x79), .second = true, .may_be_register = true),
};

static const struct operand_instruction vmptr[] = {
	INSTRUCTION("VMCLEAR", 0x66, EXIT_VMCLEAR, 0, OPCODE(0x0f, 0xc7), .digit = 6),
	INSTRUCTION("VMPTRLD", 0, EXIT_VMPTRLD, 0, OPCODE(0x0f, 0xc7), .digit = 6),
	INSTRUCTION("VMPTRST", 0, EXIT_VMPTRST, 0, OPCODE(0x0f, 0xc7), .digit = 7),
	INSTRUCTION("VMXON", 0xf3, EXIT_VMXON, 0, OPCODE(0x0f, 0xc7), .digit = 6),
	INSTRUCTION("XSAVES", 0, EXIT_XSAVES, PROC2_ENABLE_XSAVES_XRSTORS, OPCODE(0x0f, 0xc7), .digit = 5),
	INSTRUCTION("XRSTORS", 0, EXIT_XRSTORS, PROC2_ENABLE_XSAVES_XRSTORS, OPCODE(0x0f, 0xc7), .digit = 3),
};

static const struct operand_instruction inv[] = {
	INSTRUCTION("INVEPT", 0x66, EXIT_INVEPT, CAP_INVEPT, OPCODE(0x0f, 0x38, 0x80), .second = true),
	INSTRUCTION("INVVPID", 0x66, EXIT_INVVPID, CAP_INVVPID, OPCODE(0x0f, 0x38, 0x81), .second = true),
	INSTRUCTION("INVPCID", 0x66, EXIT_INVPCID, PROC2_ENABLE_INVPCID, OPCODE(0x0f, 0x38, 0x82), .second = true),
};

#define DESCRIPTOR_TABLE(text, byte, digit_, reason, ...)					\
	INSTRUCTION(text, 0, reason, PROC2_DESCRIPTOR_TABLE_EXITING, OPCODE(0x0f, byte), .digit = digit_,	\
		    .identity = true, ##__VA_ARGS__)

static const struct operand_instruction gdtr_idtr[] = {
	DESCRIPTOR_TABLE("SGDT", 1, 0, EXIT_GDTR_IDTR, .operand_size = true, .identity_value = 0),
	DESCRIPTOR_TABLE("SIDT", 1, 1, EXIT_GDTR_IDTR, .operand_size = true, .identity_value = 1),
	DESCRIPTOR_TABLE("LGDT", 1, 2, EXIT_GDTR_IDTR, .operand_size = true, .identity_value = 2),
	DESCRIPTOR_TABLE("LIDT", 1, 3, EXIT_GDTR_IDTR, .operand_size = true, .identity_value = 3),
};

static const struct operand_instruction ldtr_tr[] = {
	DESCRIPTOR_TABLE("SLDT", 0, 0, EXIT_LDTR_TR, .may_be_register = true, .identity_value = 0),
	DESCRIPTOR_TABLE("STR", 0, 1, EXIT_LDTR_TR, .may_be_register = true, .identity_value = 1),
	DESCRIPTOR_TABLE("LLDT", 0, 2, EXIT_LDTR_TR, .may_be_register = true, .identity_value = 2),
	DESCRIPTOR_TABLE("LTR", 0, 3, EXIT_LDTR_TR, .may_be_register = true, .identity_value = 3),
};

static bool exists(const struct operand_instruction *instruction)
{
	/* Only XSAVES and XRSTORS need more than their control. */
	const struct exiting_instruction like = { .reason = instruction->reason, .need = instruction->need };

	return exiting_instruction_exists(&like);
}

static enum operand_detail looking_at;

static u32 turn;

static void try(const struct operand_instruction *instruction, const struct operand *operand)
{
	if (!walk_takes_nth(&turn, 9))
		return;
	CASE("%s, %u-bit address, base %u, index %u", instruction->text, operand->address_size, operand->base,
	     operand->index);
	operand_run(instruction, operand);
	expect_operand(looking_at, instruction, operand);
}

static const int32_t displacements[] = { 0x12345640, 0x40, -0x40, -0x01234540, 0x7fffffc0, -0x80000000ll };
static const u8 displacement_sizes[] = { 0, 1, 4 };

/* What is not the matter of a loop takes turns: n counts the cases. */
static struct operand operand_of_turn(u32 n, u8 mode)
{
	return (struct operand){
		.mode = mode, .address_size = mode, .base = NO_REGISTER, .index = NO_REGISTER,
		.scale = n / 3 % 4, .displacement_size = displacement_sizes[n % 3],
		.displacement = displacements[n / 2 % ARRAY_SIZE(displacements)], .sib = n / 5 % 2,
		.segment = DEFAULT_SEGMENT, .second = n * 7 % (mode == 64 ? 16 : 8),
	};
}

/* 64-bit code: the segments other than FS and GS do not count there, and a prefix for them is not tried. */
static void try_64(const struct operand_instruction *instruction, u32 rounds)
{
	static const u8 segments[] = { DEFAULT_SEGMENT, FS, GS, DEFAULT_SEGMENT, DEFAULT_SEGMENT };
	u32 n = 0;

	for (u32 round = 0; round < rounds; round++)
		for (u32 base = 0; base <= RIP_RELATIVE; base++)
			for (u32 index = 0; index <= NO_REGISTER; index++) {
				struct operand operand = operand_of_turn(n += 1 + round, 64);

				if (index == 4 || (base == RIP_RELATIVE && index != NO_REGISTER))
					continue;
				operand.base = base;
				operand.index = index;
				operand.segment = segments[n / 4 % ARRAY_SIZE(segments)];
				operand.address_size = n / 7 % 3 ? 64 : 32;
				try(instruction, &operand);
			}
}

/* Every scale and both address sizes by every pair of registers, each displacement and segment in turn. */
static void try_all_64(const struct operand_instruction *instruction)
{
	static const u8 segments[] = { DEFAULT_SEGMENT, FS, GS };
	u32 n = 0;

	for (u32 base = 0; base <= RIP_RELATIVE; base++)
		for (u32 index = 0; index <= NO_REGISTER; index++)
			for (u32 rest = 0; rest < 4 * 2 * 3; rest++) {
				struct operand operand = operand_of_turn(n++, 64);

				if (index == 4 || (base == RIP_RELATIVE && index != NO_REGISTER))
					continue;
				operand.base = base;
				operand.index = index;
				operand.scale = rest % 4;
				operand.address_size = rest / 4 % 2 ? 32 : 64;
				operand.segment = segments[rest / 8];
				try(instruction, &operand);
			}
}

/* The eight forms of a 16-bit address and the one that is a displacement only: base, index. */
static const u8 forms_16[][2] = {
	{ 3, 6 }, { 3, 7 }, { 5, 6 }, { 5, 7 }, { 6, NO_REGISTER }, { 7, NO_REGISTER }, { 5, NO_REGISTER },
	{ 3, NO_REGISTER }, { NO_REGISTER, NO_REGISTER },
};

/* Code of 32 bits, or of 16, with addresses of both sizes, and with an operand-size prefix where it says something. */
static void try_32(const struct operand_instruction *instruction, u8 mode)
{
	u32 n = 0;

	for (u32 base = 0; base <= NO_REGISTER; base = base == 7 ? NO_REGISTER : base + 1)
		for (u32 index = 0; index <= NO_REGISTER; index = index == 7 ? NO_REGISTER : index + 1)
			for (u32 scale = 0; scale < 4 && index != 4; scale++) {
				struct operand operand = operand_of_turn(n++, mode);

				operand.address_size = 32;
				operand.base = base;
				operand.index = index;
				operand.scale = scale;
				operand.segment = n / 2 % 7;
				operand.operand_size_prefix = instruction->operand_size && n / 3 % 2;
				try(instruction, &operand);
			}
	for (u32 form = 0; form < ARRAY_SIZE(forms_16); form++)
		for (u32 rest = 0; rest < 3 * 7; rest++) {
			struct operand operand = operand_of_turn(n++, mode);

			operand.address_size = 16;
			operand.base = forms_16[form][0];
			operand.index = forms_16[form][1];
			operand.scale = 0;
			operand.displacement_size = displacement_sizes[rest % 3];
			operand.displacement = rest % 2 ? 0x1240 : -0x1240;
			operand.segment = rest / 3;
			operand.operand_size_prefix = instruction->operand_size && n % 2;
			try(instruction, &operand);
		}
}

/* Each register as the operand, and each as the second one; 66H and REX.W make it smaller and larger. */
static void try_registers(const struct operand_instruction *instruction, u8 mode)
{
	const u32 count = mode == 64 ? 16 : 8;

	for (u32 reg = 0; reg < count; reg++)
		for (u32 second = 0; second < (instruction->second ? count : 3); second++) {
			struct operand operand = operand_of_turn(0, mode);

			operand.in_register = true;
			operand.base = reg;
			operand.second = instruction->second ? second : 0;
			operand.operand_size_prefix = !instruction->second && second == 1;
			operand.rex_w = !instruction->second && second == 2 && mode == 64;
			try(instruction, &operand);
		}
}

#define FOR_EACH_OF(i, table)								\
	for (const struct operand_instruction *i = table; i < table + ARRAY_SIZE(table); i++)	\
		if (!exists(i)) { } else

static void begin(enum operand_detail detail)
{
	looking_at = detail;
	turn = 0;
	exit_on_every_instruction();
	operand_registers();
}

TEST("info.iinfo.vmread_vmwrite", "Instruction information of VMREAD and VMWRITE: both registers and the address")
{
	begin(INFORMATION);
	try_all_64(&vmread_vmwrite[0]);
	try_64(&vmread_vmwrite[1], 2);
	FOR_EACH_OF(instruction, vmread_vmwrite)
		try_registers(instruction, 64);
	guest_set_pae();
	FOR_EACH_OF(instruction, vmread_vmwrite) {
		try_32(instruction, 32);
		try_registers(instruction, 32);
	}
	exit_on_every_instruction_ends();
}

TEST("info.iinfo.vmptr", "Instruction information of VMCLEAR, VMPTRLD, VMPTRST, VMXON, XSAVES and XRSTORS: the address")
{
	begin(INFORMATION);
	FOR_EACH_OF(instruction, vmptr)
		try_64(instruction, 1);
	guest_set_pae();
	FOR_EACH_OF(instruction, vmptr)
		try_32(instruction, 32);
	exit_on_every_instruction_ends();
}

TEST("info.iinfo.inv", "Instruction information of INVEPT, INVVPID and INVPCID: the address, and the type's register",
     NEEDS(CAP_INVEPT))
{
	begin(INFORMATION);
	FOR_EACH_OF(instruction, inv)
		try_64(instruction, 2);
	guest_set_pae();
	FOR_EACH_OF(instruction, inv)
		try_32(instruction, 32);
	exit_on_every_instruction_ends();
}

TEST("info.iinfo.desc", "Instruction information of SGDT, SIDT, LGDT and LIDT: which one, and the address",
     NEEDS(PROC2_DESCRIPTOR_TABLE_EXITING))
{
	begin(INFORMATION);
	FOR_EACH_OF(instruction, gdtr_idtr)
		try_64(instruction, 1);
	guest_set_pae();
	FOR_EACH_OF(instruction, gdtr_idtr)
		try_32(instruction, 32);
	exit_on_every_instruction_ends();
}

/* With and without an operand-size prefix, by each address size and two segments. */
static void try_operand_sizes(u8 mode)
{
	FOR_EACH_OF(instruction, gdtr_idtr) {
		for (u32 n = 0; n < 8; n++) {
			struct operand operand = operand_of_turn(n, mode);

			operand.base = 3;
			operand.operand_size_prefix = n & 1;
			operand.address_size = n & 2 ? 16 : 32;
			operand.segment = n & 4 ? DEFAULT_SEGMENT : ES;
			try(instruction, &operand);
		}
	}
}

TEST("info.iinfo.desc.operand_size",
     "Bit 11 of the information of SGDT, SIDT, LGDT and LIDT is 1 for an operand size of 32 bits, 0 for 16",
     NEEDS(PROC2_DESCRIPTOR_TABLE_EXITING))
{
	begin(INFORMATION_OPERAND_SIZE);
	guest_set_compatibility();
	try_operand_sizes(32);
	guest_set_pae();
	try_operand_sizes(32);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, 0x809b);		/* CS.D = 0: 16-bit code */
	try_operand_sizes(16);
	exit_on_every_instruction_ends();
}

TEST("info.iinfo.ldt", "Instruction information of SLDT, STR, LLDT and LTR: which one, the register or the address",
     NEEDS(PROC2_DESCRIPTOR_TABLE_EXITING))
{
	begin(INFORMATION);
	FOR_EACH_OF(instruction, ldtr_tr) {
		try_64(instruction, 1);
		try_registers(instruction, 64);
	}
	guest_set_pae();
	FOR_EACH_OF(instruction, ldtr_tr) {
		try_32(instruction, 32);
		try_registers(instruction, 32);
	}
	exit_on_every_instruction_ends();
}

TEST("info.qual.displacement",
     "The qualification is the displacement, sign-extended; RIP-relative, with the next instruction's RIP added")
{
	begin(DISPLACEMENT);
	FOR_EACH_OF(instruction, vmread_vmwrite)
		try_64(instruction, 1);
	FOR_EACH_OF(instruction, vmptr)
		try_64(instruction, 1);
	FOR_EACH_OF(instruction, inv)
		try_64(instruction, 1);
	FOR_EACH_OF(instruction, gdtr_idtr)
		try_64(instruction, 1);
	FOR_EACH_OF(instruction, ldtr_tr)
		try_64(instruction, 1);
	guest_set_pae();
	FOR_EACH_OF(instruction, vmread_vmwrite)
		try_32(instruction, 32);
	FOR_EACH_OF(instruction, gdtr_idtr)
		try_32(instruction, 32);
	exit_on_every_instruction_ends();
}

/*
 * Decode more instructions with a displacement than any store of decoded ones holds (Bochs' has room for 589,824): a
 * register operand must not show what was left of another's. They are decoded anew when their cache line changes.
 */
static void decode_displacements(void)
{
	static const u8 lea[] = { 0x8d, 0x80, 0x01, 0xca, 0xfe, 0x5a };	/* LEA EAX, [RAX + 5AFECA01H] */
	enum { COUNT = (PAGE_SIZE - 1) / sizeof(lea), LINE = 64 };
	u8 *const page = page_alloc();

	for (u32 i = 0; i < COUNT; i++)
		memcpy(page + i * sizeof(lea), lea, sizeof(lea));
	page[COUNT * sizeof(lea)] = 0xc3;
	for (u32 decoded = 0; decoded < 600000; decoded += COUNT) {
		for (u32 i = 0; i < COUNT; i += LINE / sizeof(lea))
			page[i * sizeof(lea) + 2]++;
		asm volatile("call *%0" : : "r"(page) : "rax", "memory", "cc");
	}
}

static void try_all_registers(u8 mode)
{
	FOR_EACH_OF(instruction, vmread_vmwrite)
		try_registers(instruction, mode);
	FOR_EACH_OF(instruction, ldtr_tr)
		try_registers(instruction, mode);
}

TEST("info.qual.register", "The qualification is 0 for an operand in a register, whatever was decoded before")
{
	begin(DISPLACEMENT);
	decode_displacements();
	try_all_registers(64);
	guest_set_pae();
	try_all_registers(32);
	exit_on_every_instruction_ends();
}

/* RDRAND and RDSEED have registers only: which one, and how many bits of it. */
static const struct operand_instruction random_numbers[] = {
	INSTRUCTION("RDRAND", 0, EXIT_RDRAND, PROC2_RDRAND_EXITING, OPCODE(0x0f, 0xc7), .digit = 6),
	INSTRUCTION("RDSEED", 0, EXIT_RDSEED, PROC2_RDSEED_EXITING, OPCODE(0x0f, 0xc7), .digit = 7),
};

enum { RANDOM_REGISTER = 15 << 3, RANDOM_SIZE = 3 << 11 };

static void try_random(const struct operand_instruction *instruction, u8 mode, u32 mask)
{
	for (u32 reg = 0; reg < (mode == 64 ? 16 : 8); reg++)
		for (u32 size = 0; size < (mode == 64 ? 4 : 2); size++) {
			const struct operand operand = {
				.mode = mode, .address_size = mode, .in_register = true, .base = reg,
				.index = NO_REGISTER, .segment = DEFAULT_SEGMENT, .operand_size_prefix = size & 1,
				.rex_w = size >> 1,
			};
			const u32 bits = size >> 1 ? 2 : size ? 0 : 1;		/* 64, 16, 32; REX.W beats 66H */

			CASE("%s, register %u, 66H %u, REX.W %u", instruction->text, reg, size & 1, size >> 1);
			operand_run(instruction, &operand);
			expect_operand(DISPLACEMENT, instruction, &operand);	/* 0 */
			expect_bits(vmcs_read(EXIT_INSTRUCTION_INFORMATION), mask, (reg << 3 | bits << 11) & mask);
		}
}

static void check_random(u32 mask)
{
	begin(INFORMATION);
	FOR_EACH_OF(instruction, random_numbers)
		try_random(instruction, 64, mask);
	guest_set_pae();
	FOR_EACH_OF(instruction, random_numbers)
		try_random(instruction, 32, mask);
	exit_on_every_instruction_ends();
}

TEST("info.iinfo.rdrand", "Instruction information of RDRAND and RDSEED: the register", NEEDS(PROC2_RDRAND_EXITING))
{
	check_random(RANDOM_REGISTER);
}

TEST("info.iinfo.rdrand.operand_size", "Bits 12:11 of the information of RDRAND and RDSEED say 16, 32 or 64 bits",
     NEEDS(PROC2_RDRAND_EXITING))
{
	check_random(RANDOM_SIZE);
}
