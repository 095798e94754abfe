/* SPDX-License-Identifier: BSD-2-Clause */
/* The words on the command line: hostile.NAME=VALUE. A value is a number (decimal, or 0x...), or names joined by commas. */
#include "hostile/internal.h"

#include "libc/string.h"

struct hostile hostile = { .seed = 1 };
u64 hostile_nops;

static const char *const absent_names[] = { "pit", "cmos", "pmtimer", "post", NULL };
static const char *const entry_names[] = {
	"rflags", "debug", "xcr0", "efer", "cr4", "cr0", "msrs", "pat", "mtrrs", "x2apic", "apic", "apicbase", "inservice",
	"pending", "nmi", NULL,
};
static const char *const firmware_names[] = { "pic", "ioapic", "hpet", "timer", "lvt", NULL };
static const char *const hypervisor_names[] = { "hyperv", "vmware", "xen", "kvm", NULL };

static const struct {
	const char *name;
	u64 *value;
	const char *const *names;	/* NULL: a number */
} words[] = {
	{ "width", &hostile.width, NULL },
	{ "la57", &hostile.la57, NULL },
	{ "hypervisor", &hostile.hypervisor, hypervisor_names },
	{ "pmu", &hostile.pmu, NULL },
	{ "absent", &hostile.absent, absent_names },
	{ "ipi", &hostile.ipi_delay, NULL },
	{ "nmi", &hostile.nmi_delay, NULL },
	{ "nops", &hostile_nops, NULL },
	{ "entry_us", &hostile.entry_delay, NULL },
	{ "late_start", &hostile.late_start, NULL },
	{ "late_work", &hostile.late_work, NULL },
	{ "tsc", &hostile.tsc, NULL },
	{ "tsc_adjust", &hostile.tsc_adjust, NULL },
	{ "tsc_skew", &hostile.tsc_skew, NULL },
	{ "gaps", &hostile.gaps, NULL },
	{ "seed", &hostile.seed, NULL },
	{ "holes", &hostile.holes, NULL },
	{ "low_holes", &hostile.low_holes, NULL },
	{ "break_off", &hostile.break_off, NULL },
	{ "entry", &hostile.entry, entry_names },
	{ "firmware", &hostile.firmware, firmware_names },
};

static size_t length_to(const char *text, char end)
{
	size_t length = 0;

	while (text[length] && text[length] != ' ' && text[length] != end)
		length++;
	return length;
}

static bool is(const char *text, size_t length, const char *name)
{
	return length == strlen(name) && !memcmp(text, name, length);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

static bool read_number(const char *text, size_t length, u64 *value)
{
	const u32 base = length > 2 && text[0] == '0' && text[1] == 'x' ? 16 : 10;
	size_t i = base == 16 ? 2 : 0;

	for (*value = 0; i < length && digit(text[i]) < (int)base; i++)
		*value = *value * base + digit(text[i]);
	return length && i == length;
}

static bool read_names(const char *text, size_t length, const char *const *names, u64 *value)
{
	for (size_t at = 0; at < length; at += length_to(text + at, ',') + 1) {
		const char *const *name = names;

		while (*name && !is(text + at, length_to(text + at, ','), *name))
			name++;
		if (!*name)
			return false;
		*value |= BIT(name - names);
	}
	return length;
}

bool hostile_word(const char *word)
{
	static const char prefix[] = "hostile.";

	if (strncmp(word, prefix, sizeof(prefix) - 1) != 0)
		return false;
	word += sizeof(prefix) - 1;

	const size_t name = length_to(word, '='), value = name + 1;

	for (size_t i = 0; word[name] == '=' && i < ARRAY_SIZE(words); i++) {
		const size_t length = length_to(word + value, ' ');

		if (!is(word, name, words[i].name))
			continue;
		return words[i].names ? read_names(word + value, length, words[i].names, words[i].value) :
					read_number(word + value, length, words[i].value);
	}
	return false;
}

u64 hostile_random(void)
{
	hostile.seed = hostile.seed * 6364136223846793005ull + 1442695040888963407ull;
	return hostile.seed >> 33;
}
