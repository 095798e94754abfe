/* SPDX-License-Identifier: BSD-2-Clause */
/* Unrestricted guests that change the mode of the processor (SDM Vol. 3C, "Unrestricted Guests"). */
#include "event.h"

extern u64 boot_pd[2048];

#define NEEDS_UG NEEDS(PROC2_UNRESTRICTED_GUEST, PROC2_ENABLE_EPT, CAP_EPT_2M_PAGES, CAP_EPT_MEMORY_TYPE_WB)

static void use_unrestricted_guest(void)
{
	vmcs_use_ept();
	vmcs_set_controls(PROC2_UNRESTRICTED_GUEST);
	if (has(EXITCTL_SAVE_IA32_EFER) && has(ENTRYCTL_LOAD_IA32_EFER)) {
		vmcs_set_controls(EXITCTL_SAVE_IA32_EFER, ENTRYCTL_LOAD_IA32_EFER);
		vmcs_write(GUEST_IA32_EFER, rdmsr(IA32_EFER));
	}
}

/* From 64-bit mode to compatibility mode, where paging can be turned off; the guest goes on in 32-bit code. */
#define LEAVE_64_BIT_MODE "pushq $0x30; lea 1f(%rip), %rax; push %rax; lretq; .code32; 1: "

/* Turn paging off, then protection; a selector that only real mode loads, and its base; then back. */
GUEST_ASM(guest_goes_real, LEAVE_64_BIT_MODE
	  "mov %cr0, %esi; mov %esi, %eax; and $0x7fffffff, %eax; mov %eax, %cr0; paging_off: vmcall\n"
	  "and $0xfffffffe, %eax; mov %eax, %cr0; protection_off: mov $0x1234, %ecx; mov %ecx, %es; real_mode: vmcall\n"
	  "or $1, %eax; mov %eax, %cr0; mov $0x10, %ecx; mov %ecx, %es; protection_on: vmcall\n"
	  ".code64; ud2");
extern const u8 paging_off[], real_mode[], protection_on[];

static void expect_call_at(const void *rip)
{
	require_exit(EXIT_VMCALL, .rip = (u64)rip);
}

static void go_on(void)
{
	guest_skip_instruction();
	guest_resume();
}

/* That the same is #GP without the control is exit.cr0.unmasked_fixed_gp. */
TEST("feat.ug.cr0_pe_pg", "An unrestricted guest clears CR0.PG and CR0.PE, and goes on in real mode", NEEDS_UG)
{
	use_unrestricted_guest();
	guest_run(guest_goes_real);
	expect_call_at(paging_off);
	expect_bits(vmcs_read(GUEST_CR0), CR0_PG | CR0_PE, CR0_PE);
	go_on();
	expect_call_at(real_mode);
	expect_bits(vmcs_read(GUEST_CR0), CR0_PG | CR0_PE, 0);
	expect_eq(vmcs_read(GUEST_ES_SELECTOR), 0x1234);
	expect_eq(vmcs_read(GUEST_ES_BASE), 0x12340);
	go_on();
	expect_call_at(protection_on);
	expect_bits(vmcs_read(GUEST_CR0), CR0_PG | CR0_PE, CR0_PE);
	expect_eq(vmcs_read(GUEST_ES_BASE), 0);
}

GUEST_ASM(guest_leaves_ia32e, LEAVE_64_BIT_MODE
	  "in_compatibility: vmcall; mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0; ia32e_left: vmcall\n"
	  "mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0; ia32e_entered: vmcall\n"
	  ".code64; ud2");
extern const u8 in_compatibility[], ia32e_left[], ia32e_entered[];

static void expect_lma(bool lma)
{
	expect_bits(vmcs_read(VM_ENTRY_CONTROLS), control_bit(ENTRYCTL_IA32E_MODE_GUEST),
		    lma ? control_bit(ENTRYCTL_IA32E_MODE_GUEST) : 0);
	if (has(EXITCTL_SAVE_IA32_EFER) && has(ENTRYCTL_LOAD_IA32_EFER))
		expect_bits(vmcs_read(GUEST_IA32_EFER), EFER_LMA | EFER_LME, EFER_LME | (lma ? EFER_LMA : 0));
}

TEST("feat.ug.lma_tracks", "IA-32e mode guest and the saved EFER.LMA follow a guest in and out of IA-32e mode",
     NEEDS(PROC2_UNRESTRICTED_GUEST, PROC2_ENABLE_EPT, CAP_EPT_2M_PAGES, CAP_EPT_MEMORY_TYPE_WB,
	   CAP_MISC_STORE_EFER_LMA))
{
	use_unrestricted_guest();
	guest_run(guest_leaves_ia32e);
	expect_call_at(in_compatibility);
	expect_lma(true);
	go_on();
	expect_call_at(ia32e_left);
	expect_lma(false);
	go_on();
	expect_call_at(ia32e_entered);
	expect_lma(true);
}

/* Out of IA-32e mode, EFER.LME cleared, and into PAE paging with the PDPT at pae_pdpt_address. */
GUEST_ASM(guest_enters_pae, LEAVE_64_BIT_MODE
	  "mov pae_pdpt_address, %ebx; mov %cr0, %esi; mov %esi, %eax; and $0x7fffffff, %eax; mov %eax, %cr0\n"
	  "mov $0xc0000080, %ecx; rdmsr; and $0xfffffeff, %eax; wrmsr; mov %ebx, %cr3; mov %esi, %cr0\n"
	  "pae_entered: vmcall; pae_again: vmcall\n"
	  ".code64; ud2");
extern const u8 pae_entered[], pae_again[];
u32 pae_pdpt_address;

static const enum vmcs_field pdpte_fields[] = { GUEST_PDPTE0, GUEST_PDPTE1, GUEST_PDPTE2, GUEST_PDPTE3 };

TEST("feat.ug.pae_pdpte", "Entering PAE paging under EPT loads the PDPTEs, and exits save them",
     NEEDS(PROC2_UNRESTRICTED_GUEST, CAP_EPT_2M_PAGES, CAP_EPT_MEMORY_TYPE_WB, PROC_USE_MSR_BITMAPS))
{
	u64 *pdpt = page_alloc(), loaded[4];

	/* Each names another page; what an exit saves in bits 11:9 is undefined. */
	for (u64 i = 0; i < 4; i++)
		loaded[i] = pdpt[i] = (physical_address(boot_pd) + i * PAGE_SIZE) | PAGE_PRESENT;
	pae_pdpt_address = physical_address(pdpt);
	use_unrestricted_guest();
	vmcs_use_msr_bitmap();
	for (u32 i = 0; i < 4; i++)
		vmcs_write(pdpte_fields[i], 0);
	guest_run(guest_enters_pae);
	expect_call_at(pae_entered);
	expect_bits(vmcs_read(VM_ENTRY_CONTROLS), control_bit(ENTRYCTL_IA32E_MODE_GUEST), 0);
	for (u32 i = 0; i < 4; i++) {
		CASE("PDPTE%u", i);
		expect_bits(vmcs_read(pdpte_fields[i]), ~0xe00ull, loaded[i]);
		pdpt[i] = 0;			/* the processor has its own by now */
	}
	go_on();
	expect_call_at(pae_again);
	for (u32 i = 0; i < 4; i++) {
		CASE("PDPTE%u, the table in memory changed", i);
		expect_bits(vmcs_read(pdpte_fields[i]), ~0xe00ull, loaded[i]);
	}
}
