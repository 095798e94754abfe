/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An EPT that forgets: it maps nothing at first and again and again later, so that
 * EPT violations come everywhere: at fetches, in page walks, in the delivery of
 * events, in IRETs. Whoever resumes them must put everything back.
 */
#include "vmx/ept.h"
#include "vmxtest/under.h"

enum { EXITS_TO_FORGET = 97 };

static bool active;
static unsigned int leaf_level;

static void forget(void)
{
	const u64 step = leaf_level == 2 ? 1ull << 21 : 1ull << 12;

	for (u64 address = 0; address < BIT(32); address += step)
		*ept_entry(address, leaf_level) &= ~(u64)EPT_RWX;
	ept_flush();
}

void under_use_forgetful_ept(void)
{
	leaf_level = has(CAP_EPT_2M_PAGES) ? 2 : 1;
	active = leaf_level == 2;	/* a million entries would take too long */
	if (active)
		forget();
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
	*ept_entry(address, leaf_level) |= EPT_RWX;
	under_block_nmis_again(guest.outcome.qualification);
}
