/* SPDX-License-Identifier: BSD-2-Clause */
/* The time-stamp counter in VMX non-root operation. */
#include "vmxtest/vmxtest.h"

static struct {
	u64 tsc;
} shared;

static void guest_reads_tsc(void)
{
	shared.tsc = rdtsc();
}

TEST("exit.rdtsc.offset", "RDTSC returns TSC + TSC offset", NEEDS(PROC_USE_TSC_OFFSETTING))
{
	const u64 offset = 1ull << 40;
	u64 before, after;

	vmcs_set_controls(PROC_USE_TSC_OFFSETTING);
	vmcs_write(TSC_OFFSET, offset);

	before = rdtsc();
	guest_run(guest_reads_tsc);
	after = rdtsc();

	expect_guest_done();
	expect_between(before + offset, shared.tsc, after + offset);
}

TEST("exit.rdtsc.exiting", "RDTSC exits when RDTSC exiting is 1", NEEDS(PROC_RDTSC_EXITING))
{
	vmcs_set_controls(PROC_RDTSC_EXITING);
	guest_run(guest_reads_tsc);
	expect_exit(EXIT_RDTSC, .qualification = 0, .instruction_length = 2);
}
