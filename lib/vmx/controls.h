/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VM-execution, VM-exit and VM-entry controls, and the capability MSRs that say
 * which may be set (SDM Vol. 3, Appendix A). One row each in controls.def and
 * capabilities.def.
 */
#pragma once

#include "libc/types.h"
#include "vmx/fields.h"
#include "x86/feature.h"

enum control_word {
#define CONTROL_WORD(word, field, msr, true_msr, default1, text, brief) WORD_##word,
#include "vmx/controls.def"
	CONTROL_WORDS
};

/*
 * A control is a number that says its word and bit; a capability one that stands
 * for its row. Both, and CPUID features, go into NEEDS(), fields.def and has().
 */
#define CONTROL_CLASS 0x10000000u
#define CONTROL_TOKEN(word, bit) (CONTROL_CLASS | (WORD_##word) << 8 | (bit))

enum control {
#define CONTROL(word, bit, name, text) name = CONTROL_TOKEN(word, bit),
#include "vmx/controls.def"
};

enum capability {
	CAPABILITY_BASE = 0x50000000,
#define CAPABILITY(name, msr, bit, text) name,
#include "vmx/capabilities.def"
	CAPABILITY_END
};

#define LIMIT_CR3_TARGETS(n) (0x60000000u | (n))

/* The opposite: LACKS(PROC2_ENABLE_RDTSCP) is met where the control cannot be 1. */
#define LACKS(token) (LACKING | (token))

static inline enum control_word control_word(enum control control)
{
	return control >> 8 & 0xff;
}

static inline u64 control_bit(enum control control)
{
	return BIT(control & 0xff);
}

/* What one control word may hold. */
struct control_range {
	u64 must_be_1;		/* by the TRUE MSR where there is one */
	u64 legacy_must_be_1;	/* by the MSR without TRUE */
	u64 may_be_1;
};

/* All VMX capability MSRs, read once; those that do not exist are 0. */
struct vmx_capabilities {
	u64 basic, misc, cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1, vmcs_enum, ept_vpid, vmfunc;
	struct control_range word[CONTROL_WORDS];
	u32 revision;		/* VMCS revision identifier */
	u32 cr3_targets;	/* number of CR3-target values */
	bool true_msrs;		/* IA32_VMX_BASIC[55] */
};

const struct vmx_capabilities *vmx_capabilities(void);

struct control_word_info {
	enum vmcs_field field;
	u32 msr, true_msr;	/* true_msr 0: none */
	u64 default1;
	const char *text, *brief;
};

extern const struct control_word_info control_words[CONTROL_WORDS];

/* The control of another word that makes this one exist and take effect; 0: it always does. */
extern const u32 control_word_activator[CONTROL_WORDS];

/* Controls that must accompany another one (control_needs.def); ends with 0. */
struct control_need {
	u32 control, needed;
};

extern const struct control_need control_needs[];

/* Is there such a word at all (the secondary ones need a bit of the primary)? */
bool control_word_exists(enum control_word word);

/*
 * May the control be 1, is the capability or the feature there? Takes any token:
 * a control, a capability, a CPUID feature, LIMIT_CR3_TARGETS(n), LACKS(...) of one.
 */
bool has(u32 token);

/*
 * The same for the library's own use. In the check build a test may use only what it has asked for, by NEEDS() or
 * has(), beside the controls that the baseline sets; what the library looks up for itself a test has not asked for.
 * Whoever asks for a control has asked for those that it needs (control_needs.def), and for its word's activator.
 */
bool token_met(u32 token);

/* What the word may hold: the test asks for every control of it that may be 1. */
const struct control_range *control_range(enum control_word word);

/* Is every bit of the word either one that may be both, or at its one allowed value? */
bool control_value_allowed(enum control_word word, u64 value);

/* The name in controls.def or capabilities.def, NULL or 0: no such token; and where a capability's bit is. */
const char *token_name(u32 token);
u32 token_named(const char *name, size_t length);
bool capability_place(u32 token, u32 *msr, u32 *bit);

/* "secondary control "enable EPT" (IA32_VMX_PROCBASED_CTLS2[33])"; false: no such token. */
bool token_format(char *to, size_t size, u32 token);
