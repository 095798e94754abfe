/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the test in flight has asked for, by NEEDS() or has(), and what it uses beside that: only in the check build
 * (make CHECK=1), where a control or feature that a test uses and did not ask for fails the test. Elsewhere nothing.
 *
 * A token is what NEEDS() takes: a CPUID feature, a control or capability of VMX (vmx/controls.h). Bits 31:28 say
 * which; a control has its word in 15:8 and its bit in 7:0, the others have a number.
 */
#pragma once

#include "libc/types.h"

#ifdef VMXCHECK_CHECK_BUILD
enum { ASKING_IS_WATCHED = true };

/* The test may use it; from now on, until asked_begin(). */
void token_asked(u32 token);

/* The test does use it, and the processor went along. */
void token_used(u32 token);

/* A test begins. */
void asked_begin(void);

/* Somebody else uses controls meanwhile (under=): nothing is held against the test, until the end of the image. */
void asked_ignore(void);

/* The next token behind `token` (0: the first) that was asked, or was used without; 0: no more. */
u32 asked_next(u32 token);
u32 unasked_next(u32 token);

#else
enum { ASKING_IS_WATCHED = false };

static inline void token_asked(UNUSED u32 token) { }
static inline void token_used(UNUSED u32 token) { }
static inline void asked_begin(void) { }
static inline void asked_ignore(void) { }
static inline u32 unasked_next(UNUSED u32 token) { return 0; }

#endif
