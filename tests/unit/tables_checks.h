/* SPDX-License-Identifier: BSD-2-Clause */
/* What must hold of the tables. A check calls complain() for each row that is wrong. */
#pragma once

#include "tables.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What the check at work has found; it prints the first few unless the tables are spoilt on purpose. */
static unsigned int complaints;
static bool quiet;

static void __attribute__((format(printf, 1, 2))) complain(const char *format, ...)
{
	va_list arguments;

	if (complaints++ >= 10 || quiet)
		return;
	va_start(arguments, format);
	fputs("# ", stdout);
	vprintf(format, arguments);
	putchar('\n');
	va_end(arguments);
}

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with)
{
	return strlen(text) >= strlen(with) && strcmp(text + strlen(text) - strlen(with), with) == 0;
}

static const struct row *find(const struct tables *tables, enum table table, const char *name)
{
	FOR_EACH(row, tables, table)
		if (strcmp(row->name, name) == 0)
			return row;
	return NULL;
}

/* Structure of an encoding: SDM Vol. 3C, "VMREAD, VMWRITE, and Encodings of VMCS Fields". */
enum width { WIDTH_16, WIDTH_64, WIDTH_32, WIDTH_NATURAL };
enum type { TYPE_CONTROL, TYPE_READ_ONLY, TYPE_GUEST, TYPE_HOST };

static enum width width_of(uint32_t encoding)
{
	return encoding >> 13 & 3;
}

static enum type type_of(uint32_t encoding)
{
	return encoding >> 10 & 3;
}

/* --- checks on every table ------------------------------------------------------------------------------------ */

static void names_unique(const struct tables *tables)
{
	for (enum table t = 0; t < TABLES; t++)
		FOR_EACH(row, tables, t)
			for (const struct row *next = row + 1; next->name; next++)
				if (strcmp(row->name, next->name) == 0)
					complain("%s is there twice", row->name);
}

/* Two bits of two words may share the manual's name ("load IA32_PAT"); within a word or table none may. */
static void texts_unique(const struct tables *tables)
{
	for (enum table t = 0; t < TABLES; t++)
		FOR_EACH(row, tables, t)
			for (const struct row *next = row + 1; next->name; next++)
				if (strcmp(row->text, next->text) == 0 && row->place == next->place)
					complain("\"%s\" is there twice", row->text);
}

/* Encodings, exit reasons, error numbers and MSRs, and the places of control, capability and feature bits. */
static void places_unique(const struct tables *tables)
{
	for (enum table t = 0; t < TABLES; t++)
		FOR_EACH(row, tables, t)
			for (const struct row *next = row + 1; next->name; next++)
				if (row->number == next->number && row->place == next->place && row->bit == next->bit)
					complain("%s and %s are the same", row->name, next->name);
}

static void rows_ascend(const struct tables *tables)
{
	static const enum table ordered[] = { FIELDS, EXITS, ERRORS, MSRS };

	for (size_t i = 0; i < COUNT(ordered); i++)
		FOR_EACH(row, tables, ordered[i])
			if (row[1].name && row->number >= row[1].number)
				complain("%s is not below %s", row->name, row[1].name);
}

/* --- fields --------------------------------------------------------------------------------------------------- */

static void encodings_well_formed(const struct tables *tables)
{
	FOR_EACH(row, tables, FIELDS) {
		if (row->number & 1)
			complain("%s: %04x is the high half of a field", row->name, row->number);
		if (row->number & ~0x6ffeu & ~1u)
			complain("%s: %04x has a reserved bit", row->name, row->number);
	}
}

static void widths_match_names(const struct tables *tables)
{
	static const struct {
		const char *ending;
		enum width width;
	} rules[] = {
		{ "_SELECTOR", WIDTH_16 },	{ "_INDEX", WIDTH_16 },		{ "_VECTOR", WIDTH_16 },
		{ "_ADDRESS", WIDTH_64 },	{ "_POINTER", WIDTH_64 },	{ "_PAT", WIDTH_64 },
		{ "_EFER", WIDTH_64 },		{ "_EVENT_DATA", WIDTH_64 },	{ "_GLOBAL_CTRL", WIDTH_64 },
		{ "_LIMIT", WIDTH_32 },		{ "_ACCESS_RIGHTS", WIDTH_32 },	{ "_COUNT", WIDTH_32 },
		{ "_STATE", WIDTH_32 },		{ "_ERROR_CODE", WIDTH_32 },	{ "_LENGTH", WIDTH_32 },
		{ "_INFORMATION", WIDTH_32 },	{ "_SYSENTER_CS", WIDTH_32 },	{ "_REASON", WIDTH_32 },
		{ "_BASE", WIDTH_NATURAL },	{ "_CR0", WIDTH_NATURAL },	{ "_CR3", WIDTH_NATURAL },
		{ "_CR4", WIDTH_NATURAL },	{ "_DR7", WIDTH_NATURAL },	{ "_RSP", WIDTH_NATURAL },
		{ "_RIP", WIDTH_NATURAL },	{ "_RFLAGS", WIDTH_NATURAL },	{ "_SSP", WIDTH_NATURAL },
		{ "_S_CET", WIDTH_NATURAL },	{ "_SYSENTER_ESP", WIDTH_NATURAL },
		{ "_SYSENTER_EIP", WIDTH_NATURAL }, { "_QUALIFICATION", WIDTH_NATURAL },
		{ "_READ_SHADOW", WIDTH_NATURAL }, { "_HOST_MASK", WIDTH_NATURAL },
	};

	FOR_EACH(row, tables, FIELDS) {
		if (strcmp(row->name, "GUEST_LINEAR_ADDRESS") == 0)
			continue;	/* the one address as wide as the processor */
		for (size_t i = 0; i < COUNT(rules); i++)
			if (ends(row->name, rules[i].ending) && width_of(row->number) != rules[i].width)
				complain("%s: %04x has the wrong width", row->name, row->number);
	}
}

static void types_match_names(const struct tables *tables)
{
	static const char *const not_guest[] = {
		"GUEST_PHYSICAL_ADDRESS", "GUEST_LINEAR_ADDRESS", "GUEST_DEADLINE_SHADOW",
	};

	FOR_EACH(row, tables, FIELDS) {
		const enum type type = type_of(row->number);
		bool guest = starts(row->name, "GUEST_");

		for (size_t i = 0; i < COUNT(not_guest); i++)
			if (strcmp(row->name, not_guest[i]) == 0)
				guest = false;
		if ((guest && type != TYPE_GUEST) ||
		    (starts(row->name, "HOST_") != (type == TYPE_HOST)) ||
		    (starts(row->name, "EXIT_") && type != TYPE_READ_ONLY) ||
		    (starts(row->name, "VM_ENTRY_") && type != TYPE_CONTROL) ||
		    (starts(row->name, "VM_EXIT_") && type != TYPE_CONTROL))
			complain("%s: %04x has the wrong type", row->name, row->number);
		if ((guest && !starts(row->text, "Guest ")) ||
		    (type == TYPE_HOST && !starts(row->text, "Host ")))
			complain("%s is called \"%s\"", row->name, row->text);
	}
}

/* Appendix B, one table each: how many fields, and the highest index in use. */
static void appendix_complete(const struct tables *tables)
{
	static const struct {
		enum width width;
		enum type type;
		unsigned int fields, last;
	} appendix[] = {
		{ WIDTH_16, TYPE_CONTROL, 6, 0x000a },		{ WIDTH_16, TYPE_GUEST, 11, 0x0814 },
		{ WIDTH_16, TYPE_HOST, 7, 0x0c0c },		{ WIDTH_64, TYPE_CONTROL, 39, 0x2052 },
		{ WIDTH_64, TYPE_READ_ONLY, 3, 0x2404 },	{ WIDTH_64, TYPE_GUEST, 23, 0x2830 },
		{ WIDTH_64, TYPE_HOST, 13, 0x2c1a },		{ WIDTH_32, TYPE_CONTROL, 20, 0x4026 },
		{ WIDTH_32, TYPE_READ_ONLY, 8, 0x440e },	{ WIDTH_32, TYPE_GUEST, 23, 0x482e },
		{ WIDTH_32, TYPE_HOST, 1, 0x4c00 },		{ WIDTH_NATURAL, TYPE_CONTROL, 8, 0x600e },
		{ WIDTH_NATURAL, TYPE_READ_ONLY, 6, 0x640a },	{ WIDTH_NATURAL, TYPE_GUEST, 23, 0x682c },
		{ WIDTH_NATURAL, TYPE_HOST, 15, 0x6c1c },
	};

	for (size_t i = 0; i < COUNT(appendix); i++) {
		unsigned int fields = 0, last = 0;

		FOR_EACH(row, tables, FIELDS)
			if (width_of(row->number) == appendix[i].width && type_of(row->number) == appendix[i].type) {
				fields++;
				last = row->number;
			}
		if (fields != appendix[i].fields || last != appendix[i].last)
			complain("%u fields up to %04x, expected %u up to %04x", fields, last, appendix[i].fields,
				 appendix[i].last);
	}
}

/* --- controls ------------------------------------------------------------------------------------------------- */

static const struct row *word_of(const struct tables *tables, uint32_t word)
{
	FOR_EACH(row, tables, CONTROL_WORDS)
		if (row->place == word)
			return row;
	return NULL;
}

static void words_name_their_place(const struct tables *tables)
{
	/* Fields and MSRs by number, and default1 by bits, from the tables of Appendix A.2 to A.5. */
	static const struct {
		const char *name;
		uint32_t field, msr, true_msr;
		const char *default1;
	} words[] = {
		{ "PIN", 0x4000, 0x481, 0x48d, "1 2 4" },
		{ "PROC", 0x4002, 0x482, 0x48e, "1 4 5 6 8 13 14 15 16 26" },
		{ "PROC2", 0x401e, 0x48b, 0, "" },
		{ "PROC3", 0x2034, 0x492, 0, "" },
		{ "EXITCTL", 0x400c, 0x483, 0x48f, "0 1 2 3 4 5 6 7 8 10 11 13 14 16 17" },
		{ "EXITCTL2", 0x2044, 0x493, 0, "" },
		{ "ENTRYCTL", 0x4012, 0x484, 0x490, "0 1 2 3 4 5 6 7 8 12" },
	};

	for (size_t i = 0; i < COUNT(words); i++) {
		const struct row *row = find(tables, CONTROL_WORDS, words[i].name);
		const char *bits = words[i].default1;
		uint32_t default1 = 0;

		for (char *rest; *bits; bits = rest)
			default1 |= 1u << strtoul(bits, &rest, 10);
		if (!row || row->field != words[i].field || row->number != words[i].msr ||
		    row->true_msr != words[i].true_msr || row->default1 != default1)
			complain("word %s", words[i].name);
	}
}

static void controls_in_their_word(const struct tables *tables)
{
	FOR_EACH(row, tables, CONTROLS) {
		const struct row *word = word_of(tables, row->place);
		const size_t length = strlen(word->name);

		if (!starts(row->name, word->name) || row->name[length] != '_')
			complain("%s does not begin with %s_", row->name, word->name);
		if (row->bit > (width_of(word->field) == WIDTH_64 ? 63u : 31u))
			complain("%s: bit %u is beyond the word", row->name, row->bit);
	}
}

/* A default1 bit has no name, but for the few that the manual names; a control with no name is a reserved bit. */
static void default1_unnamed(const struct tables *tables)
{
	static const char *const named[] = {
		"PROC_CR3_LOAD_EXITING", "PROC_CR3_STORE_EXITING", "EXITCTL_SAVE_DEBUG_CONTROLS",
		"ENTRYCTL_LOAD_DEBUG_CONTROLS",
	};
	unsigned int found = 0;

	FOR_EACH(row, tables, CONTROLS) {
		bool allowed = false;

		if (row->bit > 31 || !(word_of(tables, row->place)->default1 >> row->bit & 1))
			continue;
		for (size_t i = 0; i < COUNT(named); i++)
			allowed |= strcmp(row->name, named[i]) == 0;
		if (!allowed)
			complain("%s is a default1 bit", row->name);
		found++;
	}
	if (found != COUNT(named))
		complain("%u default1 bits have a name, expected %zu", found, COUNT(named));
}

/* The C name spells the manual's name: letters and digits only, "-" and "/" between words become "_" or nothing. */
static void spell(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text && n + 1 < size; text++) {
		const char c = *text;

		if (c >= 'a' && c <= 'z')
			out[n++] = (char)(c - 'a' + 'A');
		else if ((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
			out[n++] = c;
	}
	out[n] = '\0';
}

static void control_names_spell_texts(const struct tables *tables)
{
	FOR_EACH(row, tables, CONTROLS) {
		char text[96], name[96];

		spell(text, sizeof(text), row->text);
		spell(name, sizeof(name), row->name + strlen(word_of(tables, row->place)->name));
		if (strcmp(text, name) != 0)
			complain("%s is called \"%s\"", row->name, row->text);
	}
}

/* --- the others ----------------------------------------------------------------------------------------------- */

static void prefixes_right(const struct tables *tables)
{
	static const char *const prefix[TABLES] = {
		[EXITS] = "EXIT_", [ERRORS] = "VMERR_", [CAPABILITIES] = "CAP_", [FEATURES] = "FEATURE_",
		[MSRS] = "IA32_",
	};

	for (enum table t = 0; t < TABLES; t++)
		FOR_EACH(row, tables, t)
			if (prefix[t] && !starts(row->name, prefix[t]))
				complain("%s does not begin with %s", row->name, prefix[t]);
}

static void msr_texts_are_names(const struct tables *tables)
{
	FOR_EACH(row, tables, MSRS)
		if (strcmp(row->name, row->text) != 0)
			complain("%s is called \"%s\"", row->name, row->text);
}

/* 480H to 493H in the order of Appendix A's MSRs, and a handful that many tests lean on. */
static void msr_numbers_right(const struct tables *tables)
{
	static const char *const vmx[] = {
		"BASIC", "PINBASED_CTLS", "PROCBASED_CTLS", "EXIT_CTLS", "ENTRY_CTLS", "MISC", "CR0_FIXED0",
		"CR0_FIXED1", "CR4_FIXED0", "CR4_FIXED1", "VMCS_ENUM", "PROCBASED_CTLS2", "EPT_VPID_CAP",
		"TRUE_PINBASED_CTLS", "TRUE_PROCBASED_CTLS", "TRUE_EXIT_CTLS", "TRUE_ENTRY_CTLS", "VMFUNC",
		"PROCBASED_CTLS3", "EXIT_CTLS2",
	};
	static const struct {
		const char *name;
		uint32_t number;
	} some[] = {
		{ "IA32_FEATURE_CONTROL", 0x3a }, { "IA32_SYSENTER_CS", 0x174 }, { "IA32_DEBUGCTL", 0x1d9 },
		{ "IA32_PAT", 0x277 }, { "IA32_PERF_GLOBAL_CTRL", 0x38f }, { "IA32_EFER", 0xc0000080 },
		{ "IA32_FS_BASE", 0xc0000100 }, { "IA32_GS_BASE", 0xc0000101 },
	};

	for (size_t i = 0; i < COUNT(vmx); i++) {
		char name[64];
		const struct row *row;

		snprintf(name, sizeof(name), "IA32_VMX_%s", vmx[i]);
		row = find(tables, MSRS, name);
		if (!row || row->number != 0x480 + i)
			complain("%s is not MSR %zx", name, 0x480 + i);
	}
	for (size_t i = 0; i < COUNT(some); i++) {
		const struct row *row = find(tables, MSRS, some[i].name);

		if (!row || row->number != some[i].number)
			complain("%s is not MSR %x", some[i].name, some[i].number);
	}
}

static void capabilities_in_their_msr(const struct tables *tables)
{
	FOR_EACH(row, tables, CAPABILITIES) {
		const char *name = row->name;
		const uint32_t msr = starts(name, "CAP_BASIC_") ? 0x480 : starts(name, "CAP_MISC_") ? 0x485 :
				     starts(name, "CAP_VMFUNC_") ? 0x491 : 0x48c;

		if (row->number != msr || row->bit > 63)
			complain("%s is bit %u of MSR %x", name, row->bit, row->number);
	}
}

static void feature_bits_exist(const struct tables *tables)
{
	FOR_EACH(row, tables, FEATURES)
		if (row->bit > 31)
			complain("%s: bit %u of a 32-bit register", row->name, row->bit);
}

static void unused_numbers_unused(const struct tables *tables)
{
	static const uint32_t exits[] = { 35, 38, 42, 71, 82, 83 }, errors[] = { 0, 14, 21, 27 };

	FOR_EACH(row, tables, EXITS)
		for (size_t i = 0; i < COUNT(exits); i++)
			if (row->number == exits[i] || row->number > 85)
				complain("%s: reason %u", row->name, row->number);
	FOR_EACH(row, tables, ERRORS)
		for (size_t i = 0; i < COUNT(errors); i++)
			if (row->number == errors[i] || row->number > 28)
				complain("%s: error %u", row->name, row->number);
}
