/* SPDX-License-Identifier: BSD-2-Clause */
#include "msr.h"

GUEST_ASM(msr_guest_reads,
	  ".globl msr_read_instruction\n"
	  "msr_read_instruction: rdmsr\n\t"
	  "mov %rax, %r8; mov %rdx, %r9; ret");
GUEST_ASM(msr_guest_writes,
	  ".globl msr_write_instruction\n"
	  "msr_write_instruction: wrmsr; ret");

const struct scratch_msr scratch_msrs[SCRATCH_MSRS] = {
	{ IA32_STAR, 0x89abcdef00000000, 0x0123456700000000, "IA32_STAR" },	/* bits 31:0 are reserved */
	{ IA32_LSTAR, 0xffff8123456789ab, 0x0000000022b3c4d5, "IA32_LSTAR" },
	{ IA32_CSTAR, 0x00007654321fedcb, 0xffffffff990ff6e5, "IA32_CSTAR" },
	{ IA32_FMASK, 0x0000000089abcdef, 0x0000000044d5e6f7, "IA32_FMASK" },
	{ IA32_KERNEL_GS_BASE, 0xffffa5a51234c3c3, 0x00000000091a61e1, "IA32_KERNEL_GS_BASE" },
};

void msr_trap_faults(void)
{
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_GP));
}

void msr_read(u32 msr)
{
	msr_access(MSR_READ, msr, 0);
}

void msr_write(u32 msr, u64 value)
{
	msr_access(MSR_WRITE, msr, value);
}

void msr_access(enum msr_access access, u32 msr, u64 value)
{
	guest.regs.rcx = msr;
	guest.regs.rax = (u32)value;
	guest.regs.rdx = value >> 32;
	guest_run(access == MSR_READ ? msr_guest_reads : msr_guest_writes);
}

bool check_msr_passed(const char *file, u32 line)
{
	const u32 general_protection =
		INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE | VECTOR_GP;

	if (guest.outcome.kind == OUTCOME_EXIT && guest.outcome.number == EXIT_EXCEPTION_OR_NMI &&
	    vmcs_read(EXIT_INTERRUPTION_INFORMATION) == general_protection)
		return check_equal(file, line, "the error code of #GP", vmcs_read(EXIT_INTERRUPTION_ERROR_CODE), 0);
	return check_guest_done(file, line);
}

bool msr_value(u32 msr, u64 *value)
{
	volatile u64 read = 0;
	const struct fault fault = TRY(read = rdmsr(msr));

	*value = read;
	return !fault.raised;
}
