/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest DR7 and MSRs ("Checks on Guest Control Registers, Debug Registers, and MSRs"). */
#include "vmxtest/entry_guest.h"
#include "x86/perfmon.h"

#define HIGH_HALF 0xffffffff00000000ull

/* So that the host gets its own value back: the exit control that is the entry control's twin, where it exists. */
static void use(u32 entry_control, u32 exit_control)
{
	vmcs_set_controls(entry_control);
	if (has(exit_control))
		vmcs_set_controls(exit_control);
}

/* IA32_DEBUGCTL bits that no processor defines (SDM Vol. 4): 5:3 and 63:16; bit 2 is bus-lock detection. */
static bool reserved_debugctl(u32 index, u64 *value)
{
	static const u8 bits[] = { 3, 4, 5, 16, 17, 31, 32, 33, 47, 48, 62, 63, 2 };

	if (index >= ARRAY_SIZE(bits) || (bits[index] == 2 && has(FEATURE_BUS_LOCK_DETECT)))
		return false;
	*value = BIT(bits[index]);
	return true;
}

static void load_debug_controls(void)
{
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
}

static void do_not_load_debug_controls(void)
{
	vmcs_clear_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
}

/* "Load debug controls" may be 0 only by the TRUE MSR. */
static void require_debug_controls_can_be_off(void)
{
	if (!control_value_allowed(WORD_ENTRYCTL, vmcs_read(VM_ENTRY_CONTROLS) & ~control_bit(ENTRYCTL_LOAD_DEBUG_CONTROLS)))
		skip("needs VM-entry control \"load debug controls\" to be 0 (IA32_VMX_TRUE_ENTRY_CTLS[2])");
}

ENTRY_CHECK("entry.guest.debugctl.reserved", "reserved bits of guest IA32_DEBUGCTL are 0 if it is loaded",
	    NEEDS(ENTRYCTL_LOAD_DEBUG_CONTROLS),
	    FIELDS(GUEST_IA32_DEBUGCTL), .prepare = load_debug_controls,
	    .bad = COMPUTED(reserved_debugctl), .reserved = true, .refused = BY_INVALID_GUEST_STATE, .good = VALUES(0, 1, 2, 3));

TEST("entry.guest.debugctl.ignored", "guest IA32_DEBUGCTL is not checked if it is not loaded")
{
	require_debug_controls_can_be_off();
	ENTRY_VALUES(FIELDS(GUEST_IA32_DEBUGCTL), .prepare = do_not_load_debug_controls,
		     .refused = BY_INVALID_GUEST_STATE, .good = FLIPPED_BITS(~0ull));
}

ENTRY_CHECK("entry.guest.dr7.high", "bits 63:32 of guest DR7 are 0 if it is loaded",
	    NEEDS(ENTRYCTL_LOAD_DEBUG_CONTROLS),
	    FIELDS(GUEST_DR7), .prepare = load_debug_controls,
	    .bad = FLIPPED_BITS(HIGH_HALF), .refused = BY_INVALID_GUEST_STATE, .good = FLIPPED_BITS(~HIGH_HALF));

TEST("entry.guest.dr7.ignored", "guest DR7 is not checked if it is not loaded")
{
	require_debug_controls_can_be_off();
	ENTRY_VALUES(FIELDS(GUEST_DR7), .prepare = do_not_load_debug_controls,
		     .refused = BY_INVALID_GUEST_STATE, .good = FLIPPED_BITS(~0ull));
}

ENTRY_CHECK("entry.guest.sysenter.canonical", "guest IA32_SYSENTER_ESP and IA32_SYSENTER_EIP are canonical", ALWAYS,
	    FIELDS(GUEST_IA32_SYSENTER_ESP, GUEST_IA32_SYSENTER_EIP),
	    .bad = NONCANONICAL, .refused = BY_INVALID_GUEST_STATE, .good = CANONICAL_ENDS);

TEST("entry.guest.pgc.reserved", "reserved bits of guest IA32_PERF_GLOBAL_CTRL are 0 if it is loaded",
     NEEDS(ENTRYCTL_LOAD_IA32_PERF_GLOBAL_CTRL))
{
	const u64 defined = perf_global_ctrl_counters();

	use(ENTRYCTL_LOAD_IA32_PERF_GLOBAL_CTRL, EXITCTL_LOAD_IA32_PERF_GLOBAL_CTRL);
	ENTRY_VALUES(FIELDS(GUEST_IA32_PERF_GLOBAL_CTRL), .bad = FLIPPED_BITS(~defined & ~PERF_GLOBAL_CTRL_METRICS),
		     .reserved = true, .refused = BY_INVALID_GUEST_STATE, .good = FLIPPED_BITS(defined));
	vmcs_clear_controls(ENTRYCTL_LOAD_IA32_PERF_GLOBAL_CTRL);
	ENTRY_VALUES(FIELDS(GUEST_IA32_PERF_GLOBAL_CTRL), .refused = BY_INVALID_GUEST_STATE, .good = VALUES(~0ull));
}

TEST("entry.guest.pat.values", "each byte of guest IA32_PAT is a memory type that exists, if it is loaded",
     NEEDS(ENTRYCTL_LOAD_IA32_PAT, FEATURE_PAT))
{
	const u64 uncached_minus = 0x0706050401000706, host = rdmsr(IA32_PAT);

	use(ENTRYCTL_LOAD_IA32_PAT, EXITCTL_LOAD_IA32_PAT);
	entry_stop_guest_at_once();
	entry_guest_keep();
	WALK_OVER(n, 0, 8 * 256) {
		const u64 byte = n / 256, type = n % 256;
		const u64 value = (uncached_minus & ~(0xffull << 8 * byte)) | type << 8 * byte;

		CASE("IA32_PAT = %#lx", value);
		vmcs_write(GUEST_IA32_PAT, value);
		expect_guest_state(type < 8 && type != 2 && type != 3);
	}
	vmcs_clear_controls(ENTRYCTL_LOAD_IA32_PAT);
	entry_guest_keep();
	vmcs_write(GUEST_IA32_PAT, ~0ull);
	CASE("IA32_PAT is not loaded");
	expect_guest_state(true);
	wrmsr(IA32_PAT, host);		/* where no exit loads it */
}

/* Bits that Intel processors define, and two of AMD's where CPUID has them. */
static u64 efer_bits(void)
{
	const u32 ecx = cpuid(0x80000001, 0).ecx, edx = cpuid(0x80000001, 0).edx;

	return EFER_LME | EFER_LMA | (has(FEATURE_SYSCALL) ? EFER_SCE : 0) | (has(FEATURE_NX) ? EFER_NXE : 0) |
	       (ecx & BIT(2) ? BIT(12) : 0) | (edx & BIT(25) ? BIT(14) : 0);
}

static void load_efer(void)
{
	use(ENTRYCTL_LOAD_IA32_EFER, EXITCTL_LOAD_IA32_EFER);
}

TEST("entry.guest.efer.reserved", "reserved bits of guest IA32_EFER are 0 if it is loaded",
     NEEDS(ENTRYCTL_LOAD_IA32_EFER))
{
	load_efer();
	ENTRY_VALUES(FIELDS(GUEST_IA32_EFER), .bad = FLIPPED_BITS(~efer_bits()), .reserved = true,
		     .refused = BY_INVALID_GUEST_STATE, .good = FLIPPED_BITS(efer_bits() & (EFER_SCE | EFER_NXE)));
	entry_guest_32bit();
	ENTRY_VALUES(FIELDS(GUEST_IA32_EFER), .bad = FLIPPED_BITS(~efer_bits()), .reserved = true,
		     .refused = BY_INVALID_GUEST_STATE, .good = FLIPPED_BITS(efer_bits() & (EFER_SCE | EFER_NXE)));
	vmcs_clear_controls(ENTRYCTL_LOAD_IA32_EFER);
	ENTRY_VALUES(FIELDS(GUEST_IA32_EFER), .refused = BY_INVALID_GUEST_STATE, .good = VALUES(~0ull));
}

static void try_efer(u64 lma, u64 lme, bool legal)
{
	const u64 other = vmcs_read(GUEST_IA32_EFER) & ~(u64)(EFER_LMA | EFER_LME);

	CASE("IA32_EFER.LMA = %u, LME = %u", lma, lme);
	vmcs_write(GUEST_IA32_EFER, other | (lma ? EFER_LMA : 0) | (lme ? EFER_LME : 0));
	expect_guest_state(legal);
}

TEST("entry.guest.efer.lma", "guest IA32_EFER.LMA is what \"IA-32e mode guest\" says, if it is loaded",
     NEEDS(ENTRYCTL_LOAD_IA32_EFER))
{
	load_efer();
	entry_stop_guest_at_once();
	entry_guest_keep();
	try_efer(0, 0, false);
	try_efer(1, 1, true);
	entry_guest_32bit();
	entry_guest_keep();
	try_efer(1, 1, false);
	try_efer(0, 0, true);
	if (!has(PROC2_UNRESTRICTED_GUEST))
		return;
	entry_guest_real();
	entry_guest_keep();
	try_efer(1, 1, false);
	try_efer(1, 0, false);
	try_efer(0, 0, true);
}

TEST("entry.guest.efer.lme_pg", "with CR0.PG = 1 guest IA32_EFER.LME equals LMA, if it is loaded",
     NEEDS(ENTRYCTL_LOAD_IA32_EFER))
{
	load_efer();
	entry_stop_guest_at_once();
	entry_guest_keep();
	try_efer(1, 0, false);
	try_efer(1, 1, true);
	entry_guest_32bit();
	entry_guest_keep();
	try_efer(0, 1, false);
	try_efer(0, 0, true);
	entry_guest_pae();
	entry_guest_keep();
	try_efer(0, 1, false);
	try_efer(0, 0, true);
}

TEST("entry.guest.efer.lme_nopg", "with CR0.PG = 0 guest IA32_EFER.LME may be 1 with LMA = 0",
     NEEDS(ENTRYCTL_LOAD_IA32_EFER, PROC2_UNRESTRICTED_GUEST))
{
	load_efer();
	entry_stop_guest_at_once();
	entry_guest_real();
	entry_guest_keep();
	try_efer(0, 1, true);
	try_efer(0, 0, true);
	vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) | CR0_PE);
	entry_guest_keep();
	try_efer(0, 1, true);
	try_efer(0, 0, true);
}

static void load_bndcfgs(void) { use(ENTRYCTL_LOAD_IA32_BNDCFGS, EXITCTL_CLEAR_IA32_BNDCFGS); }
static void load_rtit_ctl(void) { use(ENTRYCTL_LOAD_IA32_RTIT_CTL, EXITCTL_CLEAR_IA32_RTIT_CTL); }
static void load_lbr_ctl(void) { use(ENTRYCTL_LOAD_GUEST_IA32_LBR_CTL, EXITCTL_CLEAR_IA32_LBR_CTL); }
static void load_pkrs(void) { use(ENTRYCTL_LOAD_PKRS, EXITCTL_LOAD_PKRS); }
static void load_uinv(void) { use(ENTRYCTL_LOAD_UINV, EXITCTL_CLEAR_UINV); }
static void load_cet(void) { use(ENTRYCTL_LOAD_CET_STATE, EXITCTL_LOAD_CET_STATE); }

TEST("entry.guest.bndcfgs", "guest IA32_BNDCFGS has no reserved bit and a canonical base, if it is loaded",
     NEEDS(ENTRYCTL_LOAD_IA32_BNDCFGS))
{
	ENTRY_VALUES(FIELDS(GUEST_IA32_BNDCFGS), .prepare = load_bndcfgs, .bad = FLIPPED_BITS(0xffc),
		     .reserved = true, .refused = BY_INVALID_GUEST_STATE, .good = VALUES(0, 1, 2, 3, 0x1000));
	ENTRY_VALUES(FIELDS(GUEST_IA32_BNDCFGS), .bad = NONCANONICAL, .refused = BY_INVALID_GUEST_STATE);
}

/* Bits 63:57 are reserved whatever CPUID.14H says. */
ENTRY_CHECK("entry.guest.rtit", "reserved bits of guest IA32_RTIT_CTL are 0 if it is loaded",
	    NEEDS(ENTRYCTL_LOAD_IA32_RTIT_CTL),
	    FIELDS(GUEST_IA32_RTIT_CTL), .prepare = load_rtit_ctl, .bad = FLIPPED_BITS(0xfe00000000000000),
	    .reserved = true, .refused = BY_INVALID_GUEST_STATE, .good = VALUES(0));

ENTRY_CHECK("entry.guest.lbrctl", "reserved bits of guest IA32_LBR_CTL are 0 if it is loaded",
	    NEEDS(ENTRYCTL_LOAD_GUEST_IA32_LBR_CTL),
	    FIELDS(GUEST_IA32_LBR_CTL), .prepare = load_lbr_ctl, .bad = FLIPPED_BITS(0xffffffffff80fff0),
	    .reserved = true, .refused = BY_INVALID_GUEST_STATE, .good = VALUES(0, 1));

ENTRY_CHECK("entry.guest.pkrs", "bits 63:32 of guest IA32_PKRS are 0 if it is loaded", NEEDS(ENTRYCTL_LOAD_PKRS),
	    FIELDS(GUEST_IA32_PKRS), .prepare = load_pkrs, .bad = FLIPPED_BITS(HIGH_HALF),
	    .refused = BY_INVALID_GUEST_STATE, .good = FLIPPED_BITS(~HIGH_HALF));

ENTRY_CHECK("entry.guest.uinv", "bits 15:8 of guest UINV are 0 if it is loaded", NEEDS(ENTRYCTL_LOAD_UINV),
	    FIELDS(GUEST_UINV), .prepare = load_uinv, .bad = FLIPPED_BITS(0xff00),
	    .refused = BY_INVALID_GUEST_STATE, .good = FLIPPED_BITS(0xff));

enum { CET_SUPPRESS = BIT(10), CET_TRACKER = BIT(11) };

/* The host field must be canonical; for the guest's known hypervisors disagree, and the text at hand has no say. */
static void note_noncanonical_s_cet(void)
{
	u32 refused = 0, tried = 0;

	entry_stop_guest_at_once();
	entry_guest_keep();
	for (u32 bit = linear_address_width(); bit < 64; bit++, tried++) {
		CASE("IA32_S_CET %#lx", BIT(bit));
		vmcs_write(GUEST_IA32_S_CET, BIT(bit));
		if (entry_attempt(false).kind == OUTCOME_ENTRY_FAILURE) {
			expect_eq(vmcs_read(EXIT_REASON) & 0xffff, EXIT_INVALID_GUEST_STATE);
			refused++;
		}
		entry_guest_put_back();
		vmcs_write(GUEST_IA32_S_CET, 0);
	}
	if (refused < tried)
		note("of %u values of guest IA32_S_CET that are not canonical %u are refused", tried, refused);
}

TEST("entry.guest.cet", "guest CET state has canonical addresses and no reserved bit, if it is loaded",
     NEEDS(ENTRYCTL_LOAD_CET_STATE))
{
	load_cet();
	ENTRY_VALUES(FIELDS(GUEST_IA32_S_CET), .bad = FLIPPED_BITS(0x3c0), .reserved = true,
		     .refused = BY_INVALID_GUEST_STATE, .good = VALUES(0, 1, 2, 0x1000));
	ENTRY_VALUES(FIELDS(GUEST_IA32_S_CET), .bad = VALUES(CET_SUPPRESS | CET_TRACKER),
		     .refused = BY_INVALID_GUEST_STATE, .good = VALUES(CET_SUPPRESS, CET_TRACKER));
	/* Of bits 63:N see entry.guest.ssp.range. */
	ENTRY_VALUES(FIELDS(GUEST_SSP), .bad = FLIPPED_BITS(3), .refused = BY_INVALID_GUEST_STATE,
		     .good = VALUES(4, 8, 0x1000, ~0xfffull));
	ENTRY_VALUES(FIELDS(GUEST_IA32_INTERRUPT_SSP_TABLE_ADDR), .bad = NONCANONICAL, .refused = BY_INVALID_GUEST_STATE);
	note_noncanonical_s_cet();
}
