/* SPDX-License-Identifier: BSD-2-Clause */
/* The VM-entry MSR-load area ("Loading MSRs"): the entries of the model's own list, at its own address. */
#include "vmxtest/model/look.h"

#include "vmxtest/model/list.h"
#include "x86/msr.h"

static bool is_list(const struct model_state *s)
{
	return v(s, M_VM_ENTRY_MSR_LOAD_ADDRESS) == s->cpu->list;
}

u32 model_list_length(const struct model_state *s)
{
	const u64 count = v(s, M_VM_ENTRY_MSR_LOAD_COUNT);

	return !is_list(s) ? 0 : count > MODEL_LIST ? MODEL_LIST : count;
}

static u64 index_of(const struct model_state *s, u32 entry) { return v(s, M_LIST_INDEX0 + 3 * entry); }
static u64 reserved_of(const struct model_state *s, u32 entry) { return v(s, M_LIST_RESERVED0 + 3 * entry); }
static u64 value_of(const struct model_state *s, u32 entry) { return v(s, M_LIST_VALUE0 + 3 * entry); }

/* Each: does the entry fail for this? A reserved bit is looked at whatever the MSR is. */
static bool is_fs_base(const struct model_state *s, u32 entry) { return index_of(s, entry) == (u32)IA32_FS_BASE; }
static bool is_gs_base(const struct model_state *s, u32 entry) { return index_of(s, entry) == (u32)IA32_GS_BASE; }
static bool is_x2apic(const struct model_state *s, u32 entry) { return index_of(s, entry) >> 8 == 8; }
static bool is_smm_only(const struct model_state *s, u32 entry) { return index_of(s, entry) == (u32)IA32_SMM_MONITOR_CTL; }
static bool has_reserved(const struct model_state *s, u32 entry) { return reserved_of(s, entry); }

static bool is_bad_sysenter(const struct model_state *s, u32 entry)
{
	const u64 index = index_of(s, entry);

	return (index == IA32_SYSENTER_ESP || index == IA32_SYSENTER_EIP) && !is_canonical(value_of(s, entry), s->cpu->linear_width);
}

/* WRMSR would raise #GP: the value is none for the MSR. */
static bool is_bad_pat(const struct model_state *s, u32 entry)
{
	return index_of(s, entry) == IA32_PAT && !memory_types(value_of(s, entry));
}

static const struct {
	u32 rule;
	bool (*fails)(const struct model_state *s, u32 entry);
} kinds[] = {
	{ RULE_list_fs_base, is_fs_base }, { RULE_list_gs_base, is_gs_base }, { RULE_list_x2apic, is_x2apic },
	{ RULE_list_smm_only, is_smm_only }, { RULE_list_reserved, has_reserved }, { RULE_list_sysenter, is_bad_sysenter },
	{ RULE_list_gp, is_bad_pat },
};

static bool none_fails(const struct model_state *s, bool (*fails)(const struct model_state *s, u32 entry))
{
	for (u32 entry = 0; entry < model_list_length(s); entry++)
		if (fails(s, entry))
			return false;
	return true;
}

bool holds_list_fs_base(const struct model_state *s) { return none_fails(s, is_fs_base); }
bool holds_list_gs_base(const struct model_state *s) { return none_fails(s, is_gs_base); }
bool holds_list_x2apic(const struct model_state *s) { return none_fails(s, is_x2apic); }
bool holds_list_smm_only(const struct model_state *s) { return none_fails(s, is_smm_only); }
bool holds_list_reserved(const struct model_state *s) { return none_fails(s, has_reserved); }
bool holds_list_sysenter(const struct model_state *s) { return none_fails(s, is_bad_sysenter); }
bool holds_list_gp(const struct model_state *s) { return none_fails(s, is_bad_pat); }

u32 model_list_failing(const struct model_state *s, const struct model_set *violated)
{
	for (u32 entry = 0; entry < model_list_length(s); entry++)
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
			if (model_set_has(violated, kinds[i].rule) && kinds[i].fails(s, entry))
				return entry + 1;
	return 0;
}

bool model_list_fails(const struct model_state *s)
{
	for (u32 entry = 0; entry < model_list_length(s); entry++)
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
			if (kinds[i].fails(s, entry))
				return true;
	return false;
}
