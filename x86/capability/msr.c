/* SPDX-License-Identifier: BSD-2-Clause */
/* Which capability MSRs there are, and that they only report (SDM Vol. 3, Appendix A). */
#include "capability.h"

#include "x86/cpu.h"

TEST("cap.cpuid.vmx", "CPUID.01H:ECX[5] is 1 where VMX is supported, in VMX operation and outside it")
{
	expect_bits(cpuid(1, 0).ecx, BIT(5), BIT(5));
	vmx_off();
	expect_bits(cpuid(1, 0).ecx, BIT(5), BIT(5));
	vmx_on();
	vmcs_reset();
}

TEST("cap.msr.readable", "MSRs 480H to 48AH can be read in VMX operation and outside it, and say the same")
{
	enum { FIRST = IA32_VMX_BASIC, LAST = IA32_VMX_VMCS_ENUM };
	u64 inside[LAST - FIRST + 1] = { 0 };

	for (u32 msr = FIRST; msr <= LAST; msr++) {
		const struct fault fault = try_rdmsr(msr, &inside[msr - FIRST]);

		CASE("MSR %#lx in VMX operation", msr);
		expect_no_fault(fault);
	}
	vmx_off();
	for (u32 msr = FIRST; msr <= LAST; msr++) {
		u64 outside = 0;
		const struct fault fault = try_rdmsr(msr, &outside);

		CASE("MSR %#lx outside VMX operation", msr);
		expect_no_fault(fault);
		expect_eq(outside, inside[msr - FIRST]);
	}
	vmx_on();
	vmcs_reset();
}

/* Those that do not exist fault too. */
static void expect_read_only(u32 msr)
{
	u64 value = 0, after = 0;
	const bool exists = !try_rdmsr(msr, &value).raised;
	const u64 values[] = { value, 0, ~0ull, ~value, value ^ 1, value ^ BIT(63) };

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		const struct fault fault = try_wrmsr(msr, values[i]);

		CASE("MSR %#lx = %#lx", msr, values[i]);
		expect_fault(fault, VECTOR_GP, 0);
		expect_eq(try_rdmsr(msr, &after).raised, !exists);
		expect_eq(after, value);
	}
}

TEST("cap.msr.readonly", "WRMSR to a VMX capability MSR (480H to 493H) raises #GP(0) and changes nothing")
{
	for (u32 msr = IA32_VMX_BASIC; msr <= IA32_VMX_EXIT_CTLS2; msr++)
		expect_read_only(msr);
	vmx_off();
	for (u32 msr = IA32_VMX_BASIC; msr <= IA32_VMX_EXIT_CTLS2; msr++)
		expect_read_only(msr);
	vmx_on();
	vmcs_reset();
}

static bool allowed_1(u32 msr, u32 bit)
{
	return rdmsr(msr) >> (32 + bit) & 1;
}

/* Told from the MSRs themselves, not from the library's tables. */
TEST("cap.msr.conditional_presence", "MSRs 48BH to 493H exist exactly where the control or bit is that they belong to")
{
	const bool secondary = allowed_1(IA32_VMX_PROCBASED_CTLS, 31);
	const bool true_msrs = rdmsr(IA32_VMX_BASIC) & BIT(55);
	const struct {
		u32 msr;
		bool exists;
	} cases[] = {
		{ IA32_VMX_PROCBASED_CTLS2, secondary },
		{ IA32_VMX_EPT_VPID_CAP, secondary && (allowed_1(IA32_VMX_PROCBASED_CTLS2, 1) ||
						       allowed_1(IA32_VMX_PROCBASED_CTLS2, 5)) },
		{ IA32_VMX_TRUE_PINBASED_CTLS, true_msrs },
		{ IA32_VMX_TRUE_PROCBASED_CTLS, true_msrs },
		{ IA32_VMX_TRUE_EXIT_CTLS, true_msrs },
		{ IA32_VMX_TRUE_ENTRY_CTLS, true_msrs },
		{ IA32_VMX_VMFUNC, secondary && allowed_1(IA32_VMX_PROCBASED_CTLS2, 13) },
		{ IA32_VMX_PROCBASED_CTLS3, allowed_1(IA32_VMX_PROCBASED_CTLS, 17) },
		{ IA32_VMX_EXIT_CTLS2, allowed_1(IA32_VMX_EXIT_CTLS, 31) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fault fault = try_rdmsr(cases[i].msr, NULL);

		CASE("MSR %#lx", cases[i].msr);
		if (cases[i].exists)
			expect_no_fault(fault);
		else
			expect_fault(fault, VECTOR_GP, 0);
	}
}

TEST("cap.vmfunc.msr", "IA32_VMX_VMFUNC exists where VM functions may be enabled; bit 0 is EPTP switching")
{
	u64 functions = 0, value;
	const struct fault fault = try_rdmsr(IA32_VMX_VMFUNC, &functions);

	if (!has(PROC2_ENABLE_VM_FUNCTIONS)) {
		expect_fault(fault, VECTOR_GP, 0);
		return;
	}
	expect_no_fault(fault);
	/* EPTP switching has a field of its own; that there is none without it is vmcs.exists.eptp_list's business. */
	if (functions & 1)
		expect_outcome(vmread(EPTP_LIST_ADDRESS, &value, NULL), SUCCEED);
}

enum { FEATURE_CONTROL_LOCK = BIT(0), FEATURE_CONTROL_OUTSIDE_SMX = BIT(2) };

TEST("cap.featctl.locked_clear_vmxon", "VMXON raises #GP(0) while IA32_FEATURE_CONTROL is not locked")
{
	if (vmxon_while_unlocked.kind == OUTCOME_NONE)
		skip("the firmware had locked IA32_FEATURE_CONTROL");
	expect_outcome(vmxon_while_unlocked, FAULTS(VECTOR_GP, 0));
	expect_bits(rdmsr(IA32_FEATURE_CONTROL), FEATURE_CONTROL_LOCK, FEATURE_CONTROL_LOCK);
}

TEST("cap.featctl.write_locked", "WRMSR to IA32_FEATURE_CONTROL raises #GP(0) once it is locked, and changes nothing")
{
	const u64 value = rdmsr(IA32_FEATURE_CONTROL);
	const u64 values[] = { value, 0, value & ~(u64)FEATURE_CONTROL_LOCK, value ^ FEATURE_CONTROL_OUTSIDE_SMX };

	require(value & FEATURE_CONTROL_LOCK, "the lock bit of IA32_FEATURE_CONTROL is 1");
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		const struct fault fault = try_wrmsr(IA32_FEATURE_CONTROL, values[i]);

		CASE("IA32_FEATURE_CONTROL = %#lx", values[i]);
		expect_fault(fault, VECTOR_GP, 0);
		expect_eq(rdmsr(IA32_FEATURE_CONTROL), value);
	}
}

/* Of another processor, the last one: from then on it can no more enter VMX operation, until the machine is reset. */
static struct {
	bool was_locked;
	struct outcome vmxon;
} other;

static void lock_without_vmx(void *region)
{
	const struct vmx_capabilities *cap = vmx_capabilities();
	const u64 address = physical_address(region);
	const u64 cr0 = read_cr0(), cr4 = read_cr4();
	const u64 control = rdmsr(IA32_FEATURE_CONTROL);

	other.was_locked = control & FEATURE_CONTROL_LOCK;
	if (other.was_locked && (control & FEATURE_CONTROL_OUTSIDE_SMX))
		return;
	if (!other.was_locked && !may(MAY_LOCK_FEATURES))
		return;
	if (!other.was_locked)
		wrmsr(IA32_FEATURE_CONTROL, FEATURE_CONTROL_LOCK);
	write_cr0((cr0 | cap->cr0_fixed0) & cap->cr0_fixed1);
	write_cr4((cr4 | cap->cr4_fixed0) & cap->cr4_fixed1);
	other.vmxon = vmxon(&address, NULL);
	if (other.vmxon.kind == OUTCOME_SUCCEED)
		vmxoff(NULL);
	write_cr4(cr4);
	write_cr0(cr0);
}

TEST("cap.featctl.outside_smx", "VMXON raises #GP(0) where IA32_FEATURE_CONTROL is locked with bit 2 clear",
     NEEDS(NEED_CPUS(3)))		/* one that is lost to the tests behind this one, and one for those */
{
	const unsigned int last = cpus_online() - 1;
	struct fault fault;

	other.vmxon.kind = OUTCOME_NONE;
	fault = on_cpu(last, lock_without_vmx, vmcs_region_alloc());
	require_no_fault(fault);
	if (other.vmxon.kind != OUTCOME_NONE)
		cpu_leave_out(last);
	if (other.vmxon.kind == OUTCOME_NONE)
		skip(other.was_locked ? "IA32_FEATURE_CONTROL of the other processor is locked with bit 2 set" :
		     "takes VMX from a processor until the machine is reset: not without the word dangerous=lock");
	expect_outcome(other.vmxon, FAULTS(VECTOR_GP, 0));
}
