/* SPDX-License-Identifier: BSD-2-Clause */
/* MSRs that VM entry loads from its area: which, when, and in which order. */
#include "area.h"

#include "vmx/ept.h"

struct msr_entry *area_alloc(void)
{
	/* One page more: lists may begin anywhere in the first. */
	return page_alloc_many(AREA_ENTRIES * sizeof(struct msr_entry) / PAGE_SIZE + 1);
}

void area_use(const struct msr_entry *area, u32 count)
{
	vmcs_write(VM_ENTRY_MSR_LOAD_ADDRESS, physical_address(area));
	vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, count);
}

u64 harmless_value(u32 i)
{
	return 0x123400000000 + i * 0x10001;
}

void area_fill(struct msr_entry *area, u32 first, u32 last)
{
	for (u32 i = first; i < last; i++)
		area[i] = (struct msr_entry){ .index = HARMLESS_MSR, .value = harmless_value(i) };
}

/* MSRs of every processor here, and the bits of them that software may choose. */
static const struct {
	u32 msr;
	u64 mask;
	enum vmcs_field field;		/* of the guest state; 0: none */
} loadable[] = {
	{ (u32)IA32_KERNEL_GS_BASE, ~0ull, 0 },
	{ (u32)IA32_STAR, ~0ull << 32, 0 },
	{ (u32)IA32_LSTAR, ~0ull, 0 },
	{ (u32)IA32_CSTAR, ~0ull, 0 },
	{ (u32)IA32_FMASK, 0xffffffff, 0 },
	{ (u32)IA32_TSC_AUX, 0xffffffff, 0 },
	{ IA32_SYSENTER_CS, 0xffff, GUEST_IA32_SYSENTER_CS },
	{ IA32_SYSENTER_ESP, ~0ull, GUEST_IA32_SYSENTER_ESP },
	{ IA32_SYSENTER_EIP, ~0ull, GUEST_IA32_SYSENTER_EIP },
};

static bool exists(u32 msr)
{
	return !TRY(rdmsr(msr)).raised;
}

static void keep_loadable(void)
{
	msrs_keep((u32)IA32_KERNEL_GS_BASE, (u32)IA32_STAR, (u32)IA32_LSTAR, (u32)IA32_CSTAR, (u32)IA32_FMASK,
		  (u32)IA32_TSC_AUX, IA32_SYSENTER_CS, IA32_SYSENTER_ESP, IA32_SYSENTER_EIP, IA32_PAT, (u32)IA32_EFER);
}

/* One list for all MSRs: values that go through every bit, at each 16-byte boundary of the page in turn. */
static void check_values(struct msr_entry *area)
{
	WALK_OVER(n, 0, CANONICAL_VALUES) {
		struct msr_entry *const list = area + n % (PAGE_SIZE / sizeof(*area));
		u32 count = 0;

		for (u32 i = 0; i < ARRAY_SIZE(loadable); i++)
			if (exists(loadable[i].msr))
				list[count++] = (struct msr_entry){
					loadable[i].msr, 0, canonical_value((n + 5 * i) % CANONICAL_VALUES) & loadable[i].mask
				};
		area_use(list, count);
		for (u32 i = 0; i < count; i++) {
			CASE("pass %u, MSR %#x = %#lx", n, list[i].index, list[i].value);
			expect_eq(guest_reads_msr(list[i].index), list[i].value);
		}
	}
}

static void check_order(struct msr_entry *area)
{
	static const u32 counts[] = { 1, 2, 3, 4, 5, 127, 128, 255, 256, 257, 511, 512 };

	area_fill(area, 0, AREA_ENTRIES);
	for (u32 i = 0; i < ARRAY_SIZE(counts); i++) {
		CASE("%u entries for one MSR", counts[i]);
		area_use(area, counts[i]);
		expect_eq(guest_reads_msr(HARMLESS_MSR), harmless_value(counts[i] - 1));
	}
	/* Two MSRs in turn. */
	for (u32 i = 1; i < AREA_ENTRIES; i += 2)
		area[i].index = (u32)IA32_LSTAR;
	for (u32 count = 2; count <= AREA_ENTRIES; count += 51) {
		CASE("%u entries for two MSRs", count);
		area_use(area, count);
		expect_eq(guest_reads_msr((u32)IA32_LSTAR), harmless_value((count - 2) | 1));
		expect_eq(guest_reads_msr(HARMLESS_MSR), harmless_value((count - 1) & ~1u));
	}
}

TEST("entry.msr.load_ok", "each entry of the VM-entry MSR-load area loads its MSR with bits 127:64, in order: a later one wins",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	struct msr_entry *const area = area_alloc();

	keep_loadable();
	vmcs_use_msr_bitmap();
	check_values(area);
	check_order(area);

	CASE("count 0: nothing is loaded");
	wrmsr(HARMLESS_MSR, 0x5678);
	area_use(area, 0);
	expect_eq(guest_reads_msr(HARMLESS_MSR), 0x5678);

	if (has(PROC2_ENABLE_EPT)) {
		/* The address is a physical one: what EPT has there is something else. */
		struct msr_entry *const other = area_alloc();

		vmcs_use_ept();
		area_fill(area, 0, 1);
		other[0] = (struct msr_entry){ HARMLESS_MSR, 0, 0x9abc };
		ept_map(physical_address(area), physical_address(other), EPT_RWX | EPT_WB);
		ept_flush();
		CASE("with EPT");
		area_use(area, 1);
		expect_eq(guest_reads_msr(HARMLESS_MSR), harmless_value(0));
	}
	msrs_put_back();
}

TEST("entry.msr.after_guest_state", "the area is loaded after the guest state: an entry for IA32_PAT or a SYSENTER MSR wins over the field",
     NEEDS(PROC_USE_MSR_BITMAPS, FEATURE_PAT))
{
	struct msr_entry *const area = area_alloc();

	keep_loadable();
	vmcs_use_msr_bitmap();
	for (u32 i = 0; i < ARRAY_SIZE(loadable); i++) {
		if (!loadable[i].field)
			continue;
		CASE("MSR %#x", loadable[i].msr);
		vmcs_write(loadable[i].field, 0x1357);
		area[0] = (struct msr_entry){ loadable[i].msr, 0, 0x2468 };
		area_use(area, 1);
		expect_eq(guest_reads_msr(loadable[i].msr), 0x2468);
		area_use(area, 0);
		vmcs_write(loadable[i].field, 0x1357);
		expect_eq(guest_reads_msr(loadable[i].msr), 0x1357);
	}
	for (u32 n = 0; n < PAT_VALUES && has(ENTRYCTL_LOAD_IA32_PAT); n++) {
		CASE("IA32_PAT, %u", n);
		vmcs_set_controls(ENTRYCTL_LOAD_IA32_PAT);
		vmcs_write(GUEST_IA32_PAT, pat_value(n + 1));
		area[0] = (struct msr_entry){ IA32_PAT, 0, pat_value(n) };
		area_use(area, 1);
		expect_eq(guest_reads_msr(IA32_PAT), pat_value(n));
	}
	for (u32 load = 0; load < 2; load++)
		for (u64 sce = 0; sce < 2; sce++) {
			const u64 efer = rdmsr(IA32_EFER) & ~(u64)EFER_SCE;

			if (!has(FEATURE_SYSCALL) || (load && !has(ENTRYCTL_LOAD_IA32_EFER)))
				continue;
			CASE("IA32_EFER.SCE = %u, \"load IA32_EFER\" %u", sce, load);
			if (load) {
				vmcs_set_controls(ENTRYCTL_LOAD_IA32_EFER);
				vmcs_write(GUEST_IA32_EFER, efer | !sce);
			}
			wrmsr(IA32_EFER, efer | !sce);
			area[0] = (struct msr_entry){ (u32)IA32_EFER, 0, efer | sce };
			area_use(area, 1);
			expect_eq(guest_reads_msr((u32)IA32_EFER), efer | sce);
		}
	msrs_put_back();
}

TEST("entry.msr.efer_lme", "an entry for IA32_EFER that changes LME fails if the guest has paging on, and may not if it is off",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	struct msr_entry *const area = area_alloc();

	msrs_keep((u32)IA32_EFER);
	FOR_EACH_MODE(mode) {
		const bool long_mode = mode == MODE_64BIT || mode == MODE_COMPATIBILITY;
		const u64 rest = rdmsr(IA32_EFER) & ~(u64)(EFER_LME | EFER_LMA);
		const u64 lma = long_mode ? EFER_LMA : 0;

		if (mode == MODE_VIRTUAL_8086)
			continue;
		for (u64 lme = 0; lme <= EFER_LME; lme += EFER_LME) {
			CASE("%s, LME = %u", guest_mode_names[mode], lme / EFER_LME);
			start_in(mode);
			vmcs_use_msr_bitmap();
			area[0] = (struct msr_entry){ (u32)IA32_EFER, 0, rest | lma | lme };
			area_use(area, 1);
			if (mode >= MODE_REAL || !!lme == long_mode)
				expect_eq(guest_reads_msr((u32)IA32_EFER), rest | lma | lme);
			else
				expect_outcome(guest_run(guest_ends), ENTRY_FAILS(EXIT_MSR_LOADING, 1));
		}
	}
	msrs_put_back();
}
