/* SPDX-License-Identifier: BSD-2-Clause */
#include "console/console.h"

#include "libc/printf.h"
#include "libc/string.h"
#include "machine/debug_port.h"
#include "machine/pci.h"
#include "machine/serial.h"

static enum { NO_PORT, SERIAL, DEBUG, TEXT } kind;
static char remark[96];

/* ---- the ways */

static struct serial_port port;		/* that one of them found */

static bool find_text(void)
{
	kind = TEXT;
	return debug_port_takes_texts();
}

static bool find_com1(void)
{
	kind = SERIAL;
	port = (struct serial_port){ SERIAL_IO, SERIAL_COM1, false };
	return serial_is_there(&port);
}

static bool find_spcr(void)
{
	kind = SERIAL;
	return serial_by_spcr(&port) && serial_is_there(&port);
}

static bool find_debug(void)
{
	kind = DEBUG;
	return debug_port_is_there();
}

static bool find_pci(void)
{
	kind = SERIAL;
	return pci_find_serial(&port);
}

static bool find_none(void)
{
	kind = NO_PORT;
	return true;
}

/* In the order in which they are tried. */
static const struct way {
	const char *word;
	bool (*find)(void);
	bool expected;		/* nobody wonders at it */
} ways[] = {
	{ "monitor", find_text, true }, { "com1", find_com1, true }, { "spcr", find_spcr, false }, { "e9", find_debug, true },
	{ "pci", find_pci, false }, { "none", find_none, true },
};

static const struct way *way_of(const char *word, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (strlen(ways[i].word) == length && !memcmp(ways[i].word, word, length))
			return &ways[i];
	return NULL;
}

static bool find_named(const char *word, size_t length)
{
	const struct way *const way = way_of(word, length);

	kind = SERIAL;
	return way ? way->find() : serial_parse(word, length, &port) && serial_is_there(&port);
}

bool console_takes(const char *word, size_t length)
{
	struct serial_port parsed;

	return way_of(word, length) || serial_parse(word, length, &parsed);
}

/* ---- the way that is taken */

static void say_where(const char *why, size_t length, const char *behind)
{
	const char *const space = port.space == SERIAL_IO ? "port " : "memory at ";

	if (kind == SERIAL)
		snprintf(remark, sizeof(remark), "%.*s%s: %s%#lx", (int)length, why, behind, space, port.address);
	else if (kind == DEBUG)
		snprintf(remark, sizeof(remark), "%.*s%s: port 0xe9", (int)length, why, behind);
}

void console_init(const char *word, size_t length)
{
	const bool named = word && find_named(word, length);
	size_t i = 0;

	if (named)
		say_where(word, length, "");
	while (!named && !ways[i].find())
		i++;
	if (word && !named)
		say_where(word, length, " is not there");
	else if (!word && !ways[i].expected)
		say_where(ways[i].word, strlen(ways[i].word), "");
	if (kind == SERIAL)
		serial_use(&port);
}

const char *console_remark(void)
{
	return remark[0] ? remark : NULL;
}

static void (*watching)(const char *text, size_t length);

void console_watch(void (*watcher)(const char *text, size_t length))
{
	watching = watcher;
}

void console_write(const char *text, size_t length)
{
	switch (kind) {
	case NO_PORT:
		break;
	case SERIAL:
		serial_send(text, length);
		break;
	case DEBUG:
		debug_port_send(text, length);
		break;
	case TEXT:
		debug_port_hand_over(text, length);
		break;
	}
	if (watching)
		watching(text, length);
}

void console_drain(void)
{
	if (kind == SERIAL)
		serial_drain();
}

void print(const char *format, ...)
{
	static char line[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	console_write(line, strlen(line));
}
