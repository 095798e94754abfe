/* SPDX-License-Identifier: BSD-2-Clause */
/* "Loading Guest Control Registers, Debug Registers, and MSRs": the MSRs of every processor. */
#include "load.h"

#include "x86/perfmon.h"

GUEST_ASM(guest_sysenter, "sysenter");
GUEST_ASM(sysenter_lands, "mov %rsp, %rbx; vmcall");

static void try_sysenter(u32 cs, u64 esp, u64 eip)
{
	CASE("CS %#x, ESP %#lx, EIP %#lx", cs, esp, eip);
	vmcs_write(GUEST_IA32_SYSENTER_CS, cs);
	vmcs_write(GUEST_IA32_SYSENTER_ESP, esp);
	vmcs_write(GUEST_IA32_SYSENTER_EIP, eip);
	expect_eq(guest_reads_msr(IA32_SYSENTER_CS), cs);
	expect_eq(guest_reads_msr(IA32_SYSENTER_ESP), esp);
	expect_eq(guest_reads_msr(IA32_SYSENTER_EIP), eip);
}

TEST("entry.load.sysenter", "IA32_SYSENTER_CS, ESP and EIP are loaded from the guest fields; bits 63:32 of CS become 0",
     NEEDS(PROC_USE_MSR_BITMAPS, FEATURE_SEP))
{
	vmcs_use_msr_bitmap();
	WALK_OVER(n, 0, CANONICAL_VALUES) {
		const u32 cs = n < 64 ? (n & 1 ? ~BIT(n / 2) : BIT(n / 2)) : n;

		try_sysenter(cs, canonical_value(n), canonical_value(CANONICAL_VALUES - 1 - n));
	}

	/* A processor may keep all 64 bits that are written here. */
	const struct fault fault = TRY(wrmsr(IA32_SYSENTER_CS, 0xdeadbeef00001234));

	CASE("bits 63:32 of IA32_SYSENTER_CS written by the host (%u: it may not)", fault.raised);
	expect_eq(guest_reads_msr(IA32_SYSENTER_CS), vmcs_read(GUEST_IA32_SYSENTER_CS));
	wrmsr(IA32_SYSENTER_CS, vmcs_read(HOST_IA32_SYSENTER_CS));

	CASE("SYSENTER uses them");
	try_sysenter(SELECTOR_CODE64, 0x123456789ab8, physical_address(sysenter_lands));
	guest_run(guest_sysenter);
	expect_exit(EXIT_VMCALL);
	expect_eq(guest.regs.rbx, 0x123456789ab8);
	expect_eq(vmcs_read(GUEST_RIP), physical_address(sysenter_lands) + 3);
}

CODE(read_through_bases, "mov %fs:(%rsi), %rax; mov %gs:(%rdi), %rbx");

static volatile u64 words[2];

static void try_bases(u64 fs, u64 gs)
{
	CASE("FS base %#lx, GS base %#lx", fs, gs);
	vmcs_write(GUEST_FS_BASE, fs);
	vmcs_write(GUEST_GS_BASE, gs);
	expect_eq(guest_reads_msr(IA32_FS_BASE), fs);
	expect_eq(guest_reads_msr(IA32_GS_BASE), gs);
}

TEST("entry.load.fs_gs_base_msr", "the bases of FS and GS are IA32_FS_BASE and IA32_GS_BASE for the guest, unusable or not",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	static const u32 rights[] = { RIGHTS_DATA32, RIGHTS_NOT_USABLE, RIGHTS_NOT_USABLE | RIGHTS_DATA32 };

	vmcs_use_msr_bitmap();
	words[0] = 0x1234567890abcdef;
	words[1] = 0xfedcba0987654321;
	for (u32 r = 0; r < ARRAY_SIZE(rights); r++) {
		vmcs_write(GUEST_FS_ACCESS_RIGHTS, rights[r]);
		vmcs_write(GUEST_GS_ACCESS_RIGHTS, rights[r]);
		WALK_OVER(n, 0, CANONICAL_VALUES)
			try_bases(canonical_value(n), canonical_value(CANONICAL_VALUES - 1 - n));
		/* Base and offset add up to one of two words. */
		for (u32 bit = 0; bit < linear_address_width() - 1; bit++) {
			guest.regs.rsi = BIT(bit);
			guest.regs.rdi = -BIT(bit);
			vmcs_write(GUEST_FS_BASE, (u64)&words[0] - BIT(bit));
			vmcs_write(GUEST_GS_BASE, (u64)&words[1] + BIT(bit));
			CASE("rights %#x, bases %#lx off", rights[r], BIT(bit));
			run_code(read_through_bases);
			expect_code_ran();
			expect_eq(guest.regs.rax, words[0]);
			expect_eq(guest.regs.rbx, words[1]);
		}
	}
}

TEST("entry.load.kernel_gs_base_not_loaded",
     "IA32_KERNEL_GS_BASE, STAR, LSTAR, CSTAR, FMASK and TSC_AUX are not in the VMCS: the guest reads the host's",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	static const struct {
		u32 msr;
		u64 mask;		/* bits that software may choose */
		bool address;
	} msrs[] = {
		{ (u32)IA32_KERNEL_GS_BASE, ~0ull, true },
		{ (u32)IA32_STAR, ~0ull << 32, false },
		{ (u32)IA32_LSTAR, ~0ull, true },
		{ (u32)IA32_CSTAR, ~0ull, true },
		{ (u32)IA32_FMASK, 0xffffffff, false },
		{ (u32)IA32_TSC_AUX, 0xffffffff, false },
	};

	msrs_keep((u32)IA32_KERNEL_GS_BASE, (u32)IA32_STAR, (u32)IA32_LSTAR, (u32)IA32_CSTAR, (u32)IA32_FMASK,
		  (u32)IA32_TSC_AUX);
	vmcs_use_msr_bitmap();
	for (u32 i = 0; i < ARRAY_SIZE(msrs); i++) {
		if (TRY(rdmsr(msrs[i].msr)).raised)
			continue;
		WALK_OVER(n, 0, CANONICAL_VALUES) {
			const u64 value = canonical_value(n) & msrs[i].mask;

			CASE("MSR %#x = %#lx", msrs[i].msr, value);
			wrmsr(msrs[i].msr, value);
			expect_eq(guest_reads_msr(msrs[i].msr), value);
		}
	}
	msrs_put_back();
}

TEST("entry.load.pat", "\"load IA32_PAT\" loads IA32_PAT from the guest field; without it IA32_PAT stays as it was",
     NEEDS(ENTRYCTL_LOAD_IA32_PAT, PROC_USE_MSR_BITMAPS, FEATURE_PAT))
{
	msrs_keep(IA32_PAT);
	vmcs_use_msr_bitmap();
	for (u32 n = 0; n < PAT_VALUES; n++)
		for (u32 off = 1; off < 6; off++) {
			const u64 field = pat_value(n), host = pat_value(n + off);

			vmcs_write(GUEST_IA32_PAT, field);
			wrmsr(IA32_PAT, host);
			CASE("0, field %#lx, before VM entry %#lx", field, host);
			vmcs_clear_controls(ENTRYCTL_LOAD_IA32_PAT);
			expect_eq(guest_reads_msr(IA32_PAT), host);
			CASE("1, field %#lx, before VM entry %#lx", field, host);
			vmcs_set_controls(ENTRYCTL_LOAD_IA32_PAT);
			expect_eq(guest_reads_msr(IA32_PAT), field);
			/* Other bytes than the ones that nothing uses, all of one type. */
			vmcs_write(GUEST_IA32_PAT, 0x0606060606060606);
			expect_eq(guest_reads_msr(IA32_PAT), 0x0606060606060606);
			wrmsr(IA32_PAT, host);
		}
	msrs_put_back();
}

TEST("entry.load.pgc", "\"load IA32_PERF_GLOBAL_CTRL\" loads the MSR from the guest field; without it the MSR stays as it was",
     NEEDS(ENTRYCTL_LOAD_IA32_PERF_GLOBAL_CTRL, PROC_USE_MSR_BITMAPS))
{
	const u64 all = perf_global_ctrl_counters();

	if (!perf_global_ctrl_exists() || !all)
		skip("needs IA32_PERF_GLOBAL_CTRL, which this processor does not have");
	msrs_keep(IA32_PERF_GLOBAL_CTRL);
	vmcs_use_msr_bitmap();
	for (u32 bit = 0; bit < 64; bit++) {
		if (!(all & BIT(bit)))
			continue;
		vmcs_write(GUEST_IA32_PERF_GLOBAL_CTRL, BIT(bit));
		wrmsr(IA32_PERF_GLOBAL_CTRL, all & ~BIT(bit));
		CASE("0, field bit %u", bit);
		vmcs_clear_controls(ENTRYCTL_LOAD_IA32_PERF_GLOBAL_CTRL);
		expect_eq(guest_reads_msr(IA32_PERF_GLOBAL_CTRL), all & ~BIT(bit));
		CASE("1, field bit %u", bit);
		vmcs_set_controls(ENTRYCTL_LOAD_IA32_PERF_GLOBAL_CTRL);
		expect_eq(guest_reads_msr(IA32_PERF_GLOBAL_CTRL), BIT(bit));
	}
	msrs_put_back();
}
