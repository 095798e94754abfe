/* SPDX-License-Identifier: BSD-2-Clause */
#include "controls.h"

/* Never 1 together. */
static const u32 excludes[][2] = {
	{ PROC2_VIRTUALIZE_X2APIC_MODE, PROC2_VIRTUALIZE_APIC_ACCESSES },
};

static u32 token(enum control_word word, u32 bit)
{
	return CONTROL_CLASS | word << 8 | bit;
}

static bool is_set(const struct words *words, u32 control)
{
	return words->value[control_word(control)] & control_bit(control);
}

u32 word_bits(enum control_word word)
{
	return word == WORD_PROC3 || word == WORD_EXITCTL2 ? 64 : 32;
}

static struct words set_control(struct words words, u32 control)
{
	return words_set(words, control_word(control), control & 0xff);
}

static struct words clear_control(struct words words, u32 control)
{
	return words_clear(words, control_word(control), control & 0xff);
}

static struct words clear_excluded(struct words words, u32 control)
{
	for (size_t i = 0; i < ARRAY_SIZE(excludes); i++)
		for (int side = 0; side < 2; side++)
			if (excludes[i][side] == control && is_set(&words, excludes[i][!side]))
				words = clear_control(words, excludes[i][!side]);
	return words;
}

struct words words_set(struct words words, enum control_word word, u32 bit)
{
	const u32 control = token(word, bit);

	words.value[word] |= BIT(bit);
	words = clear_excluded(words, control);
	for (const struct control_need *need = control_needs; need->control; need++)
		if (need->control == control && has(need->needed) && !is_set(&words, need->needed))
			words = set_control(words, need->needed);
	return words_activate(words, word);
}

struct words words_activate(struct words words, enum control_word word)
{
	return control_word_activator[word] ? set_control(words, control_word_activator[word]) : words;
}

/* Those that need this one: by the table, or all of the word that it activates. */
struct words words_clear(struct words words, enum control_word word, u32 bit)
{
	const u32 control = token(word, bit);

	words.value[word] &= ~BIT(bit);
	for (const struct control_need *need = control_needs; need->control; need++)
		if (need->needed == control && is_set(&words, need->control))
			words = clear_control(words, need->control);
	for (enum control_word other = 0; other < CONTROL_WORDS; other++)
		for (u32 i = 0; control_word_activator[other] == control && i < word_bits(other); i++)
			if (words.value[other] & BIT(i))
				words = words_clear(words, other, i);
	return words;
}

/*
 * "Host address-space size" must be what the host is: its check is among those of the host
 * state. The two controls of SMM are refused outside it whatever their MSR says; what SEAM
 * and the virtual APIC timer demand is not in the SDM's list of checks.
 */
bool bit_not_probed(enum control_word word, u32 bit)
{
	const u32 control = token(word, bit);

	switch (control) {
	case EXITCTL_HOST_ADDRESS_SPACE_SIZE:
		return true;
	case ENTRYCTL_ENTRY_TO_SMM:
	case ENTRYCTL_DEACTIVATE_DUAL_MONITOR_TREATMENT:
	case ENTRYCTL_ALLOW_SEAM_GUEST_TELEMETRY:
	case PROC3_SEAM_GUEST_PHYSICAL_ADDRESS_WIDTH:
	case PROC3_APIC_TIMER_VIRTUALIZATION:
		return has(control);
	default:
		return false;
	}
}

struct words words_minimal(void)
{
	struct words words;

	for (enum control_word word = 0; word < CONTROL_WORDS; word++)
		words.value[word] = vmx_capabilities()->word[word].must_be_1;
	words.value[WORD_EXITCTL] |= control_bit(EXITCTL_HOST_ADDRESS_SPACE_SIZE);
	words.value[WORD_ENTRYCTL] |= control_bit(ENTRYCTL_IA32E_MODE_GUEST);
	return words;
}

u64 word_flexible(enum control_word word)
{
	const struct control_range *range = control_range(word);
	u64 flexible = range->may_be_1 & ~range->must_be_1;

	for (u32 bit = 0; bit < word_bits(word); bit++)
		if (bit_not_probed(word, bit))
			flexible &= ~BIT(bit);
	return flexible;
}

struct words words_full(void)
{
	struct words words = words_minimal();

	for (enum control_word word = 0; word < CONTROL_WORDS; word++)
		for (u32 bit = 0; bit < word_bits(word); bit++)
			if (word_flexible(word) & BIT(bit))
				words = words_set(words, word, bit);
	return words;
}

/* Of fields that the processor lacks there is nothing to write. */
static void write_if_there(enum vmcs_field field, u64 value)
{
	if (field_exists(field_find(field)))
		vmcs_write(field, value);
}

static u64 valid_eptp(void)
{
	const u64 memory_type = has(CAP_EPT_MEMORY_TYPE_WB) ? 6 : 0;
	const u64 walk_length = has(CAP_EPT_PAGE_WALK_LENGTH_4) ? 4 : 5;

	return physical_address(page_alloc()) | memory_type | (walk_length - 1) << 3;
}

void probe_prepare(void)
{
	static const enum vmcs_field pages[] = {
		IO_BITMAP_A_ADDRESS, IO_BITMAP_B_ADDRESS, MSR_BITMAP_ADDRESS, VIRTUAL_APIC_ADDRESS,
		APIC_ACCESS_ADDRESS, POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, VMREAD_BITMAP_ADDRESS,
		VMWRITE_BITMAP_ADDRESS, PML_ADDRESS, VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS,
		SUB_PAGE_PERMISSION_TABLE_POINTER, EPTP_LIST_ADDRESS, LOW_PASID_DIRECTORY_ADDRESS,
		HIGH_PASID_DIRECTORY_ADDRESS, HLAT_POINTER, PID_POINTER_TABLE_ADDRESS,
	};

	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		write_if_there(pages[i], physical_address(page_alloc()));
	write_if_there(EPT_POINTER, valid_eptp());
	write_if_there(VPID, 1);

	/* A failed entry loads the host's state too: let it load what is there. */
	if (!TRY(rdmsr(IA32_PERF_GLOBAL_CTRL)).raised)
		write_if_there(HOST_IA32_PERF_GLOBAL_CTRL, rdmsr(IA32_PERF_GLOBAL_CTRL));
}

struct outcome probe(const struct words *words)
{
	for (enum control_word word = 0; word < CONTROL_WORDS; word++)
		if (control_word_exists(word))
			vmcs_write(control_words[word].field, words->value[word]);
	return entry_attempt(true);
}

void expect_probe(const struct words *words, enum control_word word, bool accepted)
{
	CASE("%s controls %#lx", control_words[word].brief, words->value[word]);
	expect_outcome(probe(words), accepted ? CONTROLS_ACCEPTED : CONTROLS_REFUSED);
}
