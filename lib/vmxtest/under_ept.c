/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An EPT that forgets: it maps nothing at first and again and again later, so that
 * EPT violations come everywhere: at fetches, in page walks, in the delivery of
 * events, in IRETs. Whoever resumes them must put everything back.
 */
#include "vmx/ept.h"
#include "vmxtest/under.h"

enum { EXITS_TO_FORGET = 97, MOST_REMEMBERED = 32 };

static bool active;
static u64 *remembered[MOST_REMEMBERED];
static u32 count;

static void forget(void)
{
	while (count)
		*remembered[--count] &= ~(u64)EPT_RWX;
	ept_flush();
}

void under_use_forgetful_ept(void)
{
	active = has(CAP_EPT_2M_PAGES);		/* smaller ones would be a million */
	for (u64 address = 0; active && address < BIT(32); address += 1 << 21)
		*ept_entry(address, 2) &= ~(u64)EPT_RWX;
	ept_flush();
}

void under_ept_tick(void)
{
	static u32 exits;

	if (active && ++exits % EXITS_TO_FORGET == 0)
		forget();
}

void under_ept_violation(void)
{
	const u64 address = vmcs_read(GUEST_PHYSICAL_ADDRESS);

	if (!active || address >= BIT(32)) {
		under_give_up("an EPT violation above 4 GiB");
		return;
	}
	if (count == MOST_REMEMBERED)
		forget();
	remembered[count] = ept_entry(address, 2);
	*remembered[count++] |= EPT_RWX;
	under_block_nmis_again(guest.outcome.qualification);
}
