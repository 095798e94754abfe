/* SPDX-License-Identifier: BSD-2-Clause */
/* RDMSR and WRMSR as guests, and the MSRs that a test may write. */
#pragma once

#include "vmxtest/vmxtest.h"

/* ECX and EDX:EAX come from guest.regs; what RDMSR returns goes to R8 (low) and R9 (high). */
void msr_guest_reads(void);
void msr_guest_writes(void);
extern const u8 msr_read_instruction[], msr_write_instruction[];

/* #GP exits too, so that it can be told from an exit due to the instruction. */
void msr_trap_faults(void);

/* Run the guest with one RDMSR or WRMSR. */
void msr_read(u32 msr);
void msr_write(u32 msr, u64 value);
void msr_access(enum msr_access access, u32 msr, u64 value);

#define expect_msr_exit(access)							\
	expect_exit((access) == MSR_READ ? EXIT_RDMSR : EXIT_WRMSR,		\
		    .qualification = 0, .instruction_length = 2,		\
		    .rip = (u64)((access) == MSR_READ ? msr_read_instruction : msr_write_instruction))

/* The instruction did not exit: it was done, or raised #GP(0). */
#define expect_msr_passed() check_msr_passed(HERE)
bool check_msr_passed(const char *file, u32 line);

/* RDMSR in the host; false: it faults. */
bool msr_value(u32 msr, u64 *value);

/*
 * MSRs whose value a guest may change for a while: they are in no VMCS, a processor
 * with 64-bit mode has them, and nothing in this suite uses them.
 */
struct scratch_msr {
	u32 msr;
	u64 value;	/* a telling one to write, and another */
	u64 other;
	const char *text;
};
enum { SCRATCH_MSRS = 5 };
extern const struct scratch_msr scratch_msrs[SCRATCH_MSRS];
