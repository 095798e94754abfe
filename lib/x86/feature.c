/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/asked.h"
#include "x86/feature.h"
#include "x86/processor.h"

#include "libc/printf.h"

enum { EAX, EBX, ECX, EDX };

static const struct {
	u32 leaf, subleaf;
	u8 reg, bit;
	const char *text;
} features[] = {
#define FEATURE(name, leaf, subleaf, reg, bit, text) { leaf, subleaf, reg, bit, text },
#include "x86/features.def"
};

bool has_feature(enum feature feature)
{
	const u32 i = feature - FEATURE_BASE - 1;
	const u32 leaf = features[i].leaf;

	token_asked(feature);
	if (cpuid(leaf & 0x80000000, 0).eax < leaf)
		return false;
	/* Leaf 7 says in EAX how many subleaves there are; further ones read as garbage or 0. */
	if (leaf == 7 && features[i].subleaf > cpuid(7, 0).eax)
		return false;

	const struct cpuid c = cpuid(leaf, features[i].subleaf);
	const u32 regs[] = { c.eax, c.ebx, c.ecx, c.edx };

	return regs[features[i].reg] >> features[i].bit & 1;
}

void feature_format(char *to, size_t size, enum feature feature)
{
	static const char *const regs[] = { "EAX", "EBX", "ECX", "EDX" };
	const u32 i = feature - FEATURE_BASE - 1;

	snprintf(to, size, "CPUID.%02XH:%s[%u] (%s)", features[i].leaf, regs[features[i].reg], features[i].bit,
		 features[i].text);
}
