/* SPDX-License-Identifier: BSD-2-Clause */
/* lib/vmxtest/model: each rule looks at the fields that its row names and at no others, and what a violation comes to. */
#include <stdio.h>
#include <string.h>

#include "vmxtest/model/look.h"
#include "x86/processor.h"

static int number, failures;

static void point(bool passed, const char *name)
{
	number++;
	failures += !passed;
	printf("%s %d - %s\n", passed ? "ok" : "not ok", number, name);
}

static u8 seen[MODEL_FIELDS];

void model_watch(enum model_field field)
{
	seen[field] = 1;
}

static u64 next_random(void)
{
	static u64 state = 1;
	u64 x = state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* A processor that has everything. */
static struct model_cpu cpu = {
	.cr0_fixed0 = 0x80000021, .cr0_fixed1 = 0xffffffff, .cr4_fixed0 = 0x2000, .cr4_fixed1 = 0xffffff,
	.basic = BIT(55), .misc = 7 << 6 | BIT(30), .ept_vpid = 0xf0106334141, .vmfunc = 1, .revision = 0x12, .cr3_targets = 4,
	.physical_width = 39, .linear_width = 48, .efer_bits = 0xd01, .counters = 0xf0000000f,
	.sgx = true, .rtm = true, .bus_lock_detect = true, .linked_region = 0x200000, .virtual_apic = 0x201000, .pdptes = 0x202000,
	.current_vmcs = 0x203000, .list = 0x204000,
};

static struct model_state state = { .cpu = &cpu };

/* Values at which rules look further: few bits, and the addresses where memory is known. */
static u64 value_for(u32 field)
{
	const u64 known[] = { cpu.linked_region, cpu.virtual_apic, cpu.pdptes, cpu.current_vmcs, cpu.list, ~0ull, 0, 1, 2, 3, 0x11000 };
	static const u32 msrs[] = {
		IA32_SYSENTER_ESP, IA32_FS_BASE, IA32_GS_BASE, 0x808, IA32_SMM_MONITOR_CTL, IA32_VMX_BASIC, IA32_SYSENTER_CS,
	};
	static const u32 events[] = { 0x80000002, 0x80000702, 0x80000700, 0x80000412, 0x80000b0d, 0x80000302, 0x80000030, 0x80000202 };
	const u64 r = next_random();

	if (field >= M_LIST_INDEX0 && (field - M_LIST_INDEX0) % 3 == 0)
		return msrs[r % ARRAY_SIZE(msrs)];
	if (field == M_VM_ENTRY_INTERRUPTION_INFORMATION && r >> 63)
		return events[r % ARRAY_SIZE(events)] | (r >> 62 & 1 ? BIT(r >> 32 & 31) : 0);

	switch (r >> 60) {
	case 0: case 1: return 0;
	case 2: case 3: case 4: return known[r % ARRAY_SIZE(known)];
	case 5: return BIT(r & 63);
	case 6: return ~BIT(r & 63);
	case 7: case 8: return next_random() & next_random() & next_random();
	case 9: return field < MODEL_VMCS_FIELDS ? next_random() & 0x1ffff : IA32_SYSENTER_ESP;
	default: return next_random();
	}
}

static void randomise(void)
{
	for (u32 field = 0; field < MODEL_FIELDS; field++)
		state.value[field] = value_for(field);
}

/* So that the rules of such guests look at their last segment. */
static void randomise_near_virtual_8086(void)
{
	randomise();
	state.value[M_GUEST_RFLAGS] |= RFLAGS_VM;
	for (u32 r = 0; r < 6; r++) {
		if (next_random() % 16)
			state.value[M_GUEST_ES_BASE + r] = state.value[M_GUEST_ES_SELECTOR + r] << 4;
		if (next_random() % 16)
			state.value[M_GUEST_ES_LIMIT + r] = 0xffff;
		if (next_random() % 16)
			state.value[M_GUEST_ES_ACCESS_RIGHTS + r] = 0xf3;
	}
}

static bool names(const struct model_rule *rule, u32 field)
{
	for (const u16 *one = rule->reads; *one != MODEL_FIELDS; one++)
		if (*one == field)
			return true;
	return false;
}

static void rows_are_what_functions_read(void)
{
	static u8 read[MODEL_RULES][MODEL_FIELDS], violated[MODEL_RULES];

	for (u32 turn = 0; turn < 20000; turn++) {
		/* Not always everything. */
		cpu.misc = 7 << 6 | (turn & 1 ? BIT(30) : 0);
		cpu.ept_vpid = turn & 2 ? 0xf0106334141 : 0x4141;
		cpu.fred = turn & 4;
		cpu.cr4_fixed1 = turn & 4 ? 0x100ffffff : 0xffffff;
		cpu.word[WORD_PROC].may_be_1 = turn & 8 ? ~0ull : ~control_bit(PROC_MONITOR_TRAP_FLAG);
		cpu.rtm = cpu.bus_lock_detect = turn & 16;
		if (turn % 3)
			randomise();
		else
			randomise_near_virtual_8086();
		for (u32 rule = 0; rule < MODEL_RULES; rule++) {
			memset(seen, 0, sizeof(seen));
			violated[rule] |= !model_rules[rule].holds(&state);
			for (u32 field = 0; field < MODEL_FIELDS; field++)
				read[rule][field] |= seen[field];
		}
	}
	for (u32 rule = 0; rule < MODEL_RULES; rule++) {
		static char name[200];

		for (u32 field = 0; field < MODEL_FIELDS; field++) {
			if (read[rule][field] == names(&model_rules[rule], field))
				continue;
			printf("# rule %s %s %s\n", model_rules[rule].id, read[rule][field] ? "reads" : "does not read", model_field_name(field));
			violated[rule] = 2;
		}
		snprintf(name, sizeof(name), "%s (%u) reads what its row names, and can be violated", model_rules[rule].id, rule);
		point(violated[rule] == 1, name);
	}
}

static u32 prediction_of(u32 one, u32 other)
{
	struct model_set violated = { { 0 } };

	if (one != MODEL_RULES)
		model_set_add(&violated, one);
	if (other != MODEL_RULES)
		model_set_add(&violated, other);
	return model_predict(&state, &violated).allowed;
}

static void predictions(void)
{
	memset(state.value, 0, sizeof(state.value));
	state.value[M_VM_ENTRY_MSR_LOAD_ADDRESS] = cpu.list;
	state.value[M_VM_ENTRY_MSR_LOAD_COUNT] = 2;
	state.value[M_LIST_INDEX1] = (u32)IA32_FS_BASE;
	point(prediction_of(MODEL_RULES, MODEL_RULES) == MODEL_ENTERED, "a state that violates nothing enters");
	point(prediction_of(RULE_pin_reserved, RULE_host_cr0_fixed) == MODEL_VMFAIL, "controls and host state: error 7 or 8");
	point(prediction_of(RULE_host_cr0_fixed, RULE_guest_cr0_fixed) == MODEL_ERROR_8, "host state before guest state");
	point(prediction_of(RULE_link_align, RULE_guest_cr0_fixed) == (MODEL_33 | MODEL_33_LINK), "guest state: either qualification");
	point(prediction_of(RULE_intr_nmi_sti, MODEL_RULES) == (MODEL_33_NMI | MODEL_ENTERED), "a rule that is open refuses or not");
	point(prediction_of(RULE_list_fs_base, RULE_link_align) == MODEL_33_LINK, "guest state before MSRs");

	struct model_set violated = { { 0 } };

	model_set_add(&violated, RULE_list_fs_base);
	point(model_predict(&state, &violated).allowed == MODEL_34 && model_predict(&state, &violated).index == 2, "the first MSR that fails");
}

int main(void)
{
	for (u32 word = 0; word < CONTROL_WORDS; word++)
		cpu.word[word] = (struct control_range){ .must_be_1 = 2, .may_be_1 = ~BIT(20) };
	model_begin();
	printf("TAP version 13\n");
	rows_are_what_functions_read();
	predictions();
	printf("1..%d\n", number);
	return failures > 0;
}
