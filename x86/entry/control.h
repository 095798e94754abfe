/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of the checks on control fields share. */
#pragma once

#include "vmxtest/entry.h"

#define INVALID_CONTROLS BY_VMFAIL(VMERR_ENTRY_INVALID_CONTROLS)

/*
 * Give every field that a control makes VM entry look at a valid value (a page of its
 * own, VPID 1, an EPTP that the processor supports...), so that any control may be set.
 */
void control_fields_make_valid(void);

/* A prepare() that does so and sets controls. */
#define PREPARE(name, ...)				\
	static void name(void)				\
	{						\
		control_fields_make_valid();		\
		vmcs_set_controls(__VA_ARGS__);		\
	}

/* An EPT pointer that the processor supports, to a table. */
u64 valid_eptp(u64 table);
