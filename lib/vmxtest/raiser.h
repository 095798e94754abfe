/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests that raise one exception each, for every vector that an instruction can raise (SDM Vol. 3A, "Exceptions"),
 * and what must be said of it.
 */
#pragma once

#include "vmx/modes.h"
#include "vmxtest/vmxtest.h"

enum {
	HARDWARE = INTERRUPTION_TYPE_HARDWARE,
	HARDWARE_CODE = INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE,
	SOFTWARE = INTERRUPTION_TYPE_SOFTWARE_EXCEPTION,
	PRIVILEGED = INTERRUPTION_TYPE_PRIVILEGED,
};

struct raiser {
	void (*function)(void);
	const u8 *at;			/* saved RIP: the instruction, but of a single step the one behind it */
	u8 vector;
	u32 type;			/* and bit 11: an error code */
	u32 error_code;
	u32 length;			/* of the instruction, where the exit must report it */
	u32 cpl;
	u64 cr0;			/* bits beside the baseline's */
	u32 tr_limit;			/* 0: the baseline's */
};

extern const struct raiser raisers[];
extern const size_t raiser_count;
#define FOR_EACH_RAISER(raiser) for (const struct raiser *raiser = raisers; raiser < raisers + raiser_count; raiser++)

/* Before the first one, and behind the last: pages for CPL 3, a spare descriptor, DR6, the FPU's state. */
void raisers_begin(void);
void raisers_end(void);

/* Run the code from the baseline's state, whatever the last guest has left, with this exception bitmap. */
void raise(const struct raiser *raiser, u64 bitmap);

/* 32-bit code in compatibility mode, and back. */
#define IN_COMPATIBILITY_MODE(text)							\
	"pushq $0x30; lea 7f(%rip), %rax; push %rax; lretq; 7: .code32; " text	\
	"; ljmp $8, $8f; .code64; 8: ret"

/* Two of them, and the two numbers that BOUND compares with: 0 and 4. */
void raise_bp(void);
void raise_ud(void);
extern const u8 bp_at[], ud_at[], bounds[];
