/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/lacks.h"

#ifdef VMXCHECK_CHECK_BUILD

#include "libc/string.h"
#include "vmx/controls.h"
#include "vmx/decode.h"
#include "vmx/vmcs.h"
#include "x86/fault.h"
#include "x86/page.h"
#include "x86/processor.h"

enum { NO_FIELD = 0x7ffe, MAX_FIELDS = 64 };

static u64 hidden[CONTROL_WORDS];
static u64 hidden_basic, hidden_misc, hidden_ept_vpid, hidden_vmfunc;
static u32 fields[MAX_FIELDS], field_count;
static u32 highest_index;		/* of the fields that are left; 0: as it was */
static bool active;			/* anything is hidden */

static bool is_wide(u32 msr)
{
	return msr == IA32_VMX_PROCBASED_CTLS3 || msr == IA32_VMX_EXIT_CTLS2;
}

static bool hides(u32 control)
{
	return hidden[control_word(control)] & control_bit(control);
}

static bool hides_all_of(u32 msr)
{
	switch (msr) {
	case IA32_VMX_PROCBASED_CTLS2: return hides(PROC_ACTIVATE_SECONDARY_CONTROLS);
	case IA32_VMX_PROCBASED_CTLS3: return hides(PROC_ACTIVATE_TERTIARY_CONTROLS);
	case IA32_VMX_EXIT_CTLS2: return hides(EXITCTL_ACTIVATE_SECONDARY_CONTROLS);
	case IA32_VMX_EPT_VPID_CAP: return hides(PROC2_ENABLE_EPT) && hides(PROC2_ENABLE_VPID);
	case IA32_VMX_VMFUNC: return hides(PROC2_ENABLE_VM_FUNCTIONS);
	default: return msr >= IA32_VMX_TRUE_PINBASED_CTLS && msr <= IA32_VMX_TRUE_ENTRY_CTLS && hidden_basic & BIT(55);
	}
}

static u64 hidden_bits(u32 msr)
{
	for (enum control_word word = 0; word < CONTROL_WORDS; word++)
		if (control_words[word].msr == msr || control_words[word].true_msr == msr)
			return is_wide(msr) ? hidden[word] : hidden[word] << 32;
	switch (msr) {
	case IA32_VMX_BASIC: return hidden_basic;
	case IA32_VMX_MISC: return hidden_misc;
	case IA32_VMX_EPT_VPID_CAP: return hidden_ept_vpid;
	case IA32_VMX_VMFUNC: return hidden_vmfunc;
	default: return 0;
	}
}

static u64 masked(u32 msr, u64 value)
{
	if (active && hides_all_of(msr))
		*(volatile u8 *)BIT(63);	/* #GP(0), as RDMSR would */
	if (msr == IA32_VMX_VMCS_ENUM && highest_index)
		return (value & ~0x3feull) | highest_index << 1;
	return value & ~hidden_bits(msr);
}

/* ---- what goes with what */

static void hide(u32 token);

static void hide_what_needs(u32 control)
{
	for (enum control_word word = 0; word < CONTROL_WORDS; word++)
		for (u32 bit = 0; control_word_activator[word] == control && bit < 64; bit++)
			hide(CONTROL_CLASS | word << 8 | bit);
	for (const struct control_need *need = control_needs; need->control; need++)
		if (need->needed == control)
			hide(need->control);
	if (control == PROC2_ENABLE_EPT) {
		hidden_ept_vpid |= 0xffffffff;
		hidden_vmfunc |= BIT(0);
	}
	if (control == PROC2_ENABLE_VPID)
		hidden_ept_vpid |= ~0ull << 32;
	if (control == PROC2_ENABLE_VM_FUNCTIONS)
		hidden_vmfunc = ~0ull;
}

static void hide_capability(u32 msr, u64 bit)
{
	switch (msr) {
	case IA32_VMX_BASIC: hidden_basic |= bit; break;
	case IA32_VMX_MISC: hidden_misc |= bit; break;
	case IA32_VMX_EPT_VPID_CAP: hidden_ept_vpid |= bit; break;
	default: hidden_vmfunc |= bit;
	}
}

static void hide(u32 token)
{
	u32 msr, bit;

	if (capability_place(token, &msr, &bit)) {
		hide_capability(msr, BIT(bit));
		return;
	}
	if (hides(token))
		return;
	hidden[control_word(token)] |= control_bit(token);
	hide_what_needs(token);
}

static void find_hidden_fields(void)
{
	u32 before = 0, after = 0;

	for (u32 i = 0; i < vmcs_field_count; i++) {
		const u32 encoding = vmcs_fields[i].encoding, index = field_index(encoding);
		bool exists = !vmcs_fields[i].needs[0], lost = false;

		for (const u32 *need = vmcs_fields[i].needs; *need; need++) {
			exists |= token_met(*need);
			lost |= lacks_token(*need);
		}
		if ((exists || lost) && index > before)
			before = index;
		if (exists && index > after)
			after = index;
		if (!exists && lost && field_count < MAX_FIELDS)
			fields[field_count++] = encoding;
	}
	highest_index = after < before ? after : 0;
}

/* Controls of the default1 class may be 1 everywhere, and the suite does not live without a 64-bit host and guest. */
static bool may_be_lacked(u32 token)
{
	u32 msr, bit;

	return capability_place(token, &msr, &bit) ||
	       (token != EXITCTL_HOST_ADDRESS_SPACE_SIZE && token != ENTRYCTL_IA32E_MODE_GUEST &&
		!(control_words[control_word(token)].default1 & control_bit(token)));
}

bool lacks_parse(const char *names, size_t length)
{
	const char *const end = names + length;

	while (names < end) {
		const char *comma = names;

		while (comma < end && *comma != ',')
			comma++;

		const u32 token = token_named(names, comma - names);

		if (!token || !may_be_lacked(token))
			return false;
		hide(token);
		active = true;
		names = comma + 1;
	}
	vmx_msr_seen = masked;
	find_hidden_fields();
	return active;
}

bool lacks_token(u32 token)
{
	u32 msr, bit;

	if (capability_place(token, &msr, &bit))
		return hides_all_of(msr) || hidden_bits(msr) & BIT(bit);
	return (token & 0xffff0000) == CONTROL_CLASS && hides(token);
}

u64 lacks_field(u64 encoding)
{
	for (u32 i = 0; i < field_count; i++)
		if ((encoding & ~1ull) == fields[i])
			return NO_FIELD;
	return encoding;
}

const u64 *lacks_region(const u64 *address)
{
	static struct vmcs_region wrong;
	static u64 address_of_wrong;
	const bool readable = *address % PAGE_SIZE == 0 && *address < 4ull << 30;

	if (!hides(PROC2_VMCS_SHADOWING) || !readable || !(*(const volatile u32 *)*address & BIT(31)))
		return address;
	wrong.revision = ~vmx_capabilities()->revision & 0x7fffffff;
	address_of_wrong = physical_address(&wrong);
	return &address_of_wrong;
}

/* ---- VM entry */

static u64 pin_based;
static bool refusing;

static u64 read_quietly(u32 field)
{
	u64 value = 0;

	asm volatile("vmread %1, %0" : "+r"(value) : "r"((u64)field) : "cc", "memory");
	return value;
}

static void write_quietly(u32 field, u64 value)
{
	asm volatile("vmwrite %1, %0" : : "r"((u64)field), "r"(value) : "cc", "memory");
}

/* A pending MTF VM exit: type 7 is reserved on a processor without the monitor trap flag. */
static bool injects_mtf(void)
{
	const u32 information = read_quietly(VM_ENTRY_INTERRUPTION_INFORMATION);

	return information & INTERRUPTION_VALID && (information & INTERRUPTION_TYPE_MASK) == INTERRUPTION_TYPE_OTHER;
}

static bool is_refused(void)
{
	if (hides(PROC_MONITOR_TRAP_FLAG) && injects_mtf())
		return true;
	for (enum control_word word = 0; word < CONTROL_WORDS; word++) {
		const u32 activator = control_word_activator[word];

		if (activator && (!control_word_exists(word) ||
				  !(read_quietly(control_words[control_word(activator)].field) & control_bit(activator))))
			continue;

		const u64 value = read_quietly(control_words[word].field);

		if (value & hidden[word])
			return true;
		if (hidden_basic & BIT(55) && ~value & control_words[word].default1)
			return true;
	}
	return false;
}

/* All 32 at once are never allowed: bit 31 is reserved on every processor that there is. */
void lacks_before_entry(void)
{
	refusing = false;
	if (active)	/* not in VMX operation: VMREAD faults, and so will the entry */
		TRY(refusing = is_refused());
	if (!refusing)
		return;
	pin_based = read_quietly(PIN_BASED_CONTROLS);
	write_quietly(PIN_BASED_CONTROLS, 0xffffffff);
}

void lacks_after_entry(void)
{
	if (refusing)
		write_quietly(PIN_BASED_CONTROLS, pin_based);
	refusing = false;
}

#endif
