/* SPDX-License-Identifier: BSD-2-Clause */
/* The fields of the VMCS (SDM Vol. 3, Appendix B), one row each in fields.def. */
#pragma once

#include "libc/types.h"

enum vmcs_field {
#define FIELD(name, encoding, text, ...) name = (encoding),
#include "vmx/fields.def"
};

enum field_width { FIELD_16, FIELD_64, FIELD_32, FIELD_NATURAL };
enum field_type { FIELD_CONTROL, FIELD_READ_ONLY, FIELD_GUEST, FIELD_HOST };

struct field_info {
	u32 encoding;
	const char *name;	/* as in C */
	const char *text;	/* as in the manual */
	const u32 *needs;	/* exists if any of these is met; ends with 0; empty: always */
};

extern const struct field_info vmcs_fields[];
extern const u32 vmcs_field_count;

static inline enum field_width field_width(u32 encoding)
{
	return encoding >> 13 & 3;
}

static inline enum field_type field_type(u32 encoding)
{
	return encoding >> 10 & 3;
}

static inline u32 field_index(u32 encoding)
{
	return encoding >> 1 & 0x1ff;
}

/* The bits that a field of this width has: 16, 32 or 64 of them (natural: 64 bits here). */
u64 field_mask(u32 encoding);

/* Does the processor have the field, by its capability MSRs? */
bool field_exists(const struct field_info *field);

/*
 * Does it have it, and can it be read? A hypervisor may lack fields that the manual makes no condition for:
 * the tests of the fields say so, and no other test needs to trip over them. Needs a current VMCS.
 */
bool field_readable(const struct field_info *field);

/* "Guest RFLAGS [6820H]": for people, and for the runner, which decodes its bits. */
void field_format(char *to, size_t size, u32 encoding);

/* The row of a full encoding, or NULL. */
const struct field_info *field_find(u32 encoding);
