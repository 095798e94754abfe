/* SPDX-License-Identifier: BSD-2-Clause */
/* Fixed bits of CR0 and CR4, the VMCS enumeration, EPT and VPID (SDM Vol. 3, Appendix A.7 to A.10). */
#include "capability.h"

TEST("cap.cr0fixed.consistency", "A bit that must be 1 in CR0 may be 1")
{
	expect_eq(rdmsr(IA32_VMX_CR0_FIXED0) & ~rdmsr(IA32_VMX_CR0_FIXED1), 0);
}

/* The manual says so of the first processors with VMX only; but this very code runs with all three 1 in VMX operation. */
TEST("cap.cr0fixed.pe_ne_pg", "CR0.PE, CR0.NE and CR0.PG are fixed to 1, also where there is unrestricted guest")
{
	const u64 bits = CR0_PE | CR0_NE | CR0_PG;

	expect_on_known((rdmsr(IA32_VMX_CR0_FIXED0) & bits) == bits, "PE, NE and PG are 1 in IA32_VMX_CR0_FIXED0");
	expect_bits(rdmsr(IA32_VMX_CR0_FIXED1), read_cr0() & bits, bits);
}

TEST("cap.cr4fixed.consistency", "A bit that must be 1 in CR4 may be 1")
{
	expect_eq(rdmsr(IA32_VMX_CR4_FIXED0) & ~rdmsr(IA32_VMX_CR4_FIXED1), 0);
}

TEST("cap.cr4fixed.vmxe", "CR4.VMXE is fixed to 1")
{
	expect_bits(rdmsr(IA32_VMX_CR4_FIXED0), CR4_VMXE, CR4_VMXE);
	expect_bits(rdmsr(IA32_VMX_CR4_FIXED1), CR4_VMXE, CR4_VMXE);
}

/* No sentence of the manual: a processor may fix any bit to 0 in VMX operation. */
TEST("cap.cr4fixed.matches_cpuid", "A bit of CR4 whose feature CPUID enumerates may be 1 in VMX operation")
{
	static const struct {
		u32 feature;
		u64 bit;
	} rows[] = {
		{ FEATURE_VME, CR4_VME }, { FEATURE_VME, CR4_PVI }, { FEATURE_TSC, CR4_TSD }, { FEATURE_DE, CR4_DE },
		{ FEATURE_PSE, CR4_PSE }, { FEATURE_PAE, CR4_PAE }, { FEATURE_MCE, CR4_MCE }, { FEATURE_PGE, CR4_PGE },
		{ FEATURE_FXSR, CR4_OSFXSR }, { FEATURE_SSE, CR4_OSXMMEXCPT }, { FEATURE_UMIP, CR4_UMIP },
		{ FEATURE_LA57, CR4_LA57 }, { FEATURE_VMX, CR4_VMXE }, { FEATURE_SMX, CR4_SMXE },
		{ FEATURE_FSGSBASE, CR4_FSGSBASE }, { FEATURE_PCID, CR4_PCIDE }, { FEATURE_XSAVE, CR4_OSXSAVE },
		{ FEATURE_KL, CR4_KL }, { FEATURE_SMEP, CR4_SMEP }, { FEATURE_SMAP, CR4_SMAP },
		{ FEATURE_PKU, CR4_PKE }, { FEATURE_CET_SS, CR4_CET }, { FEATURE_CET_IBT, CR4_CET },
		{ FEATURE_PKS, CR4_PKS }, { FEATURE_UINTR, CR4_UINTR },
	};
	const u64 fixed1 = rdmsr(IA32_VMX_CR4_FIXED1);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CASE("CR4 bit %#lx", rows[i].bit);
		if (has_feature(rows[i].feature))
			expect_on_known(fixed1 & rows[i].bit, "the bit is 1 in IA32_VMX_CR4_FIXED1");
	}
}

/* Every encoding with bit 12 and bits 31:15 clear and the access type "full". */
TEST("cap.enum.highest_index", "IA32_VMX_VMCS_ENUM[9:1] is the highest index of an encoding that VMREAD takes")
{
	const u32 reported = rdmsr(IA32_VMX_VMCS_ENUM) >> 1 & 0x1ff;
	u32 highest = 0;

	for (u32 index = 0; index < 0x200; index++) {
		for (u32 width_and_type = 0; width_and_type < 16; width_and_type++) {
			const u32 encoding = (width_and_type >> 2) << 13 | (width_and_type & 3) << 10 | index << 1;
			u64 value = 0;

			if (index > reported + 1 && !walk_takes(encoding, 0x8000))
				continue;
			if (vmread(encoding, &value, NULL).kind == OUTCOME_SUCCEED)
				highest = index;
		}
	}
	expect_at_least(highest, 1);
	expect_eq(reported, highest);
}

TEST("cap.enum.reserved", "Bit 0 and bits 63:10 of IA32_VMX_VMCS_ENUM are 0")
{
	expect_reserved(rdmsr(IA32_VMX_VMCS_ENUM), ~0x3feull);
}

TEST("cap.ept.consistency", "Where there is EPT, there is a page-walk length and a memory type for it",
     NEEDS(PROC2_ENABLE_EPT))
{
	const u64 cap = rdmsr(IA32_VMX_EPT_VPID_CAP);

	expect_one_set(cap, BIT(6) | BIT(7));
	expect_one_set(cap, BIT(8) | BIT(14));
}

/* Bits 53:48 are the largest HLAT prefix size. */
TEST("cap.ept.reserved", "The reserved bits of IA32_VMX_EPT_VPID_CAP are 0")
{
	const u64 defined = BIT(0) | BIT(6) | BIT(7) | BIT(8) | BIT(14) | BIT(16) | BIT(17) | 0xfull << 20 | BIT(25) |
			    BIT(26) | BIT(32) | 0xfull << 40 | 0x3full << 48;

	if (!has(PROC2_ENABLE_EPT) && !has(PROC2_ENABLE_VPID))
		skip("needs IA32_VMX_EPT_VPID_CAP: EPT or VPID");
	expect_reserved(rdmsr(IA32_VMX_EPT_VPID_CAP), ~defined);
}
