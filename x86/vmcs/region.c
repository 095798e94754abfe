/* SPDX-License-Identifier: BSD-2-Clause */
/* VMCS regions, and which VMCS is active and current ("Format of the VMCS Region", "Overview"). */
#include "vmxtest/entry.h"
#include "libc/string.h"
#include "x86/cpu.h"

#define SHADOW_INDICATOR 0x80000000u

static struct outcome load(const struct vmcs_region *region)
{
	const u64 address = physical_address(region);

	return vmptrld(&address, NULL);
}

static struct outcome clear(const struct vmcs_region *region)
{
	const u64 address = physical_address(region);

	return vmclear(&address, NULL);
}

/* A VMCS of its own, current, clear, with the baseline. */
static struct vmcs_region *make_vmcs(void)
{
	struct vmcs_region *region = vmcs_region_alloc();

	require_outcome(clear(region), SUCCEED);
	require_outcome(load(region), SUCCEED);
	guest_baseline();
	return region;
}

/* The test's VMCSs are gone with its pages, so none may stay active. */
static void back_to_own(struct vmcs_region *region)
{
	expect_outcome(clear(region), SUCCEED);
	require_outcome(load(&vmcs_region), SUCCEED);
}

static u32 runs;

static void guest_counts(void)
{
	runs++;
}

/* VMRESUME if launched, else VMLAUNCH; a guest that is entered by mistake does no harm. */
static struct outcome enter(bool launched)
{
	guest.launched = launched;
	return guest_run(guest_counts);
}

static void run_guest(bool launched)
{
	runs = 0;
	enter(launched);
	expect_guest_done();
	expect_eq(runs, 1);
}

TEST("vmcs.region.shadow_bit_unsupported",
     "without VMCS shadowing a region with the shadow indicator is refused (error 11)",
     NEEDS(LACKS(PROC2_VMCS_SHADOWING)))
{
	struct vmcs_region *region = vmcs_region_alloc();

	region->revision |= SHADOW_INDICATOR;
	expect_outcome(load(region), FAIL_VALID(VMERR_VMPTRLD_INCORRECT_REVISION));
	expect_eq(vmcs_current(), physical_address(&vmcs_region));
	region->revision &= ~SHADOW_INDICATOR;
	expect_outcome(load(region), SUCCEED);
	back_to_own(region);
}

TEST("vmcs.region.shadow_bit_supported", "with VMCS shadowing a region with the shadow indicator can be made current",
     NEEDS(PROC2_VMCS_SHADOWING))
{
	struct vmcs_region *region = vmcs_region_alloc();

	region->revision |= SHADOW_INDICATOR;
	expect_outcome(clear(region), SUCCEED);
	expect_outcome(load(region), SUCCEED);
	expect_eq(vmcs_current(), physical_address(region));
	vmcs_write(GUEST_RIP, 0x123456789);
	expect_eq(vmcs_read(GUEST_RIP), 0x123456789);
	expect_eq(region->revision, vmx_capabilities()->revision | SHADOW_INDICATOR);
	expect_outcome(clear(region), SUCCEED);
	for (u32 bit = 0; bit < 31; bit++) {
		CASE("revision with bit %u flipped, a shadow VMCS", bit);
		region->revision = (vmx_capabilities()->revision ^ 1u << bit) | SHADOW_INDICATOR;
		require_outcome(load(&vmcs_region), SUCCEED);
		expect_outcome(load(region), FAIL_VALID(VMERR_VMPTRLD_INCORRECT_REVISION));
	}
	region->revision = vmx_capabilities()->revision;
	back_to_own(region);
}

TEST("vmcs.types.shadow_no_entry", "no guest is entered by a shadow VMCS: VMfailInvalid", NEEDS(PROC2_VMCS_SHADOWING))
{
	struct vmcs_region *region = vmcs_region_alloc();
	struct outcome launch, resume;

	/* A whole guest, made while the VMCS was an ordinary one. */
	require_outcome(clear(region), SUCCEED);
	require_outcome(load(region), SUCCEED);
	guest_baseline();
	run_guest(false);
	require_outcome(clear(region), SUCCEED);
	region->revision |= SHADOW_INDICATOR;
	require_outcome(load(region), SUCCEED);
	launch = enter(false);
	resume = enter(true);
	back_to_own(region);
	expect_outcome(launch, FAIL_INVALID);
	expect_outcome(resume, FAIL_INVALID);
}

TEST("vmcs.types.indicator_change", "VMCLEAR, a new shadow indicator and VMPTRLD make a VMCS a shadow VMCS and back",
     NEEDS(PROC2_VMCS_SHADOWING))
{
	struct vmcs_region *region = make_vmcs();

	run_guest(false);
	for (u32 n = 0; n < 4; n++) {
		CASE("change %u of the indicator", n);
		require_outcome(clear(region), SUCCEED);
		region->revision ^= SHADOW_INDICATOR;
		expect_outcome(load(region), SUCCEED);
		expect_eq(vmcs_current(), physical_address(region));
		vmcs_write(TSC_OFFSET, 0x1234567812345678 + n);
		expect_eq(vmcs_read(TSC_OFFSET), 0x1234567812345678 + n);
		if (region->revision & SHADOW_INDICATOR)
			continue;
		guest_baseline();
		run_guest(false);
	}
	back_to_own(region);
}

/* What the dword is set to does not matter, and is kept or cleared: a processor writes a value that is not 0 at an abort. */
static void expect_no_abort(const struct vmcs_region *region, u32 written)
{
	const u32 now = region->abort_indicator;

	expect_eq(now, now ? written : 0);
}

TEST("vmcs.region.abort_indicator_offset", "without a VMX abort nothing is reported in the dword at offset 4 of a region")
{
	static const u32 values[] = { 0, 0x5aa5c33c, 0xffffffff };
	struct vmcs_region *region = vmcs_region_alloc();

	for (u32 i = 0; i < ARRAY_SIZE(values); i++) {
		region->abort_indicator = values[i];
		CASE("VMCLEAR, indicator %#x", values[i]);
		expect_outcome(clear(region), SUCCEED);
		expect_no_abort(region, values[i]);
		CASE("VMPTRLD, indicator %#x", values[i]);
		expect_outcome(load(region), SUCCEED);
		expect_no_abort(region, values[i]);
		guest_baseline();
		CASE("VM entry and VM exit, indicator %#x", values[i]);
		run_guest(false);
		run_guest(true);
		expect_no_abort(region, values[i]);
		CASE("entry failure, indicator %#x", values[i]);
		expect_outcome(entry_attempt(true), ACCEPTED);
		expect_no_abort(region, values[i]);
		CASE("VMCLEAR of a used VMCS, indicator %#x", values[i]);
		expect_outcome(clear(region), SUCCEED);
		expect_no_abort(region, values[i]);
		expect_eq(region->revision, vmx_capabilities()->revision);
	}
	back_to_own(region);
}

static void write_all_fields(u64 value)
{
	for (u32 i = 0; i < vmcs_field_count; i++)
		if (field_exists(&vmcs_fields[i]) && field_type(vmcs_fields[i].encoding) != FIELD_READ_ONLY)
			vmcs_write(vmcs_fields[i].encoding, value);
}

TEST("vmcs.region.size_limit", "a VMCS stays within the size that IA32_VMX_BASIC[44:32] gives, at most 4096 bytes")
{
	const u32 size = vmx_capabilities()->basic >> 32 & 0x1fff;
	u8 *pages = page_alloc_many(3);
	struct vmcs_region *region = (struct vmcs_region *)(pages + PAGE_SIZE);
	u32 changed = 0;

	require_between(9, size, PAGE_SIZE);
	memset(pages, 0xa5, 3 * PAGE_SIZE);
	memset(region, 0, size);
	region->revision = vmx_capabilities()->revision;
	require_outcome(clear(region), SUCCEED);
	require_outcome(load(region), SUCCEED);
	write_all_fields(~0ull);
	guest_baseline();
	run_guest(false);
	run_guest(true);
	expect_outcome(entry_attempt(true), ACCEPTED);
	require_outcome(clear(region), SUCCEED);
	require_outcome(load(&vmcs_region), SUCCEED);
	for (u32 i = 0; i < 3 * PAGE_SIZE; i++)
		if ((i < PAGE_SIZE || i >= PAGE_SIZE + size) && pages[i] != 0xa5)
			changed++;
	expect_eq(changed, 0);
}

TEST("vmcs.state.launched_survives_vmptrld", "launch state and fields survive another VMCS being current")
{
	struct vmcs_region *first = make_vmcs(), *second;

	vmcs_write(TSC_OFFSET, 0x1111222233334444);
	run_guest(false);
	second = make_vmcs();
	vmcs_write(TSC_OFFSET, 0x5555666677778888);
	CASE("the second one is clear");
	expect_outcome(enter(true), FAIL_VALID(VMERR_VMRESUME_NON_LAUNCHED));

	require_outcome(load(first), SUCCEED);
	CASE("the first one is launched");
	expect_eq(vmcs_read(TSC_OFFSET), 0x1111222233334444);
	expect_outcome(enter(false), FAIL_VALID(VMERR_VMLAUNCH_NON_CLEAR));
	run_guest(true);
	CASE("VMPTRLD of the current VMCS");
	require_outcome(load(first), SUCCEED);
	run_guest(true);

	require_outcome(load(second), SUCCEED);
	CASE("the second one is still clear");
	expect_eq(vmcs_read(TSC_OFFSET), 0x5555666677778888);
	run_guest(false);
	expect_outcome(clear(second), SUCCEED);
	back_to_own(first);
}

TEST("vmcs.state.no_launch_on_vmfail", "a VMLAUNCH that fails by VMfail leaves the launch state clear")
{
	static const struct {
		enum vmcs_field field;
		u64 value;
		u32 error;
	} cases[] = {
		{ CR3_TARGET_COUNT, 0xffff, VMERR_ENTRY_INVALID_CONTROLS },
		{ HOST_TR_SELECTOR, 0, VMERR_ENTRY_INVALID_HOST_STATE },
	};

	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		const u64 good = vmcs_read(cases[i].field);

		CASE("error %u", cases[i].error);
		vmcs_write(cases[i].field, cases[i].value);
		expect_outcome(enter(false), FAIL_VALID(cases[i].error));
		vmcs_write(cases[i].field, good);
		expect_outcome(enter(true), FAIL_VALID(VMERR_VMRESUME_NON_LAUNCHED));
		run_guest(false);
		/* And a VMRESUME that fails leaves it launched. */
		vmcs_write(cases[i].field, cases[i].value);
		expect_outcome(enter(true), FAIL_VALID(cases[i].error));
		vmcs_write(cases[i].field, good);
		run_guest(true);
		vmcs_reset();
	}
}

static void list_bad_msr(u32 count)
{
	u64 *area = page_alloc();

	area[0] = (u32)IA32_FS_BASE;
	vmcs_write(VM_ENTRY_MSR_LOAD_ADDRESS, physical_address(area));
	vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, count);
}

TEST("vmcs.state.no_launch_on_entry_failure",
     "a VMLAUNCH that fails by reason 33 or 34 leaves the launch state clear")
{
	for (u32 reason = EXIT_INVALID_GUEST_STATE; reason <= EXIT_MSR_LOADING; reason++) {
		const bool by_msr = reason == EXIT_MSR_LOADING;

		for (u32 launched = 0; launched < 2; launched++) {
			CASE("reason %u, %s", reason, launched ? "VMRESUME" : "VMLAUNCH");
			guest.launched = launched;
			list_bad_msr(by_msr);
			expect_outcome(by_msr ? entry_attempt(false) : entry_attempt_with_illegal_guest(),
				       ENTRY_FAILS(reason, by_msr));
			list_bad_msr(0);
			expect_outcome(enter(!launched), FAIL_VALID(launched ? VMERR_VMLAUNCH_NON_CLEAR :
								 VMERR_VMRESUME_NON_LAUNCHED));
			run_guest(launched);
		}
		vmcs_reset();
	}
}

TEST("vmcs.active.many", "many VMCSs are active at once; the one loaded last is current")
{
	enum { MANY = 12 };
	struct vmcs_region *region[MANY];

	for (u32 i = 0; i < MANY; i++) {
		region[i] = make_vmcs();
		vmcs_write(TSC_OFFSET, 0x1000100010001000ull * (i + 1));
		vmcs_write(GUEST_LDTR_SELECTOR, 8 * i);
		if (i % 2)
			run_guest(false);
	}
	for (u32 n = 0; n < 2 * MANY; n++) {
		const u32 i = n * 5 % MANY;

		CASE("VMCS %u", i);
		require_outcome(load(region[i]), SUCCEED);
		expect_eq(vmcs_current(), physical_address(region[i]));
		expect_eq(vmcs_read(TSC_OFFSET), 0x1000100010001000ull * (i + 1));
		expect_eq(vmcs_read(GUEST_LDTR_SELECTOR), 8 * i);
		run_guest(i % 2 || n >= MANY);
	}
	/* VMCLEAR of one that is not current leaves the others. */
	require_outcome(load(region[0]), SUCCEED);
	expect_outcome(clear(region[1]), SUCCEED);
	expect_eq(vmcs_current(), physical_address(region[0]));
	run_guest(true);
	require_outcome(load(region[1]), SUCCEED);
	expect_eq(vmcs_read(TSC_OFFSET), 2 * 0x1000100010001000ull);
	run_guest(false);
	for (u32 i = 0; i < MANY; i++)
		expect_outcome(clear(region[i]), SUCCEED);
	require_outcome(load(&vmcs_region), SUCCEED);
}

/*
 * "The following sequence can be used to move or copy the VMCS": VMCLEAR, copy the region, VMPTRLD (SDM Vol. 3C,
 * "Moving a VMCS Between Processors").
 */
TEST("vmcs.vmclear.flushes", "after VMCLEAR the region holds all of the VMCS: a copy of it is the same VMCS")
{
	struct vmcs_region *first = make_vmcs(), *copy = page_alloc();

	vmcs_write(TSC_OFFSET, 0x123456789abcdef0);
	vmcs_write(EXCEPTION_BITMAP, 0x7654);
	vmcs_write(GUEST_IA32_SYSENTER_EIP, 0xffff800012345678);
	vmcs_write(GUEST_LDTR_SELECTOR, 0x7778);
	require_outcome(clear(first), SUCCEED);
	memcpy(copy, first, PAGE_SIZE);
	memset(first, 0, PAGE_SIZE);
	require_outcome(load(copy), SUCCEED);
	expect_eq(vmcs_read(TSC_OFFSET), 0x123456789abcdef0);
	expect_eq(vmcs_read(EXCEPTION_BITMAP), 0x7654);
	expect_eq(vmcs_read(GUEST_IA32_SYSENTER_EIP), 0xffff800012345678);
	expect_eq(vmcs_read(GUEST_LDTR_SELECTOR), 0x7778);
	run_guest(false);
	back_to_own(copy);
}

TEST("vmcs.current.invalid_value", "with no current VMCS VMPTRST stores FFFFFFFF_FFFFFFFFH")
{
	u64 none;

	expect_eq(vmcs_current(), physical_address(&vmcs_region));
	require_outcome(clear(&vmcs_region), SUCCEED);
	none = vmcs_current();
	require_outcome(load(&vmcs_region), SUCCEED);
	expect_eq(none, ~0ull);
	expect_eq(vmcs_current(), physical_address(&vmcs_region));
}

/* What the other processor saw; it reports, and the first one checks. */
static struct {
	struct vmcs_region *region, *vmxon;
	struct outcome vmxon_outcome, loaded, resumed, launched, launched_again, cleared;
	u64 tsc_offset, sysenter_eip;
	u32 runs;
} moved;

static void use_moved_vmcs(UNUSED void *argument)
{
	const u64 vmxon_address = physical_address(moved.vmxon);
	const u64 cr0 = read_cr0(), cr4 = read_cr4();

	/* Each core has its own, and firmware may have set the first one's only: lock, VMX outside SMX. */
	if (!(rdmsr(IA32_FEATURE_CONTROL) & 1))
		wrmsr(IA32_FEATURE_CONTROL, rdmsr(IA32_FEATURE_CONTROL) | 5);
	write_cr0((cr0 | vmx_capabilities()->cr0_fixed0) & vmx_capabilities()->cr0_fixed1);
	write_cr4(cr4 | vmx_capabilities()->cr4_fixed0 | CR4_VMXE);
	moved.vmxon_outcome = vmxon(&vmxon_address, NULL);
	if (moved.vmxon_outcome.kind == OUTCOME_SUCCEED) {
		moved.loaded = load(moved.region);
		moved.tsc_offset = vmcs_read(TSC_OFFSET);
		moved.sysenter_eip = vmcs_read(GUEST_IA32_SYSENTER_EIP);
		guest_baseline();
		runs = 0;
		guest.launched = true;
		moved.resumed = guest_run(guest_counts);
		guest.launched = false;
		moved.launched = guest_run(guest_counts);
		moved.launched_again = guest_run(guest_counts);
		moved.runs = runs;
		vmcs_write(TSC_OFFSET, 0x5151515152525252);
		moved.cleared = clear(moved.region);
		vmxoff(NULL);
	}
	write_cr4(cr4);
	write_cr0(cr0);
	cpu_load_tables(this_cpu());
}

TEST("vmcs.active.one_cpu", "a VMCS that another processor takes over after VMCLEAR is clear there, and complete",
     NEEDS(NEED_CPUS(2)))
{
	struct fault fault;

	moved.vmxon = vmcs_region_alloc();
	moved.region = make_vmcs();
	run_guest(false);
	vmcs_write(TSC_OFFSET, 0x123456789abcdef0);
	vmcs_write(GUEST_IA32_SYSENTER_EIP, 0xffff800087654321);
	require_outcome(clear(moved.region), SUCCEED);

	fault = on_cpu(1, use_moved_vmcs, NULL);
	require_no_fault(fault);
	require_outcome(moved.vmxon_outcome, SUCCEED);
	expect_outcome(moved.loaded, SUCCEED);
	expect_eq(moved.tsc_offset, 0x123456789abcdef0);
	expect_eq(moved.sysenter_eip, 0xffff800087654321);
	expect_outcome(moved.resumed, FAIL_VALID(VMERR_VMRESUME_NON_LAUNCHED));
	expect_outcome(moved.launched, EXITS(EXIT_VMCALL));
	expect_outcome(moved.launched_again, EXITS(EXIT_VMCALL));
	expect_eq(moved.runs, 2);
	expect_outcome(moved.cleared, SUCCEED);

	CASE("back here");
	require_outcome(load(moved.region), SUCCEED);
	expect_eq(vmcs_read(TSC_OFFSET), 0x5151515152525252);
	guest_baseline();
	expect_outcome(enter(true), FAIL_VALID(VMERR_VMRESUME_NON_LAUNCHED));
	run_guest(false);
	back_to_own(moved.region);
}
