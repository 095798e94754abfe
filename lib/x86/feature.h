/* SPDX-License-Identifier: BSD-2-Clause */
/* CPUID features, one row each in features.def. */
#pragma once

#include "libc/types.h"

enum feature {
	FEATURE_BASE = 0x40000000,	/* so that a feature can stand beside VMX controls in NEEDS() */
#define FEATURE(name, leaf, subleaf, reg, bit, text) name,
#include "x86/features.def"
	FEATURE_END
};

/* Set in a need: the opposite, met where the feature or control is not there. */
#define LACKING 0x80000000u

bool has_feature(enum feature feature);

/* "CPUID.01H:ECX[21] (x2APIC)" */
void feature_format(char *to, size_t size, enum feature feature);
