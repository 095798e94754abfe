/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What came of a VMX instruction: one value for success, both kinds of VMfail, an
 * exception of the instruction itself, a failed VM entry, and a VM exit (SDM Vol.
 * 3C, "VMX Instruction Reference", "Conventions"; "VM-Entry Failures").
 */
#pragma once

#include "libc/types.h"

enum outcome_kind {
	OUTCOME_NONE,		/* nothing was executed yet */
	OUTCOME_SUCCEED,	/* VMsucceed */
	OUTCOME_FAIL_INVALID,	/* VMfailInvalid */
	OUTCOME_FAIL_VALID,	/* VMfailValid(number) */
	OUTCOME_FAULT,		/* vector, number = error code */
	OUTCOME_ENTRY_FAILURE,	/* number = exit reason without bit 31, qualification */
	OUTCOME_EXIT,		/* number = exit reason, qualification */
	OUTCOME_ACCEPTED,	/* the checks on controls and host state found nothing; the guest state was not to pass */
};

struct outcome {
	enum outcome_kind kind;
	u32 number;
	u8 vector;
	u64 qualification;
};

/* Outcomes to compare with. */
#define SUCCEED			((struct outcome){ .kind = OUTCOME_SUCCEED })
#define FAIL_INVALID		((struct outcome){ .kind = OUTCOME_FAIL_INVALID })
#define FAIL_VALID(error)	((struct outcome){ .kind = OUTCOME_FAIL_VALID, .number = (error) })
#define FAULTS(vector_, code)	((struct outcome){ .kind = OUTCOME_FAULT, .vector = (vector_), .number = (code) })
#define ENTRY_FAILS(reason, q)	((struct outcome){ .kind = OUTCOME_ENTRY_FAILURE, .number = (reason), .qualification = (q) })
#define ACCEPTED		((struct outcome){ .kind = OUTCOME_ACCEPTED })
#define EXITS(reason)		((struct outcome){ .kind = OUTCOME_EXIT, .number = (reason) })

/* The same kind and all that this kind has; the qualification of an exit is not compared. */
bool outcome_equal(const struct outcome *a, const struct outcome *b);

/* "VMfailValid(7: VM entry with invalid control field(s))", "exit 16 RDTSC" ... */
void outcome_format(char *to, size_t size, const struct outcome *outcome);
