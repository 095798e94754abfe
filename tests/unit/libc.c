/* SPDX-License-Identifier: BSD-2-Clause */
/* lib/libc on the host, compared with the host's own C library. */
#include <stdio.h>
#include <string.h>

/* The library's functions under names that do not clash with the host's. */
#define vsnprintf lib_vsnprintf
#define snprintf lib_snprintf
#define memset lib_memset
#define memcpy lib_memcpy
#define memmove lib_memmove
#define memcmp lib_memcmp
#define strlen lib_strlen
#define strcmp lib_strcmp
#define strncmp lib_strncmp
#define strchr lib_strchr
#include "../../lib/libc/string.c"
#include "../../lib/libc/printf.c"
#undef vsnprintf
#undef snprintf
#undef memset
#undef memcpy
#undef memmove
#undef memcmp
#undef strlen
#undef strcmp
#undef strncmp
#undef strchr

static int number, failures;

static void point(bool passed, const char *name)
{
	number++;
	failures += !passed;
	printf("%s %d - %s\n", passed ? "ok" : "not ok", number, name);
}

/* The same text, the same length, and the same when the room is too small. */
#define SAME(format, ...)									\
do {												\
	char want[128], got[128], small[6], small_want[6];					\
	const int want_length = snprintf(want, sizeof(want), format, ##__VA_ARGS__);		\
	const int length = lib_snprintf(got, sizeof(got), format, ##__VA_ARGS__);		\
	const int small_length = lib_snprintf(small, sizeof(small), format, ##__VA_ARGS__);	\
												\
	(void)!snprintf(small_want, sizeof(small_want), format, ##__VA_ARGS__);			\
	const bool same = length == want_length && small_length == length && !strcmp(got, want) &&	\
			  !strcmp(small, small_want);						\
	if (!same)										\
		printf("# wanted \"%s\" (%d), got \"%s\" (%d)\n", want, want_length, got, length); \
	point(same, "printf " #format " " #__VA_ARGS__);					\
} while (0)

static void test_printf(void)
{
	SAME("plain");
	SAME("%%");
	SAME("%d", 0);
	SAME("%d", -2147483647 - 1);
	SAME("%i", 42);
	SAME("%u", 4294967295u);
	SAME("%x", 0xdeadbeefu);
	SAME("%X", 0xdeadbeefu);
	SAME("%#x", 0xffu);
	SAME("%#x", 0u);
	SAME("%ld", -1l);
	SAME("%lu", ~0ul);
	SAME("%lx", 0x123456789abcdef0ul);
	SAME("%#lx", 0x8000000000000000ul);
	SAME("%llx", 0x8000000000000000ull);
	SAME("%zu", (size_t)17);
	SAME("%hx", (unsigned short)0xabcd);
	SAME("[%8d]", -42);
	SAME("[%-8d]", -42);
	SAME("[%08d]", -42);
	SAME("[%#010x]", 0xabu);
	SAME("[%-#10x]", 0xabu);
	SAME("[%02X]", 7u);
	SAME("[%.4u]", 42u);
	SAME("[%8.4x]", 0xabu);
	SAME("[%.0u]", 0u);
	SAME("[%5.0d]", 0);
	SAME("[%*d]", 6, 42);
	SAME("[%*d]", -6, 42);
	SAME("%c%c", 'o', 'k');
	SAME("[%5c]", 'x');
	SAME("%s", "");
	SAME("[%10s]", "right");
	SAME("[%-10s]", "left");
	SAME("[%.3s]", "abcdef");
	SAME("[%.*s]", 2, "abcdef");
	SAME("%s is %u of %#lx", "this", 3u, 0xful);
}

static void test_string(void)
{
	char a[16] = "0123456789abcde", b[16];

	lib_memset(b, 'x', sizeof(b));
	point(b[0] == 'x' && b[15] == 'x', "memset fills all");
	lib_memcpy(b, a, sizeof(a));
	point(!memcmp(a, b, sizeof(a)) && !lib_memcmp(a, b, sizeof(a)), "memcpy copies, memcmp agrees");
	lib_memmove(a + 2, a, 10);
	point(!memcmp(a, "010123456789cde", 15), "memmove upwards over itself");
	lib_memmove(b, b + 2, 10);
	point(!memcmp(b, "23456789abab", 12), "memmove downwards over itself");
	point(lib_strlen("") == 0 && lib_strlen("abc") == 3, "strlen");
	point(lib_strcmp("abc", "abc") == 0 && lib_strcmp("abc", "abd") < 0 && lib_strcmp("b", "abc") > 0, "strcmp");
	point(lib_strncmp("abcd", "abxx", 2) == 0 && lib_strncmp("abc", "abd", 3) < 0, "strncmp");
	point(lib_strchr("a=b", '=') != NULL && lib_strchr("ab", '=') == NULL, "strchr");
}

int main(void)
{
	printf("TAP version 13\n");
	test_printf();
	test_string();
	printf("1..%d\n", number);
	return failures != 0;
}
