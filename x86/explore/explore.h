/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random states at the edge of validity, entered one by one and judged by the model of VM entry (lib/vmxtest/model).
 * docs/explorer.md.
 */
#pragma once

#include "vmxtest/model/generate.h"

/* What is not one of the model's outcomes. */
enum { EXPLORE_OTHER = 256 };

/* The words of the command line. */
struct explore_words {
	u64 seed, first, cases;
	bool asked;		/* one of the words was there */
	bool each;		/* the number of each case is said before it */
	bool unrules;		/* of each rule: would it be missed? */
	struct model_set off;	/* rules that are not known: unrule= */
	char rules[64];		/* the front of the ids that the cases are about; empty: all */
};
extern struct explore_words explore_words;

/* The processor as the model wants to know it, and the suite's baseline as a state. */
extern struct model_cpu explore_cpu;
void explore_read_processor(struct model_state *baseline);

/* Write what the VMCS and the memory do not hold yet; all: whatever they hold. */
void explore_write_all(const struct model_state *s);
void explore_write(const struct model_state *s, const struct model_changes *changes);

/* Enter with what is written: one outcome. `fields` that an exit has changed are written again. */
u32 explore_enter(const struct model_state *s, const struct model_prediction *expected);

/* Make the VM-instruction error another one (12), so that a VMfail that writes none is seen. */
void explore_poison_error(void);

/* What may come of it, also from a target that loads MSRs first. */
struct model_prediction explore_predict(const struct model_state *s, const struct model_set *violated);

/* The host, as it was before. */
void explore_remember_host(void);
void explore_restore_host(void);

/* A case whose outcome is not one of those predicted: make it small, find the rule, say it. */
void explore_finding(const struct model_state *s, const struct model_changes *changes, u64 index,
		     enum model_mode mode, u32 came);

/* Print a state, what a case has changed of it, and what is expected of it. */
void explore_show(const struct model_state *s, const struct model_changes *changes, const struct model_set *violated,
		  const struct model_prediction *expected);

/* What was found of each rule. */
struct explore_rule {
	u32 alone;		/* cases that violated it, and no other rule of its class or an earlier one */
	u32 findings;
	char expected[120], came[160];	/* the first finding */
};
extern struct explore_rule explore_rules[MODEL_RULES];

/* Read the processor; then the cases. */
void explore_begin(void);
void explore_run(void);
