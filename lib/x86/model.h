/* SPDX-License-Identifier: BSD-2-Clause */
/* Which processor this is, by CPUID.01H:EAX (SDM Vol. 2A, CPUID, "Version Information"). */
#pragma once

#include "libc/types.h"

struct processor_model {
	u32 family, model, stepping;	/* with the extended fields */
};

struct processor_model processor_model(void);

/*
 * Is it an Intel processor of a model that is older than this suite (models.def)? What is reserved there has been seen
 * and is 0; of any other processor it cannot be told what its reserved bits have come to mean.
 */
bool processor_is_known(void);

/* The revision of its microcode; false: it does not say one, as hypervisors need not. */
bool microcode_revision(u32 *revision);

/* "core", "atom", or "none": the core type of a hybrid processor that this code runs on (CPUID.1AH:EAX[31:24]). */
const char *processor_core(void);
