/* SPDX-License-Identifier: BSD-2-Clause */
/* "Loading Host Control Registers, Debug Registers, MSRs": the MSRs. */
#include "hostload.h"

#include "x86/perfmon.h"

/* Each bit of a canonical address: value 0 to CANONICAL - 1. */
#define CANONICAL 50
static u64 canonical_number(u32 n)
{
	const u32 top = linear_address_width() - 1;
	const u64 special[] = { 0, ~0ull, BIT(top) - 1 };

	if (n < 47)
		return n & 1 ? BIT(n) | ~(BIT(top) - 1) : BIT(n);
	return special[n - 47];
}

/* A host field and the MSR that it is loaded into; the guest has another value in it. */
static void expect_loaded(enum vmcs_field host_field, u64 host, enum vmcs_field guest_field, u64 guest_value, u32 msr)
{
	CASE("host field %#x = %#lx, guest %#lx", host_field, host, guest_value);
	vmcs_write(host_field, host);
	vmcs_write(guest_field, guest_value);
	guest_run(guest_ends);
	expect_guest_done();
	expect_eq(exit_probe_msr(msr), host);
}

static void guest_writes_sysenter_cs(void)
{
	TRY(wrmsr(IA32_SYSENTER_CS, 0xdeadbeef00001234));
}

TEST("hostload.sysenter", "IA32_SYSENTER_CS, ESP and EIP come from the host fields; bits 63:32 of CS are 0",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	exit_probe_on();
	for (u32 n = 0; n < CANONICAL; n++) {
		const u64 value = canonical_number(n);

		expect_loaded(HOST_IA32_SYSENTER_ESP, value, GUEST_IA32_SYSENTER_ESP, ~value, IA32_SYSENTER_ESP);
		expect_loaded(HOST_IA32_SYSENTER_EIP, value, GUEST_IA32_SYSENTER_EIP, ~value, IA32_SYSENTER_EIP);
	}
	for (u32 bit = 0; bit < 16; bit++)
		expect_loaded(HOST_IA32_SYSENTER_CS, BIT(bit), GUEST_IA32_SYSENTER_CS, (u16)~BIT(bit), IA32_SYSENTER_CS);

	CASE("bits 63:32 of IA32_SYSENTER_CS set by the guest");
	vmcs_use_msr_bitmap();
	vmcs_write(HOST_IA32_SYSENTER_CS, 0xcdef);
	guest_run(guest_writes_sysenter_cs);
	expect_guest_done();
	expect_eq(exit_probe_msr(IA32_SYSENTER_CS), 0xcdef);
}

TEST("hostload.sysenter_cs_31_16", "bits 31:16 of IA32_SYSENTER_CS, which nothing uses, come from the host field too")
{
	exit_probe_on();
	for (u32 bit = 16; bit < 32; bit++)
		expect_loaded(HOST_IA32_SYSENTER_CS, BIT(bit), GUEST_IA32_SYSENTER_CS, (u32)~BIT(bit), IA32_SYSENTER_CS);
}

TEST("hostload.fs_gs_base", "the bases of FS and GS come from the host fields, also with null selectors")
{
	static const u16 selectors[] = { 0, SELECTOR_DATA, SELECTOR_SPARE };

	exit_probe_on();
	for (u32 s = 0; s < ARRAY_SIZE(selectors); s++) {
		vmcs_write(HOST_FS_SELECTOR, selectors[s]);
		vmcs_write(HOST_GS_SELECTOR, selectors[s]);
		for (u32 n = 0; n < CANONICAL; n++) {
			const u64 value = canonical_number(n);

			expect_loaded(HOST_FS_BASE, value, GUEST_FS_BASE, ~value, IA32_FS_BASE);
			expect_eq(exit_probe.fs, selectors[s]);
			vmcs_write(HOST_GS_BASE, value);
			guest_run(guest_ends);
			expect_guest_done();
			expect_eq(exit_probe_msr(IA32_GS_BASE), value);
			expect_eq(exit_probe.gs, selectors[s]);
		}
	}
}

/* EFER bits that are neither LMA nor LME, which guest and host may have as they like. */
static const u64 efer_settings[] = { 0, EFER_SCE, EFER_NXE, EFER_SCE | EFER_NXE };
static u64 efer_home(void)
{
	return rdmsr(IA32_EFER) & ~(u64)(EFER_SCE | EFER_NXE);
}

static u64 guest_value;

static void guest_writes_efer(void)
{
	wrmsr(IA32_EFER, guest_value);
}

TEST("hostload.efer_from_ctl", "without \"load IA32_EFER\" LMA and LME are 1 for a 64-bit host, and other bits the guest's",
     NEEDS(PROC_USE_MSR_BITMAPS, FEATURE_SYSCALL, FEATURE_NX))
{
	for (u32 i = 0; i < ARRAY_SIZE(efer_settings); i++) {
		CASE("guest IA32_EFER %#x more", efer_settings[i]);
		start_over();
		vmcs_use_msr_bitmap();
		if (has(EXITCTL_LOAD_IA32_EFER))
			vmcs_write(HOST_IA32_EFER, efer_home() | efer_settings[3 - i]);
		guest_value = efer_home() | efer_settings[i];
		guest_run(guest_writes_efer);
		expect_guest_done();
		expect_eq(exit_probe_msr(IA32_EFER), guest_value);
	}
	for (enum guest_mode mode = 0; mode < GUEST_MODES; mode++) {
		if (!guest_mode_exists(mode))
			continue;
		CASE("from %s", guest_mode_names[mode]);
		start_over();
		guest_run_mode(mode);
		expect_guest_done();
		expect_eq(exit_probe_msr(IA32_EFER), rdmsr(IA32_EFER));
	}
}

TEST("hostload.efer_load", "\"load IA32_EFER\" loads IA32_EFER from the host field",
     NEEDS(EXITCTL_LOAD_IA32_EFER, PROC_USE_MSR_BITMAPS, FEATURE_SYSCALL, FEATURE_NX))
{
	for (u32 g = 0; g < ARRAY_SIZE(efer_settings); g++)
		for (u32 h = 0; h < ARRAY_SIZE(efer_settings); h++) {
			CASE("guest IA32_EFER %#x more, host %#x", efer_settings[g], efer_settings[h]);
			start_over();
			vmcs_use_msr_bitmap();
			vmcs_set_controls(EXITCTL_LOAD_IA32_EFER);
			vmcs_write(HOST_IA32_EFER, efer_home() | efer_settings[h]);
			guest_value = efer_home() | efer_settings[g];
			guest_run(guest_writes_efer);
			expect_guest_done();
			expect_eq(exit_probe_msr(IA32_EFER), efer_home() | efer_settings[h]);
		}
	for (enum guest_mode mode = MODE_COMPATIBILITY; mode < GUEST_MODES; mode++) {
		if (!guest_mode_exists(mode))
			continue;
		CASE("from %s", guest_mode_names[mode]);
		start_over();
		vmcs_set_controls(EXITCTL_LOAD_IA32_EFER);
		vmcs_write(HOST_IA32_EFER, efer_home() | EFER_SCE);
		guest_run_mode(mode);
		expect_guest_done();
		expect_eq(exit_probe_msr(IA32_EFER), efer_home() | EFER_SCE);
	}
}

static void guest_writes_pat(void)
{
	wrmsr(IA32_PAT, guest_value);
}

/* Memory types in turn for each byte; the lower four, which are in use, keep WB first and UC third and fourth. */
static u64 pat_number(u32 n)
{
	static const u8 types[] = { 0, 1, 4, 5, 6, 7 };
	u64 pat = 0x0007000600000000 | 0x00070006;

	for (u32 byte = 4; byte < 8; byte++)
		pat = (pat & ~(0xffull << 8 * byte)) | (u64)types[(n + byte * byte) % 6] << 8 * byte;
	return pat | (u64)types[(n + 1) % 6] << 8;
}

TEST("hostload.pat", "\"load IA32_PAT\" loads IA32_PAT from the host field; without it the guest's value stays",
     NEEDS(EXITCTL_LOAD_IA32_PAT, PROC_USE_MSR_BITMAPS, FEATURE_PAT))
{
	exit_probe_on();
	vmcs_use_msr_bitmap();
	for (u32 n = 0; n < 12; n++) {
		guest_value = pat_number(n);
		vmcs_write(HOST_IA32_PAT, pat_number(n + 1));

		CASE("1, guest %#lx, host %#lx", guest_value, pat_number(n + 1));
		vmcs_set_controls(EXITCTL_LOAD_IA32_PAT);
		guest_run(guest_writes_pat);
		expect_guest_done();
		expect_eq(exit_probe_msr(IA32_PAT), pat_number(n + 1));

		CASE("0, guest %#lx, host %#lx", guest_value, pat_number(n + 1));
		vmcs_clear_controls(EXITCTL_LOAD_IA32_PAT);
		guest_run(guest_writes_pat);
		expect_guest_done();
		expect_eq(exit_probe_msr(IA32_PAT), guest_value);
	}
}

static void guest_writes_perf_global_ctrl(void)
{
	wrmsr(IA32_PERF_GLOBAL_CTRL, guest_value);
}

TEST("hostload.pgc", "\"load IA32_PERF_GLOBAL_CTRL\" loads the host field; without it the guest's value stays",
     NEEDS(EXITCTL_LOAD_IA32_PERF_GLOBAL_CTRL, PROC_USE_MSR_BITMAPS))
{
	const u64 counters = perf_global_ctrl_counters();

	exit_probe_on();
	if (!exit_probe_has_msr(IA32_PERF_GLOBAL_CTRL) || !counters)
		skip("needs IA32_PERF_GLOBAL_CTRL, which this processor does not have");
	vmcs_use_msr_bitmap();
	for (u32 bit = 0; bit < 64; bit++) {
		if (!(counters & BIT(bit)))
			continue;
		guest_value = counters ^ BIT(bit);
		vmcs_write(HOST_IA32_PERF_GLOBAL_CTRL, BIT(bit));

		CASE("1, host bit %u", bit);
		vmcs_set_controls(EXITCTL_LOAD_IA32_PERF_GLOBAL_CTRL);
		guest_run(guest_writes_perf_global_ctrl);
		expect_guest_done();
		expect_eq(exit_probe_msr(IA32_PERF_GLOBAL_CTRL), BIT(bit));

		CASE("0, host bit %u", bit);
		vmcs_clear_controls(EXITCTL_LOAD_IA32_PERF_GLOBAL_CTRL);
		guest_run(guest_writes_perf_global_ctrl);
		expect_guest_done();
		expect_eq(exit_probe_msr(IA32_PERF_GLOBAL_CTRL), guest_value);
	}
}

/* State that an exit clears or loads if a control says so, and else leaves as the guest had it. */
struct extension {
	u32 control, msr;
	u64 guest_value, host_value;
	u32 host_field;			/* 0: cleared */
};

static u32 guest_msr;

static void guest_writes_msr(void)
{
	wrmsr(guest_msr, guest_value);
}

static u32 check_extensions(const struct extension *extensions, u32 count)
{
	u32 checked = 0;

	exit_probe_on();
	vmcs_use_msr_bitmap();
	for (u32 i = 0; i < count; i++) {
		const struct extension *e = &extensions[i];

		if (!has(e->control) || !exit_probe_has_msr(e->msr))
			continue;
		checked++;
		guest_msr = e->msr;
		guest_value = e->guest_value;
		for (u32 on = 0; on < 2; on++) {
			CASE("MSR %#x, control %u", e->msr, on);
			if (on)
				vmcs_set_controls(e->control);
			if (e->host_field)
				vmcs_write(e->host_field, e->host_value);
			guest_run(guest_writes_msr);
			expect_guest_done();
			expect_eq(exit_probe_msr(e->msr), on ? e->host_value : e->guest_value);
			vmcs_clear_controls(e->control);
		}
	}
	return checked;
}

/* UINV is bits 39:32 of IA32_UINTR_MISC. */
TEST("hostload.clear_ext", "the exit controls that clear IA32_BNDCFGS, IA32_RTIT_CTL, IA32_LBR_CTL and UINV do so",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	static const struct extension cleared[] = {
		{ EXITCTL_CLEAR_IA32_BNDCFGS, IA32_BNDCFGS, 0x1003, 0, 0 },
		{ EXITCTL_CLEAR_IA32_RTIT_CTL, IA32_RTIT_CTL, 0x2000, 0, 0 },	/* BranchEn, tracing off */
		{ EXITCTL_CLEAR_IA32_LBR_CTL, IA32_LBR_CTL, 0x2, 0, 0 },
		{ EXITCTL_CLEAR_UINV, IA32_UINTR_MISC, 0xa5ull << 32, 0, 0 },
	};

	if (!check_extensions(cleared, ARRAY_SIZE(cleared)))
		skip("needs VM-exit control \"clear IA32_BNDCFGS\", \"clear IA32_RTIT_CTL\" or another of that kind");
}

TEST("hostload.pkrs_cet", "\"load CET state\" and \"load PKRS\" load the host fields; without them the guest's values stay",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	/* CR4.CET and CR4.PKS are 0: the MSRs have no effect. */
	static const struct extension loaded[] = {
		{ EXITCTL_LOAD_CET_STATE, IA32_S_CET, 0x345678901003, 0x5678901002, HOST_IA32_S_CET },
		{ EXITCTL_LOAD_CET_STATE, IA32_S_CET, 0x2, 0xfffff80000000001, HOST_IA32_S_CET },
		{ EXITCTL_LOAD_CET_STATE, IA32_INTERRUPT_SSP_TABLE_ADDR, 0x123456789a8, 0xffff8765432100f0,
		  HOST_IA32_INTERRUPT_SSP_TABLE_ADDR },
		{ EXITCTL_LOAD_CET_STATE, IA32_INTERRUPT_SSP_TABLE_ADDR, ~0ull, 0x5, HOST_IA32_INTERRUPT_SSP_TABLE_ADDR },
		{ EXITCTL_LOAD_PKRS, IA32_PKRS, 0x55555555, 0xaaaaaaaa, HOST_IA32_PKRS },
		{ EXITCTL_LOAD_PKRS, IA32_PKRS, 0xfffffffc, 0x3, HOST_IA32_PKRS },
	};

	if (!check_extensions(loaded, ARRAY_SIZE(loaded)))
		skip("needs VM-exit control \"load CET state\" or \"load PKRS\" (IA32_VMX_EXIT_CTLS[60] or [61])");
}
