/* SPDX-License-Identifier: BSD-2-Clause */
/* Every instruction that can exit as a fault does, byte by byte, and what its exit must say. */
#pragma once

#include "vmxtest/vmxtest.h"

enum { MAX_INSTRUCTION_LENGTH = 15 };

struct exiting_instruction {
	const char *text;
	u8 bytes[10];
	u8 length;
	u32 reason;
	u32 need;		/* a control or feature; 0: every processor has it */
	u64 qualification;	/* ANY_QUALIFICATION: its own tests look at it */
};
#define ANY_QUALIFICATION 0x5eb1d0ff5eb1d0ffull	/* NOT_LOOKED_AT */

extern const struct exiting_instruction exiting_instructions[];
extern const size_t exiting_instruction_count;

/* Those that this processor has. */
#define FOR_EACH_EXITING_INSTRUCTION(i)								\
	for (const struct exiting_instruction *i = exiting_instructions;			\
	     i < exiting_instructions + exiting_instruction_count; i++)				\
		if (!exiting_instruction_exists(i)) { } else
bool exiting_instruction_exists(const struct exiting_instruction *instruction);

/* Every control that makes an instruction exit, and the guest state that they need. XSAVES needs a bit of IA32_XSS. */
void exit_on_every_instruction(void);
void exit_on_every_instruction_ends(void);

/*
 * Run the instruction as a guest, with these bytes before its own; behind it is UD2. RBX, RSI and RDI point to a page
 * that nothing else uses, RCX and RDX are 0.
 */
struct outcome run_instruction(const struct exiting_instruction *instruction, const u8 *prefixes, size_t count);
extern u8 exiting_code[MAX_INSTRUCTION_LENGTH + 2];

/* Does VMCS field EXIT_REASON hold this number and nothing else? */
#define expect_reason_only(reason) expect_eq(vmcs_read(EXIT_REASON), reason)
