/* SPDX-License-Identifier: BSD-2-Clause */
/* The pending-debug-exceptions field ("Checks on Guest Non-Register State"). */
#include "vmxtest/entry_guest.h"

enum {
	PENDING_B0 = BIT(0), PENDING_BLD = BIT(11), PENDING_ENABLED = BIT(12), PENDING_BS = BIT(14), PENDING_RTM = BIT(16),
	DEBUGCTL_BTF = BIT(1),
};
#define PENDING_RESERVED (0x7f0ull | BIT(13) | BIT(15) | ~0ull << 17)

static void begin(void)
{
	entry_stop_guest_in(ACTIVITY_ACTIVE);
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	entry_guest_keep();
}

static void flip_each(u32 from, u32 to)
{
	static const u64 bases[] = { 0, PENDING_BS, PENDING_ENABLED | PENDING_B0 };

	begin();
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		for (u32 bit = from; bit < to; bit++) {
			if ((BIT(bit) == PENDING_BLD && has(FEATURE_BUS_LOCK_DETECT)) || BIT(bit) == PENDING_RTM)
				continue;
			CASE("pending debug exceptions %#lx", bases[i] ^ BIT(bit));
			vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, bases[i] ^ BIT(bit));
			if (BIT(bit) & (PENDING_RESERVED | PENDING_BLD))
				expect_reserved_refused();
			else
				expect_guest_state(true);
		}
	}
}

/* Bit 11 is bus-lock detection where that exists: the manual says both of it then, so it is left alone. */
TEST("entry.guest.pdbg.reserved", "reserved bits 31:0 of the pending debug exceptions are 0")
{
	flip_each(0, 32);
	if (!has(FEATURE_RTM)) {
		CASE("RTM");
		vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, PENDING_RTM | PENDING_ENABLED);
		expect_guest_state(false);
	}
}

TEST("entry.guest.pdbg.reserved_high", "bits 63:32 of the pending debug exceptions are 0")
{
	flip_each(32, 64);
	CASE("no pending debug exceptions");
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
	expect_guest_state(true);
}

/* What makes VM entry look at BS. */
static const struct {
	const char *name;
	u32 interruptibility, activity;
} holds[] = {
	{ "nothing", 0, ACTIVITY_ACTIVE },
	{ "blocking by STI", INTERRUPTIBILITY_STI, ACTIVITY_ACTIVE },
	{ "blocking by MOV SS", INTERRUPTIBILITY_MOV_SS, ACTIVITY_ACTIVE },
	{ "HLT", 0, ACTIVITY_HLT },
	{ "shutdown", 0, ACTIVITY_SHUTDOWN },
	{ "blocking by NMI", INTERRUPTIBILITY_NMI, ACTIVITY_ACTIVE },
};

static bool state_exists(u32 activity)
{
	return (activity != ACTIVITY_HLT || has(CAP_MISC_ACTIVITY_HLT)) &&
	       (activity != ACTIVITY_SHUTDOWN || has(CAP_MISC_ACTIVITY_SHUTDOWN));
}

/* Everything in which TF and BTF are as given: BS must be bs, where BS matters. */
static void try_bs(u64 tf, u64 btf, bool bs_must_be)
{
	static const u64 others[] = { 0, PENDING_B0, PENDING_ENABLED | PENDING_B0 };

	for (size_t i = 0; i < ARRAY_SIZE(holds); i++) {
		const bool matters = holds[i].activity == ACTIVITY_HLT ||
				     holds[i].interruptibility & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS);

		if (!state_exists(holds[i].activity))
			continue;
		entry_stop_guest_in(holds[i].activity);
		for (size_t n = 0; n < 2 * ARRAY_SIZE(others); n++) {
			const bool bs = n & 1;
			const u64 value = others[n / 2] | (bs ? PENDING_BS : 0);

			CASE("%s, RFLAGS.TF %u, BTF %u, pending %#x", holds[i].name, tf, btf, value);
			vmcs_write(GUEST_ACTIVITY_STATE, holds[i].activity);
			vmcs_write(GUEST_INTERRUPTIBILITY_STATE, holds[i].interruptibility);
			vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF | (tf ? RFLAGS_TF : 0));
			vmcs_write(GUEST_IA32_DEBUGCTL, btf ? DEBUGCTL_BTF : 0);
			vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, value);
			expect_guest_state(!matters || bs == bs_must_be);
		}
	}
}

TEST("entry.guest.pdbg.bs_required", "while debug traps are held back, TF = 1 and BTF = 0 need a pending BS")
{
	begin();
	try_bs(1, 0, true);
}

TEST("entry.guest.pdbg.bs_forbidden", "while debug traps are held back, TF = 0 forbids a pending BS")
{
	begin();
	try_bs(0, 0, false);
	try_bs(0, 1, false);
}

TEST("entry.guest.pdbg.bs_btf", "while debug traps are held back, BTF = 1 forbids a pending BS though TF = 1")
{
	begin();
	try_bs(1, 1, false);
}

TEST("entry.guest.pdbg.rtm", "pending RTM has bit 12 and no other bit with it, and no blocking by MOV SS")
{
	begin();
	for (u32 bit = 0; bit < 64; bit++) {
		const u64 base = PENDING_RTM | PENDING_ENABLED;
		const u64 value = BIT(bit) == PENDING_RTM ? base : base ^ BIT(bit);

		CASE("pending debug exceptions %#lx", value);
		vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, value);
		expect_guest_state(has(FEATURE_RTM) && value == base);
	}
	CASE("blocking by MOV SS");
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, PENDING_RTM | PENDING_ENABLED);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_MOV_SS);
	expect_guest_state(false);
	CASE("blocking by STI");
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, PENDING_RTM | PENDING_ENABLED);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_STI);
	expect_guest_state(has(FEATURE_RTM));
}
