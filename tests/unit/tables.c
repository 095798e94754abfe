/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables of lib/vmx and lib/x86 (their .def files) are well formed: what no compiler and no boot would notice.
 * A host program, built with -Ilib from this file alone. It prints TAP and exits with 1 if something is wrong.
 *
 * Each check runs on the tables, where it must find nothing, and on a copy with one row spoilt, where it must find
 * something: a check that can't fail is itself a failure.
 */
#include "tables_checks.h"

static struct row *row_of(struct tables *tables, enum table table, const char *name)
{
	return (struct row *)find(tables, table, name);
}

#define SPOIL(name, table, row, change) \
	static void name(struct tables *t) { row_of(t, table, row)->change; }

SPOIL(same_name, EXITS, "EXIT_HLT", name = "EXIT_INVD")
SPOIL(same_text, ERRORS, "VMERR_VMXON_IN_ROOT", text = "VMCALL executed in VMX root operation")
SPOIL(same_bit, CONTROLS, "PROC_HLT_EXITING", bit = 9)
SPOIL(out_of_order, FIELDS, "TSC_OFFSET", number = 0x2054)
SPOIL(high_half, FIELDS, "EPT_POINTER", number = 0x201b)
SPOIL(wrong_width, FIELDS, "GUEST_CR3", number = 0x4830)
SPOIL(wrong_type, FIELDS, "HOST_RSP", number = 0x6830)
SPOIL(one_missing, FIELDS, "HOST_IA32_INTERRUPT_SSP_TABLE_ADDR", name = NULL)
SPOIL(wrong_default1, CONTROL_WORDS, "EXITCTL", default1 = 0x00036dfb)
SPOIL(wrong_word, CONTROLS, "PROC2_ENABLE_EPT", place = PROC)
SPOIL(names_default1, CONTROLS, "PIN_NMI_EXITING", bit = 4)
SPOIL(other_text, CONTROLS, "PROC2_ENABLE_EPT", text = "enable VPID")
SPOIL(wrong_prefix, ERRORS, "VMERR_VMXON_IN_ROOT", name = "EXIT_VMXON_IN_ROOT")
SPOIL(msr_renamed, MSRS, "IA32_EFER", text = "MSR_EFER")
SPOIL(msr_moved, MSRS, "IA32_VMX_EXIT_CTLS2", number = 0x494)
SPOIL(capability_moved, CAPABILITIES, "CAP_INVEPT", number = 0x485)
SPOIL(bit_32, FEATURES, "FEATURE_VMX", bit = 32)
SPOIL(unused_reason, EXITS, "EXIT_PAUSE", number = 38)

static const struct {
	const char *title;
	void (*check)(const struct tables *);
	void (*spoil)(struct tables *);
} checks[] = {
	{ "no name is there twice", names_unique, same_name },
	{ "no manual's name is there twice", texts_unique, same_text },
	{ "no encoding, number or bit is there twice", places_unique, same_bit },
	{ "fields, exits, errors and MSRs are in ascending order", rows_ascend, out_of_order },
	{ "encodings are full and have no reserved bit", encodings_well_formed, high_half },
	{ "a field's width is what its name says", widths_match_names, wrong_width },
	{ "a field's type is what its name says", types_match_names, wrong_type },
	{ "every table of Appendix B is complete", appendix_complete, one_missing },
	{ "control words: field, capability MSRs, default1", words_name_their_place, wrong_default1 },
	{ "controls: prefix and width of their word", controls_in_their_word, wrong_word },
	{ "default1 bits have no name but four", default1_unnamed, names_default1 },
	{ "a control's C name spells the manual's name", control_names_spell_texts, other_text },
	{ "names have their table's prefix", prefixes_right, wrong_prefix },
	{ "an MSR's name is the manual's", msr_texts_are_names, msr_renamed },
	{ "MSR numbers", msr_numbers_right, msr_moved },
	{ "capabilities are in the MSR that their name says", capabilities_in_their_msr, capability_moved },
	{ "feature bits are bits of a register", feature_bits_exist, bit_32 },
	{ "unused reasons and errors are unused", unused_numbers_unused, unused_reason },
};

static unsigned int run(void (*check)(const struct tables *), const struct tables *tables, bool silent)
{
	complaints = 0;
	quiet = silent;
	check(tables);
	return complaints;
}

int main(void)
{
	static struct tables spoilt;
	bool failed = false;

	printf("TAP version 13\n1..%zu\n", 2 * COUNT(checks));
	for (size_t i = 0; i < COUNT(checks); i++) {
		bool ok = run(checks[i].check, &real_tables, false) == 0;

		printf("%s %zu - tables: %s\n", ok ? "ok" : "not ok", 2 * i + 1, checks[i].title);
		failed |= !ok;

		spoilt = real_tables;
		checks[i].spoil(&spoilt);
		ok = run(checks[i].check, &spoilt, true) != 0;
		printf("%s %zu - tables: %s: a spoilt table is noticed\n", ok ? "ok" : "not ok", 2 * i + 2,
		       checks[i].title);
		failed |= !ok;
	}
	return failed;
}
