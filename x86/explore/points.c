/* SPDX-License-Identifier: BSD-2-Clause */
/* What the runner sees: a point for the exploration, and one for each rule of the model. */
#include "explore.h"

#include "libc/printf.h"
#include "libc/string.h"
#include "tap/words.h"
#include "vmxtest/vmxtest.h"

enum { DEFAULT_CASES = 40000, BRIEF_CASES = 500 };

struct explore_words explore_words = { .seed = 1 };

static bool number_of(const char *word, const char *name, u64 *value)
{
	const size_t length = strlen(name);

	return !strncmp(word, name, length) && text_number((struct text){ word + length, strlen(word + length) }, value);
}

static bool switch_off(const char *id)
{
	bool found = false;

	for (u32 rule = 0; rule < MODEL_RULES; rule++)
		if (!strcmp(model_rules[rule].id, id)) {
			model_set_add(&explore_words.off, rule);
			found = true;
		}
	return found;
}

static bool wanted(const char *id)
{
	return !strncmp(id, explore_words.rules, strlen(explore_words.rules));
}

bool tap_image_word(const char *word)
{
	if (!strcmp(word, "each"))
		return (explore_words.each = true);
	if (!strcmp(word, "unrules"))
		return (explore_words.unrules = true);
	if (!strcmp(word, "risky"))
		return (model_risky = true);
	if (!strncmp(word, "unrule=", 7))
		return switch_off(word + 7);
	if (!strncmp(word, "rules=", 6)) {
		snprintf(explore_words.rules, sizeof(explore_words.rules), "%s", word + 6);
		return strlen(word + 6) < sizeof(explore_words.rules);
	}
	return number_of(word, "explore=", &explore_words.seed) || number_of(word, "first=", &explore_words.first) ||
	       (number_of(word, "cases=", &explore_words.cases) && explore_words.cases);
}

/* The cases use whatever there is. */
static void ask_for_everything(void)
{
	static const u32 tokens[] = {
#define CONTROL(word, bit, name, text) name,
#include "vmx/controls.def"
#define CAPABILITY(name, msr, bit, text) name,
#include "vmx/capabilities.def"
	};

	for (size_t i = 0; i < ARRAY_SIZE(tokens); i++)
		has(tokens[i]);
}

static enum { NOT_YET, RUNNING, DONE } state;

static void explore_once(void)
{
	if (state != NOT_YET)
		return;
	state = RUNNING;
	ask_for_everything();
	if (!explore_words.cases)
		explore_words.cases = walk_brief ? BRIEF_CASES : DEFAULT_CASES;
	explore_begin();
	model_begin(&explore_cpu);
	if (!model_choose(&explore_cpu, explore_words.rules[0] ? wanted : NULL))
		skip("the processor has none of the rules %s*", explore_words.rules);
	explore_run();
	state = DONE;
}

TEST("explore.run", "random states at the edge of validity come out as the model of VM entry says")
{
	explore_once();
	expect_eq(state, DONE);
}

static void report(u32 rule)
{
	const struct explore_rule *const found = &explore_rules[rule];
	const char *const id = model_rules[rule].id;

	if (!tap_is_behind_crash())	/* a point that was asked for alone explores, too */
		explore_once();
	if (state != DONE)
		skip("explore.run did not come to its end");
	if (!model_rule_exists(&explore_cpu, rule))
		skip("nothing on this processor violates %s", id);
	for (u32 i = 0; i < found->alone; i++)
		check_passed();
	CASE("%s%s%s", id, model_rules[rule].also ? " or " : "", model_rules[rule].also ? model_rules[rule].also : "");
	if (found->findings)
		fail_check("VM entry is as the model says", found->expected, found->came);
	else if (!found->alone)
		skip("no case violated %s alone", id);
}

static void report_row(const void *rule)
{
	report(*(const u32 *)rule);
}

/* A rule beside that of the same row is reported with it. */
#define TWIN(...)
#define RULE(id_, refusal, name, ...)									\
	TAP_ROW(vmx_fixture, "explore." id_, "random states agree with the model about this rule", .run = report_row,	\
		.data = &(const u32){ RULE_##name });
#include "vmxtest/model/rules.def"
