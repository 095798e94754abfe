/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define PAGE_SIZE		4096
#define BIT(n)			(1ull << (n))
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define PRINTF(text, args)	__attribute__((format(printf, text, args)))
#define ALIGNED(n)		__attribute__((aligned(n)))
#define STRING_OF(macro)	STRING_OF_(macro)
#define STRING_OF_(text)	#text
#define UNUSED			__attribute__((unused))
