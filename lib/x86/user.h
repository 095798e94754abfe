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
