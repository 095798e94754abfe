/* SPDX-License-Identifier: BSD-2-Clause */
/* How VMX instructions report (SDM Vol. 3C, "VMX Instruction Reference", "Conventions"). */
#include "instruction.h"

/*
 * Each way to fail with a VMCS current, and the error number. vmread() and the others set
 * all arithmetic flags before, so that flags which must be cleared are seen.
 */
static struct outcome fail_vmclear(u64 *rflags)
{
	const u64 address = 1;

	return vmclear(&address, rflags);
}

static struct outcome fail_vmclear_vmxon(u64 *rflags)
{
	const u64 address = physical_address(&vmxon_region);

	return vmclear(&address, rflags);
}

static struct outcome fail_vmresume(u64 *rflags)
{
	return vmresume(rflags);
}

static struct outcome fail_vmptrld(u64 *rflags)
{
	const u64 address = 1;

	return vmptrld(&address, rflags);
}

static struct outcome fail_vmptrld_vmxon(u64 *rflags)
{
	const u64 address = physical_address(&vmxon_region);

	return vmptrld(&address, rflags);
}

static struct outcome fail_vmptrld_revision(u64 *rflags)
{
	static struct vmcs_region region;
	const u64 address = physical_address(&region);

	region.revision = vmx_capabilities()->revision ^ 1;
	return vmptrld(&address, rflags);
}

static struct outcome fail_vmread(u64 *rflags)
{
	u64 value = 0;

	return vmread(BIT(12), &value, rflags);
}

static struct outcome fail_vmwrite(u64 *rflags)
{
	return vmwrite(BIT(12), 0, rflags);
}

static struct outcome fail_vmxon(u64 *rflags)
{
	const u64 address = physical_address(&vmxon_region);

	return vmxon(&address, rflags);
}

/* Type FFFFFFFFH is none of either. */
static struct outcome fail_invept(u64 *rflags)
{
	const struct invept_descriptor descriptor = { 0, 0 };

	return invept(0xffffffff, &descriptor, rflags);
}

static struct outcome fail_invvpid(u64 *rflags)
{
	const struct invvpid_descriptor descriptor = { 1, 0 };

	return invvpid(0xffffffff, &descriptor, rflags);
}

static const struct {
	const char *name;
	struct outcome (*execute)(u64 *rflags);
	u32 error;
	u32 need;
} failures[] = {
	{ "VMCLEAR, unaligned", fail_vmclear, VMERR_VMCLEAR_INVALID_ADDRESS, 0 },
	{ "VMCLEAR, VMXON pointer", fail_vmclear_vmxon, VMERR_VMCLEAR_VMXON_POINTER, 0 },
	{ "VMRESUME, clear VMCS", fail_vmresume, VMERR_VMRESUME_NON_LAUNCHED, 0 },
	{ "VMPTRLD, unaligned", fail_vmptrld, VMERR_VMPTRLD_INVALID_ADDRESS, 0 },
	{ "VMPTRLD, VMXON pointer", fail_vmptrld_vmxon, VMERR_VMPTRLD_VMXON_POINTER, 0 },
	{ "VMPTRLD, revision", fail_vmptrld_revision, VMERR_VMPTRLD_INCORRECT_REVISION, 0 },
	{ "VMREAD", fail_vmread, VMERR_UNSUPPORTED_COMPONENT, 0 },
	{ "VMXON", fail_vmxon, VMERR_VMXON_IN_ROOT, 0 },
	{ "VMWRITE", fail_vmwrite, VMERR_UNSUPPORTED_COMPONENT, 0 },
	{ "INVEPT", fail_invept, VMERR_INVALID_OPERAND_TO_INVEPT_INVVPID, CAP_INVEPT },
	{ "VMCLEAR, unaligned, again", fail_vmclear, VMERR_VMCLEAR_INVALID_ADDRESS, 0 },
	{ "INVVPID", fail_invvpid, VMERR_INVALID_OPERAND_TO_INVEPT_INVVPID, CAP_INVVPID },
};

static bool possible(u32 need)
{
	return !need || has(need);
}

TEST("insn.conv.vmfailvalid", "VMfailValid sets ZF, clears CF, PF, AF, SF and OF, and gives the error number")
{
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		u64 rflags = 0;

		if (!possible(failures[i].need))
			continue;
		CASE("%s", failures[i].name);
		expect_outcome(failures[i].execute(&rflags), FAIL_VALID(failures[i].error));
		expect_bits(rflags, ~0ull, RFLAGS_FIXED | FLAGS_FAIL_VALID);
		expect_eq(vmcs_read(VM_INSTRUCTION_ERROR), failures[i].error);
	}
}

static void guest_does_nothing(void)
{
}

TEST("insn.conv.error_sticky", "The VM-instruction error stays until the next VMfailValid, whatever succeeds meanwhile")
{
	const u64 other = physical_address(vmcs_region_alloc());
	const u64 current = vmcs_current();
	u64 value = 0;

	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		const u32 error = failures[i].error;

		if (!possible(failures[i].need) || failures[i].execute == fail_vmresume)
			continue;
		CASE("error %u", error);
		require_outcome(failures[i].execute(NULL), FAIL_VALID(error));
		expect_outcome(vmread(GUEST_RIP, &value, NULL), SUCCEED);
		expect_outcome(vmwrite(GUEST_RIP, value, NULL), SUCCEED);
		expect_outcome(vmptrst(&value, NULL), SUCCEED);
		expect_outcome(vmclear(&other, NULL), SUCCEED);
		expect_outcome(vmptrld(&current, NULL), SUCCEED);
		expect_eq(vmcs_read(VM_INSTRUCTION_ERROR), error);

		/* VM exits do not touch the field either. */
		guest_run(guest_does_nothing);
		expect_guest_done();
		expect_eq(vmcs_read(VM_INSTRUCTION_ERROR), error);
	}
}
