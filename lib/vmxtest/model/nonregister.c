/* SPDX-License-Identifier: BSD-2-Clause */
/* "Checks on Guest Non-Register State". */
#include "vmxtest/model/look.h"

#include "vmx/decode.h"
#include "vmxtest/model/event.h"
#include "x86/processor.h"

enum { RTM = BIT(16), BS = BIT(14), ENABLED = BIT(12), BUS_LOCK = BIT(11), BTF = BIT(1) };
enum { STI_OR_MOV_SS = INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS };

static u64 activity(const struct model_state *s) { return v(s, M_GUEST_ACTIVITY_STATE); }
static bool blocking(const struct model_state *s, u64 bits) { return v(s, M_GUEST_INTERRUPTIBILITY_STATE) & bits; }
static bool injects_something(const struct model_state *s) { return event(s) & INTERRUPTION_VALID; }
static bool injects_vector(const struct model_state *s, u32 type, u32 vector) { return injects(s, type) && event_vector(s) == vector; }

bool holds_activity_range(const struct model_state *s)
{
	return activity(s) == ACTIVITY_ACTIVE || (activity(s) <= 3 && s->cpu->misc >> (5 + activity(s)) & 1);
}

bool holds_activity_hlt_dpl(const struct model_state *s)
{
	return activity(s) != ACTIVITY_HLT || !(v(s, M_GUEST_SS_ACCESS_RIGHTS) >> 5 & 3);
}

bool holds_activity_blocking(const struct model_state *s) { return activity(s) == ACTIVITY_ACTIVE || !blocking(s, STI_OR_MOV_SS); }

bool holds_hlt_events(const struct model_state *s)
{
	return activity(s) != ACTIVITY_HLT || !injects_something(s) || injects(s, INTERRUPTION_TYPE_EXTERNAL) ||
	       injects(s, INTERRUPTION_TYPE_NMI) || injects_vector(s, INTERRUPTION_TYPE_HARDWARE, VECTOR_DB) ||
	       injects_vector(s, INTERRUPTION_TYPE_HARDWARE, VECTOR_MC) || injects_vector(s, INTERRUPTION_TYPE_OTHER, 0);
}

static bool wakes_from_shutdown(const struct model_state *s)
{
	return injects(s, INTERRUPTION_TYPE_NMI) || injects_vector(s, INTERRUPTION_TYPE_HARDWARE, VECTOR_MC);
}

bool holds_shutdown_events(const struct model_state *s)
{
	return activity(s) != ACTIVITY_SHUTDOWN || !injects_something(s) || event_vector(s) == VECTOR_MC || wakes_from_shutdown(s);
}

/* An event that has #MC's vector and not its type. */
bool holds_shutdown_mc_type(const struct model_state *s)
{
	return activity(s) != ACTIVITY_SHUTDOWN || !injects_something(s) || event_vector(s) != VECTOR_MC || wakes_from_shutdown(s);
}

bool holds_sipi_events(const struct model_state *s) { return activity(s) != ACTIVITY_WAIT_FOR_SIPI || !injects_something(s); }

bool holds_intr_reserved(const struct model_state *s) { return !(v(s, M_GUEST_INTERRUPTIBILITY_STATE) & 0xffffffe0); }
bool holds_intr_sti_movss(const struct model_state *s) { return !blocking(s, INTERRUPTIBILITY_STI) || !blocking(s, INTERRUPTIBILITY_MOV_SS); }
bool holds_intr_sti_if(const struct model_state *s) { return !blocking(s, INTERRUPTIBILITY_STI) || v(s, M_GUEST_RFLAGS) & RFLAGS_IF; }
bool holds_intr_extint(const struct model_state *s) { return !injects(s, INTERRUPTION_TYPE_EXTERNAL) || !blocking(s, STI_OR_MOV_SS); }
bool holds_intr_nmi_movss(const struct model_state *s) { return !injects(s, INTERRUPTION_TYPE_NMI) || !blocking(s, INTERRUPTIBILITY_MOV_SS); }
bool holds_intr_nmi_sti(const struct model_state *s) { return !injects(s, INTERRUPTION_TYPE_NMI) || !blocking(s, INTERRUPTIBILITY_STI); }
bool holds_intr_smi(const struct model_state *s) { return !blocking(s, INTERRUPTIBILITY_SMI); }

bool holds_intr_vnmi(const struct model_state *s)
{
	return !on(s, PIN_VIRTUAL_NMIS) || !injects(s, INTERRUPTION_TYPE_NMI) || !blocking(s, INTERRUPTIBILITY_NMI);
}

bool holds_intr_enclave(const struct model_state *s)
{
	return !blocking(s, INTERRUPTIBILITY_ENCLAVE) || (s->cpu->sgx && !blocking(s, INTERRUPTIBILITY_MOV_SS));
}

static u64 pending(const struct model_state *s) { return v(s, M_GUEST_PENDING_DEBUG_EXCEPTIONS); }

/* Bit 11 is not clear where there is bus-lock detection; bit 16 is RTM. */
bool holds_pending_reserved(const struct model_state *s)
{
	const u64 reserved = 0x7f0 | BIT(13) | BIT(15) | (0xffffffffull & ~0ull << 17) | (s->cpu->bus_lock_detect ? 0 : BUS_LOCK) |
			     (s->cpu->rtm ? 0 : RTM);

	return !(pending(s) & reserved);
}

bool holds_pending_bus_lock(const struct model_state *s) { return !s->cpu->bus_lock_detect || !(pending(s) & BUS_LOCK); }
bool holds_pending_high(const struct model_state *s) { return !(pending(s) >> 32); }

/* Debug traps are held back, so that a single-step one must be pending exactly if there is one. */
static bool held_back(const struct model_state *s) { return blocking(s, STI_OR_MOV_SS) || activity(s) == ACTIVITY_HLT; }
static bool tf(const struct model_state *s) { return v(s, M_GUEST_RFLAGS) & RFLAGS_TF; }
static bool btf(const struct model_state *s) { return v(s, M_GUEST_IA32_DEBUGCTL) & BTF; }

bool holds_pending_bs_required(const struct model_state *s) { return !held_back(s) || !tf(s) || btf(s) || pending(s) & BS; }
bool holds_pending_bs_forbidden(const struct model_state *s) { return !held_back(s) || tf(s) || !(pending(s) & BS); }
bool holds_pending_bs_btf(const struct model_state *s) { return !held_back(s) || !tf(s) || !btf(s) || !(pending(s) & BS); }

bool holds_pending_rtm(const struct model_state *s)
{
	return !s->cpu->rtm || !(pending(s) & RTM) || (pending(s) == (RTM | ENABLED) && !blocking(s, INTERRUPTIBILITY_MOV_SS));
}

/* The link pointer. All ones: nothing is looked at. */
static bool link_at(const struct model_state *s) { return v(s, M_VMCS_LINK_POINTER) != ~0ull; }
bool holds_link_align(const struct model_state *s) { return !link_at(s) || !(v(s, M_VMCS_LINK_POINTER) & 0xfff); }
bool holds_link_paw(const struct model_state *s) { return !link_at(s) || !(v(s, M_VMCS_LINK_POINTER) & above_width(s)); }

/* What is there is known at one address. */
static bool linked(const struct model_state *s) { return v(s, M_VMCS_LINK_POINTER) == s->cpu->linked_region; }
/* Anywhere else it is not known. */
bool holds_link_elsewhere(const struct model_state *s)
{
	return !link_at(s) || linked(s) || v(s, M_VMCS_LINK_POINTER) == s->cpu->current_vmcs || !holds_link_align(s) || !holds_link_paw(s);
}

bool holds_link_revision(const struct model_state *s) { return !linked(s) || (v(s, M_LINKED) & 0x7fffffff) == s->cpu->revision; }
bool holds_link_shadow(const struct model_state *s) { return !linked(s) || !(v(s, M_LINKED) >> 31 & 1) == !on(s, PROC2_VMCS_SHADOWING); }
bool holds_link_current(const struct model_state *s) { return v(s, M_VMCS_LINK_POINTER) != s->cpu->current_vmcs; }
