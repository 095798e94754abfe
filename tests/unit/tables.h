/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables of lib/vmx and lib/x86 (their .def files) as rows of data, for host-side tests. Every name becomes an
 * enumerator, as it does in the images: a name that two tables share does not compile.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum word {
#define CONTROL_WORD(word, field, msr, true_msr, default1, text, brief) word,
#include "vmx/controls.def"
	WORDS
};

enum {
#define FIELD(name, encoding, ...) name = encoding,
#include "vmx/fields.def"
};

enum {
#define EXIT(reason, name, text) name = reason,
#include "vmx/exits.def"
};

enum {
#define VMERR(number, name, text) name = number,
#include "vmx/errors.def"
};

enum {
#define MSR(name, number, text) name = (int)(number),
#include "x86/msrs.def"
};

enum cpuid_register { EAX, EBX, ECX, EDX };

/* What a field may need: a control, a capability, a feature or a number of CR3-target values. */
enum need {
	NOTHING,
#define CONTROL(word, bit, name, text) name,
#include "vmx/controls.def"
	CONTROLS_END,
#define CAPABILITY(name, msr, bit, text) name,
#include "vmx/capabilities.def"
	CAPABILITIES_END,
#define FEATURE(name, leaf, subleaf, reg, bit, text) name,
#include "x86/features.def"
	FEATURES_END,
	CR3_TARGETS,
};
#define LIMIT_CR3_TARGETS(n) (CR3_TARGETS + (n))

/* One row of any table. What the columns mean depends on the table; unused ones are 0. */
struct row {
	const char *name;		/* the C name */
	const char *text;		/* the manual's name */
	uint32_t number;		/* encoding, reason, error, MSR, or the MSR or leaf that holds the bit */
	uint32_t place;			/* control: word; feature: subleaf << 2 | register */
	uint32_t bit;
	int needs[4];			/* field: enum need */
	uint32_t field, true_msr, default1;	/* control word */
};

enum table { FIELDS, CONTROL_WORDS, CONTROLS, EXITS, ERRORS, CAPABILITIES, FEATURES, MSRS, TABLES };

#define MOST_ROWS 256

/* All tables; the first row without a name ends each. A value, so that a copy can be spoilt. */
struct tables {
	struct row rows[TABLES][MOST_ROWS];
};

#define FOR_EACH(row, tables, table) \
	for (const struct row *row = (tables)->rows[table]; row->name; row++)

/* FIELD() takes the text as a variable argument too, for a field that needs nothing. */
#define FIELD_ROW(cname, encoding, manual, ...) \
	{ .name = #cname, .number = encoding, .text = manual, .needs = { __VA_ARGS__ } },

static const struct tables real_tables = { {
	[FIELDS] = {
#define FIELD(cname, encoding, ...) FIELD_ROW(cname, encoding, __VA_ARGS__, NOTHING)
#include "vmx/fields.def"
	},
	[CONTROL_WORDS] = {
#define CONTROL_WORD(word, vmcs, msr, truth, ones, manual, brief) \
		{ .name = #word, .text = manual, .number = msr, .place = word, .field = vmcs, .true_msr = truth, \
		  .default1 = ones },
#include "vmx/controls.def"
	},
	[CONTROLS] = {
#define CONTROL(word, position, cname, manual) \
		{ .name = #cname, .text = manual, .place = word, .bit = position },
#include "vmx/controls.def"
	},
	[EXITS] = {
#define EXIT(reason, cname, manual) { .name = #cname, .text = manual, .number = reason },
#include "vmx/exits.def"
	},
	[ERRORS] = {
#define VMERR(error, cname, manual) { .name = #cname, .text = manual, .number = error },
#include "vmx/errors.def"
	},
	[CAPABILITIES] = {
#define CAPABILITY(cname, msr, position, manual) \
		{ .name = #cname, .text = manual, .number = msr, .bit = position },
#include "vmx/capabilities.def"
	},
	[FEATURES] = {
#define FEATURE(cname, leaf, subleaf, reg, position, manual) \
		{ .name = #cname, .text = manual, .number = leaf, .place = (subleaf) << 2 | reg, .bit = position },
#include "x86/features.def"
	},
	[MSRS] = {
#define MSR(cname, index, manual) { .name = #cname, .text = manual, .number = index },
#include "x86/msrs.def"
	},
} };
