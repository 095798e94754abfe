/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every instruction must still do when it completes, whoever carries it out: those that a hypervisor
 * emulates, in a table, each behind nothing, behind STI and behind MOV SS.
 */
#pragma once

#include "debug.h"

/* What its memory operand is: an image of a descriptor-table register, the machine status word, or bytes. */
enum operand { NO_OPERAND, BYTES_IN, BYTES_OUT, GDTR_IN, IDTR_IN, MSW_IN, NULL_IN, INVPCID_IN };

struct ending {
	const char *text;
	const u8 *code, *behind;		/* the instruction alone */
	const u8 *sti, *sti_behind;		/* STI and the instruction */
	const u8 *ss, *ss_behind;		/* MOV SS and the instruction */
	u32 feature;				/* 0: always there */
	enum operand operand;			/* at (RSI), (RDI) */
	enum { ANY, HALTS, SETS_FLAGS, REPEATS_NEVER } kind;
	u64 (*rax)(void);			/* NULL: 0 */
	u32 ecx, edx;
};

extern const struct ending endings[];
extern const u32 ending_count;

/* Begin a test: CR4.OSXSAVE, CR4.DE where they are; and end it. */
void endings_begin(void);
void endings_end(void);

/* Prepare operand and registers; false: not on this processor. */
bool ending_prepare(const struct ending *e);

/* Jump to the code by IRETQ with these RFLAGS, and come back behind a NOP that follows the instruction. */
struct fault ending_run(const u8 *code, u64 rflags);

#define FOR_EACH_ENDING(e)	for (const struct ending *e = endings; e < endings + ending_count; e++) \
	if (!ending_prepare(e)) {} else

/* Copy the operand that ending_prepare() has made; the address that the instruction gets. */
void ending_copy_operand(void *to);
void ending_operand_at(u64 address);

extern u8 ending_operand[16];
extern volatile u64 ending_flags;		/* RFLAGS as they were behind the NOP */
