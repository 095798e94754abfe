/* SPDX-License-Identifier: BSD-2-Clause */
/* VMXON and VMXOFF (SDM Vol. 3C, "VMXON-Enter VMX Operation", "VMXOFF-Leave VMX Operation"). */
#include "instruction.h"

TEST("insn.vmxon.in_root", "VMXON in VMX root operation fails with error 15")
{
	const u64 operands[] = {
		physical_address(&vmxon_region), physical_address(vmcs_region_alloc()), 1, ~0ull,
	};

	for (size_t i = 0; i < ARRAY_SIZE(operands); i++) {
		CASE("operand %#x", operands[i]);
		expect_outcome(vmxon(&operands[i], NULL), FAIL_VALID(VMERR_VMXON_IN_ROOT));
		expect_eq(vmcs_current(), physical_address(&vmcs_region));
	}
	vmcs_drop();
	for (size_t i = 0; i < ARRAY_SIZE(operands); i++) {
		CASE("operand %#x, no current VMCS", operands[i]);
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
