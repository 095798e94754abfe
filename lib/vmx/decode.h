/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of the numbers that VMX reports, and their print for people. */
#pragma once

#include "libc/types.h"
#include "vmx/outcome.h"

enum exit_reason {
#define EXIT(number, name, text) name = (number),
#include "vmx/exits.def"
};

enum vm_error {
#define VMERR(number, name, text) name = (number),
#include "vmx/errors.def"
};

/* Guest interruptibility state (SDM Vol. 3C, "Guest Non-Register State"). */
enum {
	INTERRUPTIBILITY_STI = BIT(0), INTERRUPTIBILITY_MOV_SS = BIT(1), INTERRUPTIBILITY_SMI = BIT(2),
	INTERRUPTIBILITY_NMI = BIT(3), INTERRUPTIBILITY_ENCLAVE = BIT(4),
};

enum { ACTIVITY_ACTIVE, ACTIVITY_HLT, ACTIVITY_SHUTDOWN, ACTIVITY_WAIT_FOR_SIPI };

/* Bits and types of the interruption-information fields, entry and exit. */
enum {
	INTERRUPTION_TYPE_EXTERNAL = 0 << 8, INTERRUPTION_TYPE_NMI = 2 << 8, INTERRUPTION_TYPE_HARDWARE = 3 << 8,
	INTERRUPTION_TYPE_SOFTWARE_INTERRUPT = 4 << 8, INTERRUPTION_TYPE_PRIVILEGED = 5 << 8,
	INTERRUPTION_TYPE_SOFTWARE_EXCEPTION = 6 << 8, INTERRUPTION_TYPE_OTHER = 7 << 8,
	INTERRUPTION_TYPE_MASK = 7 << 8, INTERRUPTION_ERROR_CODE = 1 << 11,
	INTERRUPTION_NMI_UNBLOCKING = 1 << 12,	/* undefined in some cases: see the manual before comparing */
};
#define INTERRUPTION_VALID BIT(31)

/* "RDTSC"; "reserved" for a number that the manual does not use. */
const char *exit_reason_name(u32 basic_reason);
const char *vm_error_name(u32 error);

/* The last exit or failed entry of the current VMCS as a YAML flow mapping. */
void exit_describe(char *to, size_t size, const struct outcome *outcome);
