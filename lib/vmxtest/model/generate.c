/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmxtest/model/generate.h"

#include "vmx/decode.h"
#include "vmxtest/model/list.h"
#include "vmxtest/model/look.h"
#include "x86/processor.h"

static struct model_set chosen;

bool model_choose(const struct model_cpu *cpu, bool (*wanted)(const char *id))
{
	bool some = false;

	for (u32 rule = 0; rule < MODEL_RULES; rule++)
		if (model_rule_exists(cpu, rule) && (!wanted || wanted(model_rules[rule].id))) {
			model_set_add(&chosen, rule);
			some = true;
		}
	return some;
}

static u64 seed_of(u64 seed, u64 index)
{
	return (seed + 1) * 0x9fb21c651e98df25 ^ (index + 1) * 0xd6e8feb86659fd93;
}

void model_change(struct model_state *s, struct model_changes *c, u32 field, u64 value)
{
	u32 i = 0;

	value &= s->cpu->kept[field];
	while (i < c->count && c->change[i].field != field)
		i++;
	if (i == ARRAY_SIZE(c->change) || (i == c->count && s->value[field] == value))
		return;
	if (i == c->count)
		c->change[c->count++] = (struct model_change){ field, s->value[field] };
	s->value[field] = value;
}

void model_revert(struct model_state *s, struct model_changes *c, u32 which)
{
	s->value[c->change[which].field] = c->change[which].was;
	c->change[which] = c->change[--c->count];
}

void model_judge_changes(const struct model_state *s, const struct model_changes *c, struct model_set *violated)
{
	struct model_set which = { { 0 } };

	for (u32 i = 0; i < c->count; i++)
		for (u32 word = 0; word < MODEL_SET_WORDS; word++)
			which.word[word] |= model_readers[c->change[i].field].word[word];
	model_set_add(&which, RULE_list_fs_base);	/* which a base violates, to be stopped */
	*violated = (struct model_set){ { 0 } };
	model_judge(s, &which, violated);
}

static u32 bits_in(u64 mask)
{
	mask -= mask >> 1 & 0x5555555555555555;
	mask = (mask & 0x3333333333333333) + (mask >> 2 & 0x3333333333333333);
	mask = (mask + (mask >> 4)) & 0x0f0f0f0f0f0f0f0f;
	return mask * 0x0101010101010101 >> 56;
}

/* One bit of the mask. */
static u64 flip(struct model_random *r, u64 mask)
{
	for (u32 n = mask == ~0ull ? 64 : model_below(r, bits_in(mask)); n < 64 && n; n--)
		mask &= mask - 1;
	return mask == ~0ull ? BIT(model_below(r, 64)) : mask & -mask;
}

/* Of the guest's event, activity and interruptibility: what rules tell apart. */
#define EVENT(type, vector) (INTERRUPTION_VALID | INTERRUPTION_TYPE_##type | (vector))
static const u64 events[] = {
	0, INTERRUPTION_TYPE_NMI | 2, EVENT(EXTERNAL, 0x20), EVENT(EXTERNAL, 0xff), EVENT(NMI, 2), EVENT(NMI, 2), EVENT(HARDWARE, VECTOR_DB),
	EVENT(HARDWARE, VECTOR_MC), EVENT(HARDWARE, VECTOR_DE), EVENT(HARDWARE, VECTOR_UD), EVENT(HARDWARE, VECTOR_XM),
	EVENT(HARDWARE, VECTOR_DF) | INTERRUPTION_ERROR_CODE, EVENT(HARDWARE, VECTOR_GP) | INTERRUPTION_ERROR_CODE,
	EVENT(HARDWARE, VECTOR_PF) | INTERRUPTION_ERROR_CODE, EVENT(SOFTWARE_INTERRUPT, 0x80), EVENT(SOFTWARE_INTERRUPT, VECTOR_MC),
	EVENT(EXTERNAL, VECTOR_MC), EVENT(PRIVILEGED, VECTOR_DB), EVENT(SOFTWARE_EXCEPTION, VECTOR_BP), EVENT(OTHER, 0),
};
static const u64 interruptibilities[] = { 0, 1, 2, 8, 9, 10, 0, 3, 4, 16, 18 };
static const u64 pendings[] = { 0, BIT(14), BIT(12) | 1, BIT(14) | BIT(12) | 1, 1, BIT(16) | BIT(12), BIT(16) | BIT(12) | 1 };
static const u64 list_msrs[] = {
	IA32_SYSENTER_CS, IA32_SYSENTER_ESP, IA32_SYSENTER_EIP, (u32)IA32_FS_BASE, (u32)IA32_GS_BASE, 0x800, 0x808, 0x830, 0x8ff,
	IA32_SMM_MONITOR_CTL, IA32_PAT,
};

#define ONE_OF(r, array) array[model_below(r, ARRAY_SIZE(array))]

/* Fields that hold the physical address of a structure: only bits change that make it illegal, so that it is nowhere else. */
static bool is_pointer(u32 field)
{
	switch (field) {
	case M_IO_BITMAP_A_ADDRESS: case M_IO_BITMAP_B_ADDRESS: case M_MSR_BITMAP_ADDRESS: case M_VIRTUAL_APIC_ADDRESS:
	case M_APIC_ACCESS_ADDRESS: case M_PML_ADDRESS: case M_POSTED_INTERRUPT_DESCRIPTOR_ADDRESS: case M_EPTP_LIST_ADDRESS:
	case M_VMREAD_BITMAP_ADDRESS: case M_VMWRITE_BITMAP_ADDRESS: case M_VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS:
	case M_SUB_PAGE_PERMISSION_TABLE_POINTER: case M_PID_POINTER_TABLE_ADDRESS: case M_HLAT_POINTER: case M_EPT_POINTER:
	case M_VM_EXIT_MSR_STORE_ADDRESS: case M_VM_EXIT_MSR_LOAD_ADDRESS: case M_VM_ENTRY_MSR_LOAD_ADDRESS:
	case M_GUEST_CR3: case M_HOST_CR3:
		return true;
	default:
		return false;
	}
}

static u64 pointer_value(const struct model_state *s, struct model_random *r, u32 field, u64 bits)
{
	const u64 mask = above_width(s) | 0xfff, wanted = bits & mask ? bits & mask : mask;
	const u64 end = s->cpu->physical_width < 64 ? BIT(s->cpu->physical_width) : 0;

	/* The area of MSRs may end beyond the last byte. */
	if ((field == M_VM_EXIT_MSR_STORE_ADDRESS || field == M_VM_EXIT_MSR_LOAD_ADDRESS || field == M_VM_ENTRY_MSR_LOAD_ADDRESS) &&
	    model_chance(r, 4))
		return end - 16 * (1 + model_below(r, 4));
	return s->value[field] ^ flip(r, wanted);
}

/* Values that rules of such a field tell apart; false: none in particular. */
static bool special_value(const struct model_state *s, struct model_random *r, u32 field, u64 *value)
{
	static const u64 counts[] = { 0, 1, 2, 3, 16, 0x10000000, 0xffffffff };
	const u64 links[] = {
		~0ull, s->cpu->linked_region, s->cpu->current_vmcs, s->cpu->linked_region ^ flip(r, 0xfff),
		s->cpu->linked_region ^ flip(r, above_width(s)), ~flip(r, 0xfff),
	};

	switch (field) {
	case M_VM_EXIT_MSR_STORE_COUNT: case M_VM_EXIT_MSR_LOAD_COUNT: case M_VM_ENTRY_MSR_LOAD_COUNT: *value = ONE_OF(r, counts); return true;
	case M_VMCS_LINK_POINTER: *value = ONE_OF(r, links); return true;
	case M_VM_ENTRY_INTERRUPTION_INFORMATION:
		*value = ONE_OF(r, events);
		if (model_chance(r, 2))
			*value = (*value | INTERRUPTION_VALID) ^ flip(r, 0xffffffff);
		return true;
	case M_GUEST_ACTIVITY_STATE: *value = model_chance(r, 4) ? flip(r, 0xffffffff) : model_below(r, 4); return true;
	case M_LIST_INDEX0: case M_LIST_INDEX1: case M_LIST_INDEX2: *value = ONE_OF(r, list_msrs); return true;
	case M_LIST_RESERVED0: case M_LIST_RESERVED1: case M_LIST_RESERVED2: *value = flip(r, 0xffffffff); return true;
	case M_MEMORY_PDPTE0: case M_MEMORY_PDPTE1: case M_MEMORY_PDPTE2: case M_MEMORY_PDPTE3:
	case M_GUEST_PDPTE0: case M_GUEST_PDPTE1: case M_GUEST_PDPTE2: case M_GUEST_PDPTE3:
		*value = (model_chance(r, 8) ? 0 : 1) | flip(r, ~0ull) | (s->cpu->empty & (model_chance(r, 2) ? ~0ull : 0));
		return true;
	default: return false;
	}
}

/* Of other MSRs the model does not know whether they can be written. */
static bool is_list_index(u32 field)
{
	return field == M_LIST_INDEX0 || field == M_LIST_INDEX1 || field == M_LIST_INDEX2;
}

u64 model_value(const struct model_state *s, struct model_random *r, u32 field, u64 bits)
{
	const u64 kept = s->cpu->kept[field], now = s->value[field], half = BIT(s->cpu->linear_width - 1);
	const u64 ends[] = { 0, kept, 1, half, ~half, -half, half - 1, BIT(63), now ^ half, BIT(47), -BIT(47) };
	u64 value;

	if (!kept)
		return 0;
	bits &= kept;
	if (is_pointer(field))
		return pointer_value(s, r, field, bits);
	if ((!model_chance(r, 8) || is_list_index(field)) && special_value(s, r, field, &value))
		return value;
	if (!bits)
		bits = kept;
	switch (model_below(r, 10)) {
	case 0: return now ^ flip(r, bits) ^ flip(r, bits);
	case 1: return (now & ~bits) | (model_next(r) & bits);
	case 2: return ONE_OF(r, ends);
	case 3: return s->value[model_below(r, MODEL_FIELDS)];
	default: return now ^ flip(r, bits);
	}
}

static bool both_or_neither(bool a, bool b) { return a == b; }

/* Do the bits that a rule is about in its first field mean the same in this one? */
static bool is_like(u32 field, u32 first)
{
	const u32 a = model_encoding(field), b = model_encoding(first);

	return field == first || (a != ~0u && b != ~0u && both_or_neither(is_pointer(field), is_pointer(first)) && a >> 10 == b >> 10);
}

/* What goes with a change for a rule that is about several fields at once: bits that are to be 1, and 0. */
#define AREA_COUNT(name, count) \
	{ RULE_##name##_align, count, 1, 0 }, { RULE_##name##_paw, count, 1, 0 }, { RULE_##name##_end, count, 7, ~7ull }
static const struct {
	u32 rule, field;
	u64 set, clear;
} companions[] = {
	AREA_COUNT(msrstore, M_VM_EXIT_MSR_STORE_COUNT), AREA_COUNT(exitload, M_VM_EXIT_MSR_LOAD_COUNT),
	AREA_COUNT(entryload, M_VM_ENTRY_MSR_LOAD_COUNT),
	{ RULE_host_cet_wp, M_HOST_CR4, CR4_CET, 0 }, { RULE_host_cet_wp, M_HOST_CR0, 0, CR0_WP },
	{ RULE_timer_save, M_VM_EXIT_CONTROLS, BIT(22), 0 }, { RULE_timer_save, M_PIN_BASED_CONTROLS, 0, BIT(6) },
	{ RULE_inject_code_high, M_VM_ENTRY_INTERRUPTION_INFORMATION, EVENT(HARDWARE, VECTOR_GP) | INTERRUPTION_ERROR_CODE, ~0ull },
	{ RULE_vmfunc_eptp_needs_ept, M_VM_FUNCTION_CONTROLS, 1, 0 }, { RULE_vmfunc_eptp_needs_ept, M_SECONDARY_PROC_CONTROLS, BIT(13), BIT(1) },
	{ RULE_rflags_vm_ia32e, M_VM_ENTRY_CONTROLS, BIT(9), 0 },
	{ RULE_rflags_vm_pe, M_GUEST_CR0, 0, CR0_PE | (u64)CR0_PG },
};

static void change_companions(struct model_state *s, struct model_changes *c, u32 rule)
{
	for (size_t i = 0; i < ARRAY_SIZE(companions); i++)
		if (companions[i].rule == rule)
			model_change(s, c, companions[i].field, (s->value[companions[i].field] & ~companions[i].clear) | companions[i].set);
}

/* Break a rule, or touch it: change one of its fields, most often the first ones. */
static void change_for_rule(struct model_state *s, struct model_changes *c, struct model_random *r, u32 rule)
{
	const struct model_rule *const what = &model_rules[rule];
	u32 count = 0, alike = 0;

	for (; what->reads[count] != MODEL_FIELDS; count++)
		alike += alike == count && is_like(what->reads[count], what->reads[0]);

	const u32 field = what->reads[model_below(r, model_chance(r, 4) ? count : alike)];

	model_change(s, c, field, model_value(s, r, field, is_like(field, what->reads[0]) ? what->bits : 0));
	if (!model_chance(r, 4))
		change_companions(s, c, rule);
}

/* Event, activity, interruptibility, flags, pending debug exceptions: some of them together. */
static void change_events(struct model_state *s, struct model_changes *c, struct model_random *r)
{
	if (model_chance(r, 2))
		model_change(s, c, M_GUEST_ACTIVITY_STATE, model_below(r, 4));
	if (model_chance(r, 2))
		model_change(s, c, M_GUEST_INTERRUPTIBILITY_STATE, ONE_OF(r, interruptibilities));
	if (!model_chance(r, 3))
		model_change(s, c, M_VM_ENTRY_INTERRUPTION_INFORMATION, ONE_OF(r, events));
	if (model_chance(r, 2))
		model_change(s, c, M_GUEST_PENDING_DEBUG_EXCEPTIONS, ONE_OF(r, pendings));
	if (model_chance(r, 2))
		model_change(s, c, M_GUEST_RFLAGS, s->value[M_GUEST_RFLAGS] ^ (model_next(r) & (RFLAGS_IF | RFLAGS_TF)));
	if (model_chance(r, 4))
		model_change(s, c, M_VM_ENTRY_INSTRUCTION_LENGTH, model_below(r, 18));
	else
		model_change(s, c, M_VM_ENTRY_INSTRUCTION_LENGTH, 2);
}

static void change_list(struct model_state *s, struct model_changes *c, struct model_random *r)
{
	const u32 count = 1 + model_below(r, MODEL_LIST);

	model_change(s, c, M_VM_ENTRY_MSR_LOAD_COUNT, count);
	for (u32 i = 0; i < count; i++) {
		const u64 index = model_chance(r, 2) ? IA32_SYSENTER_CS + model_below(r, 3) : ONE_OF(r, list_msrs);

		model_change(s, c, M_LIST_INDEX0 + 3 * i, index);
		if (model_chance(r, 8))
			model_change(s, c, M_LIST_RESERVED0 + 3 * i, flip(r, 0xffffffff));
		if (model_chance(r, 3) && index != IA32_SYSENTER_CS)
			model_change(s, c, M_LIST_VALUE0 + 3 * i, flip(r, ~0ull));
	}
}

/* A control that needs another one, and the rule that says so. */
static const struct {
	u32 control, needed, rule;
} needs[] = {
	{ PIN_VIRTUAL_NMIS, PIN_NMI_EXITING, RULE_virtual_nmis }, { PROC_NMI_WINDOW_EXITING, PIN_VIRTUAL_NMIS, RULE_nmi_window },
	{ PIN_PROCESS_POSTED_INTERRUPTS, PROC2_VIRTUAL_INTERRUPT_DELIVERY, RULE_posted_needs_vid },
	{ PIN_PROCESS_POSTED_INTERRUPTS, EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT, RULE_posted_needs_ack },
	{ PROC2_VIRTUALIZE_X2APIC_MODE, PROC_USE_TPR_SHADOW, RULE_apic_needs_tprshadow },
	{ PROC2_APIC_REGISTER_VIRTUALIZATION, PROC_USE_TPR_SHADOW, RULE_apic_needs_tprshadow },
	{ PROC2_VIRTUAL_INTERRUPT_DELIVERY, PROC_USE_TPR_SHADOW, RULE_apic_needs_tprshadow },
	{ PROC2_VIRTUAL_INTERRUPT_DELIVERY, PIN_EXTERNAL_INTERRUPT_EXITING, RULE_vid_needs_extint },
	{ PROC2_UNRESTRICTED_GUEST, PROC2_ENABLE_EPT, RULE_ug_needs_ept }, { PROC2_ENABLE_PML, PROC2_ENABLE_EPT, RULE_pml_needs_ept },
	{ PROC2_MODE_BASED_EXECUTE_CONTROL_FOR_EPT, PROC2_ENABLE_EPT, RULE_mbec_needs_ept },
	{ PROC2_SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT, PROC2_ENABLE_EPT, RULE_spp_needs_ept },
	{ PROC3_ENABLE_HLAT, PROC2_ENABLE_EPT, RULE_hlat }, { PROC3_GUEST_PAGING_VERIFICATION, PROC2_ENABLE_EPT, RULE_pgverify },
	{ PROC3_EPT_PAGING_WRITE_CONTROL, PROC2_ENABLE_EPT, RULE_pgverify },
	{ PROC3_IPI_VIRTUALIZATION, PROC_USE_TPR_SHADOW, RULE_ipiv },
	{ EXITCTL_SAVE_VMX_PREEMPTION_TIMER_VALUE, PIN_ACTIVATE_VMX_PREEMPTION_TIMER, RULE_timer_save },
};

void model_repair_controls(struct model_state *s, struct model_changes *c, u32 target)
{
	for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
		const u32 field = word_field(control_word(needs[i].control));

		if (needs[i].rule != target && on(s, needs[i].control) && !on(s, needs[i].needed))
			model_change(s, c, field, s->value[field] & ~control_bit(needs[i].control));
	}
	if (target != RULE_vmfunc_eptp_needs_ept && !on(s, PROC2_ENABLE_EPT))
		model_change(s, c, M_VM_FUNCTION_CONTROLS, 0);
}

/* What an entry that passes the checks on controls and host state loads into the host, and where MSRs are stored and loaded. */
static bool must_stay(u32 field)
{
	const u32 encoding = model_encoding(field);

	if (encoding != ~0u && field_type(encoding) == FIELD_GUEST)
		return false;
	switch (field) {
	case M_HOST_IA32_SYSENTER_CS: case M_HOST_IA32_SYSENTER_ESP: case M_HOST_IA32_SYSENTER_EIP: case M_HOST_FS_BASE:
		return false;
	case M_VM_EXIT_MSR_STORE_COUNT: case M_VM_EXIT_MSR_LOAD_COUNT: case M_VM_EXIT_MSR_STORE_ADDRESS: case M_VM_EXIT_MSR_LOAD_ADDRESS:
	case M_VM_ENTRY_MSR_LOAD_ADDRESS: case M_VMX_PREEMPTION_TIMER_VALUE: case M_EXCEPTION_BITMAP: case M_PAGE_FAULT_ERROR_CODE_MASK:
	case M_PAGE_FAULT_ERROR_CODE_MATCH:
		return true;
	default:
		return encoding != ~0u && field_type(encoding) == FIELD_HOST;
	}
}

/* A guest that is entered is stopped at once: by the timer, where that works. */
static bool is_stopped(const struct model_state *s)
{
	return on(s, PIN_ACTIVATE_VMX_PREEMPTION_TIMER) && s->value[M_GUEST_ACTIVITY_STATE] <= ACTIVITY_HLT;
}

/* Is a rule about the field violated, so that the entry is refused for it? */
static bool is_refused(u32 field, const struct model_set *violated)
{
	for (u32 word = 0; word < MODEL_SET_WORDS; word++)
		for (u64 left = violated->word[word] & model_readers[field].word[word]; left; left &= left - 1)
			if (model_rules[64 * word + __builtin_ctzll(left)].refusal & MODEL_VMFAIL)
				return true;
	return false;
}

void model_make_safe(struct model_state *s, struct model_changes *c, struct model_set *violated)
{
	bool reverted = false;

	model_judge_changes(s, c, violated);
	for (u32 i = c->count; i-- > 0; )
		if (must_stay(c->change[i].field) && !is_refused(c->change[i].field, violated)) {
			model_revert(s, c, i);
			reverted = true;
		}
	if (reverted)
		model_judge_changes(s, c, violated);
	if (!model_fails_early(violated)) {
		reverted = s->value[M_VM_ENTRY_MSR_LOAD_COUNT] > MODEL_LIST;
		if (reverted)
			model_change(s, c, M_VM_ENTRY_MSR_LOAD_COUNT, 1);
		for (u32 i = c->count; i-- > 0; )
			if (must_stay(c->change[i].field)) {
				model_revert(s, c, i);
				reverted = true;
			}
		if (reverted)
			model_judge_changes(s, c, violated);
	}
	/* Whatever refuses it: a target may lack that rule. */
	if (is_stopped(s) || model_list_fails(s) || is_refused(M_VM_ENTRY_MSR_LOAD_COUNT, violated))
		return;
	model_change(s, c, M_VM_ENTRY_MSR_LOAD_COUNT, 1);
	model_change(s, c, M_LIST_INDEX0, (u32)IA32_FS_BASE);
	model_judge_changes(s, c, violated);
}

bool model_risky, model_no_list;

/*
 * Bochs panics where EFER.LMA is set with CR0.PE = 0, which no VM entry should let in; and Bochs 3.0 at a VM exit that
 * changes CR4.LA57.
 */
static bool is_risky(const struct model_state *s, const struct model_set *violated)
{
	return (model_set_has(violated, RULE_guest_ia32e_pg) && !(s->value[M_GUEST_CR0] & CR0_PE)) ||
	       ((s->value[M_GUEST_CR4] ^ s->value[M_HOST_CR4]) & CR4_LA57);
}

static bool changes_controls(const struct model_changes *c)
{
	for (u32 i = 0; i < c->count; i++)
		if (c->change[i].field >= M_PIN_BASED_CONTROLS && c->change[i].field <= M_SECONDARY_PROC_CONTROLS)
			return true;
	return false;
}

void model_mutate(struct model_state *s, u64 seed, u64 index, struct model_changes *c, struct model_set *violated)
{
	static const u8 counts[] = { 0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3 };
	struct model_random r = { .state = seed_of(seed, index) };
	const u32 count = ONE_OF(&r, counts);
	u32 target = MODEL_RULES;

	c->count = 0;
	if (model_chance(&r, 4))	/* enters, if nothing refuses it */
		model_change(s, c, M_VM_ENTRY_MSR_LOAD_COUNT, 0);
	for (u32 i = 0; i < count; i++) {
		u32 field, rule;

		switch (model_below(&r, 16)) {
		case 0: case 1: case 2:
			change_events(s, c, &r);
			break;
		case 3:
			change_list(s, c, &r);
			break;
		case 4:
			field = model_below(&r, MODEL_FIELDS);
			model_change(s, c, field, model_value(s, &r, field, 0));
			break;
		default:
			for (rule = model_below(&r, MODEL_RULES); !model_set_has(&chosen, rule); rule = (rule + 1) % MODEL_RULES)
				;
			target = rule;
			change_for_rule(s, c, &r, rule);
		}
	}
	if (!model_chance(&r, 4) && changes_controls(c))
		model_repair_controls(s, c, target);
	model_make_safe(s, c, violated);
	if (!model_risky && is_risky(s, violated)) {
		while (c->count)
			model_revert(s, c, 0);
		model_judge_changes(s, c, violated);
	}
}
