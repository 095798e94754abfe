/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/decode.h"
#include "vmx/vmcs.h"

#include "libc/printf.h"

static const char *const exit_names[] = {
#define EXIT(number, name, text) [number] = text,
#include "vmx/exits.def"
};

static const char *const error_names[] = {
#define VMERR(number, name, text) [number] = text,
#include "vmx/errors.def"
};

static const char *name_of(const char *const *names, size_t count, u32 number)
{
	return number < count && names[number] ? names[number] : "reserved";
}

const char *exit_reason_name(u32 basic_reason)
{
	return name_of(exit_names, ARRAY_SIZE(exit_names), basic_reason);
}

const char *vm_error_name(u32 error)
{
	return name_of(error_names, ARRAY_SIZE(error_names), error);
}

bool outcome_equal(const struct outcome *a, const struct outcome *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case OUTCOME_FAULT:
		return a->vector == b->vector && a->number == b->number;
	case OUTCOME_ENTRY_FAILURE:
		return a->number == b->number && a->qualification == b->qualification;
	case OUTCOME_FAIL_VALID:
	case OUTCOME_EXIT:
		return a->number == b->number;
	default:
		return true;
	}
}

void outcome_format(char *to, size_t size, const struct outcome *outcome)
{
	const u32 basic = outcome->number & 0xffff;

	switch (outcome->kind) {
	case OUTCOME_NONE:
		snprintf(to, size, "nothing executed");
		break;
	case OUTCOME_SUCCEED:
		snprintf(to, size, "VMsucceed");
		break;
	case OUTCOME_FAIL_INVALID:
		snprintf(to, size, "VMfailInvalid");
		break;
	case OUTCOME_FAIL_VALID:
		snprintf(to, size, "VMfailValid(%u: %s)", outcome->number, vm_error_name(outcome->number));
		break;
	case OUTCOME_FAULT:
		snprintf(to, size, "%s(%#x)", vector_name(outcome->vector), outcome->number);
		break;
	case OUTCOME_ENTRY_FAILURE:
		snprintf(to, size, "entry failure %u %s, qualification %#lx", basic, exit_reason_name(basic),
			 outcome->qualification);
		break;
	case OUTCOME_ACCEPTED:
		snprintf(to, size, "passes the checks on controls and host state");
		break;
	case OUTCOME_EXIT:
		snprintf(to, size, "exit %u %s", basic, exit_reason_name(basic));
		break;
	}
}

/* What a person wants to see of an exit; those that are zero are left out but the first few. */
static const struct {
	enum vmcs_field field;
	bool always;
} described[] = {
	{ EXIT_QUALIFICATION, true }, { GUEST_RIP, true }, { EXIT_INSTRUCTION_LENGTH, false },
	{ EXIT_INTERRUPTION_INFORMATION, false }, { EXIT_INTERRUPTION_ERROR_CODE, false },
	{ IDT_VECTORING_INFORMATION, false }, { GUEST_LINEAR_ADDRESS, false }, { GUEST_RFLAGS, true },
	{ GUEST_INTERRUPTIBILITY_STATE, false }, { GUEST_ACTIVITY_STATE, false },
};

static bool by_software(enum vmcs_field information)
{
	u64 value = 0;

	if (vmread(information, &value, NULL).kind != OUTCOME_SUCCEED || !(value & INTERRUPTION_VALID))
		return false;
	value &= INTERRUPTION_TYPE_MASK;
	return value >= INTERRUPTION_TYPE_SOFTWARE_INTERRUPT && value <= INTERRUPTION_TYPE_SOFTWARE_EXCEPTION;
}

/* Elsewhere the field is undefined: what an earlier exit left ("Information for VM Exits Due to Instruction Execution"). */
static bool has_instruction_length(u32 basic)
{
	static const u8 without[] = {
		EXIT_EXTERNAL_INTERRUPT, EXIT_TRIPLE_FAULT, EXIT_INIT, EXIT_SIPI, EXIT_IO_SMI, EXIT_OTHER_SMI, EXIT_INTERRUPT_WINDOW,
		EXIT_NMI_WINDOW, EXIT_INVALID_GUEST_STATE, EXIT_MSR_LOADING, EXIT_MONITOR_TRAP_FLAG, EXIT_MACHINE_CHECK,
		EXIT_TPR_BELOW_THRESHOLD, EXIT_APIC_ACCESS, EXIT_VIRTUALIZED_EOI, EXIT_EPT_VIOLATION, EXIT_EPT_MISCONFIGURATION,
		EXIT_PREEMPTION_TIMER, EXIT_APIC_WRITE, EXIT_PAGE_MODIFICATION_LOG_FULL,
	};

	if (by_software(IDT_VECTORING_INFORMATION))
		return true;
	if (basic == EXIT_EXCEPTION_OR_NMI)
		return by_software(EXIT_INTERRUPTION_INFORMATION);
	for (size_t i = 0; i < ARRAY_SIZE(without); i++)
		if (basic == without[i])
			return false;
	return true;
}

/* Is the field undefined after such an exit? */
static bool undefined_after(enum vmcs_field field, u32 basic)
{
	return field == EXIT_INSTRUCTION_LENGTH && !has_instruction_length(basic);
}

void exit_describe(char *to, size_t size, const struct outcome *outcome)
{
	const u32 basic = outcome->number & 0xffff;
	size_t length;

	if (outcome->kind == OUTCOME_NONE) {
		to[0] = '\0';
		return;
	}
	if (outcome->kind != OUTCOME_EXIT && outcome->kind != OUTCOME_ENTRY_FAILURE) {
		char text[96];

		outcome_format(text, sizeof(text), outcome);
		snprintf(to, size, "{ outcome: \"%s\" }", text);
		return;
	}
	length = snprintf(to, size, "{ reason: \"%u %s\"", basic, exit_reason_name(basic));
	for (size_t i = 0; i < ARRAY_SIZE(described) && length < size; i++) {
		u64 value = 0;
		char name[64];

		if (undefined_after(described[i].field, basic) ||
		    vmread(described[i].field, &value, NULL).kind != OUTCOME_SUCCEED || !(value || described[i].always))
			continue;
		field_format(name, sizeof(name), described[i].field);
		length += snprintf(to + length, size - length, ", \"%s\": %#lx", name, value);
	}
	if (length < size)
		snprintf(to + length, size - length, " }");
}
