/* SPDX-License-Identifier: BSD-2-Clause */
/* VMPTRLD and VMPTRST (SDM Vol. 3C, "VMPTRLD-Load Pointer to Virtual-Machine Control Structure"). */
#include "instruction.h"

static void expect_bad_addresses_refused(bool (*bad)(u32 bit))
{
	const u64 good = physical_address(vmcs_region_alloc());
	const u64 current = vmcs_current();

	require_outcome(vmclear(&good, NULL), SUCCEED);
	for (u32 bit = 0; bit < 64; bit++) {
		const u64 address = good | BIT(bit);

		if (!bad(bit))
			continue;
		CASE("address %#lx", address);
		expect_outcome(vmptrld(&address, NULL), FAIL_VALID(VMERR_VMPTRLD_INVALID_ADDRESS));
		expect_eq(vmcs_current(), current);
	}
	vmcs_drop();
	for (u32 bit = 0; bit < 64; bit++) {
		const u64 address = good | BIT(bit);

		if (!bad(bit))
			continue;
		CASE("address %#lx, no current VMCS", address);
		expect_outcome(vmptrld(&address, NULL), FAIL_INVALID);
		expect_eq(vmcs_current(), ~0ull);
	}
	expect_outcome(vmptrld(&good, NULL), SUCCEED);
	expect_eq(vmcs_current(), good);
	vmcs_reset();
}

TEST("insn.vmptrld.unaligned", "VMPTRLD of an address with any of bits 11:0 set fails with error 9")
{
	expect_bad_addresses_refused(address_bit_unaligned);
}

TEST("insn.vmptrld.beyond_paw", "VMPTRLD of an address beyond the physical-address width fails with error 9")
{
	expect_bad_addresses_refused(address_bit_beyond_width);
}

TEST("insn.vmptrld.vmxon_ptr", "VMPTRLD of the VMXON region fails with error 10")
{
	const u64 vmxon_pointer = physical_address(&vmxon_region);
	const u64 current = vmcs_current();

	expect_outcome(vmptrld(&vmxon_pointer, NULL), FAIL_VALID(VMERR_VMPTRLD_VMXON_POINTER));
	expect_eq(vmcs_current(), current);

	vmcs_drop();
	expect_outcome(vmptrld(&vmxon_pointer, NULL), FAIL_INVALID);
	vmcs_reset();
}

/* Bit 31 is not of the identifier: it marks a shadow VMCS, where there are such. */
TEST("insn.vmptrld.bad_revision", "VMPTRLD of a region with a wrong revision identifier fails with error 11")
{
	struct vmcs_region *region = vmcs_region_alloc();
	const u64 address = physical_address(region);
	const u64 current = vmcs_current();

	require_outcome(vmclear(&address, NULL), SUCCEED);
	for (u32 bit = 0; bit < 32; bit++) {
		region->revision = vmx_capabilities()->revision ^ 1u << bit;
		CASE("revision identifier %#lx", region->revision);
		if (bit == 31 && has(PROC2_VMCS_SHADOWING))
			continue;
		expect_outcome(vmptrld(&address, NULL), FAIL_VALID(VMERR_VMPTRLD_INCORRECT_REVISION));
		expect_eq(vmcs_current(), current);
	}
	vmcs_drop();
	region->revision = vmx_capabilities()->revision ^ 1;
	CASE("revision identifier %#lx, no current VMCS", region->revision);
	expect_outcome(vmptrld(&address, NULL), FAIL_INVALID);

	region->revision = vmx_capabilities()->revision;
	CASE("revision identifier %#lx", region->revision);
	expect_outcome(vmptrld(&address, NULL), SUCCEED);
	expect_outcome(vmclear(&address, NULL), SUCCEED);
	vmcs_reset();
}

TEST("insn.vmptrld.fail_keeps_current", "A VMPTRLD that fails leaves the VMCS current that was")
{
	struct vmcs_region *other = vmcs_region_alloc();
	const u64 wrong_revision = physical_address(other);
	const u64 operands[] = {
		physical_address(&vmcs_region) | 1, physical_address(&vmcs_region) | BIT(63),
		physical_address(&vmxon_region), wrong_revision, ~0ull,
	};
	const u64 current = vmcs_current();

	other->revision ^= 1;
	vmcs_write(GUEST_RIP, 0xfedcba987654);
	for (size_t i = 0; i < ARRAY_SIZE(operands); i++) {
		CASE("operand %#lx", operands[i]);
		expect_fail_valid(vmptrld(&operands[i], NULL));
		expect_eq(vmcs_current(), current);
		expect_eq(vmcs_read(GUEST_RIP), 0xfedcba987654);
	}
}

TEST("insn.vmptrld.ok", "VMPTRLD makes a VMCS current: VMPTRST gives its address, VMREAD its data")
{
	const u64 suite = vmcs_current();
	u64 address[4];

	for (u32 i = 0; i < ARRAY_SIZE(address); i++) {
		address[i] = physical_address(vmcs_region_alloc());
		require_outcome(vmclear(&address[i], NULL), SUCCEED);
		CASE("VMCS %u", i);
		expect_outcome(vmptrld(&address[i], NULL), SUCCEED);
		expect_eq(vmcs_current(), address[i]);
		vmcs_write(GUEST_RIP, i);
	}
	for (u32 i = 0; i < ARRAY_SIZE(address); i++) {
		CASE("VMCS %u again", i);
		expect_outcome(vmptrld(&address[i], NULL), SUCCEED);
		expect_eq(vmcs_current(), address[i]);
		expect_eq(vmcs_read(GUEST_RIP), i);
		/* Of the VMCS that is current already: nothing changes. */
		expect_outcome(vmptrld(&address[i], NULL), SUCCEED);
		expect_eq(vmcs_read(GUEST_RIP), i);
	}
	for (u32 i = 0; i < ARRAY_SIZE(address); i++)
		expect_outcome(vmclear(&address[i], NULL), SUCCEED);
	expect_outcome(vmptrld(&suite, NULL), SUCCEED);
	expect_eq(vmcs_current(), suite);
}

TEST("insn.vmptrst.stores", "VMPTRST stores the 64 bits of the current-VMCS pointer and clears all flags")
{
	const u64 canary = 0xc0ffee0dd5eed5ba;
	u64 to[3] = { canary, canary, canary };
	u64 rflags = 0;

	expect_outcome(vmptrst(&to[1], &rflags), SUCCEED);
	expect_eq(to[1], physical_address(&vmcs_region));
	expect_bits(rflags, RFLAGS_ARITHMETIC, FLAGS_SUCCEED);

	vmcs_drop();
	expect_outcome(vmptrst(&to[1], &rflags), SUCCEED);
	expect_eq(to[1], ~0ull);
	expect_bits(rflags, RFLAGS_ARITHMETIC, FLAGS_SUCCEED);
	expect_eq(to[0], canary);
	expect_eq(to[2], canary);
	vmcs_reset();
}
