/* SPDX-License-Identifier: BSD-2-Clause */
/* State of extensions, which VM entry loads if a control says so, and else leaves alone. */
#include "load.h"

static const struct extension {
	u32 control, msr;
	enum vmcs_field field;
	u64 mask, first, second;	/* mask: where the field is in the MSR */
	u32 shift;
} extensions[] = {
	{ ENTRYCTL_LOAD_IA32_BNDCFGS, IA32_BNDCFGS, GUEST_IA32_BNDCFGS, ~0ull, 0x123456789003, 0xffff876543210002, 0 },
	{ ENTRYCTL_LOAD_IA32_RTIT_CTL, IA32_RTIT_CTL, GUEST_IA32_RTIT_CTL, ~0ull, 0x2000, 0x4, 0 },	/* no TraceEn */
	{ ENTRYCTL_LOAD_GUEST_IA32_LBR_CTL, IA32_LBR_CTL, GUEST_IA32_LBR_CTL, ~0ull, 0x2, 0x4, 0 },
	{ ENTRYCTL_LOAD_PKRS, IA32_PKRS, GUEST_IA32_PKRS, ~0ull, 0x55555555, 0xaaaaaaaa, 0 },
	{ ENTRYCTL_LOAD_PKRS, IA32_PKRS, GUEST_IA32_PKRS, ~0ull, 0xfffffffc, 0x80000003, 0 },
	{ ENTRYCTL_LOAD_CET_STATE, IA32_S_CET, GUEST_IA32_S_CET, ~0ull, 0x345678901003, 0xfffff80000000002, 0 },
	{ ENTRYCTL_LOAD_CET_STATE, IA32_S_CET, GUEST_IA32_S_CET, ~0ull, 0x2, 0x5678901001, 0 },
	{ ENTRYCTL_LOAD_CET_STATE, IA32_INTERRUPT_SSP_TABLE_ADDR, GUEST_IA32_INTERRUPT_SSP_TABLE_ADDR, ~0ull,
	  0x123456789a8, 0xffff876543210000, 0 },
	{ ENTRYCTL_LOAD_UINV, IA32_UINTR_MISC, GUEST_UINV, 0xff00000000, 0x55, 0xaa, 32 },
};

/* With the control, the field; without it, what the host has. CR4.CET and CR4.PKS are 0: nothing has an effect. */
static void check_extension(const struct extension *e)
{
	for (u32 swap = 0; swap < 2; swap++)
		for (u32 load = 0; load < 2; load++) {
			const u64 field = swap ? e->second : e->first, host = swap ? e->first : e->second;

			CASE("MSR %#x, control %u, field %#lx, before VM entry %#lx", e->msr, load, field, host);
			start_in(MODE_64BIT);
			vmcs_use_msr_bitmap();
			if (load)
				vmcs_set_controls(e->control);
			vmcs_write(e->field, field);
			wrmsr(e->msr, (rdmsr(e->msr) & ~e->mask) | host << e->shift);
			expect_eq((guest_reads_msr(e->msr) & e->mask) >> e->shift, load ? field : host);
		}
}

CODE(read_ssp, ".byte 0xf3, 0x48, 0x0f, 0x1e, 0xc8");	/* rdsspq %rax */

/* SSP is no MSR: a guest with shadow stacks, which it does not use, reads it. */
static void check_ssp(void)
{
	u64 last = 0;

	if (!has(ENTRYCTL_LOAD_CET_STATE) || !has(FEATURE_CET_SS))
		return;
	start_in(MODE_64BIT);
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_CET);
	vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) | CR0_WP);
	vmcs_write(GUEST_IA32_S_CET, 1);		/* SH_STK_EN */
	WALK_OVER(n, 0, CANONICAL_VALUES) {
		const u64 ssp = canonical_value(n) & ~7ull;

		CASE("SSP field %#lx", ssp);
		vmcs_set_controls(ENTRYCTL_LOAD_CET_STATE);
		vmcs_write(GUEST_SSP, ssp);
		guest.regs.rax = 0;
		run_code(read_ssp);
		expect_code_ran();
		expect_eq(guest.regs.rax, ssp);
		last = ssp;
	}
	/* Without the control SSP and IA32_S_CET are what they were, as the exit does not load them. */
	CASE("\"load CET state\" 0");
	vmcs_clear_controls(ENTRYCTL_LOAD_CET_STATE);
	vmcs_write(GUEST_SSP, 0x1238);
	vmcs_write(GUEST_IA32_S_CET, 0);
	guest.regs.rax = 0;
	run_code(read_ssp);
	expect_code_ran();
	expect_eq(guest.regs.rax, last);
}

TEST("entry.load.pkrs_cet_etc",
     "BNDCFGS, RTIT_CTL, LBR_CTL, PKRS, S_CET, SSP, the SSP table and UINV are loaded if their controls are 1, and only then",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	u32 checked = 0;

	for (u32 i = 0; i < ARRAY_SIZE(extensions); i++) {
		const struct extension *const e = &extensions[i];

		if (!has(e->control) || TRY(rdmsr(e->msr)).raised)
			continue;
		checked++;
		msrs_keep(e->msr);
		check_extension(e);
		msrs_put_back();
	}
	if (!checked)
		skip("needs a VM-entry control such as \"load CET state\" (IA32_VMX_ENTRY_CTLS[52]) or \"load PKRS\" ([54])");
	msrs_keep(IA32_S_CET, IA32_INTERRUPT_SSP_TABLE_ADDR);
	check_ssp();
	msrs_put_back();
}
