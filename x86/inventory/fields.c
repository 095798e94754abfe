/* SPDX-License-Identifier: BSD-2-Clause */
/* Inventory: the fields that a VMCS has here ("VMREAD", "VMWRITE", "Field Encoding in VMCS"). */
#include "inventory.h"
#include "vmxtest/vmxtest.h"

#include "libc/printf.h"

enum { INDICES = 64 };		/* of each width and type: no field so far has half of that */

/* Those of one kind, a line for as many as fit. */
static struct {
	const char *kind;
	char text[128];
	size_t length;
} line;

static void flush(void)
{
	if (line.length)
		inventory_line(0, "fields %s%s", line.kind, line.text);
	line.length = 0;
}

static void list(const char *kind, u32 encoding)
{
	if (line.kind != kind || line.length > sizeof(line.text) - 8)
		flush();
	line.kind = kind;
	line.length += snprintf(line.text + line.length, sizeof(line.text) - line.length, " %x", encoding);
}

static bool expect_either_outcome(struct outcome actual, u32 error)
{
	if (actual.kind == OUTCOME_SUCCEED)
		check_passed();
	else
		expect_outcome(actual, FAIL_VALID(error));
	return actual.kind == OUTCOME_SUCCEED;
}

/* Only to a field that is known: nobody knows what another one does. */
static const char *kind_of(u32 encoding, u64 value)
{
	if (!field_find(encoding))
		return "unknown";
	return expect_either_outcome(vmwrite(encoding, value, NULL), VMERR_VMWRITE_READ_ONLY) ? "rw" : "r";
}

TEST("inventory.fields", "VMREAD of any encoding succeeds or fails with error 12; the fields that are there are reported")
{
	for (u32 group = 0; group < 16; group++)
		for (u32 index = 0; index < INDICES; index++) {
			const u32 encoding = (group >> 2) << 13 | (group & 3) << 10 | index << 1;
			u64 value = 0;

			CASE("encoding %#x", encoding);
			if (expect_either_outcome(vmread(encoding, &value, NULL), VMERR_UNSUPPORTED_COMPONENT))
				list(kind_of(encoding, value), encoding);
		}
	flush();
	/* Who came first: vmx_usable() locks it only where nobody has. */
	inventory_line(0, "locked by %s", vmxon_while_unlocked.kind == OUTCOME_NONE ? "firmware" : "suite");
	inventory_end("fields");
}
