/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmxtest/modelled.h"

#include "console/console.h"
#include "libc/string.h"
#include "tap/tap.h"
#include "vmx/decode.h"
#include "vmx/vmcs.h"
#include "x86/model.h"
#include "x86/page.h"
#include "x86/perfmon.h"
#include "x86/processor.h"

static u64 efer_bits(void)
{
	const u32 ecx = cpuid(0x80000001, 0).ecx, edx = cpuid(0x80000001, 0).edx;

	/* Two bits are another vendor's, and not reserved where CPUID has them. */
	return EFER_LME | EFER_LMA | (token_met(FEATURE_SYSCALL) ? EFER_SCE : 0) | (token_met(FEATURE_NX) ? EFER_NXE : 0) |
	       (ecx & BIT(2) ? BIT(12) : 0) | (edx & BIT(25) ? BIT(14) : 0);
}

void modelled_processor(struct model_cpu *cpu)
{
	const struct vmx_capabilities *const cap = vmx_capabilities();

	*cpu = (struct model_cpu){
		.basic = cap->basic, .misc = cap->misc, .cr0_fixed0 = cap->cr0_fixed0, .cr0_fixed1 = cap->cr0_fixed1,
		.cr4_fixed0 = cap->cr4_fixed0, .cr4_fixed1 = cap->cr4_fixed1, .ept_vpid = cap->ept_vpid, .vmfunc = cap->vmfunc,
		.revision = cap->revision, .cr3_targets = cap->cr3_targets, .physical_width = physical_address_width(),
		.linear_width = linear_address_width(), .efer_bits = efer_bits(), .counters = perf_global_ctrl_counters(),
		.sgx = token_met(FEATURE_SGX), .rtm = token_met(FEATURE_RTM), .fred = token_met(FEATURE_FRED),
		.bus_lock_detect = token_met(FEATURE_BUS_LOCK_DETECT), .lam = token_met(FEATURE_LAM), .known = processor_is_known(),
		.current_vmcs = physical_address(&vmcs_region),
	};
	for (u32 word = 0; word < CONTROL_WORDS; word++)
		cpu->word[word] = cap->word[word];
}

static struct model_cpu cpu;
static struct model_state state;
static struct model_set violated;
static bool pending, guest_is_judged;

/* Memory that can be read: RAM of the smallest machine that the images run on. */
static bool is_memory(u64 address)
{
	return address && address < 32 << 20;
}

static void read_memory(void)
{
	cpu.virtual_apic = state.value[M_VIRTUAL_APIC_ADDRESS];
	cpu.linked_region = state.value[M_VMCS_LINK_POINTER] != ~0ull ? state.value[M_VMCS_LINK_POINTER] : 1;
	cpu.pdptes = state.value[M_GUEST_CR3] & ~0x1full;
	cpu.list = state.value[M_VM_ENTRY_MSR_LOAD_ADDRESS];
	if (is_memory(cpu.virtual_apic))
		state.value[M_VTPR] = *(volatile u32 *)(cpu.virtual_apic + 0x80);
	if (is_memory(cpu.linked_region))
		state.value[M_LINKED] = *(volatile u32 *)cpu.linked_region;
	for (u32 i = 0; i < 4 && is_memory(cpu.pdptes); i++)
		state.value[M_MEMORY_PDPTE0 + i] = ((volatile u64 *)cpu.pdptes)[i];
	for (u32 i = 0; i < MODEL_LIST && is_memory(cpu.list); i++) {
		state.value[M_LIST_INDEX0 + 3 * i] = ((volatile u32 *)cpu.list)[4 * i];
		state.value[M_LIST_RESERVED0 + 3 * i] = ((volatile u32 *)cpu.list)[4 * i + 1];
		state.value[M_LIST_VALUE0 + 3 * i] = ((volatile u64 *)cpu.list)[2 * i + 1];
	}
}

void modelled_attempt(bool checks_only)
{
	struct model_set all;

	if (!tap_modelled)
		return;
	if (!state.cpu) {
		state.cpu = &cpu;
		modelled_processor(&cpu);
		model_begin(&cpu);
		for (u32 field = 0; field < MODEL_VMCS_FIELDS; field++)
			cpu.kept[field] = field_readable(field_find(model_encoding(field)));
	}
	for (u32 field = 0; field < MODEL_VMCS_FIELDS; field++)
		if (cpu.kept[field])
			asm volatile("vmread %1, %0" : "=r"(state.value[field]) : "r"((u64)model_encoding(field)) : "cc");
	read_memory();
	for (u32 word = 0; word < MODEL_SET_WORDS; word++)
		all.word[word] = word < MODEL_RULES / 64 ? ~0ull : BIT(MODEL_RULES % 64) - 1;
	model_judge(&state, &all, &violated);
	guest_is_judged = !checks_only;
	pending = true;
}

static u32 outcome_bit(const struct outcome *o)
{
	switch (o->kind) {
	case OUTCOME_FAIL_VALID: return o->number == 7 ? MODEL_ERROR_7 : o->number == 8 ? MODEL_ERROR_8 : 0;
	case OUTCOME_ENTRY_FAILURE:
		return o->number == EXIT_MSR_LOADING ? MODEL_34 : o->qualification == 2 ? MODEL_33_PDPTE : o->qualification == 3 ? MODEL_33_NMI :
		       o->qualification == 4 ? MODEL_33_LINK : MODEL_33;
	default: return MODEL_ENTERED;
	}
}

/* Of the same stage as the expected refusal, or an earlier one. */
static bool counts(u32 rule, u32 expected)
{
	const u32 refusal = model_rules[rule].refusal;

	if (refusal & MODEL_VMFAIL)
		return true;
	if (!guest_is_judged)
		return false;
	return refusal & MODEL_ANY_33 ? !(expected & MODEL_VMFAIL) : expected == MODEL_ENTERED;
}

/* Is the test that of the rule's row? */
static bool is_for(const char *id, u32 rule)
{
	return !strcmp(id, model_rules[rule].id) || (model_rules[rule].also && !strcmp(id, model_rules[rule].also));
}

void modelled_expect(struct outcome expected)
{
	const u32 bit = outcome_bit(&expected);
	u32 wrong = 0, right = 0, one = 0;

	if (!pending || !bit)
		return;
	pending = false;
	for (u32 rule = 0; rule < MODEL_RULES; rule++)
		if (model_set_has(&violated, rule) && counts(rule, bit) && !model_rule_open(&cpu, rule)) {
			right += (model_rules[rule].refusal & bit) != 0;
			wrong++;
			one = rule;
		}
	if (bit == MODEL_34 || (bit == MODEL_ENTERED ? !wrong : right == 1 && wrong == 1 && is_for(tap_test_id, one)))
		return;
	print("# model: %s: %s", tap_test_id, bit == MODEL_ENTERED ? "good, and violates" : "refused, and violates");
	for (u32 rule = 0; rule < MODEL_RULES; rule++)
		if (model_set_has(&violated, rule) && counts(rule, bit))
			print(" %s%s", model_rules[rule].id, model_rule_open(&cpu, rule) ? "?" : "");
	print("%s\n", wrong ? "" : " nothing");
}
