/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of the loaded host state share (SDM Vol. 3C, "Loading Host State"). */
#pragma once

#include "vmx/modes.h"
#include "vmx/probe.h"
#include "vmxtest/vmxtest.h"
#include "x86/cpu.h"
#include "x86/selectors.h"

/* A guest that ends at once. */
static inline void guest_ends(void)
{
}

/* Guests of each mode that execute one VMCALL, with RAX = GUEST_DONE. */
enum guest_mode {
	MODE_64BIT, MODE_CPL1, MODE_CPL2, MODE_CPL3, MODE_COMPATIBILITY, MODE_32BIT, MODE_PAE, MODE_VIRTUAL_8086, MODE_REAL,
	GUEST_MODES
};
extern const char *const guest_mode_names[GUEST_MODES];

/* Can the processor have a guest of this mode? */
bool guest_mode_exists(enum guest_mode mode);

/* Run it; the VMCS must be the baseline's in what makes the mode: use one mode a test, or start_over before. */
void guest_run_mode(enum guest_mode mode);

/* The baseline again, with the exit probe. */
void start_over(void);
