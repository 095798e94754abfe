/* SPDX-License-Identifier: BSD-2-Clause */
/* IA32_VMX_MISC (SDM Vol. 3, Appendix A.6). */
#include "capability.h"

#include "vmx/msr_list.h"

/* "This number is a value between 0 and 256, inclusive": and it is the count that VM entry goes by. */
TEST("cap.misc.cr3count", "IA32_VMX_MISC[24:16] is the number of CR3-target values, at most 256")
{
	const u32 count = rdmsr(IA32_VMX_MISC) >> 16 & 0x1ff;

	expect_at_most(count, 256);

	vmcs_write(GUEST_RFLAGS, 0);		/* no guest is to run: its state is refused last */
	vmcs_write(CR3_TARGET_COUNT, count);
	expect_outcome(guest_enter(), ENTRY_FAILS(EXIT_INVALID_GUEST_STATE, 0));
	vmcs_write(CR3_TARGET_COUNT, count + 1);
	expect_outcome(guest_enter(), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
}

TEST("cap.misc.lma5", "Where there is unrestricted guest, VM exits store IA32_EFER.LMA (IA32_VMX_MISC[5])",
     NEEDS(PROC2_UNRESTRICTED_GUEST))
{
	expect_bits(rdmsr(IA32_VMX_MISC), BIT(5), BIT(5));
}

TEST("cap.misc.reserved", "The reserved bits 13:9 and 31 of IA32_VMX_MISC are 0")
{
	expect_reserved(rdmsr(IA32_VMX_MISC), 0x1full << 9 | BIT(31));
}

/* Bits of IA32_RTIT_CTL. */
enum { TRACE_EN = BIT(0), OS = BIT(2) };

/* Tracing that starts is of no use here: packets go to one page, if that output is supported. */
static bool start_tracing(void)
{
	const u64 page = physical_address(page_alloc());

	if (!(cpuid(0x14, 0).ecx & BIT(2)))
		return false;
	return !TRY({
		wrmsr(IA32_RTIT_OUTPUT_BASE, page);
		wrmsr(IA32_RTIT_OUTPUT_MASK_PTRS, PAGE_SIZE - 1);
		wrmsr(IA32_RTIT_STATUS, 0);
		wrmsr(IA32_RTIT_CTL, TRACE_EN | OS);
	}).raised;
}

/* Whatever VMXON has made of it: the page of the output is about to be somebody else's. In VMX operation or outside. */
static void stop_tracing(void)
{
	if (!(rdmsr(IA32_RTIT_CTL) & TRACE_EN))
		return;
	if (TRY(wrmsr(IA32_RTIT_CTL, 0)).raised) {
		vmx_off();
		wrmsr(IA32_RTIT_CTL, 0);
		vmx_on();
	}
}

/* This edition has #GP for an attempt to set TraceEn, later ones for any write. */
TEST("cap.misc.pt14", "With IA32_VMX_MISC[14] = 0 VMXON stops Intel PT, and VMX operation keeps it off",
     NEEDS(FEATURE_INTEL_PT, LACKS(CAP_MISC_INTEL_PT_IN_VMX)))
{
	static const u64 values[] = { TRACE_EN, TRACE_EN | OS, 0, OS };
	struct fault fault;
	u64 control;
	bool tracing;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		fault = try_wrmsr(IA32_RTIT_CTL, values[i]);
		CASE("IA32_RTIT_CTL = %#lx", values[i]);
		if (values[i] & TRACE_EN)
			expect_fault(fault, VECTOR_GP, 0);
		else if (!fault.raised)
			note("WRMSR of %#lx to IA32_RTIT_CTL, which starts no trace, is taken in VMX operation", values[i]);
	}
	if (!may(MAY_TRACE))
		return;
	vmx_off();
	tracing = start_tracing();
	fault = TRY(vmx_on());
	control = rdmsr(IA32_RTIT_CTL);
	stop_tracing();
	require_no_fault(fault);
	if (tracing)
		expect_bits(control, TRACE_EN, 0);
	vmcs_reset();
}

static u64 guest_lstar;

static void guest_reads_and_writes_lstar(void)
{
	guest_lstar = rdmsr(IA32_LSTAR);
	wrmsr(IA32_LSTAR, 0x456789000);
}

/* Each list at its full length; what the last entry says is what is seen. */
TEST("cap.misc.msrmax", "Lists of 512 * (IA32_VMX_MISC[27:25] + 1) MSRs work on VM entry and on VM exit",
     NEEDS(FEATURE_LM, PROC_USE_MSR_BITMAPS))
{
	const u32 count = 512 * ((rdmsr(IA32_VMX_MISC) >> 25 & 7) + 1);
	const u32 pages = count * sizeof(struct msr_entry) / PAGE_SIZE;
	struct msr_entry *entry_load = page_alloc_many(pages), *exit_store = page_alloc_many(pages);
	struct msr_entry *exit_load = page_alloc_many(pages);
	const u64 before = rdmsr(IA32_LSTAR);
	u32 wrong = 0;

	for (u32 i = 0; i < count; i++) {
		entry_load[i] = (struct msr_entry){ .index = IA32_LSTAR, .value = 0x1000 + i };
		exit_store[i] = (struct msr_entry){ .index = IA32_LSTAR, .value = 0xbad };
		exit_load[i] = (struct msr_entry){ .index = IA32_LSTAR, .value = 0x2000 + i };
	}
	vmcs_use_msr_bitmap();
	vmcs_write(VM_ENTRY_MSR_LOAD_ADDRESS, physical_address(entry_load));
	vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, count);
	vmcs_write(VM_EXIT_MSR_STORE_ADDRESS, physical_address(exit_store));
	vmcs_write(VM_EXIT_MSR_STORE_COUNT, count);
	vmcs_write(VM_EXIT_MSR_LOAD_ADDRESS, physical_address(exit_load));
	vmcs_write(VM_EXIT_MSR_LOAD_COUNT, count);
	guest_run(guest_reads_and_writes_lstar);

	expect_guest_done();
	expect_eq(guest_lstar, 0x1000 + count - 1);
	for (u32 i = 0; i < count; i++)
		wrong += exit_store[i].value != 0x456789000;
	expect_eq(wrong, 0);
	expect_eq(rdmsr(IA32_LSTAR), 0x2000 + count - 1);
	wrmsr(IA32_LSTAR, before);
}
