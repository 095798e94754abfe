/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks on VM entry as rows of tables (SDM Vol. 3C, "VM Entries"). A row names
 * fields, values that must be refused and how, and values next to them that must
 * enter:
 *
 *	ENTRY_CHECK("entry.ctl.cr3count.max", "the CR3-target count is at most ...", ALWAYS,
 *		    FIELDS(CR3_TARGET_COUNT), .bad = COMPUTED(above_cr3_targets), .refused = BY_VMFAIL(7),
 *		    .good = COMPUTED(up_to_cr3_targets));
 *
 * Nothing of a guest has to run. A row whose refusal is a VMfail (controls, host
 * state) is probed with guest RFLAGS = 0, which is illegal: a value that passes the
 * checks ends in entry failure 33. Other rows really enter, and the guest is
 * stopped before its first instruction, or at it.
 */
#pragma once

#include "vmxtest/vmxtest.h"

struct value_set {
	enum { SET_EMPTY, SET_LIST, SET_FLIPPED_BITS, SET_ABOVE_WIDTH, SET_WITHIN_WIDTH, SET_NONCANONICAL,
	       SET_ANYTHING, SET_COMPUTED } kind;
	const u64 *list;
	u32 count;
	u64 mask;
	bool (*compute)(u32 index, u64 *value);
};

/* Exactly these. */
#define VALUES(...)	{ .kind = SET_LIST, .list = (const u64[]){ __VA_ARGS__ },	\
			  .count = sizeof((const u64[]){ __VA_ARGS__ }) / sizeof(u64) }
/* The field as prepare() left it, with one bit of the mask flipped, each in turn. */
#define FLIPPED_BITS(mask_)	{ .kind = SET_FLIPPED_BITS, .mask = (mask_) }
/* The same for every address bit that the processor's physical-address width (or IA32_VMX_BASIC[48]) forbids. */
#define ABOVE_PHYSICAL_WIDTH	{ .kind = SET_ABOVE_WIDTH }
/* Both: the bits of the mask (alignment), and those above the width. */
#define MISALIGNED_OR_TOO_WIDE(mask_)	{ .kind = SET_ABOVE_WIDTH, .mask = (mask_) }
/* The same for every bit of the mask that the width allows. */
#define WITHIN_PHYSICAL_WIDTH(mask_)	{ .kind = SET_WITHIN_WIDTH, .mask = (mask_) }
/* Each bit of the field alone, and all of them: for a field that is not looked at. */
#define ANYTHING		{ .kind = SET_ANYTHING }
/* Addresses that are not canonical: the field with each of bits 63:N-1 flipped, and the ends of the hole. */
#define NONCANONICAL		{ .kind = SET_NONCANONICAL }
/* compute(0, &value), compute(1, &value) ... until it returns false. */
#define COMPUTED(function)	{ .kind = SET_COMPUTED, .compute = (function) }

struct entry_check {
	const u32 *fields;		/* FIELDS(...): each in turn; those that do not exist here are passed over */
	u32 field_count;
	struct value_set bad, good;
	struct outcome refused;		/* what each bad value comes to */
	void (*prepare)(void);		/* sets what must hold before; may set the fields to valid values */
	/*
	 * The bad values have reserved bits, which a later processor may define: one that is taken is a note where the
	 * processor's model is not known.
	 */
	bool reserved;
};

#define BY_VMFAIL(error)			{ .kind = OUTCOME_FAIL_VALID, .number = (error) }
#define BY_ENTRY_FAILURE(reason, qualification_) \
	{ .kind = OUTCOME_ENTRY_FAILURE, .number = (reason), .qualification = (qualification_) }
#define BY_INVALID_GUEST_STATE			BY_ENTRY_FAILURE(EXIT_INVALID_GUEST_STATE, 0)

#define FIELDS(...) .fields = (const u32[]){ __VA_ARGS__ },			\
	.field_count = sizeof((const u32[]){ __VA_ARGS__ }) / sizeof(u32)

#define ALWAYS .needs = NULL

#define ENTRY_CHECK(id, title, needs_, ...)					\
	TAP_ROW(vmx_fixture, id, title, .run = entry_check_run, needs_,		\
		.data = &(const struct entry_check){ __VA_ARGS__ })

void entry_check_run(const void *row);

/* Rows of a table in a TEST, when they need several preparations: ENTRY_VALUES(FIELDS(...), .bad = ...). */
#define ENTRY_VALUES(...) entry_values(HERE, &(const struct entry_check){ __VA_ARGS__ })
void entry_values(const char *file, u32 line, const struct entry_check *row);

/*
 * A control that another one must accompany: with `control` 1 and `needed` 0 VM entry
 * fails with error 7; the three other combinations pass the checks on controls. What
 * prepare() sets holds throughout.
 *
 *	ENTRY_CONTROL_NEEDS("entry.ctl.nmi.virtual_needs_exiting", "...", PIN_VIRTUAL_NMIS, PIN_NMI_EXITING,
 *			    NEEDS(...), .prepare = ...);
 */
struct entry_dependency {
	u32 control, needed;
	void (*prepare)(void);
};

#define ENTRY_CONTROL_NEEDS(id, title, control_, needed_, needs_, ...)		\
	TAP_ROW(vmx_fixture, id, title, .run = entry_dependency_run, needs_,	\
		.data = &(const struct entry_dependency){ .control = (control_), .needed = (needed_), ##__VA_ARGS__ })

void entry_dependency_run(const void *row);

/*
 * Try to enter as the VMCS is. Before it, the VM-instruction error is made another
 * one (12), so that a stale number is no VMfail. With `checks_only` guest RFLAGS is
 * 0 meanwhile: a VMCS that is legal up to the guest state ends in entry failure 33, which is the outcome ACCEPTED here.
 */
struct outcome entry_attempt(bool checks_only);

/* What an entry with guest RFLAGS = 0 came to: its failure 33 is ACCEPTED. For a test that enters by code of its own. */
struct outcome entry_of_illegal_guest(struct outcome outcome);

/* With guest RFLAGS = 0, for a test of the refusal itself: ENTRY_FAILS(33, 0), whatever qualification it has. */
struct outcome entry_attempt_with_illegal_guest(void);

/* Make the next entry stop the guest at once, whatever its state is; part of what ENTRY_CHECK does. */
void entry_stop_guest_at_once(void);

/* The outcome of entry_attempt is this refusal. */
#define expect_refused(outcome, refused)	check_outcome(HERE, "VM entry", outcome, refused)
/* VMfailValid with error 7 or 8: where the manual leaves the order of the two checks open. */
#define expect_refused_7_or_8(outcome)		check_refused_7_or_8(HERE, outcome)
bool check_refused_7_or_8(const char *file, u32 line, struct outcome outcome);
#define expect_entered(outcome)			check_entered(HERE, outcome)
bool check_entered(const char *file, u32 line, struct outcome outcome);
