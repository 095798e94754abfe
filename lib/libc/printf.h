/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "libc/types.h"

/*
 * Format as C11 does, for: %d %i %u %x %X %c %s %p %%, the flags '-', '0' and
 * '#', a width and a precision (digits or '*'), and the lengths h, l, ll and z.
 * Always ends the text with a NUL where size > 0. Returns the length that the
 * whole text has.
 */
int vsnprintf(char *to, size_t size, const char *format, va_list args);
int snprintf(char *to, size_t size, const char *format, ...) PRINTF(3, 4);
