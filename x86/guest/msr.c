/* SPDX-License-Identifier: BSD-2-Clause */
/* Model-specific registers: which exist, what they keep, what they refuse. */
#include "guest.h"

TEST("guest.msr.unknown", "RDMSR and WRMSR of an MSR that does not exist raise #GP(0)")
{
	/* 40000000H to 400000FFH are no processor's, but a hypervisor may have some; the others are nobody's. */
	static const u32 unknown[] = { 0x40000f00, 0x7fffffff, 0xbfffffff, 0xffffffff };

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		CASE("MSR %#x", unknown[i]);
		struct fault fault = TRY(rdmsr(unknown[i]));
		expect_fault(fault, VECTOR_GP, 0);
		fault = TRY(wrmsr(unknown[i], 0));
		expect_fault(fault, VECTOR_GP, 0);
	}
}

TEST("guest.msr.registers", "RDMSR takes ECX and clears bits 63:32 of RAX and RDX; WRMSR takes EAX, EDX and ECX")
{
	const u64 before = rdmsr(IA32_KERNEL_GS_BASE);
	u64 rax = ~0ull, rdx = ~0ull;

	asm volatile("wrmsr" : : "c"(0x1234567800000000 | (u32)IA32_KERNEL_GS_BASE), "a"(0x9999999987654321),
		     "d"(0x8888888800007fed) : "memory");
	asm volatile("rdmsr" : "+a"(rax), "+d"(rdx) : "c"(0x8765432100000000 | (u32)IA32_KERNEL_GS_BASE));
	wrmsr(IA32_KERNEL_GS_BASE, before);
	expect_eq(rax, 0x87654321);
	expect_eq(rdx, 0x7fed);
}

/* Every bit that a canonical address has of its own, and the border. */
static void check_address_msr(const void *data)
{
	const u32 msr = *(const u32 *)data;
	const unsigned int width = read_cr4() & CR4_LA57 ? 57 : 48;
	const u64 before = rdmsr(msr);

	for (unsigned int bit = 0; bit < width - 1; bit++) {
		wrmsr(msr, BIT(bit));
		CASE("bit %u", bit);
		expect_eq(rdmsr(msr), BIT(bit));
	}
	wrmsr(msr, -BIT(width - 1));
	expect_eq(rdmsr(msr), -BIT(width - 1));
	wrmsr(msr, before);
}

/* With the widest linear address that the processor can have: a narrower one may be checked against that. */
static void check_canonical_msr(const void *data)
{
	const u32 msr = *(const u32 *)data;
	const unsigned int width = linear_address_width();

	for (unsigned int bit = width - 1; bit < 64; bit++) {
		CASE("bit %u alone", bit);
		expect_msr_refused(msr, BIT(bit));
	}
	expect_msr_refused(msr, -BIT(width - 1) - 1);
}

#define ADDRESS_MSR(name, msr, ...)								\
	ROW("guest.msr." name, #msr " keeps each bit of a canonical address", check_address_msr, \
	    &(const u32){ (u32)msr }, \
	    ##__VA_ARGS__);									\
	ROW("guest.msr." name "_canonical", #msr " refuses an address that is not canonical", check_canonical_msr, \
	    &(const u32){ (u32)msr }, ##__VA_ARGS__)
ADDRESS_MSR("fs_base", IA32_FS_BASE);
ADDRESS_MSR("kernel_gs_base", IA32_KERNEL_GS_BASE);
ADDRESS_MSR("lstar", IA32_LSTAR);
ADDRESS_MSR("cstar", IA32_CSTAR);
ADDRESS_MSR("sysenter_esp", IA32_SYSENTER_ESP, NEEDS(FEATURE_SEP));
ADDRESS_MSR("sysenter_eip", IA32_SYSENTER_EIP, NEEDS(FEATURE_SEP));

static u64 gs_read;

/* Write IA32_GS_BASE, read it, and put it back before anything looks for this processor's data behind GS. */
static struct fault try_gs_base(u64 value)
{
	const u64 before = rdmsr(IA32_GS_BASE);

	return TRY(wrmsr(IA32_GS_BASE, value); gs_read = rdmsr(IA32_GS_BASE); wrmsr(IA32_GS_BASE, before));
}

TEST("guest.msr.gs_base", "IA32_GS_BASE is the base of GS, and keeps each bit of a canonical address")
{
	u64 value;

	asm volatile("mov %%gs:0, %0" : "=r"(value));
	expect_eq(value, rdmsr(IA32_GS_BASE));
	for (unsigned int bit = 0; bit < 47; bit++) {
		const struct fault fault = try_gs_base(BIT(bit));

		CASE("bit %u", bit);
		expect_no_fault(fault);
		expect_eq(gs_read, BIT(bit));
	}
}

TEST("guest.msr.gs_base_canonical", "IA32_GS_BASE refuses an address that is not canonical")
{
	for (unsigned int bit = linear_address_width() - 1; bit < 64; bit++) {
		const struct fault fault = try_gs_base(BIT(bit));

		CASE("bit %u alone", bit);
		expect_fault(fault, VECTOR_GP, 0);
	}
}

static void check_keeps(u32 msr, u64 value)
{
	const u64 before = rdmsr(msr);

	wrmsr(msr, value);
	const u64 now = rdmsr(msr);
	wrmsr(msr, before);
	expect_eq(now, value);
}

TEST("guest.msr.star", "IA32_STAR keeps bits 63:32")
{
	for (unsigned int bit = 32; bit < 64; bit++) {
		CASE("bit %u", bit);
		check_keeps(IA32_STAR, BIT(bit));
	}
}

TEST("guest.msr.fmask", "IA32_FMASK keeps bits 31:0")
{
	for (unsigned int bit = 0; bit < 32; bit++) {
		CASE("bit %u", bit);
		check_keeps(IA32_FMASK, BIT(bit));
	}
}

TEST("guest.msr.sysenter_cs", "IA32_SYSENTER_CS keeps bits 15:0", NEEDS(FEATURE_SEP))
{
	for (unsigned int bit = 0; bit < 16; bit++) {
		CASE("bit %u", bit);
		check_keeps(IA32_SYSENTER_CS, BIT(bit));
	}
}

/* ---- EFER */

TEST("guest.efer.reserved", "IA32_EFER refuses its reserved bits")
{
	u64 taken = 0;

	need_reserved_bits();
	for (unsigned int bit = 1; bit < 64; bit++) {
		/* Not LME, LMA and NXE; 12 to 15 and 17 to 21 are AMD's. */
		if (bit == 8 || bit == 10 || bit == 11 || (bit >= 12 && bit <= 21))
			continue;
		CASE("bit %u", bit);
		expect_msr_reserved(IA32_EFER, BIT(bit), &taken);
	}
	note_reserved_bits("IA32_EFER", taken);
}

TEST("guest.efer.sce", "IA32_EFER.SCE takes both values",
     NEEDS(FEATURE_SYSCALL))
{
	const u64 efer = rdmsr(IA32_EFER);

	check_keeps(IA32_EFER, efer ^ EFER_SCE);
	expect_eq(rdmsr(IA32_EFER), efer);
}

TEST("guest.efer.nxe", "IA32_EFER.NXE takes both values where CPUID has execute-disable")
{
	const u64 efer = rdmsr(IA32_EFER);

	if (has_feature(FEATURE_NX))
		check_keeps(IA32_EFER, efer ^ EFER_NXE);
	else
		expect_msr_refused(IA32_EFER, efer | EFER_NXE);
}

TEST("guest.efer.lme", "IA32_EFER refuses a change of LME while paging is on")
{
	expect_msr_refused(IA32_EFER, rdmsr(IA32_EFER) & ~(u64)EFER_LME);
}

TEST("guest.efer.lma", "IA32_EFER.LMA is 1 in IA-32e mode, and a write of 0 to it changes nothing")
{
	const u64 efer = rdmsr(IA32_EFER);
	const struct fault fault = TRY(wrmsr(IA32_EFER, efer & ~(u64)EFER_LMA));

	expect_eq(efer & EFER_LMA, EFER_LMA);
	expect_no_fault(fault);
	expect_eq(rdmsr(IA32_EFER), efer);
}

/* ---- memory types */

TEST("guest.msr.pat", "each of the eight entries of IA32_PAT takes the types 0, 1, 4, 5, 6, 7", NEEDS(FEATURE_PAT))
{
	static const u8 types[] = { 0, 1, 4, 5, 6, 7 };
	const u64 pat = rdmsr(IA32_PAT);

	for (unsigned int entry = 4; entry < 8; entry++) {	/* 3:0 are in use */
		for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
			const u64 value = (pat & ~(0xffull << 8 * entry)) | (u64)types[i] << 8 * entry;

			CASE("entry %u, type %u", entry, types[i]);
			check_keeps(IA32_PAT, value);
		}
	}
}

TEST("guest.msr.pat_reserved", "IA32_PAT refuses the types 2 and 3 and those from 8 in each entry", NEEDS(FEATURE_PAT))
{
	const u64 pat = rdmsr(IA32_PAT);

	for (unsigned int entry = 0; entry < 8; entry++) {
		for (u64 type = 0; type < 256; type = type < 16 ? type + 1 : type << 1) {
			if (type < 8 && type != 2 && type != 3)
				continue;
			CASE("entry %u, type %#x", entry, type);
			expect_msr_refused(IA32_PAT, (pat & ~(0xffull << 8 * entry)) | type << 8 * entry);
		}
	}
}

TEST("guest.msr.mtrr_cap", "IA32_MTRRCAP can be read and not written", NEEDS(FEATURE_MTRR))
{
	const u64 cap = rdmsr(IA32_MTRRCAP);

	expect_msr_refused(IA32_MTRRCAP, cap);
}

TEST("guest.msr.mtrr_def_type", "IA32_MTRR_DEF_TYPE refuses the types 2, 3, 7 and those from 8, and its reserved bits",
     NEEDS(FEATURE_MTRR))
{
	const u64 value = rdmsr(IA32_MTRR_DEF_TYPE);
	u64 taken = 0;

	for (u64 type = 0; type < 256; type = type < 16 ? type + 1 : type << 1) {
		if (type < 7 && type != 2 && type != 3)
			continue;
		CASE("type %u", type);
		expect_msr_refused(IA32_MTRR_DEF_TYPE, (value & ~0xffull) | type);
	}
	need_reserved_bits();
	for (unsigned int bit = 12; bit < 64; bit++) {
		CASE("bit %u", bit);
		expect_msr_reserved(IA32_MTRR_DEF_TYPE, BIT(bit), &taken);
	}
	note_reserved_bits("IA32_MTRR_DEF_TYPE", taken);
}

TEST("guest.msr.mtrr_mask", "a variable MTRR keeps base, mask and valid, and refuses bits from MAXPHYADDR on",
     NEEDS(FEATURE_MTRR))
{
	const u32 count = rdmsr(IA32_MTRRCAP) & 0xff;
	u32 n = 0;

	while (n < count && (rdmsr(IA32_MTRR_PHYSMASK0 + 2 * n) & BIT(11)))
		n++;
	if (n == count)
		skip("needs a variable MTRR that is not in use (IA32_MTRRCAP[7:0])");

	const u32 base_msr = IA32_MTRR_PHYSBASE0 + 2 * n, mask_msr = IA32_MTRR_PHYSMASK0 + 2 * n;
	const u64 base = rdmsr(base_msr), mask = rdmsr(mask_msr);

	check_keeps(base_msr, 0x23456000 | 6);
	check_keeps(mask_msr, 0xfedcb000);
	for (unsigned int bit = physical_address_width(); bit < 64; bit++) {
		CASE("bit %u", bit);
		expect_msr_refused(base_msr, base | BIT(bit));
		expect_msr_refused(mask_msr, mask | BIT(bit));
	}
}

/* ---- what CPUID says there is */

TEST("guest.msr.cpuid_agrees", "an MSR that CPUID enumerates can be read")
{
	static const struct {
		u32 feature, msr;
	} rows[] = {
		{ FEATURE_TSC, IA32_TIME_STAMP_COUNTER }, { FEATURE_APIC, IA32_APIC_BASE }, { FEATURE_MTRR,
		IA32_MTRRCAP },
		{ FEATURE_MTRR, IA32_MTRR_DEF_TYPE }, { FEATURE_PAT, IA32_PAT }, { FEATURE_SEP, IA32_SYSENTER_CS },
		{ FEATURE_TSC_ADJUST, IA32_TSC_ADJUST },
		{ FEATURE_TSC_DEADLINE, IA32_TSC_DEADLINE }, { FEATURE_RDTSCP, (u32)IA32_TSC_AUX },
		{ FEATURE_XSAVES, IA32_XSS },
		{ FEATURE_PKS, IA32_PKRS }, { FEATURE_CET_SS, IA32_S_CET }, { FEATURE_CET_SS, IA32_PL0_SSP },
		{ FEATURE_CET_IBT, IA32_U_CET }, { FEATURE_IBRS, IA32_SPEC_CTRL },
		{ FEATURE_ARCH_CAPABILITIES, IA32_ARCH_CAPABILITIES }, { FEATURE_VMX, IA32_VMX_BASIC },
		{ FEATURE_VMX, IA32_FEATURE_CONTROL }, { FEATURE_WAITPKG, IA32_UMWAIT_CONTROL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!has_feature(rows[i].feature))
			continue;
		const struct fault fault = TRY(rdmsr(rows[i].msr));
		CASE("MSR %#x", rows[i].msr);
		expect_no_fault(fault);
	}
}

TEST("guest.msr.mca", "IA32_MCG_CAP and IA32_MCG_STATUS can be read", NEEDS(FEATURE_MCA))
{
	struct fault fault = TRY(rdmsr(IA32_MCG_CAP));

	expect_no_fault(fault);
	fault = TRY(rdmsr(IA32_MCG_STATUS));
	expect_no_fault(fault);
}

TEST("guest.msr.x2apic_closed", "in xAPIC mode, the MSRs of x2APIC mode raise #GP(0)", NEEDS(NEED_XAPIC_MODE))
{
	static const u32 registers[] = { 0x802, 0x803, 0x808, 0x80b, 0x80f, 0x830, 0x832, 0x83f };

	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		CASE("MSR %#x", registers[i]);
		struct fault fault = TRY(rdmsr(registers[i]));
		expect_fault(fault, VECTOR_GP, 0);
		fault = TRY(wrmsr(registers[i], 0));
		expect_fault(fault, VECTOR_GP, 0);
	}
}

TEST("guest.msr.apic_base", "IA32_APIC_BASE refuses its reserved bits and those from MAXPHYADDR on")
{
	u64 taken = 0;

	need_reserved_bits();
	for (unsigned int bit = 0; bit < 64; bit++) {
		if (bit == 8 || bit == 10 || bit == 11 || (bit >= 12 && bit < physical_address_width()))
			continue;
		CASE("bit %u", bit);
		expect_msr_reserved(IA32_APIC_BASE, BIT(bit), &taken);
	}
	note_reserved_bits("IA32_APIC_BASE", taken);
}

TEST("guest.msr.apic_base_x2apic", "IA32_APIC_BASE refuses x2APIC mode where CPUID has it not")
{
	if (has_feature(FEATURE_X2APIC))
		skip("needs a processor without CPUID.01H:ECX[21] (x2APIC)");
	expect_msr_refused(IA32_APIC_BASE, rdmsr(IA32_APIC_BASE) | BIT(10));
}
