/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's registers, the end of an instruction that was emulated, and exceptions for the guest. */
#include "vmxtest/under.h"

enum { GPR_RSP = 4 };
enum { DEBUG_STEP = BIT(14), DEBUG_ENABLED_BREAKPOINT = BIT(12), DEBUGCTL_LBR = BIT(0), DEBUGCTL_BTF = BIT(1) };
enum { DR7_GD = BIT(13) };

static u64 met_conditions;	/* by the instruction that is being emulated: pending debug exceptions */

static u64 *gpr(u32 number)
{
	static const u8 order[] = {	/* the manual's numbers to places in struct guest_registers */
		0, 2, 3, 1, 0xff, 6, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14,
	};

	return (u64 *)&guest.regs + order[number];
}

u64 under_gpr(u32 number)
{
	return number == GPR_RSP ? vmcs_read(GUEST_RSP) : *gpr(number);
}

void under_set_gpr(u32 number, u64 value)
{
	if (number == GPR_RSP)
		vmcs_write(GUEST_RSP, value);
	else
		*gpr(number) = value;
}

u64 under_edx_eax(void)
{
	return guest.regs.rdx << 32 | (u32)guest.regs.rax;
}

void under_set_edx_eax(u64 value)
{
	guest.regs.rax = (u32)value;
	guest.regs.rdx = value >> 32;
}

u32 under_cpl(void)
{
	return vmcs_read(GUEST_SS_ACCESS_RIGHTS) >> 5 & 3;
}

bool under_in_64bit_mode(void)
{
	return vmcs_read(GUEST_CS_ACCESS_RIGHTS) & BIT(13);
}

u64 under_cr0(void)
{
	const u64 mask = vmcs_read(CR0_GUEST_HOST_MASK);

	return (vmcs_read(CR0_READ_SHADOW) & mask) | (vmcs_read(GUEST_CR0) & ~mask);
}

u64 under_cr4(void)
{
	const u64 mask = vmcs_read(CR4_GUEST_HOST_MASK);

	return (vmcs_read(CR4_READ_SHADOW) & mask) | (vmcs_read(GUEST_CR4) & ~mask);
}

void under_retire_step(void)
{
	const u64 rflags = vmcs_read(GUEST_RFLAGS);
	const u64 blocking = vmcs_read(GUEST_INTERRUPTIBILITY_STATE);
	u64 pending = vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS) | met_conditions;

	if (rflags & RFLAGS_TF && !(vmcs_read(GUEST_IA32_DEBUGCTL) & DEBUGCTL_BTF))
		pending |= DEBUG_STEP;
	met_conditions = 0;
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, pending);
	vmcs_write(GUEST_RFLAGS, rflags & ~(u64)RFLAGS_RF);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, blocking & ~(u64)(INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS));
}

void under_retire(void)
{
	vmcs_write(GUEST_RIP, vmcs_read(GUEST_RIP) + vmcs_read(EXIT_INSTRUCTION_LENGTH));
	under_retire_step();
}

void under_note_breakpoints(u64 address, u32 size, bool write, bool io)
{
	const u64 dr7 = vmcs_read(GUEST_DR7);
	const u64 starts[] = { read_dr0(), read_dr1(), read_dr2(), read_dr3() };

	for (u32 i = 0; i < ARRAY_SIZE(starts); i++) {
		const u32 kind = dr7 >> (16 + 4 * i) & 3, code = dr7 >> (18 + 4 * i) & 3;
		const u32 length = code == 2 ? 8 : code + 1;
		const u64 start = starts[i] & ~(u64)(length - 1);
		const bool armed = io ? kind == BREAK_ON_IO && under_cr4() & CR4_DE :
				   kind == BREAK_ON_ACCESS || (write && kind == BREAK_ON_WRITE);

		if (!armed || address + size <= start || address >= start + length)
			continue;
		met_conditions |= BIT(i);
		if (dr7 >> 2 * i & 3)
			met_conditions |= DEBUG_ENABLED_BREAKPOINT;
	}
	if (!(met_conditions & DEBUG_ENABLED_BREAKPOINT))
		met_conditions = 0;
}

/* The saved RFLAGS of a fault has RF = 1, and injection saves RFLAGS as it finds it; with #DB RF is what it was. */
static void inject(u32 information, u32 error_code)
{
	met_conditions = 0;
	if ((u8)information != VECTOR_DB)
		vmcs_write(GUEST_RFLAGS, vmcs_read(GUEST_RFLAGS) | RFLAGS_RF);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | information);
	vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, error_code);
}

void under_inject(u8 vector)
{
	inject(vector, 0);
}

void under_inject_code(u8 vector, u32 error_code)
{
	inject(INTERRUPTION_ERROR_CODE | vector, error_code);
}

void under_inject_page_fault(u64 linear, u32 error_code)
{
	write_cr2(linear);
	under_inject_code(VECTOR_PF, error_code);
}

/*
 * What the processor does to the debug registers when it delivers #DB, and what a
 * VM exit leaves to the hypervisor (SDM Vol. 3C, "Architectural State Before a VM Exit").
 */
void under_inject_debug(u64 conditions)
{
	const u64 set = conditions & 0xe00f, cleared = 0xf | (conditions & BIT(16)) | (conditions & BIT(11));

	write_dr6((read_dr6() & ~cleared) | set);
	vmcs_write(GUEST_DR7, vmcs_read(GUEST_DR7) & ~(u64)DR7_GD);
	vmcs_write(GUEST_IA32_DEBUGCTL, vmcs_read(GUEST_IA32_DEBUGCTL) & ~(u64)(DEBUGCTL_LBR | DEBUGCTL_BTF));
	inject(VECTOR_DB, 0);
}
