/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap/reserved.h"

#include "tap/danger.h"
#include "tap/tap.h"
#include "x86/model.h"
#include "x86/page.h"

void need_reserved_bits(void)
{
	if (!processor_is_known() && !may(MAY_STOP))
		skip("sets bits that may mean anything on a processor that the suite does not know: not without the word "
		     "dangerous=stop");
}

bool reserved_bits_taken(u64 bits, u64 now, u64 *taken)
{
	if (processor_is_known() || (now & bits) != bits)
		return false;
	*taken |= bits;
	check_passed();
	return true;
}

void note_reserved_bits(const char *name, u64 taken)
{
	if (taken)
		note("%s takes the bits %#lx, which this suite knows as reserved", name, taken);
}

u64 need_reserved_address_bit(void)
{
	if (physical_address_width() >= 52)
		skip("needs a physical address of less than 52 bits (CPUID.80000008H:EAX[7:0])");
	return BIT(physical_address_width());
}
