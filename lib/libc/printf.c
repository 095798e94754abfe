/* SPDX-License-Identifier: BSD-2-Clause */
#include "libc/printf.h"
#include "libc/string.h"

struct output {
	char *to;
	size_t size, length;
};

struct spec {
	bool left, zero, hash;
	int width, precision;	/* precision < 0: none given */
};

static void put(struct output *out, char c)
{
	if (out->length + 1 < out->size)
		out->to[out->length] = c;
	out->length++;
}

static void pad(struct output *out, char c, int count)
{
	while (count-- > 0)
		put(out, c);
}

static void put_text(struct output *out, const struct spec *spec, const char *text)
{
	int length = 0;

	while ((spec->precision < 0 || length < spec->precision) && text[length])
		length++;
	if (!spec->left)
		pad(out, ' ', spec->width - length);
	for (int i = 0; i < length; i++)
		put(out, text[i]);
	if (spec->left)
		pad(out, ' ', spec->width - length);
}

static void put_number(struct output *out, const struct spec *spec, u64 value, bool negative,
		       unsigned int base, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	const char *prefix = negative ? "-" : "";
	char text[24];
	int length = 0, zeros;

	if (spec->hash && base == 16 && value)
		prefix = upper ? "0X" : "0x";
	for (; value; value /= base)
		text[length++] = digits[value % base];

	if (spec->precision >= 0)
		zeros = spec->precision - length;
	else if (spec->zero && !spec->left)
		zeros = spec->width - (int)strlen(prefix) - length;
	else
		zeros = 0;
	if (zeros < 1 && spec->precision < 0 && length == 0)
		zeros = 1;	/* the digit of the number 0 */
	if (zeros < 0)
		zeros = 0;

	const int blanks = spec->width - (int)strlen(prefix) - zeros - length;

	if (!spec->left)
		pad(out, ' ', blanks);
	for (; *prefix; prefix++)
		put(out, *prefix);
	pad(out, '0', zeros);
	while (length)
		put(out, text[--length]);
	if (spec->left)
		pad(out, ' ', blanks);
}

/* Digits, or '*' for an argument. */
static int parse_count(const char **format, va_list *args)
{
	int value = 0;

	if (**format == '*') {
		++*format;
		return va_arg(*args, int);
	}
	for (; **format >= '0' && **format <= '9'; ++*format)
		value = value * 10 + (**format - '0');
	return value;
}

static u64 next_signed(va_list *args, int longs)
{
	return longs ? (u64)va_arg(*args, long) : (u64)(s64)va_arg(*args, int);
}

static u64 next_unsigned(va_list *args, int longs)
{
	return longs ? va_arg(*args, unsigned long) : va_arg(*args, unsigned int);
}

static const char *put_conversion(struct output *out, const char *format, va_list *args)
{
	struct spec spec = { .precision = -1 };
	int longs = 0;
	u64 value;

	for (;; format++) {
		if (*format == '-')
			spec.left = true;
		else if (*format == '0')
			spec.zero = true;
		else if (*format == '#')
			spec.hash = true;
		else
			break;
	}
	spec.width = parse_count(&format, args);
	if (spec.width < 0) {	/* from '*': a flag and a width */
		spec.left = true;
		spec.width = -spec.width;
	}
	if (*format == '.') {
		format++;
		spec.precision = parse_count(&format, args);
	}
	for (; *format == 'l' || *format == 'z' || *format == 'h'; format++)
		longs += *format != 'h';

	switch (*format) {
	case 'd':
	case 'i':
		value = next_signed(args, longs);
		put_number(out, &spec, (s64)value < 0 ? -value : value, (s64)value < 0, 10, false);
		break;
	case 'u':
		put_number(out, &spec, next_unsigned(args, longs), false, 10, false);
		break;
	case 'x':
	case 'X':
		put_number(out, &spec, next_unsigned(args, longs), false, 16, *format == 'X');
		break;
	case 'p':
		spec.hash = true;
		put_number(out, &spec, (u64)va_arg(*args, void *), false, 16, false);
		break;
	case 'c':
		put_text(out, &spec, (char[]){ (char)va_arg(*args, int), 0 });
		break;
	case 's':
		put_text(out, &spec, va_arg(*args, const char *));
		break;
	case '\0':
		return format;
	default:
		put(out, *format);
	}
	return format + 1;
}

int vsnprintf(char *to, size_t size, const char *format, va_list args)
{
	struct output out = { to, size, 0 };
	va_list rest;

	va_copy(rest, args);
	while (*format) {
		if (*format != '%')
			put(&out, *format++);
		else
			format = put_conversion(&out, format + 1, &rest);
	}
	va_end(rest);
	if (size)
		to[out.length < size ? out.length : size - 1] = '\0';
	return (int)out.length;
}

int snprintf(char *to, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	const int length = vsnprintf(to, size, format, args);
	va_end(args);
	return length;
}
