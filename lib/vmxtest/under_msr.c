/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RDMSR, WRMSR, CPUID, XSETBV. MSRs are the host's own, but for those that live in
 * the VMCS; those of VMX are denied.
 */
#include "vmx/bitmaps.h"
#include "vmxtest/under.h"

static const struct {
	u32 msr;
	enum vmcs_field field;
	u32 probe;		/* the host's MSR that takes the same values */
	u32 control;		/* 0: always in the VMCS */
} in_vmcs[] = {
	{ IA32_FS_BASE, GUEST_FS_BASE, IA32_FS_BASE, 0 },
	{ IA32_GS_BASE, GUEST_GS_BASE, IA32_FS_BASE, 0 },	/* the host needs its own all the time */
	{ IA32_SYSENTER_CS, GUEST_IA32_SYSENTER_CS, IA32_SYSENTER_CS, 0 },
	{ IA32_SYSENTER_ESP, GUEST_IA32_SYSENTER_ESP, IA32_SYSENTER_ESP, 0 },
	{ IA32_SYSENTER_EIP, GUEST_IA32_SYSENTER_EIP, IA32_SYSENTER_EIP, 0 },
	{ IA32_DEBUGCTL, GUEST_IA32_DEBUGCTL, IA32_DEBUGCTL, 0 },
	{ IA32_PAT, GUEST_IA32_PAT, IA32_PAT, ENTRYCTL_LOAD_IA32_PAT },
	{ IA32_EFER, GUEST_IA32_EFER, IA32_EFER, ENTRYCTL_LOAD_IA32_EFER },
};

enum { MSR_FIRST_VMX = 0x480, MSR_LAST_VMX = 0x49f };

static bool uses_switched_msrs;

/* Switch IA32_PAT and IA32_EFER by the VMCS; without interception the guest's stay loaded in the host. */
static void switch_msrs(void)
{
	uses_switched_msrs = has(ENTRYCTL_LOAD_IA32_PAT) && has(EXITCTL_LOAD_IA32_PAT) && has(EXITCTL_SAVE_IA32_PAT) &&
			     has(ENTRYCTL_LOAD_IA32_EFER) && has(EXITCTL_LOAD_IA32_EFER) && has(EXITCTL_SAVE_IA32_EFER);
	if (uses_switched_msrs)
		vmcs_set_controls(ENTRYCTL_LOAD_IA32_PAT, EXITCTL_LOAD_IA32_PAT, EXITCTL_SAVE_IA32_PAT,
				  ENTRYCTL_LOAD_IA32_EFER, EXITCTL_LOAD_IA32_EFER, EXITCTL_SAVE_IA32_EFER);
}

void under_use_msr_controls(bool intercept)
{
	/* IA32_DEBUGCTL and DR7 are the guest's own across exits. */
	vmcs_set_controls(EXITCTL_SAVE_DEBUG_CONTROLS, ENTRYCTL_LOAD_DEBUG_CONTROLS);
	uses_switched_msrs = false;
	if (intercept) {
		switch_msrs();
		return;
	}
	if (!has(PROC_USE_MSR_BITMAPS))
		return;

	u8 *bitmap = vmcs_use_msr_bitmap();

	for (u32 msr = MSR_FIRST_VMX; msr <= MSR_LAST_VMX; msr++) {
		bitmap_set(bitmap, msr_bitmap_position(msr, MSR_READ));
		bitmap_set(bitmap, msr_bitmap_position(msr, MSR_WRITE));
	}
}

static bool is_vmx(u32 msr)
{
	return msr >= MSR_FIRST_VMX && msr <= MSR_LAST_VMX;
}

/* The row of an MSR that lives in the VMCS; the table's size: it does not. */
static size_t row_of(u32 msr)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(in_vmcs) && (in_vmcs[i].msr != msr || (in_vmcs[i].control && !uses_switched_msrs)))
		i++;
	return i;
}

u64 under_efer(void)
{
	return uses_switched_msrs ? vmcs_read(GUEST_IA32_EFER) : rdmsr(IA32_EFER);
}

void under_rdmsr(void)
{
	const u32 msr = guest.regs.rcx;
	const size_t row = row_of(msr);
	volatile u64 value = 0;

	if (is_vmx(msr)) {
		under_inject_code(VECTOR_GP, 0);
		return;
	}
	if (!UNDER_TRY(value = rdmsr(msr)))
		return;
	under_set_edx_eax(row < ARRAY_SIZE(in_vmcs) ? vmcs_read(in_vmcs[row].field) : value);
	under_retire();
}

/* What the processor makes of the value, by its own copy of the MSR. */
static bool probe(u32 msr, u64 value, volatile u64 *result)
{
	const u64 own = rdmsr(msr);
	const bool taken = UNDER_TRY(wrmsr(msr, value));

	if (!taken)
		return false;
	*result = rdmsr(msr);
	wrmsr(msr, own);
	return true;
}

void under_wrmsr(void)
{
	const u32 msr = guest.regs.rcx;
	const u64 value = under_edx_eax();
	const size_t row = row_of(msr);
	volatile u64 result = 0;

	if (is_vmx(msr)) {
		under_inject_code(VECTOR_GP, 0);
		return;
	}
	if (row == ARRAY_SIZE(in_vmcs)) {
		if (!UNDER_TRY(wrmsr(msr, value)))
			return;
	} else {
		volatile bool taken = false;

		/* An MSR that is not there has no old value either. */
		if (!UNDER_TRY(taken = probe(in_vmcs[row].probe, value, &result)) || !taken)
			return;
		vmcs_write(in_vmcs[row].field, result);
	}
	under_retire();
}

void under_cpuid(void)
{
	const u32 leaf = guest.regs.rax, subleaf = guest.regs.rcx;
	const u64 cr4 = under_cr4();
	struct cpuid c = cpuid(leaf, subleaf);

	/* What CPUID says of CR4 and of the mode are the guest's; there is no VMX and no SMX. */
	if (leaf == 1)
		c.ecx = (c.ecx & ~(u32)(BIT(5) | BIT(6) | BIT(27))) | (cr4 & CR4_OSXSAVE ? BIT(27) : 0);
	if (leaf == 7 && subleaf == 0)
		c.ecx = (c.ecx & ~(u32)BIT(4)) | (cr4 & CR4_PKE ? BIT(4) : 0);
	if (leaf == 0x80000001 && !under_in_64bit_mode())
		c.edx &= ~(u32)BIT(11);
	guest.regs.rax = c.eax;
	guest.regs.rbx = c.ebx;
	guest.regs.rcx = c.ecx;
	guest.regs.rdx = c.edx;
	under_retire();
}

void under_xsetbv(void)
{
	const u64 cr4 = read_cr4();

	/* The processor looks at CPL first; one that does not (Bochs 2.7) is no reason to let CPL 3 pass. */
	if (under_cpl()) {
		under_inject_code(VECTOR_GP, 0);
		return;
	}
	write_cr4(cr4 | CR4_OSXSAVE);
	const bool taken = UNDER_TRY(xsetbv(guest.regs.rcx, under_edx_eax()));

	write_cr4(cr4);
	if (taken)
		under_retire();
}
