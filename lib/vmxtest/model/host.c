/* SPDX-License-Identifier: BSD-2-Clause */
/* "Checks on Host Control Registers, MSRs, and SSP", "... Host Segment ...", "Checks Related to Address-Space Size". */
#include "vmxtest/model/look.h"

#include "x86/processor.h"

#define LOW_HALF 0xffffffffull
#define HIGH_HALF (~LOW_HALF)

static bool fixed_bits(u64 value, u64 fixed0, u64 fixed1, u64 checked)
{
	return !(((value & ~fixed1) | (~value & fixed0)) & checked);
}

bool holds_host_cr0_fixed(const struct model_state *s)
{
	return fixed_bits(v(s, M_HOST_CR0), s->cpu->cr0_fixed0, s->cpu->cr0_fixed1, LOW_HALF & ~(u64)(CR0_CD | CR0_NW));
}

bool holds_host_cr0_high(const struct model_state *s) { return !(v(s, M_HOST_CR0) & HIGH_HALF); }

bool holds_host_cr4_fixed(const struct model_state *s)
{
	return fixed_bits(v(s, M_HOST_CR4), s->cpu->cr4_fixed0, s->cpu->cr4_fixed1, ~0ull);
}

bool holds_host_cet_wp(const struct model_state *s)
{
	return !(v(s, M_HOST_CR4) & s->cpu->cr4_fixed1 & CR4_CET) || v(s, M_HOST_CR0) & CR0_WP;
}

bool holds_host_cr3(const struct model_state *s)
{
	return !(v(s, M_HOST_CR3) & ~0ull << s->cpu->physical_width & ~(s->cpu->lam ? BIT(61) | BIT(62) : 0));
}

bool holds_host_sysenter(const struct model_state *s)
{
	return canonical(s, M_HOST_IA32_SYSENTER_ESP) && canonical(s, M_HOST_IA32_SYSENTER_EIP);
}

/* Bit 48 has a capability of its own. */
bool holds_host_pgc(const struct model_state *s)
{
	return !on(s, EXITCTL_LOAD_IA32_PERF_GLOBAL_CTRL) || !(v(s, M_HOST_IA32_PERF_GLOBAL_CTRL) & ~s->cpu->counters & ~BIT(48));
}

bool holds_host_pgc_metrics(const struct model_state *s)
{
	return !on(s, EXITCTL_LOAD_IA32_PERF_GLOBAL_CTRL) || !(v(s, M_HOST_IA32_PERF_GLOBAL_CTRL) & BIT(48));
}

bool holds_host_pat(const struct model_state *s) { return !on(s, EXITCTL_LOAD_IA32_PAT) || memory_types(v(s, M_HOST_IA32_PAT)); }

bool holds_host_efer_reserved(const struct model_state *s)
{
	return !on(s, EXITCTL_LOAD_IA32_EFER) || !(v(s, M_HOST_IA32_EFER) & ~s->cpu->efer_bits);
}

static bool host_efer_bit(const struct model_state *s, u64 bit)
{
	return !on(s, EXITCTL_LOAD_IA32_EFER) || !(v(s, M_HOST_IA32_EFER) & bit) == !on(s, EXITCTL_HOST_ADDRESS_SPACE_SIZE);
}

bool holds_host_efer_lma(const struct model_state *s) { return host_efer_bit(s, EFER_LMA); }
bool holds_host_efer_lme(const struct model_state *s) { return host_efer_bit(s, EFER_LME); }

bool holds_host_cet(const struct model_state *s)
{
	const u64 s_cet = v(s, M_HOST_IA32_S_CET), both = BIT(10) | BIT(11);

	return !on(s, EXITCTL_LOAD_CET_STATE) ||
	       (!(s_cet & 0x3c0) && (s_cet & both) != both && canonical(s, M_HOST_IA32_S_CET) && canonical(s, M_HOST_SSP) &&
		!(v(s, M_HOST_SSP) & 3) && canonical(s, M_HOST_IA32_INTERRUPT_SSP_TABLE_ADDR));
}

bool holds_host_pkrs(const struct model_state *s) { return !on(s, EXITCTL_LOAD_PKRS) || !(v(s, M_HOST_IA32_PKRS) & HIGH_HALF); }

bool holds_host_selectors(const struct model_state *s)
{
	return !((v(s, M_HOST_ES_SELECTOR) | v(s, M_HOST_CS_SELECTOR) | v(s, M_HOST_SS_SELECTOR) | v(s, M_HOST_DS_SELECTOR) |
		  v(s, M_HOST_FS_SELECTOR) | v(s, M_HOST_GS_SELECTOR) | v(s, M_HOST_TR_SELECTOR)) & 7);
}

bool holds_host_cs_zero(const struct model_state *s) { return v(s, M_HOST_CS_SELECTOR); }
bool holds_host_tr_zero(const struct model_state *s) { return v(s, M_HOST_TR_SELECTOR); }
bool holds_host_ss_zero(const struct model_state *s) { return on(s, EXITCTL_HOST_ADDRESS_SPACE_SIZE) || v(s, M_HOST_SS_SELECTOR); }

bool holds_host_bases(const struct model_state *s)
{
	return canonical(s, M_HOST_FS_BASE) && canonical(s, M_HOST_GS_BASE) && canonical(s, M_HOST_TR_BASE) &&
	       canonical(s, M_HOST_GDTR_BASE) && canonical(s, M_HOST_IDTR_BASE);
}

/* The processor is in IA-32e mode whenever the model is asked. */
bool holds_host_lma(const struct model_state *s) { return on(s, EXITCTL_HOST_ADDRESS_SPACE_SIZE); }

bool holds_host_guest64(const struct model_state *s)
{
	return on(s, EXITCTL_HOST_ADDRESS_SPACE_SIZE) || !on(s, ENTRYCTL_IA32E_MODE_GUEST);
}

bool holds_host_pcide(const struct model_state *s) { return on(s, EXITCTL_HOST_ADDRESS_SPACE_SIZE) || !(v(s, M_HOST_CR4) & CR4_PCIDE); }
bool holds_host_rip32(const struct model_state *s) { return on(s, EXITCTL_HOST_ADDRESS_SPACE_SIZE) || !(v(s, M_HOST_RIP) & HIGH_HALF); }
bool holds_host_pae(const struct model_state *s) { return !on(s, EXITCTL_HOST_ADDRESS_SPACE_SIZE) || v(s, M_HOST_CR4) & CR4_PAE; }

/* As host CR4.LA57 says, not as wide as the processor can. */
bool holds_host_rip(const struct model_state *s)
{
	const u32 width = v(s, M_HOST_CR4) & CR4_LA57 ? 57 : 48;

	return !on(s, EXITCTL_HOST_ADDRESS_SPACE_SIZE) || is_canonical(v(s, M_HOST_RIP), width);
}
