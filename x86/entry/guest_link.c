/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMCS link pointer ("Checks on Guest Non-Register State"): every failure has qualification 4. */
#include "vmxtest/entry_guest.h"

#define BY_INVALID_LINK_POINTER BY_ENTRY_FAILURE(EXIT_INVALID_GUEST_STATE, 4)
#define SHADOW_VMCS BIT(31)

static struct vmcs_region *linked;

/* A link pointer that is legal: to a region of its own, with "VMCS shadowing" 0 or 1 to match. */
static void link_region(void)
{
	linked = vmcs_region_alloc();
	vmcs_write(VMCS_LINK_POINTER, physical_address(linked));
}

static void use_shadowing(void)
{
	vmcs_write(VMREAD_BITMAP_ADDRESS, physical_address(page_alloc()));
	vmcs_write(VMWRITE_BITMAP_ADDRESS, physical_address(page_alloc()));
	vmcs_set_controls(PROC2_VMCS_SHADOWING);
}

static void try_link(u64 value, bool legal)
{
	CASE("link pointer %#lx, first dword there %#x", value, linked->revision);
	vmcs_write(VMCS_LINK_POINTER, value);
	expect_guest_state_q(legal, 4);
}

TEST("entry.guest.link.minus_one", "a VMCS link pointer of all ones passes all checks")
{
	entry_stop_guest_at_once();
	link_region();
	entry_guest_keep();
	try_link(~0ull, true);
	if (has(PROC2_VMCS_SHADOWING)) {
		use_shadowing();
		try_link(~0ull, true);
	}
	/* All ones but one bit is an address like any other. */
	for (u32 bit = 0; bit < 64; bit++)
		try_link(~BIT(bit), false);
}

ENTRY_CHECK("entry.guest.link.align", "bits 11:0 of the VMCS link pointer are 0", ALWAYS,
	    FIELDS(VMCS_LINK_POINTER), .prepare = link_region, .bad = FLIPPED_BITS(0xfff),
	    .refused = BY_INVALID_LINK_POINTER);

ENTRY_CHECK("entry.guest.link.paw", "the VMCS link pointer is within the physical-address width", ALWAYS,
	    FIELDS(VMCS_LINK_POINTER), .prepare = link_region, .bad = ABOVE_PHYSICAL_WIDTH,
	    .refused = BY_INVALID_LINK_POINTER);

TEST("entry.guest.link.revision", "bits 30:0 at the VMCS link pointer are the revision identifier")
{
	const u32 revision = vmx_capabilities()->revision;
	const u64 indicator = has(PROC2_VMCS_SHADOWING) ? SHADOW_VMCS : 0;

	entry_stop_guest_at_once();
	link_region();
	entry_guest_keep();
	for (u32 bit = 0; bit < 31; bit++) {
		linked->revision = revision ^ BIT(bit);
		try_link(physical_address(linked), false);
	}
	linked->revision = revision;
	try_link(physical_address(linked), true);
	if (!indicator)
		return;
	use_shadowing();
	for (u32 bit = 0; bit < 31; bit++) {
		linked->revision = indicator | (revision ^ BIT(bit));
		try_link(physical_address(linked), false);
	}
	linked->revision = indicator | revision;
	try_link(physical_address(linked), true);
}

TEST("entry.guest.link.shadow_bit", "bit 31 at the VMCS link pointer is what \"VMCS shadowing\" says")
{
	const u32 revision = vmx_capabilities()->revision;

	entry_stop_guest_at_once();
	link_region();
	entry_guest_keep();
	linked->revision = revision | SHADOW_VMCS;
	try_link(physical_address(linked), false);
	linked->revision = revision;
	try_link(physical_address(linked), true);
	if (!has(PROC2_VMCS_SHADOWING))
		return;
	use_shadowing();
	try_link(physical_address(linked), false);
	linked->revision = revision | SHADOW_VMCS;
	try_link(physical_address(linked), true);
}

TEST("entry.guest.link.current", "the VMCS link pointer is not the current-VMCS pointer")
{
	entry_stop_guest_at_once();
	link_region();
	entry_guest_keep();
	CASE("the current VMCS");
	vmcs_write(VMCS_LINK_POINTER, vmcs_current());
	expect_guest_state_q(false, 4);
	try_link(physical_address(linked), true);
}
