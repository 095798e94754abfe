/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Checks on Guest Control Registers, Debug Registers, and MSRs", "... Descriptor-Table Registers", "... RIP, RFLAGS, and
 * SSP", "... Page-Directory-Pointer-Table Entries".
 */
#include "vmxtest/model/look.h"

#include "vmx/decode.h"
#include "vmxtest/model/event.h"
#include "x86/processor.h"

#define LOW_HALF 0xffffffffull
#define HIGH_HALF (~LOW_HALF)

static bool fixed_bits(u64 value, u64 fixed0, u64 fixed1, u64 checked)
{
	return !(((value & ~fixed1) | (~value & fixed0)) & checked);
}

/* PE and PG have rules of their own. */
bool holds_guest_cr0_fixed(const struct model_state *s)
{
	return fixed_bits(v(s, M_GUEST_CR0), s->cpu->cr0_fixed0, s->cpu->cr0_fixed1,
			  LOW_HALF & ~(u64)(CR0_CD | CR0_NW | CR0_PE | CR0_PG));
}

bool holds_guest_cr0_high(const struct model_state *s) { return !(v(s, M_GUEST_CR0) & HIGH_HALF); }

bool holds_guest_pe_pg(const struct model_state *s)
{
	const u64 fixed = s->cpu->cr0_fixed0 & (CR0_PE | CR0_PG);

	return on(s, PROC2_UNRESTRICTED_GUEST) || (v(s, M_GUEST_CR0) & fixed) == fixed;
}

bool holds_guest_pg_without_pe(const struct model_state *s)
{
	return !on(s, PROC2_UNRESTRICTED_GUEST) || (v(s, M_GUEST_CR0) & (CR0_PE | CR0_PG)) != CR0_PG;
}

bool holds_guest_cr4_fixed(const struct model_state *s)
{
	return fixed_bits(v(s, M_GUEST_CR4), s->cpu->cr4_fixed0, s->cpu->cr4_fixed1, ~0ull);
}

bool holds_guest_cet_wp(const struct model_state *s)
{
	return !(v(s, M_GUEST_CR4) & s->cpu->cr4_fixed1 & CR4_CET) || v(s, M_GUEST_CR0) & CR0_WP;
}

/* Bits that no processor defines; bit 2 is bus-lock detection. */
bool holds_guest_debugctl(const struct model_state *s)
{
	const u64 reserved = ~0xffffull | BIT(3) | BIT(4) | BIT(5) | (s->cpu->bus_lock_detect ? 0 : BIT(2));

	return !on(s, ENTRYCTL_LOAD_DEBUG_CONTROLS) || !(v(s, M_GUEST_IA32_DEBUGCTL) & reserved);
}

/* What is defined depends on the processor. */
bool holds_guest_debugctl_model(const struct model_state *s)
{
	return !on(s, ENTRYCTL_LOAD_DEBUG_CONTROLS) || !(v(s, M_GUEST_IA32_DEBUGCTL) & (0xffc0 | BIT(2)));
}

static bool ia32e(const struct model_state *s) { return on(s, ENTRYCTL_IA32E_MODE_GUEST); }

/* Without "unrestricted guest" CR0.PG is 1 anyhow. */
bool holds_guest_ia32e_pg(const struct model_state *s)
{
	return !ia32e(s) || !on(s, PROC2_UNRESTRICTED_GUEST) || v(s, M_GUEST_CR0) & CR0_PG;
}

bool holds_guest_ia32e_pae(const struct model_state *s) { return !ia32e(s) || v(s, M_GUEST_CR4) & CR4_PAE; }
bool holds_guest_pcide(const struct model_state *s) { return ia32e(s) || !(v(s, M_GUEST_CR4) & s->cpu->cr4_fixed1 & CR4_PCIDE); }
bool holds_guest_fred(const struct model_state *s) { return ia32e(s) || !(v(s, M_GUEST_CR4) & s->cpu->cr4_fixed1 & CR4_FRED); }

bool holds_guest_cr3(const struct model_state *s)
{
	return !(v(s, M_GUEST_CR3) & ~0ull << s->cpu->physical_width & ~(s->cpu->lam ? BIT(61) | BIT(62) : 0));
}

bool holds_guest_dr7(const struct model_state *s) { return !on(s, ENTRYCTL_LOAD_DEBUG_CONTROLS) || !(v(s, M_GUEST_DR7) & HIGH_HALF); }

bool holds_guest_sysenter(const struct model_state *s)
{
	return canonical(s, M_GUEST_IA32_SYSENTER_ESP) && canonical(s, M_GUEST_IA32_SYSENTER_EIP);
}

bool holds_guest_pgc(const struct model_state *s)
{
	return !on(s, ENTRYCTL_LOAD_IA32_PERF_GLOBAL_CTRL) || !(v(s, M_GUEST_IA32_PERF_GLOBAL_CTRL) & ~s->cpu->counters & ~BIT(48));
}

bool holds_guest_pgc_metrics(const struct model_state *s)
{
	return !on(s, ENTRYCTL_LOAD_IA32_PERF_GLOBAL_CTRL) || !(v(s, M_GUEST_IA32_PERF_GLOBAL_CTRL) & BIT(48));
}

bool holds_guest_pat(const struct model_state *s) { return !on(s, ENTRYCTL_LOAD_IA32_PAT) || memory_types(v(s, M_GUEST_IA32_PAT)); }

bool holds_guest_efer_reserved(const struct model_state *s)
{
	return !on(s, ENTRYCTL_LOAD_IA32_EFER) || !(v(s, M_GUEST_IA32_EFER) & ~s->cpu->efer_bits);
}

bool holds_guest_efer_lma(const struct model_state *s)
{
	return !on(s, ENTRYCTL_LOAD_IA32_EFER) || !(v(s, M_GUEST_IA32_EFER) & EFER_LMA) == !ia32e(s);
}

bool holds_guest_efer_lme(const struct model_state *s)
{
	return !on(s, ENTRYCTL_LOAD_IA32_EFER) || !(v(s, M_GUEST_CR0) & CR0_PG) ||
	       !(v(s, M_GUEST_IA32_EFER) & EFER_LMA) == !(v(s, M_GUEST_IA32_EFER) & EFER_LME);
}

bool holds_guest_bndcfgs(const struct model_state *s)
{
	return !on(s, ENTRYCTL_LOAD_IA32_BNDCFGS) ||
	       (!(v(s, M_GUEST_IA32_BNDCFGS) & 0xffc) && is_canonical(v(s, M_GUEST_IA32_BNDCFGS) & ~0xfffull, s->cpu->linear_width));
}

bool holds_guest_rtit(const struct model_state *s) { return !on(s, ENTRYCTL_LOAD_IA32_RTIT_CTL) || !(v(s, M_GUEST_IA32_RTIT_CTL) >> 57); }
/* CPUID.14H says what else there is. */
bool holds_guest_rtit_model(const struct model_state *s) { return !on(s, ENTRYCTL_LOAD_IA32_RTIT_CTL) || !(v(s, M_GUEST_IA32_RTIT_CTL) << 7); }

bool holds_guest_lbrctl(const struct model_state *s)
{
	return !on(s, ENTRYCTL_LOAD_GUEST_IA32_LBR_CTL) || !(v(s, M_GUEST_IA32_LBR_CTL) & 0xffffffffff80fff0);
}

/* CPUID.1CH says which of the others there are. */
bool holds_guest_lbrctl_model(const struct model_state *s)
{
	return !on(s, ENTRYCTL_LOAD_GUEST_IA32_LBR_CTL) || !(v(s, M_GUEST_IA32_LBR_CTL) & 0x7f000e);
}

bool holds_guest_pkrs(const struct model_state *s) { return !on(s, ENTRYCTL_LOAD_PKRS) || !(v(s, M_GUEST_IA32_PKRS) & HIGH_HALF); }
bool holds_guest_uinv(const struct model_state *s) { return !on(s, ENTRYCTL_LOAD_UINV) || !(v(s, M_GUEST_UINV) & 0xff00); }

bool holds_guest_cet(const struct model_state *s)
{
	const u64 s_cet = v(s, M_GUEST_IA32_S_CET), both = BIT(10) | BIT(11);

	return !on(s, ENTRYCTL_LOAD_CET_STATE) ||
	       (!(s_cet & 0x3c0) && (s_cet & both) != both && canonical(s, M_GUEST_IA32_INTERRUPT_SSP_TABLE_ADDR));
}

/* Whether guest IA32_S_CET must be canonical, and have 32 bits outside IA-32e mode, editions do not say alike. */
bool holds_guest_s_cet_address(const struct model_state *s)
{
	return !on(s, ENTRYCTL_LOAD_CET_STATE) ||
	       (is_canonical(v(s, M_GUEST_IA32_S_CET), 48) && (on(s, ENTRYCTL_IA32E_MODE_GUEST) || !(v(s, M_GUEST_IA32_S_CET) >> 32)));
}

/* Bits 63:N are equal. */
static bool equal_above(const struct model_state *s, enum model_field field)
{
	const u64 high = s->cpu->linear_width < 64 ? v(s, field) >> s->cpu->linear_width : 0;

	return high == 0 || high == ~0ull >> s->cpu->linear_width;
}

bool holds_guest_ssp(const struct model_state *s)
{
	return !on(s, ENTRYCTL_LOAD_CET_STATE) || (!(v(s, M_GUEST_SSP) & 3) && equal_above(s, M_GUEST_SSP));
}

bool holds_gdtr_base(const struct model_state *s) { return canonical(s, M_GUEST_GDTR_BASE); }
bool holds_idtr_base(const struct model_state *s) { return canonical(s, M_GUEST_IDTR_BASE); }
bool holds_gdtr_limit(const struct model_state *s) { return !(v(s, M_GUEST_GDTR_LIMIT) >> 16); }
bool holds_idtr_limit(const struct model_state *s) { return !(v(s, M_GUEST_IDTR_LIMIT) >> 16); }

/* CS.L in IA-32e mode. */
static bool is_64bit(const struct model_state *s)
{
	return ia32e(s) && v(s, M_GUEST_CS_ACCESS_RIGHTS) & BIT(13);
}

bool holds_rip_high(const struct model_state *s) { return is_64bit(s) || !(v(s, M_GUEST_RIP) & HIGH_HALF); }
bool holds_rip_bits_n(const struct model_state *s) { return !is_64bit(s) || equal_above(s, M_GUEST_RIP); }

bool holds_rflags_reserved(const struct model_state *s)
{
	const u64 reserved = ~0ull << 22 | BIT(15) | BIT(5) | BIT(3);

	return !(v(s, M_GUEST_RFLAGS) & reserved) && v(s, M_GUEST_RFLAGS) & RFLAGS_FIXED;
}

bool holds_rflags_vm_ia32e(const struct model_state *s) { return !(v(s, M_GUEST_RFLAGS) & RFLAGS_VM) || !ia32e(s); }

/* Without "unrestricted guest" CR0.PE is 1 anyhow. */
bool holds_rflags_vm_pe(const struct model_state *s)
{
	return !(v(s, M_GUEST_RFLAGS) & RFLAGS_VM) || v(s, M_GUEST_CR0) & CR0_PE || !on(s, PROC2_UNRESTRICTED_GUEST);
}

bool holds_rflags_if(const struct model_state *s)
{
	return v(s, M_GUEST_RFLAGS) & RFLAGS_IF || !injects(s, INTERRUPTION_TYPE_EXTERNAL);
}

static bool pae_paging(const struct model_state *s)
{
	return v(s, M_GUEST_CR0) & CR0_PG && v(s, M_GUEST_CR4) & CR4_PAE && !ia32e(s);
}

/* Four PDPTEs in a row: of one that is present, no reserved bit is 1. */
static bool pdptes(const struct model_state *s, enum model_field first)
{
	const u64 reserved = 6 | 0x1e0 | ~0ull << s->cpu->physical_width;

	for (u32 i = 0; i < 4; i++)
		if (v(s, first + i) & 1 && v(s, first + i) & reserved)
			return false;
	return true;
}

/* They are known at one address; bits 4:0 of CR3 are no part of it. */
bool holds_pdpte_memory(const struct model_state *s)
{
	return !pae_paging(s) || on(s, PROC2_ENABLE_EPT) || (v(s, M_GUEST_CR3) & ~0x1full) != s->cpu->pdptes || pdptes(s, M_MEMORY_PDPTE0);
}

bool holds_pdpte_elsewhere(const struct model_state *s)
{
	return !pae_paging(s) || on(s, PROC2_ENABLE_EPT) || (v(s, M_GUEST_CR3) & ~0x1full) == s->cpu->pdptes || !holds_guest_cr3(s);
}

bool holds_pdpte_vmcs(const struct model_state *s)
{
	return !pae_paging(s) || !on(s, PROC2_ENABLE_EPT) || pdptes(s, M_GUEST_PDPTE0);
}
