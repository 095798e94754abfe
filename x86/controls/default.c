/* SPDX-License-Identifier: BSD-2-Clause */
/* The default1 and default0 classes (SDM Vol. 3, Appendix A.2, "Reserved Controls and Default Settings"). */
#include "controls.h"

static u64 all_bits(enum control_word word)
{
	return word_bits(word) == 64 ? ~0ull : 0xffffffff;
}

/* From few controls and from many: each of these bits of a word inverted alone, and all at once: refused. */
static void expect_refused_inverted(enum control_word word, u64 bits)
{
	const struct words bases[] = { words_activate(words_minimal(), word), words_full() };

	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		struct words words = bases[i];

		expect_probe(&words, word, true);
		for (u32 bit = 0; bit < word_bits(word); bit++) {
			if (!(bits & BIT(bit)))
				continue;
			words.value[word] = bases[i].value[word] ^ BIT(bit);
			expect_probe(&words, word, false);
			/* The one bit right, all others of them wrong. */
			words.value[word] = bases[i].value[word] ^ bits ^ BIT(bit);
			if (bits != BIT(bit))
				expect_probe(&words, word, false);
		}
		words.value[word] = bases[i].value[word] ^ bits;
		if (bits)
			expect_probe(&words, word, false);
	}
}

TEST("entry.ctl.default1.cleared_legacy", "VM entry refuses a default1 control that is 0 where its MSR says it must be 1")
{
	probe_prepare();
	for (enum control_word word = 0; word < CONTROL_WORDS; word++)
		if (control_words[word].default1)
			expect_refused_inverted(word, control_words[word].default1 &
						vmx_capabilities()->word[word].must_be_1);
}

TEST("entry.ctl.default0.set", "VM entry refuses a default0 control that is 1 where its MSR says it may not be")
{
	probe_prepare();
	for (enum control_word word = 0; word < CONTROL_WORDS; word++)
		if (control_word_exists(word))
			expect_refused_inverted(word, all_bits(word) & ~control_words[word].default1 &
						~control_range(word)->may_be_1);
}

static void guest_loads_cr3(void)
{
	write_cr3(read_cr3());
}

static u64 guest_dr7;

static void guest_reads_dr7(void)
{
	guest_dr7 = read_dr7();
}

/* Bits 9 and 8 of DR7 (GE, LE) do nothing, and tell three values apart. */
#define DR7_HOST	0x700
#define DR7_VMCS	0x500
#define DR7_GUEST	0x600

static void guest_writes_dr7(void)
{
	write_dr7(DR7_GUEST);
}

static struct outcome run_from_the_start(void (*function)(void))
{
	vmcs_reset();
	guest_baseline();
	return guest_run(function);
}

static void expect_cr3_exiting_flexible(void)
{
	const u64 both = control_bit(PROC_CR3_LOAD_EXITING) | control_bit(PROC_CR3_STORE_EXITING);

	if ((word_flexible(WORD_PROC) & both) != both)
		return;
	run_from_the_start(guest_loads_cr3);	/* the baseline has all at 0 that may be 0 */
	expect_guest_done();

	vmcs_set_controls(PROC_CR3_LOAD_EXITING);
	guest_run(guest_loads_cr3);
	expect_exit(EXIT_CR_ACCESS);
	expect_bits(vmcs_read(EXIT_QUALIFICATION), 0x3f, 3);		/* MOV to CR3 */
	vmcs_clear_controls(PROC_CR3_LOAD_EXITING);
	vmcs_set_controls(PROC_CR3_STORE_EXITING);
	guest_run(guest_loads_cr3);
	expect_exit(EXIT_CR_ACCESS);
	expect_bits(vmcs_read(EXIT_QUALIFICATION), 0x3f, 1 << 4 | 3);	/* MOV from CR3 */
}

static void expect_load_debug_flexible(void)
{
	for (int load = 0; load < 2; load++) {
		vmcs_reset();
		guest_baseline();
		if (load)
			vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
		vmcs_write(GUEST_DR7, DR7_VMCS);
		write_dr7(DR7_HOST);
		guest_run(guest_reads_dr7);
		CASE("load debug controls = %u", load);
		expect_guest_done();
		expect_eq(guest_dr7, load ? DR7_VMCS : DR7_HOST);
		expect_eq(read_dr7(), 0x400);
	}
}

static void expect_save_debug_flexible(void)
{
	for (int save = 0; save < 2; save++) {
		vmcs_reset();
		guest_baseline();
		if (save)
			vmcs_set_controls(EXITCTL_SAVE_DEBUG_CONTROLS);
		vmcs_write(GUEST_DR7, DR7_VMCS);
		guest_run(guest_writes_dr7);
		CASE("save debug controls = %u", save);
		expect_guest_done();
		expect_eq(vmcs_read(GUEST_DR7), save ? DR7_GUEST : DR7_VMCS);
	}
}

TEST("entry.ctl.default1.flexible_ok", "A default1 control that the TRUE MSR lets be 0 may be 0, and then is off",
     NEEDS(CAP_BASIC_TRUE_CONTROLS))
{
	for (enum control_word word = 0; word < CONTROL_WORDS; word++) {
		const u64 flexible = control_words[word].default1 & ~vmx_capabilities()->word[word].must_be_1;
		const struct words base = words_minimal();
		struct words words = base;

		probe_prepare();
		for (u32 bit = 0; bit < 32; bit++) {
			words.value[word] = base.value[word] | (flexible & BIT(bit));
			expect_probe(&words, word, true);
			words.value[word] = (base.value[word] | flexible) & ~BIT(bit);
			if (flexible & BIT(bit))
				expect_probe(&words, word, true);
		}
	}
	expect_cr3_exiting_flexible();
	if (word_flexible(WORD_ENTRYCTL) & control_bit(ENTRYCTL_LOAD_DEBUG_CONTROLS))
		expect_load_debug_flexible();
	if (word_flexible(WORD_EXITCTL) & control_bit(EXITCTL_SAVE_DEBUG_CONTROLS))
		expect_save_debug_flexible();
}
