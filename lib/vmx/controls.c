/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/controls.h"
#include "x86/asked.h"
#include "x86/processor.h"

#include "libc/printf.h"
#include "libc/string.h"

const struct control_word_info control_words[CONTROL_WORDS] = {
#define CONTROL_WORD(word, field, msr, true_msr, default1, text, brief) \
	[WORD_##word] = { field, msr, true_msr, default1, text, brief },
#include "vmx/controls.def"
};

const u32 control_word_activator[CONTROL_WORDS] = {
	[WORD_PROC2] = PROC_ACTIVATE_SECONDARY_CONTROLS,
	[WORD_PROC3] = PROC_ACTIVATE_TERTIARY_CONTROLS,
	[WORD_EXITCTL2] = EXITCTL_ACTIVATE_SECONDARY_CONTROLS,
};

const struct control_need control_needs[] = {
#define CONTROL_NEEDS(control, needed) { control, needed },
#include "vmx/control_needs.def"
	{ 0, 0 }
};

static const struct {
	u32 token;
	const char *name, *text;
} control_names[] = {
#define CONTROL(word, bit, name, text) { name, #name, text },
#include "vmx/controls.def"
};

static const struct {
	u32 msr;
	u8 bit;
	const char *name, *msr_name, *text;
} capability_rows[] = {
#define CAPABILITY(name, msr, bit, text) { (u32)(msr), bit, #name, #msr, text },
#include "vmx/capabilities.def"
};

static const char *const word_msr_names[CONTROL_WORDS] = {
#define CONTROL_WORD(word, field, msr, true_msr, default1, text, brief) [WORD_##word] = #msr,
#include "vmx/controls.def"
};

static struct vmx_capabilities capabilities;

/* A 32-bit word's MSR has must-be-1 low and may-be-1 high; a 64-bit word's is may-be-1 alone. */
static bool is_wide(enum control_word word)
{
	return word == WORD_PROC3 || word == WORD_EXITCTL2;
}

static void read_word(enum control_word word)
{
	const struct control_word_info *info = &control_words[word];
	struct control_range *range = &capabilities.word[word];

	if (!control_word_exists(word))
		return;

	const u64 value = rdmsr(info->msr);

	if (is_wide(word)) {
		range->may_be_1 = value;
		return;
	}
	range->legacy_must_be_1 = range->must_be_1 = (u32)value;
	range->may_be_1 = value >> 32;
	if (capabilities.true_msrs && info->true_msr) {
		const u64 true_value = rdmsr(info->true_msr);

		range->must_be_1 = (u32)true_value;
		range->may_be_1 = true_value >> 32;
	}
}

const struct vmx_capabilities *vmx_capabilities(void)
{
	struct vmx_capabilities *c = &capabilities;

	if (c->basic)
		return c;
	c->basic = rdmsr(IA32_VMX_BASIC);
	c->revision = c->basic & 0x7fffffff;
	c->true_msrs = c->basic & BIT(55);
	c->misc = rdmsr(IA32_VMX_MISC);
	c->cr3_targets = c->misc >> 16 & 0x1ff;
	c->cr0_fixed0 = rdmsr(IA32_VMX_CR0_FIXED0);
	c->cr0_fixed1 = rdmsr(IA32_VMX_CR0_FIXED1);
	c->cr4_fixed0 = rdmsr(IA32_VMX_CR4_FIXED0);
	c->cr4_fixed1 = rdmsr(IA32_VMX_CR4_FIXED1);
	c->vmcs_enum = rdmsr(IA32_VMX_VMCS_ENUM);
	/* The rows are in an order in which each word's own need is read before it. */
	for (enum control_word word = 0; word < CONTROL_WORDS; word++)
		read_word(word);
	if (token_met(PROC2_ENABLE_EPT) || token_met(PROC2_ENABLE_VPID))
		c->ept_vpid = rdmsr(IA32_VMX_EPT_VPID_CAP);
	if (token_met(PROC2_ENABLE_VM_FUNCTIONS))
		c->vmfunc = rdmsr(IA32_VMX_VMFUNC);
	return c;
}

bool control_word_exists(enum control_word word)
{
	return !control_word_activator[word] || token_met(control_word_activator[word]);
}

const struct control_range *control_range(enum control_word word)
{
	const struct control_range *range = &vmx_capabilities()->word[word];

	for (u32 bit = 0; bit < 64; bit++)
		if (range->may_be_1 & BIT(bit))
			token_asked(CONTROL_CLASS | word << 8 | bit);
	return range;
}

bool control_value_allowed(enum control_word word, u64 value)
{
	const struct control_range *range = control_range(word);

	return (value & range->must_be_1) == range->must_be_1 && !(value & ~range->may_be_1);
}

static u64 capability_msr(u32 msr)
{
	const struct vmx_capabilities *c = vmx_capabilities();

	return msr == IA32_VMX_BASIC ? c->basic : msr == IA32_VMX_MISC ? c->misc :
	       msr == IA32_VMX_EPT_VPID_CAP ? c->ept_vpid : c->vmfunc;
}

static bool is_control(u32 token)
{
	return (token & 0xffff0000) == CONTROL_CLASS;
}

static bool is_capability(u32 token)
{
	return token > CAPABILITY_BASE && token < CAPABILITY_END;
}

static bool is_cr3_limit(u32 token)
{
	return (token & 0xffff0000) == LIMIT_CR3_TARGETS(0);
}

bool token_met(u32 token)
{
	if (token & LACKS(0))
		return !token_met(token & ~LACKS(0));
	if (is_control(token))
		return vmx_capabilities()->word[control_word(token)].may_be_1 & control_bit(token);
	if (is_capability(token)) {
		const u32 i = token - CAPABILITY_BASE - 1;

		return capability_msr(capability_rows[i].msr) >> capability_rows[i].bit & 1;
	}
	if (is_cr3_limit(token))
		return vmx_capabilities()->cr3_targets >= (token & 0xffff);
	return has_feature(token);
}

#ifdef VMXCHECK_CHECK_BUILD

/* The control that a capability says something about: without it the MSR or the bit makes no sense. */
static u32 control_of_capability(u32 token)
{
	const u32 i = token - CAPABILITY_BASE - 1;

	switch (capability_rows[i].msr) {
	case IA32_VMX_EPT_VPID_CAP: return capability_rows[i].bit < 32 ? PROC2_ENABLE_EPT : PROC2_ENABLE_VPID;
	case IA32_VMX_VMFUNC: return PROC2_ENABLE_VM_FUNCTIONS;
	default: return 0;
	}
}

/* Who asks for a control has asked for those without which no processor has it. */
static void ask(u32 token)
{
	token_asked(token);
	if (is_capability(token) && control_of_capability(token))
		ask(control_of_capability(token));
	if (token == CAP_VMFUNC_EPTP_SWITCHING)
		ask(PROC2_ENABLE_EPT);
	if (!is_control(token))
		return;
	if (control_word_activator[control_word(token)])
		ask(control_word_activator[control_word(token)]);
	for (const struct control_need *need = control_needs; need->control; need++)
		if (need->control == token)
			ask(need->needed);
}

#else

static void ask(UNUSED u32 token)
{
}

#endif

bool has(u32 token)
{
	ask(token & ~LACKS(0));
	return token_met(token);
}

bool capability_place(u32 token, u32 *msr, u32 *bit)
{
	if (!is_capability(token))
		return false;
	*msr = capability_rows[token - CAPABILITY_BASE - 1].msr;
	*bit = capability_rows[token - CAPABILITY_BASE - 1].bit;
	return true;
}

const char *token_name(u32 token)
{
	if (is_capability(token))
		return capability_rows[token - CAPABILITY_BASE - 1].name;
	for (size_t i = 0; i < ARRAY_SIZE(control_names); i++)
		if (control_names[i].token == token)
			return control_names[i].name;
	return NULL;
}

u32 token_named(const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(control_names); i++)
		if (strlen(control_names[i].name) == length && !memcmp(control_names[i].name, name, length))
			return control_names[i].token;
	for (u32 token = CAPABILITY_BASE + 1; token < CAPABILITY_END; token++)
		if (strlen(token_name(token)) == length && !memcmp(token_name(token), name, length))
			return token;
	return 0;
}

static const char *control_text(u32 token)
{
	for (size_t i = 0; i < ARRAY_SIZE(control_names); i++)
		if (control_names[i].token == token)
			return control_names[i].text;
	return "reserved";
}

bool token_format(char *to, size_t size, u32 token)
{
	if (token & LACKS(0)) {
		const int length = snprintf(to, size, "a processor without ");

		return token_format(to + length, size - length, token & ~LACKS(0));
	}
	if (is_control(token)) {
		const enum control_word word = control_word(token);

		snprintf(to, size, "%s control \"%s\" (%s[%u])", control_words[word].brief, control_text(token),
			 word_msr_names[word], (token & 0xff) + (is_wide(word) ? 0 : 32));
	} else if (is_capability(token)) {
		const u32 i = token - CAPABILITY_BASE - 1;

		snprintf(to, size, "%s (%s[%u])", capability_rows[i].text, capability_rows[i].msr_name,
			 capability_rows[i].bit);
	} else if (is_cr3_limit(token)) {
		snprintf(to, size, "%u CR3-target values (IA32_VMX_MISC[24:16])", token & 0xffff);
	} else if (token > FEATURE_BASE && token < FEATURE_END) {
		feature_format(to, size, token);
	} else {
		return false;
	}
	return true;
}
