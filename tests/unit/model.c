/* SPDX-License-Identifier: BSD-2-Clause */
/* lib/vmxtest/model: each rule looks at the fields that its row names and at no others, and what a violation comes to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmxtest/model/generate.h"
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
	.known = true, .sgx = true, .rtm = true, .bus_lock_detect = true, .linked_region = 0x200000, .virtual_apic = 0x201000, .pdptes = 0x202000,
	.current_vmcs = 0x203000, .list = 0x204000,
};

static struct model_state state = { .cpu = &cpu };

/* Values at which rules look further: few bits, and the addresses where memory is known. */
static u64 value_for(u32 field)
{
	const u64 known[] = { cpu.linked_region, cpu.virtual_apic, cpu.pdptes, cpu.current_vmcs, cpu.list, ~0ull, 0, 1, 2, 3, 0x11000 };
	static const u32 msrs[] = {
		IA32_SYSENTER_ESP, IA32_FS_BASE, IA32_GS_BASE, 0x808, IA32_SMM_MONITOR_CTL, IA32_PAT, IA32_SYSENTER_CS,
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

/* A processor that has what controls.def names, and the suite's baseline on it. */
static void begin_generating(void)
{
	static const u32 controls[] = {
#define CONTROL(word, bit, name, text) name,
#include "vmx/controls.def"
	};

	memset(cpu.word, 0, sizeof(cpu.word));
	for (size_t i = 0; i < ARRAY_SIZE(controls); i++)
		cpu.word[control_word(controls[i])].may_be_1 |= control_bit(controls[i]);
	cpu.word[WORD_PIN].must_be_1 = 0x16;
	cpu.word[WORD_PIN].may_be_1 |= 0x16;
	cpu.cr4_fixed1 = 0xffffff;
	cpu.misc = 7 << 6;
	model_choose(&cpu, NULL);
	cpu.scratch = 0x205000;
	cpu.empty = 0x206000;
	memset(state.value, 0, sizeof(state.value));
	for (u32 field = 0; field < MODEL_FIELDS; field++)
		cpu.kept[field] = field >= M_VTPR ? 0xffffffff : (model_encoding(field) >> 13 & 3) == 0 ? 0xffff :
				  (model_encoding(field) >> 13 & 3) == 2 ? 0xffffffff : ~0ull;
	for (u32 field = M_MEMORY_PDPTE0; field < MODEL_FIELDS; field++)
		cpu.kept[field] = ~0ull;
	state.value[M_GUEST_CR0] = state.value[M_HOST_CR0] = 0x80010021;
	state.value[M_GUEST_CR4] = state.value[M_HOST_CR4] = CR4_PAE | CR4_VMXE;
	state.value[M_HOST_CS_SELECTOR] = state.value[M_HOST_SS_SELECTOR] = 8;
	state.value[M_HOST_TR_SELECTOR] = 16;
	state.value[M_HOST_IA32_EFER] = EFER_LMA | EFER_LME;
	state.value[M_TSC_MULTIPLIER] = BIT(48);
	state.value[M_GUEST_LDTR_ACCESS_RIGHTS] = BIT(16);
}

static void bases_are_legal(void)
{
	const struct model_state baseline = state;
	struct model_set all;
	u32 bad = 0;

	memset(&all, 0xff, sizeof(all));
	all.word[MODEL_SET_WORDS - 1] = BIT(MODEL_RULES % 64) - 1;
	for (u32 block = 0; block < 4000; block++) {
		struct model_set violated = { { 0 } };

		state = baseline;
		const enum model_mode mode = model_base(&state, 1, block);

		model_judge(&state, &all, &violated);
		for (u32 rule = 0; rule < MODEL_RULES; rule++) {
			if (!model_set_has(&violated, rule) || rule == RULE_list_fs_base)
				continue;
			bad++;
			if (bad < 20)
				printf("# block %u (%s) violates %s\n", block, model_mode_names[mode], model_rules[rule].id);
		}
	}
	point(!bad, "the bases of 4000 blocks are legal");
	state = baseline;
}

static u32 count_of(const struct model_set *set)
{
	u32 count = 0;

	for (u32 word = 0; word < MODEL_SET_WORDS; word++)
		count += __builtin_popcountll(set->word[word]);
	return count;
}

/* Some say something of a 32-bit host alone; of host state only what is refused for certain is tried. */
static bool never_alone(u32 rule)
{
	return rule == RULE_host_ss_zero || rule == RULE_host_guest64 || rule == RULE_host_pcide || rule == RULE_host_rip32 ||
	       rule == RULE_smm_both || rule == RULE_host_pgc_metrics ||
	       rule == RULE_tprthr_elsewhere || rule == RULE_pdpte_elsewhere;
}

static void each_rule_is_violated_alone(void)
{
	static struct model_state base, now;
	static u32 alone[MODEL_RULES];
	const struct model_state baseline = state;
	struct model_changes changes;
	struct model_set violated;

	for (u32 index = 0; index < 64 * 20000; index++) {
		if (index % MODEL_BLOCK == 0) {
			base = baseline;
			model_base(&base, 1, index / MODEL_BLOCK);
		}
		now = base;
		model_mutate(&now, 1, index, &changes, &violated);
		if (model_rules[RULE_list_fs_base].holds(&base) != model_rules[RULE_list_fs_base].holds(&now))
			model_set_remove(&violated, RULE_list_fs_base);
		const u32 count = count_of(&violated) - model_set_has(&violated, RULE_list_fs_base);

		for (u32 rule = 0; rule < MODEL_RULES && count <= 1; rule++)
			alone[rule] += model_set_has(&violated, rule) && (rule != RULE_list_fs_base || !count);
	}
	for (u32 rule = 0; rule < MODEL_RULES; rule++) {
		static char name[200];

		if (!model_rule_exists(&cpu, rule) || never_alone(rule))
			continue;
		if (getenv("COUNTS"))
			printf("# %7u %s\n", alone[rule], model_rules[rule].id);
		snprintf(name, sizeof(name), "%s (%u) is violated alone", model_rules[rule].id, rule);
		point(alone[rule] >= 10, name);
	}
}

int main(void)
{
	for (u32 word = 0; word < CONTROL_WORDS; word++)
		cpu.word[word] = (struct control_range){ .must_be_1 = 2, .may_be_1 = ~BIT(20) };
	model_begin(&cpu);
	printf("TAP version 13\n");
	rows_are_what_functions_read();
	predictions();
	begin_generating();
	bases_are_legal();
	each_rule_is_violated_alone();
	printf("1..%d\n", number);
	return failures > 0;
}
