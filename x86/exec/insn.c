/* SPDX-License-Identifier: BSD-2-Clause */
#include "insn.h"

#include "libc/printf.h"
#include "libc/string.h"

u8 instruction_code[32] ALIGNED(16);
u8 instruction_operand[PAGE_SIZE] ALIGNED(4096);

/* A telling value for each register that a test has not set. */
static struct guest_registers registers_before;

/* mov $GUEST_DONE, %eax; vmcall: needs no stack, should a broken processor do what changes RSP. */
static const u8 end[] = { 0xb8, 0x0d, 0x60, 0x0d, 0x60, 0x0f, 0x01, 0xc1 };

void instruction_run(const struct instruction *instruction)
{
	memset(instruction_operand, OPERAND_BYTE, PAGE_SIZE);
	memcpy(instruction_code, instruction->bytes, instruction->length);
	memcpy(instruction_code + instruction->length, end, sizeof(end));
	guest.regs.rdi = (u64)instruction_code;
	registers_before = guest.regs;
	guest_run((void (*)(void))instruction_code);
}

static bool check_registers_unchanged(const char *file, u32 line)
{
	static const char *const names[] = { "RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RBP", "R8", "R9", "R10", "R11", "R12", "R13",
					     "R14", "R15" };
	const u64 *const before = (const u64 *)&registers_before, *const now = (const u64 *)&guest.regs;
	char wanted[48], found[32];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (now[i] == before[i])
			continue;
		snprintf(wanted, sizeof(wanted), "%s is still %#lx", names[i], before[i]);
		snprintf(found, sizeof(found), "%#lx", now[i]);
		return check_failed(file, line, "the general registers are as before the instruction", wanted, found);
	}
	check_passed();
	return true;
}

bool check_instruction_exit(const char *file, u32 line, const struct instruction *instruction)
{
	const struct expected_exit expected = {
		.qualification = instruction->qualification, .instruction_length = instruction->length,
		.interruption = NOT_LOOKED_AT, .interruption_error = NOT_LOOKED_AT, .idt_vectoring = NOT_LOOKED_AT,
		.linear = NOT_LOOKED_AT, .physical = NOT_LOOKED_AT, .rip = (u64)instruction_code,
		.instruction_information = NOT_LOOKED_AT,
	};
	bool passed = check_exit(file, line, instruction->reason, &expected);

	passed &= check_registers_unchanged(file, line);
	return check_filled(file, line, "the operand in memory is as before the instruction", instruction_operand, 0, 256,
			    OPERAND_BYTE) && passed;
}
