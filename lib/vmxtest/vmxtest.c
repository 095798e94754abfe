/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmxtest/modelled.h"
#include "vmxtest/vmxtest.h"
#include "x86/interrupt.h"
#include "x86/state.h"
#include "x86/user.h"

#include "libc/printf.h"
#include "libc/string.h"

enum { TEXT = 160 };

static u64 pages;

static bool usable(char *reason, size_t size)
{
	char what[128];

	if (vmx_usable(what, sizeof(what)))
		return true;
	snprintf(reason, size, "needs %s", what);
	return false;
}

static bool need(u32 token, char *reason, size_t size)
{
	char what[128];
	bool met = false;

	if (token >> 28 == NEED_CPUS(0) >> 28) {	/* processors and dangers */
		tap_common_need(token, &met, reason, size);
		return met;
	}
	if (!token_format(what, sizeof(what), token)) {
		snprintf(reason, size, "needs something that no fixture knows (%#x)", token);
		return false;
	}
	snprintf(reason, size, "needs %s", what);
	return has(token);
}

static void begin(void)
{
	if (!(read_cr4() & CR4_VMXE)) {
		vmx_on();
		state_forget();
	}
	pages = page_mark();
	vmcs_reset();
	guest_baseline();
	state_save();
}

/*
 * An entry with virtual NMIs begins with blocked ones or not, whatever was before (SDM Vol. 3C, "Interruptibility
 * State" of VM entry): that is tested. Where a target only ever adds to the blocking, no later guest would come to an
 * NMI window: here an IRET ends it.
 */
static void unblock_virtual_nmis(void)
{
	if (!token_met(PIN_VIRTUAL_NMIS) || !(vmcs_read(PIN_BASED_CONTROLS) & control_bit(PIN_VIRTUAL_NMIS)))
		return;
	vmcs_reset();
	guest_baseline();
	vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
	guest_run(nmi_unblock);
}

/* VMX state that a test must leave: in VMX operation, the suite's VMCS current. */
static void restore_vmx(void)
{
	volatile u64 current = 0;
	const struct fault fault = TRY(current = vmcs_current());

	if (fault.raised) {
		tap_leak("VMX operation", 1, 0);
		vmx_on();
	} else if (current != physical_address(&vmcs_region)) {
		tap_leak("the current-VMCS pointer", physical_address(&vmcs_region), current);
	} else {
		unblock_virtual_nmis();
	}
}

static void end(void)
{
	restore_vmx();
	state_restore(tap_leak);
	page_window_reset();
	user_pages_off();
	page_release(pages);
}

static void leave(void)
{
	vmx_off();
	state_forget();
}

static void describe(char *to, size_t size)
{
	exit_describe(to, size, &guest.outcome);
}

/* vmcs_read(...) in the text of a check: the value is what it gave. */
static bool was_read(const char *text, u64 value, u32 *encoding)
{
	return !strncmp(text, "vmcs_read(", 10) && vmcs_last_read(value, encoding);
}

const struct fixture vmx_fixture = {
	.usable = usable,
	.need = need,
	.begin = begin,
	.end = end,
	.leave = leave,
	.describe = describe,
	.name_field = field_format,
	.was_read = was_read,
};

/* What the last entry came to, for a failed check: the fault too, if the guest ended in one. */
static void format_guest_outcome(char *to, size_t size)
{
	if (guest_has_faulted()) {
		char fault[96];

		fault_format(fault, sizeof(fault), &guest.fault);
		snprintf(to, size, "the guest faulted: %s, RIP %#lx", fault, guest.fault.frame.rip);
	} else if (guest_is_done()) {
		snprintf(to, size, "the guest ran to its end");
	} else {
		outcome_format(to, size, &guest.outcome);
	}
}

static const struct {
	const char *name;
	enum vmcs_field field;
	size_t offset;
} exit_details[] = {
	{ "exit qualification", EXIT_QUALIFICATION, offsetof(struct expected_exit, qualification) },
	{ "instruction length", EXIT_INSTRUCTION_LENGTH, offsetof(struct expected_exit, instruction_length) },
	{ "interruption information", EXIT_INTERRUPTION_INFORMATION, offsetof(struct expected_exit, interruption) },
	{ "interruption error code", EXIT_INTERRUPTION_ERROR_CODE,
	  offsetof(struct expected_exit, interruption_error) },
	{ "IDT-vectoring information", IDT_VECTORING_INFORMATION, offsetof(struct expected_exit, idt_vectoring) },
	{ "guest-linear address", GUEST_LINEAR_ADDRESS, offsetof(struct expected_exit, linear) },
	{ "guest-physical address", GUEST_PHYSICAL_ADDRESS, offsetof(struct expected_exit, physical) },
	{ "guest RIP", GUEST_RIP, offsetof(struct expected_exit, rip) },
	{ "instruction information", EXIT_INSTRUCTION_INFORMATION,
	  offsetof(struct expected_exit, instruction_information) },
};

bool check_exit(const char *file, u32 line, u32 reason, const struct expected_exit *expected)
{
	const struct outcome wanted = EXITS(reason);
	char text[TEXT], found[TEXT];
	bool passed = true;

	/* A guest that called the host for another reason did not exit by a VMCALL of the test's. */
	if (!outcome_equal(&guest.outcome, &wanted) || guest_has_faulted() ||
	    (guest_is_done() && reason != EXIT_VMCALL)) {
		outcome_format(text, TEXT, &wanted);
		format_guest_outcome(found, TEXT);
		return check_failed(file, line, "VM exit", text, found);
	}
	check_passed();
	for (size_t i = 0; i < ARRAY_SIZE(exit_details); i++) {
		const u64 value = *(const u64 *)((const char *)expected + exit_details[i].offset);

		if (value != NOT_LOOKED_AT)
			passed &= check_field(file, line, exit_details[i].name, exit_details[i].field,
					      vmcs_read(exit_details[i].field), value);
	}
	return passed;
}

bool check_guest_done(const char *file, u32 line)
{
	char found[TEXT];

	if (guest_is_done()) {
		check_passed();
		return true;
	}
	format_guest_outcome(found, TEXT);
	return check_failed(file, line, "the guest runs to its end without an exit", "done", found);
}

bool check_guest_fault(const char *file, u32 line, u8 vector, u32 error_code)
{
	char wanted[TEXT], found[TEXT];

	if (guest_has_faulted())
		return check_fault(file, line, "the guest's exception", &guest.fault, vector, error_code);
	snprintf(wanted, TEXT, "%s(%#x) through the guest's IDT", vector_name(vector), error_code);
	format_guest_outcome(found, TEXT);
	return check_failed(file, line, "the guest's exception", wanted, found);
}

bool check_outcome(const char *file, u32 line, const char *text, struct outcome actual, struct outcome expected)
{
	char wanted[TEXT], found[TEXT];

	modelled_expect(expected);
	if (outcome_equal(&actual, &expected)) {
		check_passed();
		return true;
	}
	outcome_format(wanted, TEXT, &expected);
	outcome_format(found, TEXT, &actual);
	return check_failed(file, line, text, wanted, found);
}

bool check_fail_valid(const char *file, u32 line, const char *text, struct outcome actual)
{
	char found[TEXT];

	if (actual.kind == OUTCOME_FAIL_VALID) {
		check_passed();
		return true;
	}
	outcome_format(found, TEXT, &actual);
	return check_failed(file, line, text, "VMfailValid", found);
}
