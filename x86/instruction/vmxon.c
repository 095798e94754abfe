/* SPDX-License-Identifier: BSD-2-Clause */
/* VMXON and VMXOFF (SDM Vol. 3C, "VMXON-Enter VMX Operation", "VMXOFF-Leave VMX Operation"). */
#include "instruction.h"

TEST("insn.vmxon.in_root", "VMXON in VMX root operation fails with error 15")
{
	const u64 operands[] = {
		physical_address(&vmxon_region), physical_address(vmcs_region_alloc()), 1, ~0ull,
	};

	for (size_t i = 0; i < ARRAY_SIZE(operands); i++) {
		CASE("operand %#lx", operands[i]);
		expect_outcome(vmxon(&operands[i], NULL), FAIL_VALID(VMERR_VMXON_IN_ROOT));
		expect_eq(vmcs_current(), physical_address(&vmcs_region));
	}
	vmcs_drop();
	for (size_t i = 0; i < ARRAY_SIZE(operands); i++) {
		CASE("operand %#lx, no current VMCS", operands[i]);
		expect_outcome(vmxon(&operands[i], NULL), FAIL_INVALID);
	}
	vmcs_reset();
}

TEST("insn.vmxon.no_current", "VMXON leaves no VMCS current")
{
	u64 value = 0;

	vmcs_drop();
	vmx_off();
	vmx_on();
	expect_eq(vmcs_current(), ~0ull);
	expect_outcome(vmread(GUEST_RIP, &value, NULL), FAIL_INVALID);
	expect_outcome(vmwrite(GUEST_RIP, 0, NULL), FAIL_INVALID);
	vmcs_reset();
	expect_outcome(vmread(GUEST_RIP, &value, NULL), SUCCEED);
}

/* Whether or not a VMCS was current then. */
TEST("insn.vmxoff.ok", "VMXOFF leaves VMX operation: VMREAD raises #UD from then on")
{
	const u64 region = physical_address(&vmxon_region);
	u64 value = 0, rflags = 0;

	for (int drop = 0; drop < 2; drop++) {
		CASE("%s", drop ? "no current VMCS" : "a current VMCS");
		if (drop)
			vmcs_drop();
		expect_outcome(vmxoff(&rflags), SUCCEED);
		expect_bits(rflags, RFLAGS_ARITHMETIC, FLAGS_SUCCEED);
		expect_outcome(vmread(GUEST_RIP, &value, NULL), FAULTS(VECTOR_UD, 0));
		expect_outcome(vmxoff(NULL), FAULTS(VECTOR_UD, 0));
		expect_bits(read_cr4(), CR4_VMXE, CR4_VMXE);
		expect_outcome(vmxon(&region, NULL), SUCCEED);
		vmcs_reset();
		expect_outcome(vmread(GUEST_RIP, &value, NULL), SUCCEED);
	}
}

/* VMXON outside VMX operation, which it does not enter. */
static void expect_vmxon_fails(u64 address)
{
	const struct outcome outcome = vmxon(&address, NULL);
	u64 value = 0;

	expect_outcome(outcome, FAIL_INVALID);
	expect_outcome(vmread(GUEST_RIP, &value, NULL), FAULTS(VECTOR_UD, 0));
	if (outcome.kind == OUTCOME_SUCCEED)
		vmxoff(NULL);
}

static void leave_with_vmxe_set(void)
{
	vmx_off();
	write_cr4(read_cr4() | CR4_VMXE);
}

static void expect_bad_addresses_refused(bool (*bad)(u32 bit))
{
	const u64 good = physical_address(&vmxon_region);

	leave_with_vmxe_set();
	for (u32 bit = 0; bit < 64; bit++) {
		CASE("address %#lx", good | BIT(bit));
		if (bad(bit))
			expect_vmxon_fails(good | BIT(bit));
	}
	expect_outcome(vmxon(&good, NULL), SUCCEED);
	vmcs_reset();
}

TEST("insn.vmxon.unaligned", "VMXON of an address with any of bits 11:0 set fails with VMfailInvalid")
{
	expect_bad_addresses_refused(address_bit_unaligned);
}

TEST("insn.vmxon.beyond_paw", "VMXON of an address beyond the physical-address width fails with VMfailInvalid")
{
	expect_bad_addresses_refused(address_bit_beyond_width);
}

static void expect_bits_of_revision_refused(u32 first, u32 last)
{
	const u64 address = physical_address(&vmxon_region);
	const u32 revision = vmx_capabilities()->revision;

	leave_with_vmxe_set();
	for (u32 bit = first; bit <= last; bit++) {
		vmxon_region.revision = revision ^ 1u << bit;
		CASE("revision identifier %#lx", vmxon_region.revision);
		expect_vmxon_fails(address);
	}
	vmxon_region.revision = revision;
	CASE("revision identifier %#lx", revision);
	expect_outcome(vmxon(&address, NULL), SUCCEED);
	vmcs_reset();
}

TEST("insn.vmxon.bad_revision", "VMXON of a region with a wrong revision identifier fails with VMfailInvalid")
{
	expect_bits_of_revision_refused(0, 30);
}

/* Also where VMPTRLD takes a shadow VMCS, which that bit marks. */
TEST("insn.vmxon.bit31", "VMXON of a region with bit 31 of its first word set fails with VMfailInvalid")
{
	expect_bits_of_revision_refused(31, 31);
}
