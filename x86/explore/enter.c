/* SPDX-License-Identifier: BSD-2-Clause */
/* From a state of the model to the VMCS, and from an entry to an outcome of the model. */
#include "explore.h"

#include "vmx/decode.h"
#include "vmx/guest.h"
#include "vmxtest/model/look.h"
#include "vmxtest/vmxtest.h"
#include "x86/interrupt.h"
#include "x86/perfmon.h"
#include "x86/processor.h"

/* What the VMCS and the memory hold. */
static u64 held[MODEL_FIELDS];

static void write_memory(const struct model_state *s, u32 field, u64 value)
{
	if (field == M_VTPR)
		*(volatile u32 *)(s->cpu->virtual_apic + 0x80) = value;
	else if (field == M_LINKED)
		*(volatile u32 *)s->cpu->linked_region = value;
	else if (field <= M_MEMORY_PDPTE3)
		((volatile u64 *)s->cpu->pdptes)[field - M_MEMORY_PDPTE0] = value;
	else if ((field - M_LIST_INDEX0) % 3 == 2)
		((volatile u64 *)s->cpu->list)[(field - M_LIST_INDEX0) / 3 * 2 + 1] = value;
	else
		((volatile u32 *)s->cpu->list)[(field - M_LIST_INDEX0) / 3 * 4 + (field - M_LIST_INDEX0) % 3] = value;
}

static void write(const struct model_state *s, u32 field)
{
	held[field] = s->value[field];
	if (field < MODEL_VMCS_FIELDS)
		vmcs_write(model_encoding(field), s->value[field]);
	else
		write_memory(s, field, s->value[field]);
}

void explore_write_all(const struct model_state *s)
{
	for (u32 field = 0; field < MODEL_FIELDS; field++)
		if (s->cpu->kept[field])
			write(s, field);
}

void explore_write(const struct model_state *s, const struct model_changes *changes)
{
	for (u32 i = 0; i < changes->count; i++)
		if (held[changes->change[i].field] != s->value[changes->change[i].field])
			write(s, changes->change[i].field);
}

/* An exit saves the guest's state, clears the event's valid bit, and may save the timer and IA32_EFER.LMA. */
static void write_guest_again(const struct model_state *s)
{
	for (u32 field = 0; field < MODEL_VMCS_FIELDS; field++)
		if (field_type(model_encoding(field)) == FIELD_GUEST && s->cpu->kept[field])
			write(s, field);
	write(s, M_VM_ENTRY_CONTROLS);
}

static u64 host_cr0, host_cr4, host_efer, host_pat, host_pgc, host_fs, host_gs, host_sysenter[3];

void explore_poison_error(void)
{
	u64 value;

	asm volatile("vmread %1, %0" : "=r"(value) : "r"(0x7ffeull) : "cc");
}

/* What the guest's state has left of MSRs that the exit does not load. */
static void repair_host(const struct model_state *s)
{
	if (on(s, ENTRYCTL_LOAD_IA32_EFER) && !on(s, EXITCTL_LOAD_IA32_EFER))
		wrmsr(IA32_EFER, host_efer);
	if ((on(s, ENTRYCTL_LOAD_IA32_PAT) || s->value[M_LIST_INDEX0] == IA32_PAT || s->value[M_LIST_INDEX1] == IA32_PAT ||
	     s->value[M_LIST_INDEX2] == IA32_PAT) && !on(s, EXITCTL_LOAD_IA32_PAT))
		wrmsr(IA32_PAT, host_pat);
}

static u32 outcome_of(const struct model_state *s, const struct outcome *outcome, const struct model_prediction *expected)
{
	switch (outcome->kind) {
	case OUTCOME_FAIL_VALID:
		return outcome->number == VMERR_ENTRY_INVALID_CONTROLS ? MODEL_ERROR_7 :
		       outcome->number == VMERR_ENTRY_INVALID_HOST_STATE ? MODEL_ERROR_8 : EXPLORE_OTHER;
	case OUTCOME_ENTRY_FAILURE:
		held[M_VM_ENTRY_INTERRUPTION_INFORMATION] = ~0ull;
		repair_host(s);
		if (outcome->number == EXIT_MSR_LOADING)
			return outcome->qualification == expected->index || !expected->index ? MODEL_34 : EXPLORE_OTHER;
		if (outcome->number != EXIT_INVALID_GUEST_STATE)
			return EXPLORE_OTHER;
		return outcome->qualification == 0 ? MODEL_33 : outcome->qualification == 2 ? MODEL_33_PDPTE :
		       outcome->qualification == 3 ? MODEL_33_NMI : outcome->qualification == 4 ? MODEL_33_LINK : EXPLORE_OTHER;
	case OUTCOME_EXIT:
		held[M_VM_ENTRY_INTERRUPTION_INFORMATION] = ~0ull;
		repair_host(s);
		write_guest_again(s);
		return MODEL_ENTERED;
	default:
		return EXPLORE_OTHER;
	}
}

u32 explore_enter(const struct model_state *s, const struct model_prediction *expected)
{
	struct outcome outcome;
	u32 came;

	outcome = guest_enter();
	came = outcome_of(s, &outcome, expected);
	if (!(came & MODEL_VMFAIL) && (read_cr0() != host_cr0 || read_cr4() != host_cr4)) {
		write_cr4(host_cr4);
		write_cr0(host_cr0);
	}
	return came;
}

void explore_remember_host(void)
{
	host_cr0 = read_cr0();
	host_cr4 = read_cr4();
	host_efer = rdmsr(IA32_EFER);
	host_pat = rdmsr(IA32_PAT);
	host_fs = rdmsr(IA32_FS_BASE);
	host_gs = rdmsr(IA32_GS_BASE);
	for (u32 i = 0; i < 3; i++)
		host_sysenter[i] = rdmsr(IA32_SYSENTER_CS + i);
	host_pgc = perf_global_ctrl_exists() ? rdmsr(IA32_PERF_GLOBAL_CTRL) : 0;
}

void explore_restore_host(void)
{
	wrmsr(IA32_EFER, host_efer);
	wrmsr(IA32_PAT, host_pat);
	wrmsr(IA32_FS_BASE, host_fs);
	wrmsr(IA32_GS_BASE, host_gs);
	for (u32 i = 0; i < 3; i++)
		wrmsr(IA32_SYSENTER_CS + i, host_sysenter[i]);
	if (perf_global_ctrl_exists())
		wrmsr(IA32_PERF_GLOBAL_CTRL, host_pgc);
	vmcs_reset();
	guest_baseline();
	if (has(PIN_VIRTUAL_NMIS)) {	/* a target may keep the blocking of one guest for the next */
		vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
		guest_run(nmi_unblock);
		vmcs_reset();
		guest_baseline();
	}
	nmi_unblock();
}
