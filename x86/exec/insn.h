/* SPDX-License-Identifier: BSD-2-Clause */
/* One instruction as a guest: what its exit must say, and how to run it. */
#pragma once

#include "vmx/modes.h"
#include "vmxtest/vmxtest.h"

struct instruction {
	const char *text;
	u8 bytes[10];
	u8 length;
	u32 reason;
	u64 qualification;
};

#define BYTES(...) .bytes = { __VA_ARGS__ }, .length = sizeof((const u8[]){ __VA_ARGS__ })

/*
 * Run the instruction as a guest, which ends behind it. Memory operands of the
 * tables here are (%rax): RAX points to a page that the test does not use else.
 */
void instruction_run(const struct instruction *instruction);

/* Where it is: RIP of its exit. */
extern u8 instruction_code[];

/* The last entry exited because of this instruction, which changed nothing. */
#define expect_instruction_exit(instruction) check_instruction_exit(HERE, instruction)
bool check_instruction_exit(const char *file, u32 line, const struct instruction *instruction);

/* Its operand in memory, and what every byte of it is before each run. */
extern u8 instruction_operand[PAGE_SIZE];
enum { OPERAND_BYTE = 0x5a };
