/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/fault.h"
#include "x86/model.h"
#include "x86/processor.h"

#include "libc/string.h"

static const struct {
	u8 family, model;
} known[] = {
#define MODEL(family, model, text) { family, model },
#include "x86/models.def"
};

struct processor_model processor_model(void)
{
	const u32 signature = cpuid(1, 0).eax;
	const u32 family = signature >> 8 & 0xf;
	const bool has_extended_model = family == 6 || family == 15;

	return (struct processor_model){
		.family = family == 15 ? family + (signature >> 20 & 0xff) : family,
		.model = (signature >> 4 & 0xf) | (has_extended_model ? signature >> 12 & 0xf0 : 0),
		.stepping = signature & 0xf,
	};
}

static bool is_intel(void)
{
	const struct cpuid c = cpuid(0, 0);
	const u32 vendor[] = { c.ebx, c.edx, c.ecx };

	return !memcmp(vendor, "GenuineIntel", sizeof(vendor));
}

bool processor_is_known(void)
{
	const struct processor_model here = processor_model();

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].family == here.family && known[i].model == here.model)
			return is_intel();
	return false;
}

/* SDM Vol. 3A, "Determining the Signature": CPUID loads the MSR, which was 0. */
bool microcode_revision(u32 *revision)
{
	volatile u64 value = 0;
	const struct fault fault = TRY(wrmsr(IA32_BIOS_SIGN_ID, 0); cpuid(1, 0); value = rdmsr(IA32_BIOS_SIGN_ID));

	*revision = value >> 32;
	return !fault.raised;
}

const char *processor_core(void)
{
	if (cpuid(0, 0).eax < 0x1a)
		return "none";
	switch (cpuid(0x1a, 0).eax >> 24) {
	case 0x20: return "atom";
	case 0x40: return "core";
	default: return "none";
	}
}
