/* SPDX-License-Identifier: BSD-2-Clause */
#include "info_operand.h"

#include "libc/string.h"

/* Bits of the instruction information. */
enum {
	ADDRESS_SIZE = 7 << 7, IN_REGISTER = 1 << 10, OPERAND_SIZE = 1 << 11, SEGMENT = 7 << 15,
	INDEX = 15 << 18, NO_INDEX = 1 << 22, BASE = 15 << 23, NO_BASE = 1 << 27, IDENTITY = 3 << 28, SCALE = 3,
};
#define SECOND (15u << 28)

static u8 code[32];
static u32 code_length;

static void emit(u8 byte)
{
	code[code_length++] = byte;
}

static void emit_displacement(int32_t displacement, u32 size)
{
	for (u32 i = 0; i < size; i++)
		emit(displacement >> 8 * i);
}

static bool is_register(u8 number)
{
	return number < NO_REGISTER;
}

static u32 displacement_size_of(const struct operand *operand)
{
	if (operand->address_size == 16)
		return operand->base == NO_REGISTER ? 2 : operand->displacement_size > 1 ? 2 :
		       operand->base == 5 && operand->index == NO_REGISTER ? 1 : operand->displacement_size;
	if (!is_register(operand->base))
		return 4;
	if (!operand->displacement_size && operand->base % 8 == 5)
		return 1;		/* mod 0 with RBP or R13 means something else */
	return operand->displacement_size;
}

/* ModRM.rm of a 16-bit address: BX+SI, BX+DI, BP+SI, BP+DI, SI, DI, BP, BX. */
static u8 rm_16(const struct operand *operand)
{
	if (operand->index != NO_REGISTER)
		return (operand->base == 3 ? 0 : 2) + operand->index - 6;
	return operand->base == 6 ? 4 : operand->base == 7 ? 5 : operand->base == 3 ? 7 : 6;
}

static void emit_operand(const struct operand *operand, u8 reg)
{
	const u32 size = displacement_size_of(operand);
	const u8 mod = is_register(operand->base) ? (size == 0 ? 0 : size == 1 ? 1 : 2) : 0;
	const u8 middle = reg % 8 << 3;

	if (operand->in_register) {
		emit(3 << 6 | middle | operand->base % 8);
		return;
	}
	if (operand->address_size == 16) {
		emit(mod << 6 | middle | rm_16(operand));
	} else if (operand->base == RIP_RELATIVE) {
		emit(middle | 5);
	} else if (operand->sib || operand->index != NO_REGISTER || operand->base % 8 == 4 ||
		   (operand->base == NO_REGISTER && operand->mode == 64)) {
		emit(mod << 6 | middle | 4);
		emit(operand->scale << 6 | (is_register(operand->index) ? operand->index % 8 : 4) << 3 |
		     (is_register(operand->base) ? operand->base % 8 : 5));
	} else {
		emit(mod << 6 | middle | (is_register(operand->base) ? operand->base % 8 : 5));
	}
	emit_displacement(operand->displacement, size);
}

static void encode(const struct operand_instruction *instruction, const struct operand *operand)
{
	static const u8 segment_prefixes[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	const u8 reg = instruction->second ? operand->second : instruction->digit;
	const u8 rex = 0x40 | operand->rex_w << 3 | (reg >> 3 & 1) << 2 |
		       (is_register(operand->index) && operand->index > 7) << 1 |
		       (is_register(operand->base) && operand->base > 7);

	code_length = 0;
	if (operand->segment != DEFAULT_SEGMENT)
		emit(segment_prefixes[operand->segment]);
	if (operand->address_size != operand->mode)
		emit(0x67);
	if (instruction->prefix)
		emit(instruction->prefix);
	if (operand->operand_size_prefix)
		emit(0x66);
	if (rex != 0x40)
		emit(rex);
	for (u32 i = 0; i < instruction->opcode_length; i++)
		emit(instruction->opcode[i]);
	emit_operand(operand, reg);
	code[code_length] = 0x0f;		/* UD2 */
	code[code_length + 1] = 0x0b;
}

void operand_registers(void)
{
	u64 *const registers = (u64 *)&guest.regs;

	for (u32 i = 0; i < sizeof(guest.regs) / sizeof(u64); i++)
		registers[i] = 0x30000000 + i * 0x01000440;
	guest.regs.rax = 0x3fffffc0;
}

void operand_run(const struct operand_instruction *instruction, const struct operand *operand)
{
	encode(instruction, operand);
	guest_run_at(code);
}

/* The default segment is SS where the base is RSP or RBP. */
static enum segment_override segment_of(const struct operand *operand)
{
	if (operand->segment != DEFAULT_SEGMENT)
		return operand->segment;
	return operand->base == 4 || operand->base == 5 ? SS : DS;
}

/* What the information must be, and which bits of it the manual defines. */
static u32 information_of(const struct operand_instruction *instruction, const struct operand *operand, u32 *mask)
{
	const u32 address_size = operand->address_size / 32;		/* 16, 32, 64: 0, 1, 2 */
	u32 information = 0;

	*mask = IN_REGISTER;
	if (instruction->second) {
		*mask |= SECOND;
		information |= (u32)operand->second << 28;
	}
	if (instruction->identity) {
		*mask |= IDENTITY;
		information |= (u32)instruction->identity_value << 28;
	}
	if (operand->in_register) {
		*mask |= 15 << 3;
		return information | IN_REGISTER | operand->base << 3;
	}
	*mask |= ADDRESS_SIZE | SEGMENT | NO_INDEX | NO_BASE;
	information |= address_size << 7 | segment_of(operand) << 15;
	if (operand->index == NO_REGISTER) {
		information |= NO_INDEX;
	} else {
		*mask |= INDEX | SCALE;
		information |= operand->index << 18 | operand->scale;
	}
	if (!is_register(operand->base)) {
		information |= NO_BASE;
	} else {
		*mask |= BASE;
		information |= operand->base << 23;
	}
	return information;
}

/* [SI] and its like are one register: whether it is the base or the index, the manual leaves open. */
static u32 one_register_as_base(u32 information)
{
	if ((information & (NO_BASE | NO_INDEX)) != NO_BASE)
		return information;
	return (information & ~(u32)(NO_BASE | BASE | INDEX)) | NO_INDEX | (information & INDEX) << 5;
}

static u64 displacement_of(const struct operand *operand)
{
	const u64 next_rip = operand->base == RIP_RELATIVE ? (u64)code + code_length : 0;

	if (operand->in_register)
		return 0;
	switch (displacement_size_of(operand)) {
	case 0:
		return 0;
	case 1:
		return (int8_t)operand->displacement;
	case 2:
		return (int16_t)operand->displacement;
	default:
		return (s64)operand->displacement + next_rip;
	}
}

bool check_operand(const char *file, u32 line, enum operand_detail detail,
		   const struct operand_instruction *instruction, const struct operand *operand)
{
	/* What is above the address size is undefined. */
	const u64 address_mask = operand->address_size == 64 ? ~0ull : BIT(operand->address_size) - 1;
	struct expected_exit expected;
	u32 mask, information, wanted;

	for (size_t i = 0; i < sizeof(expected) / sizeof(u64); i++)
		((u64 *)&expected)[i] = NOT_LOOKED_AT;
	expected.rip = (u64)code;
	expected.instruction_length = code_length;
	if (!check_exit(file, line, instruction->reason, &expected))
		return false;
	if (detail == DISPLACEMENT)
		return check_bits(file, line, "exit qualification", vmcs_read(EXIT_QUALIFICATION), address_mask,
				  displacement_of(operand) & address_mask);
	information = vmcs_read(EXIT_INSTRUCTION_INFORMATION);
	if (detail == INFORMATION_OPERAND_SIZE)
		return check_bits(file, line, "instruction information", information, OPERAND_SIZE,
				  (operand->mode == 32) != operand->operand_size_prefix ? OPERAND_SIZE : 0);
	if (operand->address_size == 16)
		information = one_register_as_base(information);
	wanted = information_of(instruction, operand, &mask);
	return check_bits(file, line, "instruction information", information, mask, wanted);
}
