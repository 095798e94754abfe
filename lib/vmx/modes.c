/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/ept.h"
#include "vmx/modes.h"
#include "x86/page.h"
#include "x86/processor.h"
#include "x86/selectors.h"
#include "x86/user.h"

static void set_cs_ss(u16 cs, u32 cs_rights, u16 ss, u32 ss_rights)
{
	vmcs_write(GUEST_CS_SELECTOR, cs);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, cs_rights);
	vmcs_write(GUEST_SS_SELECTOR, ss);
	vmcs_write(GUEST_SS_ACCESS_RIGHTS, ss_rights);
}

void guest_set_cpl(u32 cpl)
{
	if (cpl)
		set_cs_ss(SELECTOR_USER_CODE64, RIGHTS_CODE64 | RIGHTS_DPL, SELECTOR_USER_DATA,
			  RIGHTS_DATA32 | RIGHTS_DPL);
	else
		set_cs_ss(SELECTOR_CODE64, RIGHTS_CODE64, SELECTOR_DATA, RIGHTS_DATA32);
	/* An exception from CPL 3 makes SS null, and its limit undefined. */
	vmcs_write(GUEST_CS_LIMIT, 0xffffffff);
	vmcs_write(GUEST_SS_LIMIT, 0xffffffff);
}

void guest_set_cpl3(void)
{
	user_pages_on();
	guest_set_cpl(3);
}

void guest_set_cpl0(void)
{
	guest_set_cpl(0);
}

void guest_set_compatibility(void)
{
	set_cs_ss(SELECTOR_CODE32, RIGHTS_CODE32, SELECTOR_DATA, RIGHTS_DATA32);
}

static void leave_ia32e(void)
{
	vmcs_clear_controls(ENTRYCTL_IA32E_MODE_GUEST);
	if (has(ENTRYCTL_LOAD_IA32_EFER))
		vmcs_write(GUEST_IA32_EFER, vmcs_read(GUEST_IA32_EFER) & ~(u64)(EFER_LMA | EFER_LME));
}

void guest_set_32bit(void)
{
	u32 *directory = page_alloc();

	for (u64 i = 0; i < 1024; i++)
		directory[i] = i << 22 | PAGE_PRESENT | PAGE_WRITE | PAGE_LARGE | (i >= 768 ? PAGE_PWT | PAGE_PCD : 0);
	leave_ia32e();
	guest_set_compatibility();
	vmcs_write(GUEST_CR4, (vmcs_read(GUEST_CR4) & ~(u64)CR4_PAE) | CR4_PSE);
	vmcs_write(GUEST_CR3, physical_address(directory));
}

/* Leave IA-32e mode for PAE paging with an identity map of 4 GiB. */
static u64 *set_pae_paging(void)
{
	extern u64 boot_pd[2048];		/* four page directories, one behind the other */
	u64 *pdpt = page_alloc();

	for (u32 i = 0; i < 4; i++) {
		pdpt[i] = physical_address(boot_pd + 512 * i) | PAGE_PRESENT;
		if (has(PROC2_ENABLE_EPT))	/* VM entry takes them from here if EPT is on */
			vmcs_write(GUEST_PDPTE0 + 2 * i, pdpt[i]);
	}
	leave_ia32e();
	vmcs_write(GUEST_CR3, physical_address(pdpt));
	return pdpt;
}

u64 *guest_set_pae(void)
{
	guest_set_compatibility();		/* the same segments */
	return set_pae_paging();
}

static void set_all_segments(u16 selector, u32 cs_rights, u32 rights)
{
	static const struct {
		enum vmcs_field selector, base, limit, rights;
	} segments[] = {
#define SEGMENT(s) { GUEST_##s##_SELECTOR, GUEST_##s##_BASE, GUEST_##s##_LIMIT, GUEST_##s##_ACCESS_RIGHTS }
		SEGMENT(CS), SEGMENT(ES), SEGMENT(SS), SEGMENT(DS), SEGMENT(FS), SEGMENT(GS),
#undef SEGMENT
	};

	for (size_t i = 0; i < ARRAY_SIZE(segments); i++) {
		vmcs_write(segments[i].selector, selector);
		vmcs_write(segments[i].base, (u64)selector << 4);
		vmcs_write(segments[i].limit, 0xffff);
		vmcs_write(segments[i].rights, i == 0 ? cs_rights : rights);
	}
}

void guest_set_real(u16 selector)
{
	leave_ia32e();
	vmcs_use_ept();
	vmcs_set_controls(PROC2_UNRESTRICTED_GUEST);
	vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) & ~(CR0_PE | CR0_PG));
	set_all_segments(selector, RIGHTS_CODE16, RIGHTS_DATA16);
}

void guest_set_virtual_8086(u16 selector)
{
	user_pages_on();
	set_pae_paging();
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_VM);
	set_all_segments(selector, RIGHTS_DATA16 | RIGHTS_DPL, RIGHTS_DATA16 | RIGHTS_DPL);
}
