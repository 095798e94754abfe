/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions with an operand in memory or in a register, encoded for any address form, and what their exits say
 * of it (SDM Vol. 3C, "Format of the VM-Exit Instruction-Information Field").
 */
#pragma once

#include "vmx/modes.h"
#include "vmxtest/vmxtest.h"


struct operand_instruction {
	const char *text;
	u8 prefix;			/* mandatory: 66H, F3H; 0: none */
	u8 opcode[3], opcode_length;
	u8 digit;			/* ModRM.reg, unless it is a register of its own (second) */
	bool second;			/* ModRM.reg is a register: bits 31:28 */
	bool identity;			/* bits 29:28 */
	bool operand_size;		/* bit 11 */
	bool may_be_register;		/* bit 10 can be 1 */
	u8 identity_value;
	u32 reason;
	u32 need;
};

enum segment_override { ES, CS, SS, DS, FS, GS, DEFAULT_SEGMENT };
enum { NO_REGISTER = 16, RIP_RELATIVE = 17 };

struct operand {
	u8 mode;			/* of the code: 64, 32 or 16 bits */
	u8 address_size;		/* 64, 32 or 16: by prefix 67H where it is not the mode's */
	bool in_register;		/* the operand is the register base */
	u8 base, index, scale;		/* registers by their encoding; scale 0-3 */
	u8 displacement_size;		/* bytes: 0, 1, or 4 (2 in 16-bit addresses); made larger where it must be */
	bool sib;			/* a SIB byte even where none is needed */
	int32_t displacement;
	enum segment_override segment;
	u8 second;			/* the other register */
	bool operand_size_prefix;	/* 66H */
	bool rex_w;
};

/* Guest registers that make every address canonical; RAX has the bits 29:6 as mask for XSAVES. */
void operand_registers(void);

/* Run it. The guest's mode is the caller's. */
void operand_run(const struct operand_instruction *instruction, const struct operand *operand);

/* What the last operand_run must have reported, besides the instruction's length and RIP. */
enum operand_detail {
	INFORMATION,			/* instruction information but the operand size */
	INFORMATION_OPERAND_SIZE,
	DISPLACEMENT,			/* in the qualification */
};
#define expect_operand(detail, instruction, operand) check_operand(HERE, detail, instruction, operand)
bool check_operand(const char *file, u32 line, enum operand_detail detail,
		   const struct operand_instruction *instruction, const struct operand *operand);
