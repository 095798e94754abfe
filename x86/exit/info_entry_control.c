/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a VM exit writes to the VM-entry controls (SDM Vol. 3C, "Recording VM-Exit Information and Updating VM-Entry
 * Control Fields").
 */
#include "vmx/bitmaps.h"
#include "vmx/ept.h"
#include "vmx/modes.h"
#include "vmxtest/vmxtest.h"

/*
 * A guest that goes from 64-bit mode to compatibility mode, out of IA-32e mode, and back, with an exit in each. What
 * becomes of LME at a VM entry with CR0.PG = 0 is the business of other tests, and a guest that had lost it would run
 * wild: so it is set again right before paging is.
 */
#define SET_LME "	mov $0xc0000080, %ecx; rdmsr; or $0x100, %eax; wrmsr\n"
asm(".pushsection .text\n"
    "guest_modes: vmcall\n"
    "	pushq $0x30; lea 1f(%rip), %rax; push %rax; lretq\n"
    "	.code32\n"
    "1:	vmcall\n"
    "	mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0\n"
    "	vmcall\n"
    SET_LME
    "	vmcall\n"
    SET_LME
    "	mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0\n"
    "	vmcall\n"
    "	ljmp $8, $2f\n"
    "	.code64\n"
    "2:	vmcall\n"
    "	.popsection");
extern const u8 guest_modes[];

TEST("info.entry_ctl.ia32e",
     "Each exit stores EFER.LMA into \"IA-32e mode guest\", and leaves the other controls alone",
     NEEDS(PROC2_UNRESTRICTED_GUEST, CAP_MISC_STORE_EFER_LMA, PROC_USE_MSR_BITMAPS))
{
	static const struct {
		const char *mode;
		bool lma;
	} exits[] = {
		{ "64-bit mode", true }, { "compatibility mode", true }, { "no paging", false },
		{ "no paging, LME = 1", false }, { "paging again", true }, { "64-bit mode again", true },
	};
	const u64 controls = vmcs_read(VM_ENTRY_CONTROLS);
	const u64 ia32e = control_bit(ENTRYCTL_IA32E_MODE_GUEST);

	vmcs_use_ept();
	vmcs_use_msr_bitmap();
	vmcs_set_controls(PROC2_UNRESTRICTED_GUEST);
	for (size_t i = 0; i < ARRAY_SIZE(exits); i++) {
		CASE("%s", exits[i].mode);
		if (i == 0) {
			guest_run_at(guest_modes);
		} else {
			guest_skip_instruction();
			guest_resume();
		}
		if (!expect_exit(EXIT_VMCALL))
			return;
		expect_eq(vmcs_read(VM_ENTRY_CONTROLS), exits[i].lma ? controls | ia32e : controls & ~ia32e);
	}

	/* A guest that was 32-bit all the time. */
	CASE("32-bit guest");
	guest_set_pae();
	vmcs_write(GUEST_CR0, read_cr0());
	guest_run_at(guest_modes);
	expect_exit(EXIT_VMCALL);
	expect_eq(vmcs_read(VM_ENTRY_CONTROLS), controls & ~ia32e);
}
