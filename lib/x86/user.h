/* SPDX-License-Identifier: BSD-2-Clause */
/* Code at CPL 3, in the host or in a guest. */
#pragma once

#include "x86/fault.h"

/*
 * Let CPL 3 reach the image's own code and data, by the U/S flags of the identity
 * map; a test calls it in the host before user_run, here or in a guest. Undone
 * after the test. (Supervisor code then runs from user pages: keep SMEP 0.)
 */
void user_pages_on(void);
void user_pages_off(void);

/*
 * Run the function at CPL 3, 64-bit, IOPL 0, interrupts off, on a stack of its own.
 * The exception that it raised, or none when it returned. It must not use TRY.
 */
struct fault user_run(void (*function)(void));

/* The same with these RFLAGS (IOPL, AC, TF...); bit 1 is set by itself. */
struct fault user_run_flags(void (*function)(void), u64 rflags);

/*
 * Jump to code in another code segment, 64-bit or 32-bit (compatibility mode), with
 * this SS, also in DS and ES, these RFLAGS, RSP at the top of the user stack. The
 * CPL is the selectors' RPL. The code ends in INT VECTOR_USER_RETURN, or in the
 * exception that is returned.
 */
struct fault run_at(const void *code, u16 cs, u16 ss, u64 rflags);
