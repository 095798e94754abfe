/* SPDX-License-Identifier: BSD-2-Clause */
/* The loop over cases. */
#include "explore.h"

#include "console/console.h"
#include "vmx/guest.h"
#include "vmxtest/model/list.h"
#include "vmxtest/vmxtest.h"
#include "x86/interrupt.h"
#include "x86/processor.h"
#include "x86/time.h"

enum { SAY_EVERY = 4096, POISON_EVERY = 16 };	/* cases from one number of a case to the next; the runner takes a crash up from there */

struct explore_rule explore_rules[MODEL_RULES];

static struct model_state baseline, base, now;
static enum model_mode mode;

/* Pairs of rules of one class that a case violated, and nothing else of it. */
static struct model_set pairs[MODEL_RULES];

static void begin_block(u64 block)
{
	base = baseline;
	mode = model_base(&base, explore_words.seed, block);
	now = base;
	explore_write_all(&base);
	nmi_unblock();
}

/* The list that stops the guest is part of the base, and no more to count than its absence. */
static void count(const struct model_set *violated)
{
	u32 rule[3] = { 0 }, n = 0;

	for (u32 word = 0; word < MODEL_SET_WORDS; word++)
		for (u64 left = violated->word[word]; left && n < 3; left &= left - 1) {
			const u32 one = 64 * word + __builtin_ctzll(left);

			if (one != RULE_list_fs_base)
				rule[n++] = one;
		}
	if (n == 1 || (n == 0 && model_set_has(violated, RULE_list_fs_base)))
		explore_rules[n ? rule[0] : RULE_list_fs_base].alone++;
	if (n == 2 && model_rules[rule[0]].refusal == model_rules[rule[1]].refusal)
		model_set_add(&pairs[rule[0]], rule[1]);
}

/* For each rule: the cases that would differ if the model did not have it, and the first of them. */
static struct {
	u32 cases;
	u64 first;
} without[MODEL_RULES];

static void try_without_each(const struct model_set *violated, u32 came, u64 index)
{
	for (u32 rule = 0; rule < MODEL_RULES; rule++) {
		struct model_set others = *violated;

		if (!model_set_has(violated, rule))
			continue;
		model_set_remove(&others, rule);
		if (came & model_predict(&now, &others).allowed)
			continue;
		if (!without[rule].cases++)
			without[rule].first = index;
	}
}

static void say_without(void)
{
	for (u32 rule = 0; rule < MODEL_RULES; rule++)
		if (model_rule_exists(&explore_cpu, rule) && !model_rule_open(&explore_cpu, rule))
			print("# explore: without %s %u cases differ, the first is %lu\n", model_rules[rule].id, without[rule].cases,
			      without[rule].first);
}

struct model_prediction explore_predict(const struct model_state *s, const struct model_set *violated)
{
	struct model_prediction expected = model_predict(s, violated);

	if (model_no_list && expected.allowed & MODEL_ANY_33 && model_list_fails(s))
		expected.allowed |= MODEL_34;
	return expected;
}

static struct model_changes changes[2];	/* of this case and of the one before, in turn */

static void run_case(u64 index)
{
	struct model_changes *const these = &changes[index & 1], *const before = &changes[~index & 1];
	struct model_set violated;
	struct model_prediction expected;
	u32 came;

	for (u32 i = before->count; i-- > 0; )
		now.value[before->change[i].field] = before->change[i].was;
	model_mutate(&now, explore_words.seed, index, these, &violated);
	count(&violated);
	for (u32 word = 0; word < MODEL_SET_WORDS; word++)
		violated.word[word] &= ~explore_words.off.word[word];
	expected = explore_predict(&now, &violated);
	if (explore_words.cases == 1)
		explore_show(&now, these, &violated, &expected);
	explore_write(&now, before);
	explore_write(&now, these);
	if (index % POISON_EVERY == 0)
		explore_poison_error();
	came = explore_enter(&now, &expected);
	if (explore_words.unrules && came & expected.allowed)
		try_without_each(&violated, came, index);
	if (!(came & expected.allowed)) {
		explore_finding(&now, these, index, mode, came);
		explore_write(&now, these);
	}
}

static void say_sums(u64 cases, u64 ticks)
{
	u32 alone = 0, there = 0, pairs_seen = 0, findings = 0;

	for (u32 rule = 0; rule < MODEL_RULES; rule++) {
		there += model_rule_exists(&explore_cpu, rule);
		alone += explore_rules[rule].alone > 0;
		findings += explore_rules[rule].findings;
		for (u32 other = 0; other < MODEL_RULES; other++)
			pairs_seen += model_set_has(&pairs[rule], other);
	}
	print("# explore: %lu cases in %lu ms of the TSC; of %u rules %u alone; %u pairs; %u differences\n", cases,
	      ticks / tsc_per_ms(), there, alone, pairs_seen, findings);
}

void explore_begin(void)
{
	explore_remember_host();
	explore_read_processor(&baseline);
}

/* Some hypervisors load the MSRs themselves, and leave the guest's state to the processor below. */
static void see_whether_list_is_first(void)
{
	struct model_changes changes = { 0 };
	struct model_set violated;

	base = baseline;
	model_base(&base, explore_words.seed, 0);
	now = base;
	model_change(&now, &changes, M_GUEST_RFLAGS, 0);
	model_judge_changes(&now, &changes, &violated);
	explore_write_all(&now);

	const struct model_prediction expected = model_predict(&now, &violated);

	model_no_list = explore_enter(&now, &expected) == MODEL_34;
	if (model_no_list)
		note("the MSR-load area is processed before the guest's state is found invalid (entry.order.guest_before_msr)");
}

void explore_run(void)
{
	const u64 end = explore_words.first + explore_words.cases;
	const u64 start = rdtsc();

	see_whether_list_is_first();
	print("# explore: seed %lu, cases %lu to %lu\n", explore_words.seed, explore_words.first, end - 1);
	for (u64 index = explore_words.first; index < end; index++) {
		if (index == explore_words.first || index % MODEL_BLOCK == 0) {
			changes[0].count = changes[1].count = 0;
			begin_block(index / MODEL_BLOCK);
		}
		if (explore_words.each || index % SAY_EVERY == 0 || index == explore_words.first)
			print("# explore: at %lu\n", index);
		run_case(index);
	}
	if (explore_words.unrules)
		say_without();
	say_sums(end - explore_words.first, rdtsc() - start);
	explore_restore_host();
}
