/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/bitmaps.h"
#include "x86/page.h"

u8 *vmcs_use_io_bitmaps(void)
{
	u8 *bitmaps = page_alloc_many(2);

	vmcs_write(IO_BITMAP_A_ADDRESS, physical_address(bitmaps));
	vmcs_write(IO_BITMAP_B_ADDRESS, physical_address(bitmaps + PAGE_SIZE));
	vmcs_set_controls(PROC_USE_IO_BITMAPS);
	return bitmaps;
}

u8 *vmcs_use_msr_bitmap(void)
{
	u8 *bitmap = page_alloc();

	vmcs_write(MSR_BITMAP_ADDRESS, physical_address(bitmap));
	vmcs_set_controls(PROC_USE_MSR_BITMAPS);
	return bitmap;
}

u32 msr_bitmap_position(u32 msr, enum msr_access access)
{
	const u32 quarter = 8 * 1024;	/* bits: low reads, high reads, low writes, high writes */
	const u32 first = access == MSR_WRITE ? 2 * quarter : 0;

	if (msr < 0x2000)
		return first + msr;
	if (msr >= 0xc0000000 && msr < 0xc0002000)
		return first + quarter + (msr - 0xc0000000);
	return MSR_NOT_IN_BITMAP;
}

u8 *vmcs_use_tpr_shadow(u32 threshold)
{
	u8 *page = page_alloc();

	vmcs_write(VIRTUAL_APIC_ADDRESS, physical_address(page));
	vmcs_write(TPR_THRESHOLD, threshold);
	vmcs_set_controls(PROC_USE_TPR_SHADOW);
	return page;
}

u8 *vmcs_use_apic_access_page(void)
{
	u8 *page = page_alloc();

	vmcs_write(APIC_ACCESS_ADDRESS, physical_address(page));
	vmcs_set_controls(PROC2_VIRTUALIZE_APIC_ACCESSES);
	return page;
}
