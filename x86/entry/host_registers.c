/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Checks on Host Control Registers, MSRs, and SSP". A value that passes is loaded
 * by the entry failure that follows, so each valid one is harmless; the engine's last
 * attempt, with the field as it was, puts the register back.
 */
#include "vmxtest/entry.h"
#include "x86/cr4.h"
#include "x86/perfmon.h"

#define INVALID_HOST BY_VMFAIL(VMERR_ENTRY_INVALID_HOST_STATE)

static u64 nth_bit(u64 mask, u32 n)
{
	for (; mask && n; n--)
		mask &= mask - 1;
	return mask & -mask;
}

/* Bits of CR0 and CR4 that VMX operation fixes. PE and PG too: no host is unrestricted. */
static u64 fixed_in_cr0(void)
{
	const struct vmx_capabilities *c = vmx_capabilities();

	return ((c->cr0_fixed0 | ~c->cr0_fixed1) & 0xffffffff) & ~(u64)(CR0_CD | CR0_NW);
}

static u64 fixed_in_cr4(void)
{
	const struct vmx_capabilities *c = vmx_capabilities();

	return c->cr4_fixed0 | ~c->cr4_fixed1;
}

static u64 host_cr0, host_cr4;

static void remember_control_registers(void)
{
	host_cr0 = read_cr0();
	host_cr4 = read_cr4();
}

static bool fixed_cr0_bit_flipped(u32 index, u64 *value)
{
	const u64 bit = nth_bit(fixed_in_cr0(), index);

	*value = host_cr0 ^ bit;
	return bit;
}

static bool flexible_cr0_bit_flipped(u32 index, u64 *value)
{
	const u64 bit = nth_bit(~fixed_in_cr0() & 0xffffffff & ~(u64)(CR0_CD | CR0_NW), index);

	*value = host_cr0 ^ bit;
	return bit;
}

ENTRY_CHECK("entry.host.cr0.fixed", "host CR0 has only bit values that VMX operation supports", ALWAYS,
	    FIELDS(HOST_CR0), .prepare = remember_control_registers, .bad = COMPUTED(fixed_cr0_bit_flipped),
	    .refused = INVALID_HOST, .good = COMPUTED(flexible_cr0_bit_flipped));

ENTRY_CHECK("entry.host.cr0.high32", "bits 63:32 of host CR0 are 0", ALWAYS,
	    FIELDS(HOST_CR0), .bad = FLIPPED_BITS(~0ull << 32), .refused = INVALID_HOST);

TEST("entry.host.cr0.cd_nw_ignored", "host CR0.CD and NW may have any value, and the exit does not load them")
{
	const u64 cr0 = read_cr0();

	for (u32 i = 0; i < 4; i++) {
		const u64 bits = (i & 1 ? CR0_CD : 0) | (i & 2 ? CR0_NW : 0);

		CASE("CD and NW = %#lx", bits);
		vmcs_write(HOST_CR0, (cr0 & ~(u64)(CR0_CD | CR0_NW)) | bits);
		expect_outcome(entry_attempt(true), ACCEPTED);
		expect_eq(read_cr0(), cr0);
	}
}

static bool fixed_cr4_bit_flipped(u32 index, u64 *value)
{
	const u64 bit = nth_bit(fixed_in_cr4(), index);

	*value = host_cr4 ^ bit;
	return bit;
}

/* The entry that fails loads it: not what would change paging, fetches or event delivery under the host's feet. */
static bool flexible_cr4_bit_flipped(u32 index, u64 *value)
{
	const u64 bit = nth_bit(~fixed_in_cr4() & CR4_HARMLESS, index);

	*value = host_cr4 ^ bit;
	return bit;
}

ENTRY_CHECK("entry.host.cr4.fixed", "host CR4 has only bit values that VMX operation supports", ALWAYS,
	    FIELDS(HOST_CR4), .prepare = remember_control_registers, .bad = COMPUTED(fixed_cr4_bit_flipped),
	    .refused = INVALID_HOST, .good = COMPUTED(flexible_cr4_bit_flipped));

TEST("entry.host.cr4.cet_wp", "host CR4.CET = 1 needs host CR0.WP = 1, whether CET state is loaded or not")
{
	const u64 cr0 = vmcs_read(HOST_CR0), cr4 = vmcs_read(HOST_CR4);

	if (!(vmx_capabilities()->cr4_fixed1 & CR4_CET))
		skip("needs CR4.CET: IA32_VMX_CR4_FIXED1[23]");
	for (u32 i = 0; i < 8; i++) {
		const bool cet = i & 1, wp = i & 2, load = i & 4;

		if (load && !has(EXITCTL_LOAD_CET_STATE))
			continue;
		if (load)
			vmcs_set_controls(EXITCTL_LOAD_CET_STATE);
		CASE("CET %u, WP %u, \"load CET state\" %u", cet, wp, load);
		vmcs_write(HOST_CR4, cet ? cr4 | CR4_CET : cr4 & ~(u64)CR4_CET);
		vmcs_write(HOST_CR0, wp ? cr0 | CR0_WP : cr0 & ~(u64)CR0_WP);
		expect_outcome(entry_attempt(true),
			       cet && !wp ? FAIL_VALID(VMERR_ENTRY_INVALID_HOST_STATE) : ACCEPTED);
	}
	write_cr4(cr4);
	write_cr0(cr0);
}

/* With linear-address masking bits 61 and 62 are controls. */
static bool cr3_too_wide(u32 index, u64 *value)
{
	const u64 lam = has(FEATURE_LAM) ? BIT(61) | BIT(62) : 0;
	const u64 bit = nth_bit((~0ull << physical_address_width()) & ~lam, index);

	*value = vmcs_read(HOST_CR3) | bit;
	return bit;
}

ENTRY_CHECK("entry.host.cr3.paw", "host CR3 is within the physical-address width", ALWAYS,
	    FIELDS(HOST_CR3), .bad = COMPUTED(cr3_too_wide), .refused = INVALID_HOST, .good = FLIPPED_BITS(0xfff));

static bool canonical_ends(u32 index, u64 *value)
{
	const u64 half = 1ull << (linear_address_width() - 1);
	const u64 ends[] = { 0, half - 1, -half, ~0ull };

	if (index >= ARRAY_SIZE(ends))
		return false;
	*value = ends[index];
	return true;
}

ENTRY_CHECK("entry.host.sysenter.canonical", "host IA32_SYSENTER_ESP and IA32_SYSENTER_EIP are canonical", ALWAYS,
	    FIELDS(HOST_IA32_SYSENTER_ESP, HOST_IA32_SYSENTER_EIP), .bad = NONCANONICAL, .refused = INVALID_HOST,
	    .good = COMPUTED(canonical_ends));

static void load_perf_global_ctrl(void)
{
	if (!perf_global_ctrl_counters())
		skip("needs IA32_PERF_GLOBAL_CTRL (CPUID.0AH:EAX[7:0] of 2 or more)");
	vmcs_set_controls(EXITCTL_LOAD_IA32_PERF_GLOBAL_CTRL);
}

static bool reserved_in_pgc(u32 index, u64 *value)
{
	*value = nth_bit(~perf_global_ctrl_counters() & ~PERF_GLOBAL_CTRL_METRICS, index);
	return *value;
}

static bool valid_in_pgc(u32 index, u64 *value)
{
	*value = nth_bit(perf_global_ctrl_counters(), index);
	return *value;
}

ENTRY_CHECK("entry.host.pgc.reserved", "with \"load IA32_PERF_GLOBAL_CTRL\" reserved bits of the host field are 0",
	    NEEDS(EXITCTL_LOAD_IA32_PERF_GLOBAL_CTRL), FIELDS(HOST_IA32_PERF_GLOBAL_CTRL),
	    .prepare = load_perf_global_ctrl, .bad = COMPUTED(reserved_in_pgc), .reserved = true,
	    .refused = INVALID_HOST, .good = COMPUTED(valid_in_pgc));

static void load_pat(void)
{
	vmcs_set_controls(EXITCTL_LOAD_IA32_PAT);
}

TEST("entry.host.pat.values", "with \"load IA32_PAT\" each byte of the host field is 0, 1, 4, 5, 6 or 7",
     NEEDS(EXITCTL_LOAD_IA32_PAT, FEATURE_PAT))
{
	const u64 pat = rdmsr(IA32_PAT);

	load_pat();
	for (u32 byte = 0; byte < 8; byte++) {
		WALK_OVER(type, 0, 256) {
			const bool valid = type < 8 && type != 2 && type != 3;

			CASE("byte %u = %#x", byte, type);
			vmcs_write(HOST_IA32_PAT, (pat & ~(0xffull << 8 * byte)) | (u64)type << 8 * byte);
			expect_outcome(entry_attempt(true),
				       valid ? ACCEPTED : FAIL_VALID(VMERR_ENTRY_INVALID_HOST_STATE));
		}
	}
	vmcs_write(HOST_IA32_PAT, pat);
	expect_outcome(entry_attempt(true), ACCEPTED);
}

ENTRY_CHECK("entry.host.pat.ignored", "without \"load IA32_PAT\" the host field is not looked at",
	    NEEDS(EXITCTL_LOAD_IA32_PAT), FIELDS(HOST_IA32_PAT), .good = ANYTHING);

static void load_efer(void)
{
	vmcs_set_controls(EXITCTL_LOAD_IA32_EFER);
}

/* Bit 14 is another vendor's (FXSAVE without XMM registers), and not reserved where CPUID has it. */
static bool reserved_in_efer(u32 index, u64 *value)
{
	const bool ffxsr = cpuid(0x80000001, 0).edx & BIT(25);
	const u64 bits = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | (ffxsr ? BIT(14) : 0);
	const u64 bit = nth_bit(~bits, index);

	*value = rdmsr(IA32_EFER) | bit;
	return bit;
}

ENTRY_CHECK("entry.host.efer.reserved", "with \"load IA32_EFER\" reserved bits of the host field are 0",
	    NEEDS(EXITCTL_LOAD_IA32_EFER, FEATURE_NX), FIELDS(HOST_IA32_EFER), .prepare = load_efer,
	    .bad = COMPUTED(reserved_in_efer), .reserved = true, .refused = INVALID_HOST,
	    .good = FLIPPED_BITS(EFER_SCE | EFER_NXE));

static void try_efer(u64 bits, bool valid)
{
	const u64 efer = rdmsr(IA32_EFER);

	CASE("EFER.LME and LMA = %#lx", bits);
	vmcs_write(HOST_IA32_EFER, (efer & ~(u64)(EFER_LME | EFER_LMA)) | bits);
	expect_outcome(entry_attempt(true), valid ? ACCEPTED : FAIL_VALID(VMERR_ENTRY_INVALID_HOST_STATE));
}

TEST("entry.host.efer.lma", "with \"load IA32_EFER\" host EFER.LMA equals \"host address-space size\"",
     NEEDS(EXITCTL_LOAD_IA32_EFER))
{
	load_efer();
	try_efer(EFER_LME | EFER_LMA, true);
	try_efer(EFER_LME, false);
	try_efer(0, false);
	vmcs_clear_controls(EXITCTL_LOAD_IA32_EFER);
	try_efer(EFER_LME, true);
	try_efer(0, true);
	vmcs_write(HOST_IA32_EFER, ~0ull);
	CASE("any EFER, not loaded");
	expect_outcome(entry_attempt(true), ACCEPTED);
}

TEST("entry.host.efer.lme", "with \"load IA32_EFER\" host EFER.LME equals \"host address-space size\"",
     NEEDS(EXITCTL_LOAD_IA32_EFER))
{
	load_efer();
	try_efer(EFER_LME | EFER_LMA, true);
	try_efer(EFER_LMA, false);
	try_efer(0, false);
	vmcs_clear_controls(EXITCTL_LOAD_IA32_EFER);
	try_efer(EFER_LMA, true);
	try_efer(0, true);
}

static void load_pkrs(void)
{
	vmcs_set_controls(EXITCTL_LOAD_PKRS);
}

ENTRY_CHECK("entry.host.pkrs.high", "with \"load PKRS\" bits 63:32 of the host field are 0",
	    NEEDS(EXITCTL_LOAD_PKRS), FIELDS(HOST_IA32_PKRS), .prepare = load_pkrs,
	    .bad = FLIPPED_BITS(~0ull << 32), .refused = INVALID_HOST);

static void load_cet(void)
{
	vmcs_set_controls(EXITCTL_LOAD_CET_STATE);
}

static void try_cet(enum vmcs_field field, u64 value, bool valid)
{
	CASE("%s = %#lx", field_find(field)->name, value);
	vmcs_write(field, value);
	expect_outcome(entry_attempt(true), valid ? ACCEPTED : FAIL_VALID(VMERR_ENTRY_INVALID_HOST_STATE));
}

/* Host CR4.CET is 0, so what is loaded has no effect. */
TEST("entry.host.cet.checks", "with \"load CET state\" host IA32_S_CET, SSP and the SSP table's address are valid",
     NEEDS(EXITCTL_LOAD_CET_STATE, FEATURE_CET_SS, FEATURE_CET_IBT))
{
	enum { SUPPRESS = BIT(10), TRACKER = BIT(11) };
	static const enum vmcs_field addresses[] = { HOST_IA32_S_CET, HOST_SSP, HOST_IA32_INTERRUPT_SSP_TABLE_ADDR };
	const u64 s_cet = rdmsr(IA32_S_CET), table = rdmsr(IA32_INTERRUPT_SSP_TABLE_ADDR);
	const u32 width = linear_address_width();
	const u64 low_half = BIT(width - 1) - 0x1000, high_half = ~0ull << (width - 1);

	load_cet();
	for (u32 i = 0; i < ARRAY_SIZE(addresses); i++) {
		for (u32 bit = width - 1; bit < 64; bit++)
			try_cet(addresses[i], BIT(bit), false);
		try_cet(addresses[i], low_half | BIT(63), false);
		try_cet(addresses[i], high_half & ~BIT(63), false);
		try_cet(addresses[i], low_half, true);
		try_cet(addresses[i], high_half, true);
		try_cet(addresses[i], 0, true);
	}
	for (u32 bit = 6; bit <= 9; bit++)
		try_cet(HOST_IA32_S_CET, BIT(bit), false);
	for (u32 bit = 0; bit < 6; bit++)
		try_cet(HOST_IA32_S_CET, BIT(bit), true);
	try_cet(HOST_IA32_S_CET, SUPPRESS, true);
	try_cet(HOST_IA32_S_CET, TRACKER, true);
	try_cet(HOST_IA32_S_CET, SUPPRESS | TRACKER, false);
	try_cet(HOST_IA32_S_CET, s_cet, true);
	for (u32 low = 1; low < 4; low++)
		try_cet(HOST_SSP, low, false);
	for (u32 bit = 2; bit < 12; bit++)
		try_cet(HOST_SSP, BIT(bit), true);
	try_cet(HOST_SSP, 0, true);
	try_cet(HOST_IA32_INTERRUPT_SSP_TABLE_ADDR, table, true);

	vmcs_clear_controls(EXITCTL_LOAD_CET_STATE);
	try_cet(HOST_IA32_S_CET, ~0ull, true);
	try_cet(HOST_SSP, ~0ull, true);
	try_cet(HOST_IA32_INTERRUPT_SSP_TABLE_ADDR, BIT(63), true);
}
