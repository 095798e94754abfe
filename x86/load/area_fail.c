/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries of the VM-entry MSR-load area that VM entry refuses, with their number in the qualification. */
#include "area.h"

static void expect_fails_at(struct msr_entry *area, struct msr_entry bad, u32 position, u32 count)
{
	CASE("MSR %#x = %#lx, entry %u of %u", bad.index, bad.value, position, count);
	area_fill(area, 0, count);
	area[position - 1] = bad;
	area_use(area, count);
	wrmsr(HARMLESS_MSR, 0x7777);
	expect_outcome(guest_run(guest_ends), ENTRY_FAILS(EXIT_MSR_LOADING, position));
	expect_eq(rdmsr(HARMLESS_MSR), position > 1 ? harmless_value(position - 2) : 0x7777);
}

void expect_entry_fails(struct msr_entry *area, struct msr_entry bad)
{
	msrs_keep(HARMLESS_MSR);
	expect_fails_at(area, bad, 1, 1);
	expect_fails_at(area, bad, 1, 2);
	expect_fails_at(area, bad, 2, 2);
	expect_fails_at(area, bad, 2, 3);
	expect_fails_at(area, bad, AREA_ENTRIES, AREA_ENTRIES);
	expect_fails_at(area, bad, AREA_ENTRIES / 2 + 1, AREA_ENTRIES);

	CASE("the same list without the bad entry");
	area_fill(area, 0, AREA_ENTRIES);
	guest_run(guest_ends);
	expect_guest_done();
	expect_eq(rdmsr(HARMLESS_MSR), harmless_value(AREA_ENTRIES - 1));
	msrs_put_back();
}

void expect_first_entry_fails(struct msr_entry *area, struct msr_entry bad)
{
	CASE("MSR %#x = %#lx, bits 63:32 %#x", bad.index, bad.value, bad.reserved);
	area[0] = bad;
	area_use(area, 1);
	expect_outcome(guest_run(guest_ends), ENTRY_FAILS(EXIT_MSR_LOADING, 1));
}

/* An MSR that is refused whatever the value is: try some that WRMSR would take. */
static void check_refused_msr(u32 msr)
{
	static const u64 values[] = { 0, 1, 0x100000, 0x7fffffffffff, 0xffff800000000000 };
	struct msr_entry *const area = area_alloc();

	for (u32 i = 0; i < ARRAY_SIZE(values); i++)
		expect_first_entry_fails(area, (struct msr_entry){ msr, 0, values[i] });
	expect_first_entry_fails(area, (struct msr_entry){ msr, 0, rdmsr(IA32_GS_BASE) });
	expect_entry_fails(area, (struct msr_entry){ msr, 0, rdmsr(IA32_GS_BASE) });
}

TEST("entry.msr.fail.fsbase", "an entry for IA32_FS_BASE fails VM entry with reason 34 and its number")
{
	check_refused_msr(IA32_FS_BASE);
}

TEST("entry.msr.fail.gsbase", "an entry for IA32_GS_BASE fails VM entry with reason 34 and its number")
{
	check_refused_msr(IA32_GS_BASE);
}

TEST("entry.msr.fail.x2apic", "an entry for an MSR from 800H to 8FFH fails VM entry with reason 34 and its number")
{
	struct msr_entry *const area = area_alloc();

	for (u32 msr = 0x800; msr < 0x900; msr++)
		expect_first_entry_fails(area, (struct msr_entry){ msr, 0, 0 });
	expect_entry_fails(area, (struct msr_entry){ 0x808, 0, 0 });
	expect_entry_fails(area, (struct msr_entry){ 0x83f, 0, 0 });
}

TEST("entry.msr.fail.smm_only", "an entry for IA32_SMM_MONITOR_CTL, which only SMM may write, fails VM entry with reason 34")
{
	struct msr_entry *const area = area_alloc();

	for (u32 value = 0; value < 8; value++)
		expect_first_entry_fails(area, (struct msr_entry){ IA32_SMM_MONITOR_CTL, 0, value });
	expect_entry_fails(area, (struct msr_entry){ IA32_SMM_MONITOR_CTL, 0, 0 });
}

TEST("entry.msr.fail.reserved", "an entry with one of bits 63:32 set fails VM entry with reason 34 and its number")
{
	struct msr_entry *const area = area_alloc();

	msrs_keep(HARMLESS_MSR);
	for (u32 bit = 0; bit < 32; bit++) {
		expect_first_entry_fails(area, (struct msr_entry){ HARMLESS_MSR, BIT(bit), 0x1234 });
		CASE("the same with bits 63:32 as 0");
		area[0].reserved = 0;
		guest_run(guest_ends);
		expect_guest_done();
		expect_eq(rdmsr(HARMLESS_MSR), 0x1234);
		wrmsr(HARMLESS_MSR, 0);
	}
	msrs_put_back();
	for (u32 bit = 0; bit < 32; bit++)
		expect_entry_fails(area, (struct msr_entry){ HARMLESS_MSR, BIT(bit), 0x1234 });
	expect_entry_fails(area, (struct msr_entry){ HARMLESS_MSR, 0xffffffff, 0x1234 });
}

/* An MSR and a value that WRMSR refuses everywhere, if there is that MSR; and one that it takes. */
static const struct {
	u32 msr;
	u64 bad, good;
} values[] = {
	{ (u32)IA32_EFER, EFER_LME | EFER_LMA | BIT(1), EFER_LME | EFER_LMA },
	{ (u32)IA32_EFER, EFER_LME | EFER_LMA | BIT(63), EFER_LME | EFER_LMA },
	{ IA32_PAT, 0x0007040600070206, 0x0007040600070106 },
	{ IA32_PAT, 0x0307040600070406, 0x0107040600070406 },
	{ IA32_PAT, 0x0007080600070406, 0x0007070600070406 },
	{ IA32_PAT, 0x0007040680070406, 0x0007040600070406 },
};

/*
 * MSRs that hold a linear address. Which are canonical for them is said by the processor's linear-address width, however
 * wide the addresses are that the paging in use translates.
 */
static const u32 address_msrs[] = { (u32)IA32_KERNEL_GS_BASE, (u32)IA32_LSTAR };
static const u32 sysenter_msrs[] = { IA32_SYSENTER_ESP, IA32_SYSENTER_EIP };

/* MSRs that can only be read. */
static const u32 read_only[] = {
	IA32_VMX_BASIC, IA32_VMX_MISC, IA32_VMX_CR0_FIXED0, IA32_VMX_VMCS_ENUM, IA32_MTRRCAP, IA32_PERF_CAPABILITIES,
	IA32_ARCH_CAPABILITIES, IA32_CORE_CAPABILITIES,
};

static void check_value(struct msr_entry *area, u32 msr, u64 bad, u64 good)
{
	msrs_keep(msr);
	expect_first_entry_fails(area, (struct msr_entry){ msr, 0, bad });
	CASE("MSR %#x = %#lx, a good value", msr, good);
	area[0].value = good;
	guest_run(guest_ends);
	expect_guest_done();
	msrs_put_back();
	expect_entry_fails(area, (struct msr_entry){ msr, 0, bad });
}

/* The ends of the hole; the good values are canonical at any width, as an exit saves some of them as guest state. */
static void check_address_msr(struct msr_entry *area, u32 msr)
{
	const u64 half = BIT(linear_address_width() - 1);

	check_value(area, msr, half, 0x00007fffffffffff);
	check_value(area, msr, -half - 1, 0xffff800000000000);
	check_value(area, msr, BIT(63), 0);
	check_value(area, msr, ~BIT(63), ~0ull);
}

/* Absent: the processor itself says so, for reads and for writes. */
static bool absent(u32 msr)
{
	return TRY(rdmsr(msr)).raised && TRY(wrmsr(msr, 0)).raised;
}

/* Erratum SKL031 (and KBL028, CML028): VM entry with an absent MSR in the area may shut the processor down. */
static bool absent_is_dangerous(void)
{
	static const u8 models[] = { 0x4e, 0x5e, 0x8e, 0x9e, 0xa5, 0xa6 };
	const u32 signature = cpuid(1, 0).eax, model = (signature >> 4 & 0xf) | (signature >> 12 & 0xf0);

	for (u32 i = 0; i < ARRAY_SIZE(models) && !has(FEATURE_HYPERVISOR); i++)
		if ((signature >> 8 & 0xf) == 6 && model == models[i])
			return true;
	return false;
}

TEST("entry.msr.fail.gp", "an entry that WRMSR would refuse by #GP fails VM entry with reason 34 and its number")
{
	static const u32 nowhere[] = { 0x2000, 0x7fffffff, 0xbfffffff, 0xc0002000, 0xffffffff };
	struct msr_entry *const area = area_alloc();

	for (u32 i = 0; i < ARRAY_SIZE(values); i++)
		if (!TRY(rdmsr(values[i].msr)).raised)
			check_value(area, values[i].msr, values[i].bad, values[i].good);
	for (u32 i = 0; i < ARRAY_SIZE(address_msrs); i++)
		check_address_msr(area, address_msrs[i]);
	for (u32 bit = linear_address_width() - 1; bit < 64; bit++) {
		expect_first_entry_fails(area, (struct msr_entry){ HARMLESS_MSR, 0, BIT(bit) });
		expect_first_entry_fails(area, (struct msr_entry){ HARMLESS_MSR, 0, ~BIT(bit) });
	}
	for (u32 i = 0; i < ARRAY_SIZE(read_only); i++)
		if (!TRY(rdmsr(read_only[i])).raised)
			expect_entry_fails(area, (struct msr_entry){ read_only[i], 0, rdmsr(read_only[i]) });
	for (u32 i = 0; i < ARRAY_SIZE(nowhere) && !absent_is_dangerous(); i++)
		if (absent(nowhere[i]))
			expect_entry_fails(area, (struct msr_entry){ nowhere[i], 0, 0 });
}

TEST("entry.msr.fail.sysenter", "an entry that makes IA32_SYSENTER_ESP or EIP not canonical fails VM entry with reason 34")
{
	struct msr_entry *const area = area_alloc();

	for (u32 i = 0; i < ARRAY_SIZE(sysenter_msrs); i++)
		check_address_msr(area, sysenter_msrs[i]);
}

TEST("entry.msr.fail.index", "with N good entries before a bad one the qualification is N + 1, and the MSRs before it are loaded")
{
	struct msr_entry *const area = area_alloc();
	const struct msr_entry bad = { (u32)IA32_FS_BASE, 0, 0 };

	msrs_keep(HARMLESS_MSR);
	area_fill(area, 0, AREA_ENTRIES);
	area_use(area, AREA_ENTRIES);
	WALK_OVER(i, 0, AREA_ENTRIES) {
		const struct msr_entry good = area[i];

		CASE("entry %u", i + 1);
		area[i] = bad;
		wrmsr(HARMLESS_MSR, 0x7777);
		expect_outcome(guest_run(guest_ends), ENTRY_FAILS(EXIT_MSR_LOADING, i + 1));
		expect_eq(rdmsr(HARMLESS_MSR), i ? harmless_value(i - 1) : 0x7777);
		area[i] = good;
	}
	CASE("two bad entries: the first counts");
	area[17] = area[3] = bad;
	expect_outcome(guest_run(guest_ends), ENTRY_FAILS(EXIT_MSR_LOADING, 4));
	expect_eq(rdmsr(HARMLESS_MSR), harmless_value(2));

	CASE("a bad entry behind the count");
	area_use(area, 3);
	guest_run(guest_ends);
	expect_guest_done();
	expect_eq(rdmsr(HARMLESS_MSR), harmless_value(2));
	msrs_put_back();
}

TEST("entry.msr.bios_updt", "entries for the microcode-update MSRs are loaded, or refused with reason 34 and their number")
{
	static const u32 msrs[] = { IA32_BIOS_SIGN_ID, IA32_BIOS_UPDT_TRIG };
	struct msr_entry *const area = area_alloc();
	const u8 *const no_update = page_alloc();

	for (u32 i = 0; i < ARRAY_SIZE(msrs); i++) {
		struct outcome outcome;

		CASE("MSR %#x", msrs[i]);
		area_fill(area, 0, 1);
		area[1] = (struct msr_entry){ msrs[i], 0, i ? physical_address(no_update) + 48 : 0 };
		msrs_keep(HARMLESS_MSR);
		area_use(area, 2);
		outcome = guest_run(guest_ends);
		if (outcome.kind == OUTCOME_ENTRY_FAILURE)
			expect_outcome(outcome, ENTRY_FAILS(EXIT_MSR_LOADING, 2));
		else
			expect_guest_done();
		expect_eq(rdmsr(HARMLESS_MSR), harmless_value(0));
		msrs_put_back();
	}
}
