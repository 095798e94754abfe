/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The check build's word lacks=CONTROL,...: the processor is one that lacks these controls, and those that need them
 * (control_needs.def), as far as software can tell:
 *
 *	RDMSR of the VMX capability MSRs does not report them; an MSR that only they make exist raises #GP
 *	VM entry with one of them set fails with error 7
 *	VMREAD and VMWRITE of a field that only they make exist fail with error 12
 *	INVEPT, INVVPID raise #UD without EPT, VPID; VMPTRLD of a shadow VMCS fails with error 11 without VMCS shadowing
 *
 * A capability may be named too: it is gone from its MSR, and whoever asks is told so.
 */
#pragma once

#include "libc/types.h"

#ifdef VMXCHECK_CHECK_BUILD

/* Names as in controls.def and capabilities.def, separated by commas. False: not one, or no control that may be 0. */
bool lacks_parse(const char *names, size_t length);

/* The encoding, or, if the processor is to lack the field, one that is no field. */
u64 lacks_field(u64 encoding);

/* What VMPTRLD is to take for the region: without VMCS shadowing one with the shadow indicator has a wrong revision. */
const u64 *lacks_region(const u64 *address);

/* Is it to lack the control or capability? */
bool lacks_token(u32 token);

/* Around a VM entry: make the processor refuse it with error 7 if it is to lack a control of it, and put that back. */
void lacks_before_entry(void);
void lacks_after_entry(void);

#else

static inline u64 lacks_field(u64 encoding) { return encoding; }
static inline const u64 *lacks_region(const u64 *address) { return address; }
static inline bool lacks_token(UNUSED u32 token) { return false; }
static inline void lacks_before_entry(void) { }
static inline void lacks_after_entry(void) { }

#endif
