/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap/report.h"

#include "libc/printf.h"
#include "x86/model.h"

enum { TEXT = REPORT_TEXT };

bool check_that(const char *file, u32 line, const char *text, bool passed, const char *wanted)
{
	if (!passed)
		return check_failed(file, line, text, wanted, "not so");
	check_passed();
	return true;
}

bool check_equal(const char *file, u32 line, const char *text, u64 actual, u64 expected)
{
	return check_bits(file, line, text, actual, ~0ull, expected);
}

bool check_bits(const char *file, u32 line, const char *text, u64 actual, u64 mask, u64 expected)
{
	char wanted[TEXT];

	if (((actual ^ expected) & mask) == 0) {
		check_passed();
		return true;
	}
	if (mask == ~0ull)
		snprintf(wanted, TEXT, "%#lx", expected);
	else
		snprintf(wanted, TEXT, "%#lx in the bits %#lx", expected & mask, mask);
	return report_value(file, line, text, wanted, actual);
}

bool check_field(const char *file, u32 line, const char *text, u32 encoding, u64 actual, u64 expected)
{
	bool passed;

	report_field(encoding);
	passed = check_equal(file, line, text, actual, expected);
	report_no_field();
	return passed;
}

bool check_between(const char *file, u32 line, const char *text, u64 low, u64 actual, u64 high)
{
	char wanted[TEXT];

	/* Modulo 2^64, so that a range may wrap. */
	if (actual - low <= high - low) {
		check_passed();
		return true;
	}
	if (low == 0)
		snprintf(wanted, TEXT, "at most %#lx", high);
	else if (high == ~0ull)
		snprintf(wanted, TEXT, "at least %#lx", low);
	else
		snprintf(wanted, TEXT, "from %#lx to %#lx", low, high);
	return report_value(file, line, text, wanted, actual);
}

bool check_other(const char *file, u32 line, const char *text, u64 actual, u64 other)
{
	char wanted[TEXT];

	if (actual != other) {
		check_passed();
		return true;
	}
	snprintf(wanted, TEXT, "any other value than %#lx", other);
	return report_value(file, line, text, wanted, actual);
}

bool check_either(const char *file, u32 line, const char *text, u64 actual, u64 one, u64 other)
{
	char wanted[TEXT];

	if (actual == one || actual == other) {
		check_passed();
		return true;
	}
	snprintf(wanted, TEXT, "%#lx or %#lx", one, other);
	return report_value(file, line, text, wanted, actual);
}

bool check_one_set(const char *file, u32 line, const char *text, u64 actual, u64 bits)
{
	char wanted[TEXT];

	if (actual & bits) {
		check_passed();
		return true;
	}
	snprintf(wanted, TEXT, "one of the bits %#lx is 1", bits);
	return report_value(file, line, text, wanted, actual);
}

bool check_filled(const char *file, u32 line, const char *text, const volatile void *memory, size_t first, size_t end,
		  u8 value)
{
	const volatile u8 *const bytes = memory;
	char what[TEXT], wanted[32], found[32];

	for (size_t i = first; i < end; i++) {
		const u8 byte = bytes[i];

		if (byte == value)
			continue;
		snprintf(what, TEXT, "byte %#lx of %s", i, text);
		snprintf(wanted, sizeof(wanted), "%#x, as it was filled", value);
		snprintf(found, sizeof(found), "%#x", byte);
		return check_failed(file, line, what, wanted, found);
	}
	check_passed();
	return true;
}

typedef u64 u64_anywhere __attribute__((aligned(1), may_alias));

bool check_bytes(const char *file, u32 line, const char *text, const volatile void *memory, const void *expected, size_t size)
{
	const volatile u8 *const bytes = memory;
	const u8 *const wanted_bytes = expected;
	char wanted[48], found[32];
	size_t i = 0;

	while (i + 8 <= size && *(const volatile u64_anywhere *)(bytes + i) == *(const u64_anywhere *)(wanted_bytes + i))
		i += 8;
	while (i < size && bytes[i] == wanted_bytes[i])
		i++;
	if (i == size) {
		check_passed();
		return true;
	}
	snprintf(wanted, sizeof(wanted), "%#x at byte %#lx of %#lx", wanted_bytes[i], i, size);
	snprintf(found, sizeof(found), "%#x", bytes[i]);
	return check_failed(file, line, text, wanted, found);
}

bool check_fault(const char *file, u32 line, const char *text, const struct fault *fault, u8 vector, u32 error_code)
{
	const struct fault wanted_fault = { .raised = true, .vector = vector, .error_code = error_code };
	char wanted[TEXT], found[TEXT];

	if (fault->raised && !fault->thrown && fault->vector == vector && fault->error_code == error_code) {
		check_passed();
		return true;
	}
	if (vector == VECTOR_PF)
		snprintf(wanted, TEXT, "#PF(%#x)", error_code);
	else
		fault_format(wanted, TEXT, &wanted_fault);
	fault_format(found, TEXT, fault);
	return check_failed(file, line, text, wanted, found);
}

bool check_no_fault(const char *file, u32 line, const char *text, const struct fault *fault)
{
	char found[TEXT];

	if (!fault->raised) {
		check_passed();
		return true;
	}
	fault_format(found, TEXT, fault);
	return check_failed(file, line, text, "no fault", found);
}

void check_required(bool passed)
{
	if (!passed)
		throw(report_aborted);
}

bool check_that_on_known(const char *file, u32 line, const char *text, bool passed, const char *wanted)
{
	char found[TEXT];

	if (passed || processor_is_known())
		return check_that(file, line, text, passed, wanted);
	snprintf(found, sizeof(found), "not so is %s", text);
	return report_unknown(found);
}

bool check_reserved_bits(const char *file, u32 line, const char *text, u64 actual, u64 mask)
{
	char found[TEXT];

	if ((actual & mask) && !processor_is_known()) {
		snprintf(found, sizeof(found), "%s has reserved bits %#lx", text, actual & mask);
		return report_unknown(found);
	}
	return check_bits(file, line, text, actual, mask, 0);
}
