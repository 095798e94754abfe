/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmxtest/entry.h"
#include "x86/model.h"
#include "vmxtest/entry_guest.h"
#include "vmxtest/modelled.h"

#include "libc/printf.h"

/* Where a guest that is not stopped before its first instruction exits. */
asm(".pushsection .text\n"
    "entry_guest: vmcall\n"
    "	jmp entry_guest\n"
    "	.popsection");
extern const u8 entry_guest[];

/* VMREAD of a component that cannot exist: error 12. */
static void poison_vm_instruction_error(void)
{
	u64 value = 0;

	vmread(0x7ffe, &value, NULL);
}

struct outcome entry_attempt_with_illegal_guest(void)
{
	struct outcome outcome;
	u64 rflags;

	poison_vm_instruction_error();
	rflags = vmcs_read(GUEST_RFLAGS);
	vmcs_write(GUEST_RFLAGS, 0);
	outcome = guest_enter();
	vmcs_write(GUEST_RFLAGS, rflags);
	/* Which check on the guest state refuses first is open: the PDPTEs and the link pointer have a qualification. */
	if (outcome.kind == OUTCOME_ENTRY_FAILURE && outcome.number == EXIT_INVALID_GUEST_STATE)
		outcome.qualification = 0;
	return outcome;
}

struct outcome entry_of_illegal_guest(struct outcome outcome)
{
	return outcome.kind == OUTCOME_ENTRY_FAILURE && outcome.number == EXIT_INVALID_GUEST_STATE ? ACCEPTED : outcome;
}

struct outcome entry_attempt(bool checks_only)
{
	modelled_attempt(checks_only);
	if (checks_only) {
		guest.outcome = entry_of_illegal_guest(entry_attempt_with_illegal_guest());
		return guest.outcome;
	}
	poison_vm_instruction_error();
	return guest_enter();
}

/*
 * The VMX-preemption timer with the value 0, or the NMI window: both exit before
 * the guest's first instruction. With neither, the guest's VMCALL does.
 */
void entry_stop_guest_at_once(void)
{
	vmcs_write(GUEST_RIP, (u64)entry_guest);
	vmcs_write(GUEST_RSP, (u64)(guest_stack + GUEST_STACK_SIZE));
	if (has(PIN_ACTIVATE_VMX_PREEMPTION_TIMER)) {
		vmcs_set_controls(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
		vmcs_write(VMX_PREEMPTION_TIMER_VALUE, 0);
	} else if (has(PIN_VIRTUAL_NMIS) && has(PROC_NMI_WINDOW_EXITING)) {
		vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS, PROC_NMI_WINDOW_EXITING);
	}
}

static u64 nth_bit_of(u64 mask, u32 n)
{
	for (u32 bit = 0; bit < 64; bit++)
		if (mask & BIT(bit) && n-- == 0)
			return BIT(bit);
	return 0;
}

static u64 bits_above_width(void)
{
	const unsigned int width = has(CAP_BASIC_32BIT_PHYSICAL_ADDRESSES) ? 32 : physical_address_width();

	return width < 64 ? ~0ull << width : 0;
}

static bool noncanonical(u32 index, u64 base, u64 *value)
{
	const unsigned int width = linear_address_width();
	const u64 ends[] = { BIT(width - 1), ~BIT(width - 1), BIT(63), ~BIT(63) };
	const u64 bit = nth_bit_of(~0ull << (width - 1), index);

	if (bit) {
		*value = base ^ bit;
		return true;
	}
	index -= 64 - (width - 1);
	if (index >= ARRAY_SIZE(ends))
		return false;
	*value = ends[index];
	return true;
}

/* The value of a set at an index, given what the field holds; false: no more. */
static bool value_at(const struct value_set *set, u32 index, u64 base, u64 *value)
{
	u64 bit;

	switch (set->kind) {
	case SET_LIST:
		if (index >= set->count)
			return false;
		*value = set->list[index];
		return true;
	case SET_FLIPPED_BITS:
	case SET_ABOVE_WIDTH:
		bit = nth_bit_of(set->mask | (set->kind == SET_ABOVE_WIDTH ? bits_above_width() : 0), index);
		*value = base ^ bit;
		return bit;
	case SET_WITHIN_WIDTH:
		bit = nth_bit_of(set->mask & ~bits_above_width(), index);
		*value = base ^ bit;
		return bit;
	case SET_NONCANONICAL:
		return noncanonical(index, base, value);
	case SET_ANYTHING:
		*value = index < 64 ? BIT(index) : ~0ull;
		return index <= 64;
	case SET_COMPUTED:
		return set->compute(index, value);
	default:
		return false;
	}
}

bool check_entered(const char *file, u32 line, struct outcome outcome)
{
	char found[160];

	modelled_expect(EXITS(0));

	if (outcome.kind == OUTCOME_EXIT) {
		check_passed();
		return true;
	}
	outcome_format(found, sizeof(found), &outcome);
	return check_failed(file, line, "VM entry", "the guest is entered", found);
}

bool check_refused_7_or_8(const char *file, u32 line, struct outcome outcome)
{
	char found[160];

	if (outcome.kind == OUTCOME_FAIL_VALID && (outcome.number == VMERR_ENTRY_INVALID_CONTROLS ||
						    outcome.number == VMERR_ENTRY_INVALID_HOST_STATE)) {
		check_passed();
		return true;
	}
	outcome_format(found, sizeof(found), &outcome);
	return check_failed(file, line, "VM entry", "VMfailValid(7) or VMfailValid(8)", found);
}

/* The outcome of a value that is legal. */
static void expect_accepted(bool checks_only)
{
	const struct outcome outcome = entry_attempt(checks_only);

	if (checks_only)
		check_outcome(HERE, "VM entry", outcome, ACCEPTED);
	else
		expect_entered(outcome);
}

/* In brief: single bits that must be refused all the same, of what is not looked at and of many computed values some. */
static bool taken(const struct value_set *set, u32 index, u32 *turn)
{
	switch (set->kind) {
	case SET_ANYTHING: return walk_takes(index, 65);
	case SET_COMPUTED: return index < 8 || walk_takes_nth(turn, 9);
	default: return true;
	}
}

/* Is it one of reserved bits that got a meaning, it seems? */
static bool reserved_taken(const struct entry_check *check, struct outcome outcome)
{
	if (!check->reserved || processor_is_known())
		return false;
	if (check->refused.kind == OUTCOME_ENTRY_FAILURE)
		return outcome.kind == OUTCOME_EXIT;
	return outcome.kind == OUTCOME_ACCEPTED;
}

static void check_values_of(const struct entry_check *check, u32 field)
{
	const bool checks_only = check->refused.kind != OUTCOME_ENTRY_FAILURE;
	const char *name = field_find(field & ~1u)->name;
	const u64 base = vmcs_read(field);
	u64 value, taken_bits = 0;
	u32 turn = 0;

	for (u32 i = 0; value_at(&check->bad, i, base, &value); i++) {
		if (!taken(&check->bad, i, &turn))
			continue;
		CASE("%s = %#lx", name, value);
		CASE_SETS(field, value);
		vmcs_write(field, value);
		const struct outcome outcome = entry_attempt(checks_only);

		if (reserved_taken(check, outcome)) {
			check_passed();
			taken_bits |= value ^ base;
		} else {
			expect_refused(outcome, check->refused);
			/* A failed entry saves no guest state. */
			expect_eq(vmcs_read(field), value & field_mask(field));
		}
		entry_guest_put_back();
	}
	if (taken_bits)
		note("%s takes the bits %#lx, which this suite knows as reserved", name, taken_bits);
	for (u32 i = 0; value_at(&check->good, i, base, &value); i++) {
		if (!taken(&check->good, i, &turn))
			continue;
		CASE("%s = %#lx (valid)", name, value);
		CASE_SETS(field, value);
		vmcs_write(field, value);
		expect_accepted(checks_only);
		entry_guest_put_back();
	}
	/* What prepare() left must be valid too: else every refusal above could have another reason. */
	CASE("%s = %#lx (as prepared)", name, base);
	CASE_SETS(field, base);
	vmcs_write(field, base);
	expect_accepted(checks_only);
	entry_guest_put_back();
}

void entry_check_run(const void *row)
{
	const struct entry_check *check = row;

	entry_stop_guest_at_once();
	if (check->prepare)
		check->prepare();
	entry_guest_keep();
	for (u32 i = 0; i < check->field_count; i++)
		if (field_exists(field_find(check->fields[i] & ~1u)))
			check_values_of(check, check->fields[i]);
}

void entry_values(const char *file, u32 line, const struct entry_check *row)
{
	check_row(file, line);
	entry_check_run(row);
	check_row(NULL, 0);
}

static void set_control(u32 control, bool set)
{
	if (set)
		vmcs_set_controls(control);
	else
		vmcs_clear_controls(control);
}

/* A combination that the capability MSRs rule out says nothing about the dependency. */
static bool allowed(u32 control)
{
	const enum control_word word = control_word(control);

	return control_value_allowed(word, vmcs_read(control_words[word].field));
}

void entry_dependency_run(const void *row)
{
	const struct entry_dependency *d = row;

	if (d->prepare)
		d->prepare();
	for (u32 combination = 0; combination < 4; combination++) {
		const bool control = combination & 1, needed = combination & 2;

		set_control(d->control, control);
		set_control(d->needed, needed);
		if (!allowed(d->control) || !allowed(d->needed))
			continue;
		CASE("the control %u, the one that it needs %u", control, needed);
		if (control && !needed)
			expect_refused(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
		else
			expect_outcome(entry_attempt(true), ACCEPTED);
	}
}
