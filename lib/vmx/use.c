/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/use.h"

#ifdef VMXCHECK_CHECK_BUILD

#include "vmx/decode.h"
#include "vmx/guest.h"
#include "x86/asked.h"

/* What every processor lets be 1 (the default1 class), and what every VMCS of the suite has set (the baseline). */
static u64 always_set(enum control_word word)
{
	const u64 must_be_1 = vmx_capabilities()->word[word].must_be_1 | control_words[word].default1;

	switch (word) {
	case WORD_PIN:
		return must_be_1 | control_bit(PIN_ACTIVATE_VMX_PREEMPTION_TIMER) |
		       (guest.apic_timer_watchdog ? control_bit(PIN_EXTERNAL_INTERRUPT_EXITING) : 0);
	case WORD_EXITCTL:
		return must_be_1 | control_bit(EXITCTL_HOST_ADDRESS_SPACE_SIZE);
	case WORD_ENTRYCTL:
		return must_be_1 | control_bit(ENTRYCTL_IA32E_MODE_GUEST);
	default:
		return must_be_1;
	}
}

/* Whether or not there is a VMCS. */
static u64 read_quietly(u32 field)
{
	u64 value = 0;

	asm volatile("vmread %1, %0" : "+r"(value) : "r"((u64)field) : "cc", "memory");
	return value;
}

static u64 value_of(enum control_word word)
{
	return read_quietly(control_words[word].field);
}

/* Bits of a word that is not activated are not looked at. */
static bool is_active(enum control_word word)
{
	const u32 activator = control_word_activator[word];

	return !activator || (control_word_exists(word) && value_of(control_word(activator)) & control_bit(activator));
}

static bool controls_passed(struct outcome outcome)
{
	return outcome.kind == OUTCOME_EXIT || outcome.kind == OUTCOME_ENTRY_FAILURE ||
	       (outcome.kind == OUTCOME_FAIL_VALID && outcome.number == VMERR_ENTRY_INVALID_HOST_STATE);
}

u32 use_before_entry(void)
{
	return read_quietly(GUEST_ACTIVITY_STATE);
}

void use_of_entry(u32 activity, struct outcome outcome)
{
	static const u32 states[] = {
		0, CAP_MISC_ACTIVITY_HLT, CAP_MISC_ACTIVITY_SHUTDOWN, CAP_MISC_ACTIVITY_WAIT_FOR_SIPI,
	};

	if (!controls_passed(outcome))
		return;
	for (enum control_word word = 0; word < CONTROL_WORDS; word++) {
		/* What may not be 1 and was taken all the same is another check's business. */
		const u64 may_be_1 = vmx_capabilities()->word[word].may_be_1;
		u64 set = is_active(word) ? value_of(word) & may_be_1 & ~always_set(word) : 0;

		for (; set; set &= set - 1)
			token_used(CONTROL_CLASS | word << 8 | (u32)__builtin_ctzll(set));
	}
	if (outcome.kind == OUTCOME_EXIT && activity && activity < ARRAY_SIZE(states))
		token_used(states[activity]);
}

void use_of_field(u32 encoding)
{
	if (field_type(encoding) == FIELD_READ_ONLY)
		token_used(CAP_MISC_VMWRITE_ANY_FIELD);
}

#endif
