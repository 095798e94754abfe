/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The event to inject ("VM-Entry Control Fields"): type, vector, error code and
 * instruction length, every value of each against the rules.
 */
#include "control.h"

enum { TYPES = 8, ANY_LENGTH = 3 };

/* The exceptions that push an error code. */
static bool vector_has_error_code(u32 vector)
{
	return vector == VECTOR_DF || (vector >= VECTOR_TS && vector <= VECTOR_PF) || vector == VECTOR_AC;
}

static bool is_software(u32 type)
{
	return type == INTERRUPTION_TYPE_SOFTWARE_INTERRUPT || type == INTERRUPTION_TYPE_PRIVILEGED ||
	       type == INTERRUPTION_TYPE_SOFTWARE_EXCEPTION;
}

static bool vector_valid(u32 type, u32 vector)
{
	switch (type) {
	case INTERRUPTION_TYPE_NMI:
		return vector == VECTOR_NMI;
	case INTERRUPTION_TYPE_HARDWARE:
		return vector <= 31;
	case INTERRUPTION_TYPE_OTHER:
		if (has(FEATURE_FRED))
			return vector == 1 || vector == 2 || (vector == 0 && has(PROC_MONITOR_TRAP_FLAG));
		return vector == 0 && has(PROC_MONITOR_TRAP_FLAG);
	default:
		return type != 1 << 8;
	}
}

/* In protected mode. */
static bool error_code_valid(u32 type, u32 vector, bool deliver)
{
	if (type != INTERRUPTION_TYPE_HARDWARE)
		return !deliver;
	return has(CAP_BASIC_INJECT_WITHOUT_ERROR_CODE) || deliver == vector_has_error_code(vector);
}

static struct outcome inject(u32 information)
{
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, information);
	return entry_attempt(true);
}

static void check_injection(u32 information, bool valid)
{
	CASE("interruption information %#x", information);
	expect_outcome(inject(information), valid ? ACCEPTED : FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
}

/* Every vector of a type, with the error-code bit as the type and the vector demand. */
static void check_every_vector(u32 type)
{
	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, ANY_LENGTH);
	WALK_OVER(vector, 0, 256) {
		const bool deliver = type == INTERRUPTION_TYPE_HARDWARE && vector_has_error_code(vector);

		check_injection(INTERRUPTION_VALID | type | vector | (deliver ? INTERRUPTION_ERROR_CODE : 0),
				vector_valid(type, vector));
	}
}

/* The same with the error-code bit 1 throughout. */
static void check_every_vector_with_error_code(u32 type)
{
	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, ANY_LENGTH);
	WALK_OVER(vector, 0, 256)
		check_injection(INTERRUPTION_VALID | INTERRUPTION_ERROR_CODE | type | vector,
				vector_valid(type, vector) && error_code_valid(type, vector, true));
}

TEST("entry.ctl.inject.type_reserved", "interruption type 1 is reserved; 0, 4, 5 and 6 take any vector")
{
	check_every_vector(1 << 8);
	check_every_vector(INTERRUPTION_TYPE_EXTERNAL);
	check_every_vector(INTERRUPTION_TYPE_SOFTWARE_INTERRUPT);
	check_every_vector(INTERRUPTION_TYPE_PRIVILEGED);
	check_every_vector(INTERRUPTION_TYPE_SOFTWARE_EXCEPTION);
}

TEST("entry.ctl.inject.type7_vector", "type 7 (other event) has vector 0", NEEDS(PROC_MONITOR_TRAP_FLAG))
{
	check_every_vector(INTERRUPTION_TYPE_OTHER);
}

TEST("entry.ctl.inject.type7_no_mtf", "type 7 is reserved without monitor trap flag",
     NEEDS(LACKS(PROC_MONITOR_TRAP_FLAG)))
{
	check_every_vector(INTERRUPTION_TYPE_OTHER);
}

TEST("entry.ctl.inject.nmi_vector", "type 2 (NMI) has vector 2")
{
	check_every_vector(INTERRUPTION_TYPE_NMI);
}

TEST("entry.ctl.inject.hwexc_vector", "type 3 (hardware exception) has a vector of at most 31")
{
	check_every_vector(INTERRUPTION_TYPE_HARDWARE);
}

static void check_hardware_exceptions(bool deliver, bool with_error_code, bool valid)
{
	for (u32 vector = 0; vector < 32; vector++)
		if (vector_has_error_code(vector) == with_error_code)
			check_injection(INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | vector |
					(deliver ? INTERRUPTION_ERROR_CODE : 0), valid);
}

TEST("entry.ctl.inject.errcode_required", "#DF, #TS, #NP, #SS, #GP, #PF and #AC are injected with an error code",
     NEEDS(LACKS(CAP_BASIC_INJECT_WITHOUT_ERROR_CODE)))
{
	check_hardware_exceptions(false, true, false);
	check_hardware_exceptions(true, true, true);
}

TEST("entry.ctl.inject.errcode_forbidden", "only hardware exceptions that push an error code are injected with one")
{
	for (u32 type = 0; type < TYPES; type++)
		check_every_vector_with_error_code(type << 8);
	check_hardware_exceptions(false, false, true);
}

TEST("entry.ctl.inject.errcode_real_mode", "with guest CR0.PE 0 no event is injected with an error code",
     NEEDS(PROC2_UNRESTRICTED_GUEST, PROC2_ENABLE_EPT))
{
	control_fields_make_valid();
	vmcs_set_controls(PROC2_ENABLE_EPT, PROC2_UNRESTRICTED_GUEST);
	vmcs_clear_controls(ENTRYCTL_IA32E_MODE_GUEST);
	vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) & ~(CR0_PE | CR0_PG));
	check_hardware_exceptions(true, true, false);
	check_hardware_exceptions(true, false, false);
	check_hardware_exceptions(false, true, true);
	check_hardware_exceptions(false, false, true);
}

TEST("entry.ctl.inject.reserved_bits", "bits 30:12 of the interruption information are 0, but for bit 13 where there are nested exceptions")
{
	static const u32 events[] = {
		INTERRUPTION_TYPE_EXTERNAL | 0xff, INTERRUPTION_TYPE_NMI | VECTOR_NMI,
		INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE | VECTOR_GP,
		INTERRUPTION_TYPE_SOFTWARE_INTERRUPT | 0x80, INTERRUPTION_TYPE_PRIVILEGED | VECTOR_DB,
		INTERRUPTION_TYPE_SOFTWARE_EXCEPTION | VECTOR_BP,
	};

	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, ANY_LENGTH);
	for (u32 i = 0; i < ARRAY_SIZE(events); i++) {
		check_injection(INTERRUPTION_VALID | events[i], true);
		for (u32 bit = 12; bit <= 30; bit++)
			if (bit != 13 || !has(CAP_BASIC_NESTED_EXCEPTION))
				check_injection(INTERRUPTION_VALID | events[i] | 1u << bit, false);
	}
}

/* Bit 15: reserved in older editions of the manual only. */
TEST("entry.ctl.inject.errcode_high", "bits 31:16 of an error code to deliver are 0")
{
	const u32 gp = INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | VECTOR_GP;

	for (u32 bit = 0; bit < 32; bit++) {
		if (bit == 15)
			continue;
		CASE("error code %#x", BIT(bit));
		vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, BIT(bit));
		expect_outcome(inject(gp | INTERRUPTION_ERROR_CODE),
			       bit > 15 ? FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS) : ACCEPTED);
		CASE("error code %#x, not to deliver", BIT(bit));
		expect_outcome(inject(INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | VECTOR_UD), ACCEPTED);
	}
}

static void check_length(u32 type, u32 length, bool valid)
{
	const u32 vector = type == INTERRUPTION_TYPE_NMI ? VECTOR_NMI : VECTOR_DB;

	CASE("type %u, instruction length %#x", type >> 8, length);
	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, length);
	expect_outcome(inject(INTERRUPTION_VALID | type | vector),
		       valid ? ACCEPTED : FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
}

TEST("entry.ctl.inject.len_range", "the instruction length of a software event is at most 15")
{
	static const u16 types[] = {
		INTERRUPTION_TYPE_EXTERNAL, INTERRUPTION_TYPE_NMI, INTERRUPTION_TYPE_HARDWARE,
		INTERRUPTION_TYPE_SOFTWARE_INTERRUPT, INTERRUPTION_TYPE_PRIVILEGED,
		INTERRUPTION_TYPE_SOFTWARE_EXCEPTION,
	};

	for (u32 i = 0; i < ARRAY_SIZE(types); i++) {
		for (u32 length = 1; length <= 15; length++)
			check_length(types[i], length, true);
		for (u32 length = 16; length <= 32; length++)
			check_length(types[i], length, !is_software(types[i]));
		for (u32 bit = 6; bit < 32; bit++)
			check_length(types[i], 1u << bit | 1, !is_software(types[i]));
	}
}

TEST("entry.ctl.inject.len_zero", "the instruction length of a software event is 0 only where IA32_VMX_MISC[30] is 1")
{
	const bool valid = has(CAP_MISC_INJECT_LENGTH_ZERO);

	check_length(INTERRUPTION_TYPE_SOFTWARE_INTERRUPT, 0, valid);
	check_length(INTERRUPTION_TYPE_PRIVILEGED, 0, valid);
	check_length(INTERRUPTION_TYPE_SOFTWARE_EXCEPTION, 0, valid);
	check_length(INTERRUPTION_TYPE_EXTERNAL, 0, true);
	check_length(INTERRUPTION_TYPE_NMI, 0, true);
	check_length(INTERRUPTION_TYPE_HARDWARE, 0, true);
}

TEST("entry.ctl.inject.invalid_ignored", "with the valid bit 0 nothing of the event to inject is looked at")
{
	vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, 0xffffffff);
	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, 0xffffffff);
	for (u32 type_and_error = 0; type_and_error < 16; type_and_error++)
		for (u32 vector = 0; vector < 256; vector += 5)
			check_injection(type_and_error << 8 | vector, true);
	for (u32 bit = 12; bit <= 30; bit++)
		check_injection(1u << bit, true);
	check_injection(0x7fffffff, true);
}
