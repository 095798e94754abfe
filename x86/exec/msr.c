/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an MSR access without an exit does (SDM Vol. 3C, "Changes to Instruction
 * Behavior in VMX Non-Root Operation").
 */
#include "msr.h"

TEST("exec.msrbitmap.pass_value", "without an exit WRMSR changes the real MSR, and RDMSR reads it",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	vmcs_use_msr_bitmap();
	for (u32 i = 0; i < SCRATCH_MSRS; i++) {
		const struct scratch_msr *row = &scratch_msrs[i];
		const u64 before = rdmsr(row->msr);

		CASE("%s", row->text);
		msr_write(row->msr, row->value);
		expect_guest_done();
		expect_eq(rdmsr(row->msr), row->value);

		wrmsr(row->msr, row->other);
		msr_read(row->msr);
		expect_guest_done();
		expect_eq(guest.regs.r8, (u32)row->other);
		expect_eq(guest.regs.r9, row->other >> 32);
		wrmsr(row->msr, row->value);
		msr_read(row->msr);
		expect_eq(guest.regs.r8, (u32)row->value);
		expect_eq(guest.regs.r9, row->value >> 32);
		wrmsr(row->msr, before);
	}
}

/* A write that the exit saves in a guest-state field, and the host's value is back after it; an entry may load it again. */
static void check_saved(u32 msr, enum vmcs_field field, u64 value, bool loaded, const char *text)
{
	const u64 host = rdmsr(msr);

	CASE("%s, %#lx", text, value);
	msr_write(msr, value);
	expect_guest_done();
	expect_eq(vmcs_read(field), value);
	expect_eq(rdmsr(msr), host);
	msr_read(msr);
	expect_eq(guest.regs.r9 << 32 | guest.regs.r8, loaded ? value : host);
	vmcs_write(field, host);
}

/* A write that the exit saves if the control is 1, and else not. */
static void check_saved_by(u32 control, u32 load, u32 entry_load, u32 msr, enum vmcs_field field, u64 value,
			   const char *text)
{
	const u64 host = rdmsr(msr);

	if (!has(control) || !has(load))
		return;
	vmcs_set_controls(control, load);		/* the host's value is loaded in any case */
	if (has(entry_load))
		vmcs_set_controls(entry_load);
	check_saved(msr, field, value, has(entry_load), text);
	vmcs_clear_controls(control);
	CASE("%s not to be saved", text);
	msr_write(msr, value);
	expect_guest_done();
	expect_eq(vmcs_read(field), host);
	expect_eq(rdmsr(msr), host);
}

TEST("exec.msr.sysenter_efer_pat", "what a guest writes to an MSR of the guest-state area, the exit saves there",
     NEEDS(PROC_USE_MSR_BITMAPS, FEATURE_PAT))
{
	vmcs_use_msr_bitmap();
	check_saved(IA32_SYSENTER_CS, GUEST_IA32_SYSENTER_CS, 0x00001238, true, "IA32_SYSENTER_CS");
	check_saved(IA32_SYSENTER_ESP, GUEST_IA32_SYSENTER_ESP, 0xffff812345678abc, true, "IA32_SYSENTER_ESP");
	check_saved(IA32_SYSENTER_EIP, GUEST_IA32_SYSENTER_EIP, 0x00007abcdef01234, true, "IA32_SYSENTER_EIP");
	check_saved(IA32_FS_BASE, GUEST_FS_BASE, 0xffff9999aaaabbbb, true, "IA32_FS_BASE");
	check_saved(IA32_GS_BASE, GUEST_GS_BASE, 0x0000765432109876, true, "IA32_GS_BASE");

	check_saved_by(EXITCTL_SAVE_IA32_EFER, EXITCTL_LOAD_IA32_EFER, ENTRYCTL_LOAD_IA32_EFER, IA32_EFER,
		       GUEST_IA32_EFER, rdmsr(IA32_EFER) ^ EFER_SCE, "IA32_EFER");
	check_saved_by(EXITCTL_SAVE_IA32_PAT, EXITCTL_LOAD_IA32_PAT, ENTRYCTL_LOAD_IA32_PAT, IA32_PAT, GUEST_IA32_PAT,
		       0x0006040106050006, "IA32_PAT");
}

TEST("exec.msr.rdmsr_debugctl", "with \"save debug controls\" 1 an exit saves the IA32_DEBUGCTL that the guest wrote",
     NEEDS(PROC_USE_MSR_BITMAPS, EXITCTL_SAVE_DEBUG_CONTROLS))
{
	enum { BTF = BIT(1) };

	const struct fault rdmsr_debugctl = TRY(rdmsr(IA32_DEBUGCTL));

	require_no_fault(rdmsr_debugctl);
	vmcs_use_msr_bitmap();
	vmcs_set_controls(EXITCTL_SAVE_DEBUG_CONTROLS);
	msr_write(IA32_DEBUGCTL, BTF);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_IA32_DEBUGCTL), BTF);
	expect_eq(rdmsr(IA32_DEBUGCTL), 0);		/* every exit clears it */
	msr_write(IA32_DEBUGCTL, 0);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_IA32_DEBUGCTL), 0);
}

TEST("exec.msr.wrmsr_microcode", "WRMSR to IA32_BIOS_UPDT_TRIG in a guest goes on and loads no microcode",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	void *update = page_alloc();
	u64 before, after;
	const bool has_revision = msr_value(IA32_BIOS_SIGN_ID, &before);

	vmcs_use_msr_bitmap();
	msr_write(IA32_BIOS_UPDT_TRIG, (u64)update);
	expect_guest_done();
	if (has_revision && msr_value(IA32_BIOS_SIGN_ID, &after))
		expect_eq(after, before);
}
