/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmxtest/model/look.h"

#include "vmxtest/model/list.h"
#include "x86/processor.h"

/* Control words as rules read them: a secondary word with the one that activates it. */
#define PIN		M_PIN_BASED_CONTROLS
#define PROC		M_PRIMARY_PROC_CONTROLS
#define PROC2		M_SECONDARY_PROC_CONTROLS, M_PRIMARY_PROC_CONTROLS
#define PROC3		M_TERTIARY_PROC_CONTROLS, M_PRIMARY_PROC_CONTROLS
#define EXITS		M_VM_EXIT_CONTROLS
#define EXITS2		M_SECONDARY_VM_EXIT_CONTROLS, M_VM_EXIT_CONTROLS
#define ENTRY		M_VM_ENTRY_CONTROLS
/* A field of each segment register, ES to GS. */
#define SIX(kind)	M_GUEST_ES_##kind, M_GUEST_CS_##kind, M_GUEST_SS_##kind, M_GUEST_DS_##kind, M_GUEST_FS_##kind, M_GUEST_GS_##kind
/* Of those that hold data. */
#define FOUR(kind)	M_GUEST_ES_##kind, M_GUEST_DS_##kind, M_GUEST_FS_##kind, M_GUEST_GS_##kind
#define EVENT		M_VM_ENTRY_INTERRUPTION_INFORMATION
#define LIST(kind)	M_LIST_##kind##0, M_LIST_##kind##1, M_LIST_##kind##2
#define LIST_USED	M_VM_ENTRY_MSR_LOAD_ADDRESS, M_VM_ENTRY_MSR_LOAD_COUNT
#define READS(...)	.reads = (const u16[]){ __VA_ARGS__, MODEL_FIELDS }

const struct model_rule model_rules[MODEL_RULES] = {
#define RULE(id_, refusal_, name, ...) [RULE_##name] = { .id = id_, .refusal = (refusal_), .holds = holds_##name, __VA_ARGS__ },
#include "vmxtest/model/rules.def"
};

struct model_set model_readers[MODEL_FIELDS];

/* The order in which VM entry goes. */
enum { STAGE_VMFAIL, STAGE_GUEST, STAGE_LIST, STAGES };

/* What each rule is, for those who look at many. */
static struct {
	u8 stage;
	bool open;
} known[MODEL_RULES];
static struct model_set vmfail;		/* the rules that refuse for certain, at the first stage */

static u32 stage_of(u32 refusal)
{
	return refusal & MODEL_VMFAIL ? STAGE_VMFAIL : refusal & MODEL_34 ? STAGE_LIST : STAGE_GUEST;
}

bool model_rule_open(const struct model_cpu *cpu, u32 rule)
{
	return model_rules[rule].open || (model_rules[rule].reserved && !cpu->known);
}

void model_begin(const struct model_cpu *cpu)
{
	for (u32 rule = 0; rule < MODEL_RULES; rule++) {
		known[rule].stage = stage_of(model_rules[rule].refusal);
		known[rule].open = model_rule_open(cpu, rule);
		if (known[rule].stage == STAGE_VMFAIL && !known[rule].open)
			model_set_add(&vmfail, rule);
		for (const u16 *field = model_rules[rule].reads; *field != MODEL_FIELDS; field++)
			model_set_add(&model_readers[*field], rule);
	}
}

/* Rules that nothing can violate on a processor like this one. */
static bool is_idle(const struct model_cpu *cpu, u32 rule)
{
	switch (rule) {
	case RULE_eptp_ad: return cpu->ept_vpid >> 21 & 1;
	case RULE_eptp_sss: return cpu->ept_vpid >> 23 & 1;
	case RULE_inject_other_reserved: return cpu->fred || cpu->word[WORD_PROC].may_be_1 & control_bit(PROC_MONITOR_TRAP_FLAG);
	case RULE_inject_other_vector: return !cpu->fred && !(cpu->word[WORD_PROC].may_be_1 & control_bit(PROC_MONITOR_TRAP_FLAG));
	case RULE_inject_code_required: return cpu->basic >> 56 & 1;
	case RULE_inject_length_zero: return cpu->misc >> 30 & 1;
	case RULE_guest_cet_wp: case RULE_host_cet_wp: return !(cpu->cr4_fixed1 & CR4_CET);
	case RULE_guest_pcide: case RULE_host_pcide: return !(cpu->cr4_fixed1 & CR4_PCIDE);
	case RULE_guest_fred: return !(cpu->cr4_fixed1 & CR4_FRED);
	case RULE_activity_hlt_dpl: case RULE_hlt_events: return !(cpu->misc >> 6 & 1);
	case RULE_shutdown_events: case RULE_shutdown_mc_type: return !(cpu->misc >> 7 & 1);
	case RULE_sipi_events: return !(cpu->misc >> 8 & 1);
	case RULE_pending_rtm: return !cpu->rtm;
	case RULE_pending_bus_lock: return !cpu->bus_lock_detect;
	default: return false;
	}
}

bool model_rule_exists(const struct model_cpu *cpu, u32 rule)
{
	const u32 needs = model_rules[rule].needs;

	return !is_idle(cpu, rule) && (!needs || cpu->word[control_word(needs)].may_be_1 & control_bit(needs));
}

void model_judge(const struct model_state *s, const struct model_set *which, struct model_set *violated)
{
	for (u32 i = 0; i < MODEL_SET_WORDS; i++) {
		u64 left = which->word[i], found = 0;

		for (; left; left &= left - 1) {
			const u32 bit = __builtin_ctzll(left);

			if (!model_rules[64 * i + bit].holds(s))
				found |= BIT(bit);
		}
		violated->word[i] = (violated->word[i] & ~which->word[i]) | found;
	}
}

bool model_fails_early(const struct model_set *violated)
{
	u64 found = 0;

	for (u32 i = 0; i < MODEL_SET_WORDS; i++)
		found |= violated->word[i] & vmfail.word[i];
	return found;
}

struct model_prediction model_predict(const struct model_state *s, const struct model_set *violated)
{
	struct model_prediction p = { .allowed = 0 };
	u32 sure[STAGES] = { 0 }, possible[STAGES] = { 0 };

	for (u32 i = 0; i < MODEL_SET_WORDS; i++)
		for (u64 left = violated->word[i]; left; left &= left - 1) {
			const u32 rule = 64 * i + __builtin_ctzll(left);

			possible[known[rule].stage] |= model_rules[rule].refusal;
			if (!known[rule].open)
				sure[known[rule].stage] |= model_rules[rule].refusal;
		}
	for (u32 stage = STAGE_VMFAIL; stage <= STAGE_GUEST; stage++) {
		p.allowed |= possible[stage];
		if (sure[stage])
			return p;
	}
	p.index = sure[STAGE_LIST] ? model_list_failing(s, violated) : 0;
	p.allowed |= p.index ? MODEL_34 : MODEL_ENTERED;
	return p;
}

static const struct {
	u32 encoding;
	const char *name;
} fields[] = {
#define FIELD(name, encoding, text, ...) { encoding, #name },
#include "vmx/fields.def"
};

static const char *const memory_names[] = {
	"VTPR", "the first dword at the link pointer", "PDPTE0 at CR3", "PDPTE1 at CR3", "PDPTE2 at CR3", "PDPTE3 at CR3",
	"MSR-load entry 1: index", "MSR-load entry 1: bits 63:32", "MSR-load entry 1: value",
	"MSR-load entry 2: index", "MSR-load entry 2: bits 63:32", "MSR-load entry 2: value",
	"MSR-load entry 3: index", "MSR-load entry 3: bits 63:32", "MSR-load entry 3: value",
};

u32 model_encoding(enum model_field field)
{
	return field < MODEL_VMCS_FIELDS ? fields[field].encoding : ~0u;
}

const char *model_field_name(enum model_field field)
{
	return field < MODEL_VMCS_FIELDS ? fields[field].name : memory_names[field - MODEL_VMCS_FIELDS];
}

enum model_field model_field_of(u32 encoding)
{
	u32 field = 0;

	while (field < MODEL_VMCS_FIELDS && fields[field].encoding != encoding)
		field++;
	return field < MODEL_VMCS_FIELDS ? field : MODEL_FIELDS;
}
