/* SPDX-License-Identifier: BSD-2-Clause */
#include "report.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 0xe9, START = 2 };

static void write_port(const void *data, size_t size)
{
	asm volatile("rep outsb" : "+S"(data), "+c"(size) : "d"(PORT) : "memory");
}

void report_bytes(enum report type, const void *data, size_t size)
{
	const unsigned char head[] = { START, type, size & 0xff, size >> 8 & 0xff };

	write_port(head, sizeof(head));
	write_port(data, size);
}

void report(enum report type, const char *format, ...)
{
	char text[4096];
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (size >= (int)sizeof(text))
		size = sizeof(text) - 1;
	report_bytes(type, text, size > 0 ? size : 0);
}

/* ---- the image's output */

static char buffer[4096], line[16];
static size_t buffered, line_length;
static unsigned long long progress_ms;

static unsigned long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

void output_begin(void)
{
	buffered = line_length = 0;
	progress_ms = now_ms();
}

unsigned int output_idle_ms(void)
{
	return now_ms() - progress_ms;
}

void output_flush(void)
{
	if (buffered)
		report_bytes(REPORT_OUTPUT, buffer, buffered);
	buffered = 0;
}

static bool line_begins(const char *word)
{
	return line_length >= strlen(word) && memcmp(line, word, strlen(word)) == 0;
}

void output_byte(char byte)
{
	buffer[buffered++] = byte;
	if (buffered == sizeof(buffer) || byte == '\n')
		output_flush();
	if (byte != '\n') {
		if (line_length < sizeof(line))
			line[line_length++] = byte;
		return;
	}
	if (line_begins("# begin ") || line_begins("ok ") || line_begins("not ok "))
		progress_ms = now_ms();
	line_length = 0;
}

/* ---- the kernel's log */

static int log_fd = -1;

void kernel_log_begin(void)
{
	if (log_fd < 0)
		log_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	lseek(log_fd, 0, SEEK_END);
}

/* The kick (kick.c) makes the kernel wonder where its NMIs come from. */
static bool about_the_kick(const char *text)
{
	return strstr(text, "NMI received for unknown reason") || strstr(text, "Dazed and confused") ||
	       strstr(text, "strange power saving mode");
}

void kernel_log_report(void)
{
	enum { WARNING = 4 };
	char record[2048];
	ssize_t size;

	while ((size = read(log_fd, record, sizeof(record) - 1)) > 0) {
		unsigned int level;
		char *text, *end;

		record[size] = '\0';	/* LEVEL,NUMBER,TIME,FLAGS;TEXT and a newline, then more lines for machines */
		text = strchr(record, ';');
		if (!text++ || sscanf(record, "%u", &level) != 1)
			continue;
		end = strchr(text, '\n');
		if (end)
			*end = '\0';
		if ((level & 7) <= WARNING && !about_the_kick(text))
			report(REPORT_KERNEL, "<%u>%s", level & 7, text);
	}
}
