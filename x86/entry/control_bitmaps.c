/* SPDX-License-Identifier: BSD-2-Clause */
/* Bitmaps, CR3-target values and the secondary controls ("VM-Execution Control Fields"). */
#include "control.h"

/* One too many, and each power of two that is. */
static bool too_many_cr3_targets(u32 index, u64 *value)
{
	const u32 most = vmx_capabilities()->cr3_targets;
	u32 bit = 0;

	while (BIT(bit) <= most)
		bit++;
	*value = index ? BIT(bit + index - 1) : most + 1;
	return bit + index <= 32;
}

static bool up_to_cr3_targets(u32 index, u64 *value)
{
	*value = index;
	return index <= vmx_capabilities()->cr3_targets;
}

ENTRY_CHECK("entry.ctl.cr3count.max", "the CR3-target count is at most what IA32_VMX_MISC[24:16] says", ALWAYS,
	    FIELDS(CR3_TARGET_COUNT), .bad = COMPUTED(too_many_cr3_targets), .refused = INVALID_CONTROLS,
	    .good = COMPUTED(up_to_cr3_targets));

PREPARE(use_io_bitmaps, PROC_USE_IO_BITMAPS)
PREPARE(use_msr_bitmaps, PROC_USE_MSR_BITMAPS)
PREPARE(use_vmcs_shadowing, PROC2_VMCS_SHADOWING)

ENTRY_CHECK("entry.ctl.iobitmap.align", "the addresses of I/O bitmaps A and B are 4-KByte aligned",
	    NEEDS(PROC_USE_IO_BITMAPS), FIELDS(IO_BITMAP_A_ADDRESS, IO_BITMAP_B_ADDRESS), .prepare = use_io_bitmaps,
	    .bad = FLIPPED_BITS(0xfff), .refused = INVALID_CONTROLS, .good = FLIPPED_BITS(0xff000));

ENTRY_CHECK("entry.ctl.iobitmap.paw", "the addresses of I/O bitmaps A and B are within the physical-address width",
	    NEEDS(PROC_USE_IO_BITMAPS), FIELDS(IO_BITMAP_A_ADDRESS, IO_BITMAP_B_ADDRESS), .prepare = use_io_bitmaps,
	    .bad = ABOVE_PHYSICAL_WIDTH, .refused = INVALID_CONTROLS, .good = WITHIN_PHYSICAL_WIDTH(~0xfffull));

ENTRY_CHECK("entry.ctl.iobitmap.ignored", "without \"use I/O bitmaps\" their addresses are not looked at", ALWAYS,
	    FIELDS(IO_BITMAP_A_ADDRESS, IO_BITMAP_B_ADDRESS), .good = ANYTHING);

ENTRY_CHECK("entry.ctl.msrbitmap.align", "the MSR-bitmap address is 4-KByte aligned", NEEDS(PROC_USE_MSR_BITMAPS),
	    FIELDS(MSR_BITMAP_ADDRESS), .prepare = use_msr_bitmaps,
	    .bad = FLIPPED_BITS(0xfff), .refused = INVALID_CONTROLS, .good = FLIPPED_BITS(0xff000));

ENTRY_CHECK("entry.ctl.msrbitmap.paw", "the MSR-bitmap address is within the physical-address width",
	    NEEDS(PROC_USE_MSR_BITMAPS), FIELDS(MSR_BITMAP_ADDRESS), .prepare = use_msr_bitmaps,
	    .bad = ABOVE_PHYSICAL_WIDTH, .refused = INVALID_CONTROLS, .good = WITHIN_PHYSICAL_WIDTH(~0xfffull));

ENTRY_CHECK("entry.ctl.msrbitmap.ignored", "without \"use MSR bitmaps\" the address is not looked at",
	    NEEDS(PROC_USE_MSR_BITMAPS), FIELDS(MSR_BITMAP_ADDRESS), .good = ANYTHING);

ENTRY_CHECK("entry.ctl.shadow.bitmap_addr",
	    "VMREAD- and VMWRITE-bitmap addresses are 4-KByte aligned and within the physical-address width",
	    NEEDS(PROC2_VMCS_SHADOWING), FIELDS(VMREAD_BITMAP_ADDRESS, VMWRITE_BITMAP_ADDRESS),
	    .prepare = use_vmcs_shadowing, .bad = MISALIGNED_OR_TOO_WIDE(0xfff), .refused = INVALID_CONTROLS,
	    .good = WITHIN_PHYSICAL_WIDTH(~0xfffull));
