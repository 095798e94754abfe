/* SPDX-License-Identifier: BSD-2-Clause */
#include "libc/string.h"

void *memset(void *to, int byte, size_t size)
{
	void *d = to;

	asm volatile("rep stosb" : "+D"(d), "+c"(size) : "a"(byte) : "memory");
	return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	void *d = to;

	asm volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(size) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	if (to <= from || (char *)to >= (const char *)from + size)
		return memcpy(to, from, size);
	while (size--)
		((char *)to)[size] = ((const char *)from)[size];
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const u8 *p = a, *q = b;

	for (; size; p++, q++, size--)
		if (*p != *q)
			return *p - *q;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int strncmp(const char *a, const char *b, size_t size)
{
	for (; size; a++, b++, size--)
		if (*a != *b || !*a)
			return (u8)*a - (u8)*b;
	return 0;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

char *strchr(const char *s, int c)
{
	for (; *s != (char)c; s++)
		if (!*s)
			return NULL;
	return (char *)s;
}

bool hexadecimal(const char *text, size_t length, u64 *value)
{
	static const char digits[] = "0123456789abcdef";
	size_t at = length >= 2 && text[0] == '0' && text[1] == 'x' ? 2 : 0;

	*value = 0;
	if (at == length || length - at > 16)
		return false;
	for (; at < length; at++) {
		const char *const digit = text[at] ? strchr(digits, text[at] >= 'A' && text[at] <= 'F' ? text[at] | 0x20 : text[at]) : NULL;

		if (!digit)
			return false;
		*value = *value << 4 | (u64)(digit - digits);
	}
	return true;
}
