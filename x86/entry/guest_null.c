/* SPDX-License-Identifier: BSD-2-Clause */
/* Segment registers that are usable though their selector is null ("Checks on Guest Segment Registers"). */
#include "vmxtest/entry_guest.h"

static void try_rights(enum segment_register r, u32 rights, u32 limit, bool legal)
{
	vmcs_write(segment_selector(r), 0);		/* each time: an exit is followed by the guest's own state */
	vmcs_write(segment_rights(r), rights);
	vmcs_write(segment_limit(r), limit);
	if (vmcs_read(segment_rights(r)) != rights)
		return;				/* some processors drop reserved bits at VMWRITE */
	CASE("%s rights %#x, limit %#x", segment_names[r], rights, limit);
	expect_guest_state(legal);
}

/* A register is usable by the unusable bit of its access rights alone: a null selector excuses it from nothing. */
static void try_register(enum segment_register r, u32 good)
{
	try_rights(r, good, 0xffff, true);
	try_rights(r, good ^ 1, 0xffff, false);			/* not accessed */
	try_rights(r, good & ~(u32)RIGHTS_S, 0xffff, false);
	try_rights(r, good & ~(u32)RIGHTS_P, 0xffff, false);
	try_rights(r, good | BIT(8), 0xffff, false);
	try_rights(r, good | RIGHTS_G, 0xfffe, false);
	try_rights(r, good, 0x100000, false);
	try_rights(r, good, 0xffff, true);
}

static void try_registers(u32 code)
{
	entry_guest_keep();
	for (enum segment_register r = SEG_ES; r <= SEG_GS; r++)
		if (r != SEG_CS)
			try_register(r, RIGHTS_DATA16);
	try_register(SEG_CS, RIGHTS_CODE16 | code);
}

TEST("entry.guest.seg.null_selector", "a usable segment register is checked though its selector is null")
{
	entry_stop_guest_at_once();
	try_registers(RIGHTS_L);
	entry_guest_32bit();
	try_registers(RIGHTS_DB);
}
