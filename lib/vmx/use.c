/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/use.h"

#ifdef VMXCHECK_CHECK_BUILD

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

static u64 value_of(enum control_word word)
{
	u64 value = 0;

	asm volatile("vmread %1, %0" : "+r"(value) : "r"((u64)control_words[word].field) : "cc", "memory");
	return value;
}

/* Bits of a word that is not activated are not looked at. */
static bool is_active(enum control_word word)
{
	const u32 activator = control_word_activator[word];

	return !activator || (control_word_exists(word) && value_of(control_word(activator)) & control_bit(activator));
}

void use_of_controls(const u32 *controls)
{
	for (; *controls; controls++)
		if (!(control_words[control_word(*controls)].default1 & control_bit(*controls)))
			token_used(*controls);
}

void use_of_entry(void)
{
	for (enum control_word word = 0; word < CONTROL_WORDS; word++) {
		u64 set = is_active(word) ? value_of(word) & ~always_set(word) : 0;

		for (; set; set &= set - 1)
			token_used(CONTROL_CLASS | word << 8 | (u32)__builtin_ctzll(set));
	}
}

void use_of_field(u32 encoding, u64 value)
{
	static const u32 activity_states[] = { 0, CAP_MISC_ACTIVITY_HLT, CAP_MISC_ACTIVITY_SHUTDOWN,
					       CAP_MISC_ACTIVITY_WAIT_FOR_SIPI };

	if (field_type(encoding) == FIELD_READ_ONLY)
		token_used(CAP_MISC_VMWRITE_ANY_FIELD);
	if (encoding == GUEST_ACTIVITY_STATE && value && value < ARRAY_SIZE(activity_states))
		token_used(activity_states[value]);
}

#endif
