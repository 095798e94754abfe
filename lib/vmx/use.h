/* SPDX-License-Identifier: BSD-2-Clause */
/* The check build: which controls and capabilities a test uses, for x86/asked.h. Elsewhere nothing. */
#pragma once

#include "vmx/fields.h"

#ifdef VMXCHECK_CHECK_BUILD

/* Controls that a test sets, ended by 0. */
void use_of_controls(const u32 *controls);

/* A VM entry passed the checks on the controls: the current VMCS has those that it used, however they came there. */
void use_of_entry(void);

/* A VMWRITE that was done: activity states, fields that only some processors let be written. */
void use_of_field(u32 encoding, u64 value);

#else

static inline void use_of_controls(UNUSED const u32 *controls) { }
static inline void use_of_entry(void) { }
static inline void use_of_field(UNUSED u32 encoding, UNUSED u64 value) { }

#endif
