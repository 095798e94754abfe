/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/emulated.h"
#include "x86/feature.h"
#include "x86/processor.h"

#include "libc/string.h"

/*
 * Not here: Xen, Hyper-V, ACRN, Jailhouse. Their first guest has the real devices, and some let it reset the machine.
 */
static const char signatures[][13] = {
	"TCGTCGTCGTCG", "KVMKVMKVM\0\0", "VMwareVMware", "VBoxVBoxVBox", "bhyve bhyve ",
};

static enum { NOTHING_SAID, REAL, EMULATED } said;

void machine_say(bool emulated)
{
	said = emulated ? EMULATED : REAL;
}

static bool has_signature(void)
{
	const struct cpuid c = cpuid(0x40000000, 0);
	const u32 text[] = { c.ebx, c.ecx, c.edx };

	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++)
		if (!memcmp(text, signatures[i], sizeof(text)))
			return true;
	return false;
}

bool machine_is_emulated(void)
{
	if (said)
		return said == EMULATED;
	return has_feature(FEATURE_HYPERVISOR) && has_signature();
}
