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

/* Each way to fail where no VMCS is current. */
static const struct {
	const char *name;
	struct outcome (*execute)(u64 *rflags);
	u32 need;
} failures_without_vmcs[] = {
	{ "VMCLEAR, unaligned", fail_vmclear, 0 },
	{ "VMCLEAR, VMXON pointer", fail_vmclear_vmxon, 0 },
	{ "VMPTRLD, unaligned", fail_vmptrld, 0 },
	{ "VMPTRLD, VMXON pointer", fail_vmptrld_vmxon, 0 },
	{ "VMPTRLD, revision", fail_vmptrld_revision, 0 },
	{ "VMREAD", fail_vmread, 0 },
	{ "VMWRITE", fail_vmwrite, 0 },
	{ "VMXON", fail_vmxon, 0 },
	{ "VMLAUNCH", vmlaunch, 0 },
	{ "VMRESUME", vmresume, 0 },
	{ "INVEPT", fail_invept, CAP_INVEPT },
	{ "INVVPID", fail_invvpid, CAP_INVVPID },
};

TEST("insn.conv.vmfailinvalid", "VMfailInvalid sets CF and clears PF, AF, ZF, SF and OF")
{
	vmcs_drop();
	for (size_t i = 0; i < ARRAY_SIZE(failures_without_vmcs); i++) {
		u64 rflags = 0;

		if (!possible(failures_without_vmcs[i].need))
			continue;
		CASE("%s", failures_without_vmcs[i].name);
		expect_outcome(failures_without_vmcs[i].execute(&rflags), FAIL_INVALID);
		expect_bits(rflags, ~0ull, RFLAGS_FIXED | FLAGS_FAIL_INVALID);
	}
	vmcs_reset();
}

static void expect_success(struct outcome outcome, u64 rflags, const char *name)
{
	CASE("%s", name);
	expect_outcome(outcome, SUCCEED);
	expect_bits(rflags, ~0ull, RFLAGS_FIXED | FLAGS_SUCCEED);
}

TEST("insn.conv.vmsucceed", "A VMX instruction that succeeds clears CF, PF, AF, ZF, SF and OF")
{
	const u64 region = physical_address(&vmcs_region), vmxon_pointer = physical_address(&vmxon_region);
	const struct invept_descriptor all_eptps = { 0, 0 };
	const struct invvpid_descriptor all_vpids = { 0, 0 };
	u64 value = 0, rflags = 0;

#define EXPECT_SUCCESS(instruction)					\
	({ const struct outcome outcome_ = instruction; expect_success(outcome_, rflags, #instruction); })
	EXPECT_SUCCESS(vmread(GUEST_RIP, &value, &rflags));
	EXPECT_SUCCESS(vmwrite(GUEST_RIP, value, &rflags));
	EXPECT_SUCCESS(vmptrst(&value, &rflags));
	EXPECT_SUCCESS(vmptrld(&region, &rflags));
	if (has(CAP_INVEPT_ALL_CONTEXT))
		EXPECT_SUCCESS(invept(2, &all_eptps, &rflags));
	if (has(CAP_INVVPID_ALL_CONTEXT))
		EXPECT_SUCCESS(invvpid(2, &all_vpids, &rflags));
	EXPECT_SUCCESS(vmclear(&region, &rflags));
	EXPECT_SUCCESS(vmxoff(&rflags));
	EXPECT_SUCCESS(vmxon(&vmxon_pointer, &rflags));
	EXPECT_SUCCESS(vmclear(&region, &rflags));
	EXPECT_SUCCESS(vmptrld(&region, &rflags));
#undef EXPECT_SUCCESS
}

static u64 error_of(u64 vmcs)
{
	require_outcome(vmptrld(&vmcs, NULL), SUCCEED);
	return vmcs_read(VM_INSTRUCTION_ERROR);
}

TEST("insn.conv.error_per_vmcs", "An error number goes to the VMCS that was current, and to no other")
{
	const u64 a = vmcs_current();
	const u64 b = physical_address(vmcs_region_alloc());

	require_outcome(vmclear(&b, NULL), SUCCEED);
	require_outcome(fail_vmread(NULL), FAIL_VALID(VMERR_UNSUPPORTED_COMPONENT));
	require_outcome(vmptrld(&b, NULL), SUCCEED);
	require_outcome(fail_vmclear(NULL), FAIL_VALID(VMERR_VMCLEAR_INVALID_ADDRESS));
	expect_eq(error_of(a), VMERR_UNSUPPORTED_COMPONENT);
	expect_eq(error_of(b), VMERR_VMCLEAR_INVALID_ADDRESS);

	/* A VMPTRLD that fails reports to the VMCS that it did not replace. */
	require_outcome(vmptrld(&a, NULL), SUCCEED);
	require_outcome(fail_vmptrld_revision(NULL), FAIL_VALID(VMERR_VMPTRLD_INCORRECT_REVISION));
	expect_eq(error_of(b), VMERR_VMCLEAR_INVALID_ADDRESS);
	require_outcome(fail_vmxon(NULL), FAIL_VALID(VMERR_VMXON_IN_ROOT));
	expect_eq(error_of(a), VMERR_VMPTRLD_INCORRECT_REVISION);
	expect_eq(error_of(b), VMERR_VMXON_IN_ROOT);

	require_outcome(vmclear(&b, NULL), SUCCEED);
	vmcs_reset();
}

static void expect_error_in_use(struct outcome outcome)
{
	expect_fail_valid(outcome);
	expect_ne(outcome.number, 0);
	expect_on_known(outcome.number <= 28 && outcome.number != 14 && outcome.number != 21 && outcome.number != 27,
			"an error number that the manual uses: 1 to 28 but 14, 21 and 27");
}

TEST("insn.err.reserved_never", "No VMfailValid reports one of the numbers 0, 14, 21 and 27, which are not in use")
{
	static const enum vmcs_field refused_as_ones[] = {
		PIN_BASED_CONTROLS, PRIMARY_PROC_CONTROLS, VM_EXIT_CONTROLS, VM_ENTRY_CONTROLS, CR3_TARGET_COUNT,
		HOST_CR3, HOST_CS_SELECTOR, HOST_TR_SELECTOR, HOST_IA32_SYSENTER_EIP, HOST_RIP,
	};

	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		CASE("%s", failures[i].name);
		if (possible(failures[i].need))
			expect_error_in_use(failures[i].execute(NULL));
	}
	for (size_t i = 0; i < ARRAY_SIZE(refused_as_ones); i++) {
		CASE("VM entry with field %#lx wrong", refused_as_ones[i]);
		vmcs_reset();
		guest_baseline();
		vmcs_write(refused_as_ones[i], 0x7fffffffffffffff);
		expect_error_in_use(guest_enter());
	}
}
