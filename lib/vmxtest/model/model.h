/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A reference model of VM entry (SDM Vol. 3C, "VM Entries"): for a state, which is the values of all fields of the VMCS
 * and of the few cells of memory that VM entry looks at, the set of outcomes that the manual allows. Pure C: no VMX
 * instruction, no memory but its arguments; it is built on the host too (tests/unit/model.c).
 *
 * The rules are rows of rules.def. A rule that the manual leaves to the processor is `open`: it only widens the set.
 */
#pragma once

#include "vmx/controls.h"

enum model_field {
#define FIELD(name, encoding, text, ...) M_##name,
#include "vmx/fields.def"
	MODEL_VMCS_FIELDS,
	/* Memory. */
	M_VTPR = MODEL_VMCS_FIELDS,	/* the 32 bits at 80H of the virtual-APIC page */
	M_LINKED,			/* the first 32 bits of the region that the link pointer may point to */
	M_MEMORY_PDPTE0, M_MEMORY_PDPTE1, M_MEMORY_PDPTE2, M_MEMORY_PDPTE3,	/* at the page that CR3 may point to */
	M_LIST_INDEX0, M_LIST_RESERVED0, M_LIST_VALUE0,	/* the entries of the VM-entry MSR-load area */
	M_LIST_INDEX1, M_LIST_RESERVED1, M_LIST_VALUE1,
	M_LIST_INDEX2, M_LIST_RESERVED2, M_LIST_VALUE2,
	MODEL_FIELDS
};
enum { MODEL_LIST = 3 };

/* What the processor is, and where the cells of memory are. */
struct model_cpu {
	u64 basic, misc, cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1, ept_vpid, vmfunc;
	struct control_range word[CONTROL_WORDS];
	u32 revision, cr3_targets, physical_width, linear_width;
	u64 efer_bits, counters;	/* bits of IA32_EFER and IA32_PERF_GLOBAL_CTRL that are not reserved */
	bool sgx, rtm, fred, bus_lock_detect, lam;
	bool known;			/* a processor older than the suite (x86/model.h) */
	u64 current_vmcs, linked_region, virtual_apic, pdptes, list;
	u64 scratch, empty;		/* pages: that nothing looks at; of 0, as a paging structure that maps nothing */
	u64 kept[MODEL_FIELDS];		/* the bits of each field that a VMWRITE keeps; 0: there is no such field */
};

struct model_state {
	const struct model_cpu *cpu;
	u64 value[MODEL_FIELDS];
};

/* Outcomes, as sets. The qualifications of reason 33 are those of "VM-Entry Failures During or After Loading Guest State". */
enum {
	MODEL_ERROR_7 = 1, MODEL_ERROR_8 = 2, MODEL_33 = 4, MODEL_33_PDPTE = 8, MODEL_33_NMI = 16, MODEL_33_LINK = 32,
	MODEL_34 = 64, MODEL_ENTERED = 128,
	MODEL_VMFAIL = MODEL_ERROR_7 | MODEL_ERROR_8, MODEL_ANY_33 = MODEL_33 | MODEL_33_PDPTE | MODEL_33_NMI | MODEL_33_LINK,
};

/* One check of VM entry. */
struct model_rule {
	const char *id;			/* in spec/catalogue.tsv */
	u32 refusal;			/* what its violation comes to: outcomes of one class */
	bool (*holds)(const struct model_state *s);
	const u16 *reads;		/* all that it looks at; ends with MODEL_FIELDS. The first ones are what it is about */
	u64 bits;			/* of the first field: where the rule decides; 0: anywhere */
	bool open;			/* a processor may have it or not, or the manual is not clear about it */
	bool reserved;			/* about reserved bits, which a processor that is not known may have defined: open there */
	u32 needs;			/* the control without which it says nothing; 0: none */
	const char *also;		/* another row of the catalogue that says a part of it */
};

enum model_rule_number {
#define RULE(id, refusal, name, ...) RULE_##name,
#include "vmxtest/model/rules.def"
	MODEL_RULES
};
extern const struct model_rule model_rules[MODEL_RULES];

/* Sets of rules. */
enum { MODEL_SET_WORDS = (MODEL_RULES + 63) / 64 };
struct model_set {
	u64 word[MODEL_SET_WORDS];
};

static inline void model_set_add(struct model_set *set, u32 rule) { set->word[rule / 64] |= BIT(rule % 64); }
static inline void model_set_remove(struct model_set *set, u32 rule) { set->word[rule / 64] &= ~BIT(rule % 64); }
static inline bool model_set_has(const struct model_set *set, u32 rule) { return set->word[rule / 64] >> (rule % 64) & 1; }

/* Make the tables that the functions below use; once. */
void model_begin(const struct model_cpu *cpu);

/* Does a violation only widen what may come? */
bool model_rule_open(const struct model_cpu *cpu, u32 rule);

/* The rules that look at a field. */
extern struct model_set model_readers[MODEL_FIELDS];

/* Does the processor have what the rule is about? */
bool model_rule_exists(const struct model_cpu *cpu, u32 rule);

/* Which of these rules does the state violate? */
void model_judge(const struct model_state *s, const struct model_set *which, struct model_set *violated);

struct model_prediction {
	u32 allowed;		/* a set of outcomes */
	u32 index;		/* MODEL_34: the entry that fails, from 1 */
};

/* Do the controls and the host state fail their checks, whatever the guest is? */
bool model_fails_early(const struct model_set *violated);

/* What may come of a state that violates these rules; the others are as if they were not. */
struct model_prediction model_predict(const struct model_state *s, const struct model_set *violated);

/* Fields of the model: -1 is no VMCS field. */
u32 model_encoding(enum model_field field);
const char *model_field_name(enum model_field field);
enum model_field model_field_of(u32 encoding);
