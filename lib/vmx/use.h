/* SPDX-License-Identifier: BSD-2-Clause */
/* The check build: which controls and capabilities a test uses, for x86/asked.h. Elsewhere nothing. */
#pragma once

#include "vmx/outcome.h"

#ifdef VMXCHECK_CHECK_BUILD

/*
 * A VM entry: if it passed the checks on the controls, the current VMCS has those that it used, however they came there;
 * if it passed those on the guest, the activity state was one that there is. The first call is before it. A control
 * that is set and refused is not used: the processor that lacks it refuses it too.
 */
u32 use_before_entry(void);
void use_of_entry(u32 activity, struct outcome outcome);

/* A VMWRITE that was done: only some processors let all fields be written. */
void use_of_field(u32 encoding);

#else

static inline u32 use_before_entry(void) { return 0; }
static inline void use_of_entry(UNUSED u32 activity, UNUSED struct outcome outcome) { }
static inline void use_of_field(UNUSED u32 encoding) { }

#endif
