/* SPDX-License-Identifier: BSD-2-Clause */
#include "instruction.h"

void vmcs_drop(void)
{
	const u64 current = vmcs_current();

	require_outcome(vmclear(&current, NULL), SUCCEED);
	require_eq(vmcs_current(), ~0ull);
}

bool address_bit_unaligned(u32 bit)
{
	return bit < 12;
}

bool address_bit_beyond_width(u32 bit)
{
	return bit >= (has(CAP_BASIC_32BIT_PHYSICAL_ADDRESSES) ? 32 : physical_address_width());
}
