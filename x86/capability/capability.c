/* SPDX-License-Identifier: BSD-2-Clause */
#include "capability.h"

struct fault try_rdmsr(u32 msr, u64 *value)
{
	volatile u64 result = 0;
	const struct fault fault = TRY(result = rdmsr(msr));

	if (value && !fault.raised)
		*value = result;
	return fault;
}

struct fault try_wrmsr(u32 msr, u64 value)
{
	return TRY(wrmsr(msr, value));
}
