/* SPDX-License-Identifier: BSD-2-Clause */
/* The few string functions that the library needs; they mean what C11 says. */
#pragma once

#include "libc/types.h"

void *memset(void *to, int byte, size_t size);
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t size);
char *strchr(const char *s, int c);

/* A hexadecimal number of at most 16 digits, with or without 0x in front; false: it is none. */
bool hexadecimal(const char *text, size_t length, u64 *value);
