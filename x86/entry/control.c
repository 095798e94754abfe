/* SPDX-License-Identifier: BSD-2-Clause */
/* Checks on the VM-execution, VM-exit and VM-entry control fields ("Checks on VMX Controls"). */
#include "vmxtest/entry.h"

#define INVALID_CONTROLS BY_VMFAIL(VMERR_ENTRY_INVALID_CONTROLS)

static bool above_cr3_targets(u32 index, u64 *value)
{
	static const u64 more[] = { 1, 2, 0x100, 0x80000000 };

	if (index >= ARRAY_SIZE(more))
		return false;
	*value = vmx_capabilities()->cr3_targets + more[index];
	return true;
}

static bool up_to_cr3_targets(u32 index, u64 *value)
{
	*value = index;
	return index <= vmx_capabilities()->cr3_targets;
}

ENTRY_CHECK("entry.ctl.cr3count.max", "the CR3-target count is at most what IA32_VMX_MISC[24:16] says", ALWAYS,
	    FIELDS(CR3_TARGET_COUNT), .bad = COMPUTED(above_cr3_targets), .refused = INVALID_CONTROLS,
	    .good = COMPUTED(up_to_cr3_targets));

static void use_io_bitmaps(void)
{
	vmcs_use_io_bitmaps();
}

ENTRY_CHECK("entry.ctl.iobitmap.align", "the address of I/O bitmap A is 4-KByte aligned", NEEDS(PROC_USE_IO_BITMAPS),
	    FIELDS(IO_BITMAP_A_ADDRESS), .prepare = use_io_bitmaps,
	    .bad = FLIPPED_BITS(0xfff), .refused = INVALID_CONTROLS, .good = FLIPPED_BITS(0xff000));

ENTRY_CHECK("entry.ctl.iobitmap.paw", "the address of I/O bitmap B is within the physical-address width",
	    NEEDS(PROC_USE_IO_BITMAPS),
	    FIELDS(IO_BITMAP_B_ADDRESS), .prepare = use_io_bitmaps,
	    .bad = ABOVE_PHYSICAL_WIDTH, .refused = INVALID_CONTROLS);
