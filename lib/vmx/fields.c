/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/controls.h"
#include "vmx/fields.h"
#include "vmx/instructions.h"

#include "libc/printf.h"

const struct field_info vmcs_fields[] = {
#define FIELD(name, encoding, text, ...) { encoding, #name, text, (const u32[]){ __VA_ARGS__ __VA_OPT__(,) 0 } },
#include "vmx/fields.def"
};

const u32 vmcs_field_count = ARRAY_SIZE(vmcs_fields);

u64 field_mask(u32 encoding)
{
	switch (field_width(encoding)) {
	case FIELD_16: return 0xffff;
	case FIELD_32: return 0xffffffff;
	default: return ~0ull;
	}
}

static bool one_is_met(const u32 *needs)
{
	for (const u32 *need = needs; *need; need++)
		if (token_met(*need))
			return true;
	return !needs[0];
}

/* Looked up once: each CPUID is an exit where the suite is a guest. */
bool field_exists(const struct field_info *field)
{
	static enum { UNKNOWN, EXISTS, MISSING } fields[ARRAY_SIZE(vmcs_fields)];
	const u32 i = field - vmcs_fields;

	if (fields[i] == UNKNOWN)
		fields[i] = one_is_met(field->needs) ? EXISTS : MISSING;
	return fields[i] == EXISTS;
}

bool field_readable(const struct field_info *field)
{
	static struct {
		bool known, readable;
	} fields[ARRAY_SIZE(vmcs_fields)];
	const u32 i = field - vmcs_fields;
	u64 value;

	if (!fields[i].known) {
		const struct outcome outcome = vmread(field->encoding, &value, NULL);

		fields[i].readable = field_exists(field) && outcome.kind == OUTCOME_SUCCEED;
		fields[i].known = outcome.kind != OUTCOME_FAIL_INVALID;
	}
	return fields[i].readable;
}

const struct field_info *field_find(u32 encoding)
{
	for (u32 i = 0; i < vmcs_field_count; i++)
		if (vmcs_fields[i].encoding == encoding)
			return &vmcs_fields[i];
	return NULL;
}

void field_format(char *to, size_t size, u32 encoding)
{
	const struct field_info *const field = field_find(encoding & ~1u);

	snprintf(to, size, "%s%s [%XH]", field ? field->text : "no field of the manual", encoding & 1 ? ", high half" : "", encoding);
}
