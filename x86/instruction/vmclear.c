/* SPDX-License-Identifier: BSD-2-Clause */
/* VMCLEAR (SDM Vol. 3C, "VMCLEAR-Clear Virtual-Machine Control Structure"). */
#include "instruction.h"

/* With each such bit of the operand set: refused, and the current VMCS stays current. */
static void expect_bad_addresses_refused(bool (*bad)(u32 bit))
{
	struct vmcs_region *region = vmcs_region_alloc();
	const u64 good = physical_address(region);
	const u64 current = vmcs_current();

	for (u32 bit = 0; bit < 64; bit++) {
		const u64 address = good | BIT(bit), bad_current = current | BIT(bit);

		if (!bad(bit))
			continue;
		CASE("address %#lx", address);
		expect_outcome(vmclear(&address, NULL), FAIL_VALID(VMERR_VMCLEAR_INVALID_ADDRESS));
		expect_outcome(vmclear(&bad_current, NULL), FAIL_VALID(VMERR_VMCLEAR_INVALID_ADDRESS));
		expect_eq(vmcs_current(), current);
	}
	expect_outcome(vmclear(&good, NULL), SUCCEED);

	vmcs_drop();
	for (u32 bit = 0; bit < 64; bit++) {
		const u64 address = good | BIT(bit);

		if (!bad(bit))
			continue;
		CASE("address %#lx, no current VMCS", address);
		expect_outcome(vmclear(&address, NULL), FAIL_INVALID);
	}
	vmcs_reset();
}

TEST("insn.vmclear.unaligned", "VMCLEAR of an address with any of bits 11:0 set fails with error 2")
{
	expect_bad_addresses_refused(address_bit_unaligned);
}

TEST("insn.vmclear.beyond_paw", "VMCLEAR of an address beyond the physical-address width fails with error 2")
{
	expect_bad_addresses_refused(address_bit_beyond_width);
}

TEST("insn.vmclear.vmxon_ptr", "VMCLEAR of the VMXON region fails with error 3")
{
	const u64 vmxon_pointer = physical_address(&vmxon_region);
	const u64 current = vmcs_current();

	expect_outcome(vmclear(&vmxon_pointer, NULL), FAIL_VALID(VMERR_VMCLEAR_VMXON_POINTER));
	expect_eq(vmcs_current(), current);

	vmcs_drop();
	expect_outcome(vmclear(&vmxon_pointer, NULL), FAIL_INVALID);
	vmcs_reset();
}

TEST("insn.vmclear.current_invalidates", "VMCLEAR of the current VMCS leaves no VMCS current")
{
	const u64 current = vmcs_current();
	u64 value = 0;

	require_eq(current, physical_address(&vmcs_region));
	expect_outcome(vmclear(&current, NULL), SUCCEED);
	expect_eq(vmcs_current(), ~0ull);
	expect_outcome(vmread(GUEST_RIP, &value, NULL), FAIL_INVALID);

	/* It was cleared, not lost: it can be current again. */
	expect_outcome(vmptrld(&current, NULL), SUCCEED);
	expect_eq(vmcs_current(), current);
	expect_outcome(vmread(GUEST_RIP, &value, NULL), SUCCEED);
}

TEST("insn.vmclear.other_keeps_current", "VMCLEAR of another VMCS leaves the current one current and as it is")
{
	const u64 current = vmcs_current();
	const u64 active = physical_address(vmcs_region_alloc());
	const u64 fresh = physical_address(vmcs_region_alloc());

	require_outcome(vmclear(&active, NULL), SUCCEED);
	require_outcome(vmptrld(&active, NULL), SUCCEED);
	require_outcome(vmptrld(&current, NULL), SUCCEED);
	vmcs_write(GUEST_RIP, 0x123456789abc);

	CASE("a VMCS that was active");
	expect_outcome(vmclear(&active, NULL), SUCCEED);
	expect_eq(vmcs_current(), current);
	CASE("a VMCS that never was");
	expect_outcome(vmclear(&fresh, NULL), SUCCEED);
	expect_eq(vmcs_current(), current);
	expect_eq(vmcs_read(GUEST_RIP), 0x123456789abc);
}

TEST("insn.vmclear.no_revision_check", "VMCLEAR takes a region with any revision identifier, which it leaves alone")
{
	struct vmcs_region *region = vmcs_region_alloc();
	const u64 address = physical_address(region);

	for (u32 bit = 0; bit < 32; bit++) {
		const u32 revision = vmx_capabilities()->revision ^ 1u << bit;

		CASE("revision identifier %#lx", revision);
		region->revision = revision;
		expect_outcome(vmclear(&address, NULL), SUCCEED);
		expect_eq(region->revision, revision);
	}
}
