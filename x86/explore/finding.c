/* SPDX-License-Identifier: BSD-2-Clause */
/* What to say of a case that came out otherwise: the fewest fields and bits that still do it, and the rule. */
#include "explore.h"

#include "console/console.h"
#include "libc/printf.h"
#include "vmxtest/vmxtest.h"

enum { SAID = 3, MOST_SHRUNK = 3000 };	/* findings of a rule that are printed; cases that are made small at all */

static struct model_set without(struct model_set set, const struct model_set *off)
{
	for (u32 word = 0; word < MODEL_SET_WORDS; word++)
		set.word[word] &= ~off->word[word];
	return set;
}

static struct finding {
	struct model_state state;
	struct model_changes changes;
	struct model_set violated;		/* with the rules that are switched off */
	struct model_prediction expected;	/* without them */
	u32 came;
} best, tried;

/* Enter once more, with what was changed last; is it still a finding? */
static bool still(struct finding *f, const struct model_changes *written)
{
	struct model_set known;

	model_make_safe(&f->state, &f->changes, &f->violated);
	known = without(f->violated, &explore_words.off);
	f->expected = explore_predict(&f->state, &known);
	explore_write(&f->state, written);
	explore_write(&f->state, &f->changes);
	f->came = explore_enter(&f->state, &f->expected);
	return !(f->came & f->expected.allowed);
}

/* Keep what was tried if it is one, too. */
static bool keep_if_still(void)
{
	const struct model_changes written = best.changes;

	if (still(&tried, &written)) {
		best = tried;
		return true;
	}
	explore_write(&best.state, &tried.changes);
	explore_write(&best.state, &best.changes);
	return false;
}

static void shrink(void)
{
	for (u32 i = best.changes.count; i-- > 0; ) {
		if (i >= best.changes.count)
			continue;
		tried = best;
		model_revert(&tried.state, &tried.changes, i);
		keep_if_still();
	}
	for (u32 i = 0; i < best.changes.count; i++)
		for (u32 bit = 0; bit < 64 && i < best.changes.count; bit++) {
			const struct model_change *const change = &best.changes.change[i];
			const u64 differs = best.state.value[change->field] ^ change->was;

			/* Of an MSR that is not of the model's list nothing is known. */
			if (!(differs & BIT(bit)) || differs == BIT(bit) || change->field >= M_LIST_INDEX0)
				continue;
			tried = best;
			tried.state.value[change->field] ^= BIT(bit);
			keep_if_still();
		}
}

/* How far VM entry comes with these outcomes at the most. */
static u32 stage(u32 outcomes)
{
	return outcomes & MODEL_ENTERED ? 3 : outcomes & MODEL_34 ? 2 : outcomes & MODEL_ANY_33 ? 1 : outcomes & MODEL_VMFAIL ? 0 : 4;
}

/* The first violated rule that refuses like this. */
static u32 violated_rule(const struct model_set *violated, u32 refusal)
{
	for (u32 rule = 0; rule < MODEL_RULES; rule++)
		if (model_set_has(violated, rule) && model_rules[rule].refusal & refusal)
			return rule;
	return MODEL_RULES;
}

/* A violated rule that a processor may not have: the refusal is at its place, but another one. */
static u32 open_rule(const struct model_set *violated, u32 came)
{
	for (u32 rule = 0; rule < MODEL_RULES; rule++)
		if (model_set_has(violated, rule) && model_rule_open(&explore_cpu, rule) && stage(model_rules[rule].refusal) == stage(came))
			return rule;
	return MODEL_RULES;
}

/* Nothing is violated that refuses so: the rule of that kind that looks at most of what is changed. */
static u32 likely_rule(const struct finding *f, u32 refusal)
{
	u32 best_rule = MODEL_RULES, best_score = 0;

	for (u32 rule = 0; rule < MODEL_RULES; rule++) {
		u32 score = 0, reads = 0;

		if (!(model_rules[rule].refusal & refusal))
			continue;
		while (model_rules[rule].reads[reads] != MODEL_FIELDS)
			reads++;
		for (u32 i = 0; i < f->changes.count; i++) {
			const struct model_change *const change = &f->changes.change[i];
			const bool first = model_rules[rule].reads[0] == change->field;
			const u64 bits = model_rules[rule].bits ? model_rules[rule].bits : ~0ull;

			if (model_set_has(&model_readers[change->field], rule))
				score += 400 + (first && bits & (f->state.value[change->field] ^ change->was) ? 200 : 0);
		}
		if (score && score - reads > best_score) {	/* of those, one that looks at little else */
			best_score = score - reads;
			best_rule = rule;
		}
	}
	return best_rule;
}

static u32 blame(const struct finding *f)
{
	const struct model_set known = without(f->violated, &explore_words.off);
	u32 rule = MODEL_RULES;

	for (u32 word = 0; word < MODEL_SET_WORDS; word++)	/* a rule that is switched off, and was violated */
		if (f->violated.word[word] & explore_words.off.word[word])
			return 64 * word + __builtin_ctzll(f->violated.word[word] & explore_words.off.word[word]);
	if (stage(f->came) >= stage(f->expected.allowed))
		rule = violated_rule(&known, f->expected.allowed);
	if (rule == MODEL_RULES)
		rule = open_rule(&known, f->came);
	return rule != MODEL_RULES ? rule : likely_rule(f, f->came == EXPLORE_OTHER ? ~0u : f->came);
}

static void outcomes_format(char *to, size_t size, u32 outcomes)
{
	static const struct {
		u32 outcome;
		const char *text;
	} texts[] = {
		{ MODEL_ERROR_7, "error 7" }, { MODEL_ERROR_8, "error 8" },
		{ MODEL_33, "reason 33" }, { MODEL_33_PDPTE, "reason 33, qualification 2" },
		{ MODEL_33_NMI, "reason 33, qualification 3" }, { MODEL_33_LINK, "reason 33, qualification 4" }, { MODEL_34, "reason 34" },
		{ MODEL_ENTERED, "the guest is entered" },
	};
	int length = 0;

	to[0] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (outcomes & texts[i].outcome && (size_t)length < size)
			length += snprintf(to + length, size - length, "%s%s", length ? " or " : "", texts[i].text);
	if (outcomes & EXPLORE_OTHER)
		outcome_format(to, size, &guest.outcome);
}

static void show_changes(const struct model_state *s, const struct model_changes *changes, const struct model_set *violated,
			 const struct model_prediction *expected)
{
	char text[120];

	outcomes_format(text, sizeof(text), expected->allowed);
	print("# explore:   expected %s\n", text);
	for (u32 i = 0; i < changes->count; i++)
		print("# explore:   %s = %#lx, and not %#lx\n", model_field_name(changes->change[i].field),
		      s->value[changes->change[i].field], changes->change[i].was);
	for (u32 one = 0; one < MODEL_RULES; one++)
		if (model_set_has(violated, one))
			print("# explore:   violates %s%s\n", model_rules[one].id,
			      model_rule_open(&explore_cpu, one) ? " (which a processor may not have)" : "");
}

void explore_show(const struct model_state *s, const struct model_changes *changes, const struct model_set *violated,
		  const struct model_prediction *expected)
{
	for (u32 field = 0; field < MODEL_FIELDS; field++)
		if (s->cpu->kept[field] && s->value[field])
			print("# explore:   state: %s = %#lx\n", model_field_name(field), s->value[field]);
	show_changes(s, changes, violated, expected);
	console_drain();
}

static void say(const struct finding *f, u32 rule, u64 index, enum model_mode mode)
{
	struct explore_rule *const found = &explore_rules[rule];
	char expected[120], came[160];

	outcomes_format(expected, sizeof(expected), f->expected.allowed);
	outcomes_format(came, sizeof(came), f->came);
	if (!found->findings) {
		snprintf(found->expected, sizeof(found->expected), "%s", expected);
		snprintf(found->came, sizeof(found->came), "%s; seed %lu, case %lu", came, explore_words.seed, index);
	}
	print("# explore: found %s, seed %lu, case %lu (%s)\n", model_rules[rule].id, explore_words.seed, index, model_mode_names[mode]);
	print("# explore:   came     %s\n", came);
	show_changes(&f->state, &f->changes, &f->violated, &f->expected);
}

/* Is every rule that it may be about found often enough? Then it is counted for the first, and not made small. */
static u32 known_well(const struct finding *f)
{
	const struct model_set known = without(f->violated, &explore_words.off);
	u32 first = MODEL_RULES;

	for (u32 rule = 0; rule < MODEL_RULES; rule++) {
		if (!model_set_has(&known, rule) || !(model_rules[rule].refusal & f->expected.allowed))
			continue;
		if (explore_rules[rule].findings < SAID)
			return MODEL_RULES;
		first = first == MODEL_RULES ? rule : first;
	}
	return first;
}

void explore_finding(const struct model_state *s, const struct model_changes *changes, u64 index,
		     enum model_mode mode, u32 came)
{
	static u32 shrunk;
	u32 rule;

	best.state = *s;
	best.changes = *changes;
	best.came = came;
	model_judge_changes(s, changes, &best.violated);
	const struct model_set known = without(best.violated, &explore_words.off);

	best.expected = explore_predict(s, &known);
	rule = known_well(&best);
	if (rule != MODEL_RULES || shrunk > MOST_SHRUNK) {
		explore_rules[rule != MODEL_RULES ? rule : blame(&best)].findings++;
		return;
	}
	shrunk++;
	shrink();
	rule = blame(&best);
	if (rule == MODEL_RULES)
		rule = 0;
	if (explore_rules[rule].findings < SAID)
		say(&best, rule, index, mode);
	explore_rules[rule].findings++;
	explore_write(s, &best.changes);
}
