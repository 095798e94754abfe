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
