/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest RIP, RFLAGS and SSP ("Checks on Guest RIP, RFLAGS, and SSP"). */
#include "vmxtest/entry_guest.h"

#define HIGH_HALF 0xffffffff00000000ull
#define RFLAGS_RESERVED (~0ull << 22 | BIT(15) | BIT(5) | BIT(3))

static void flip_high_rip_bits(const char *mode)
{
	entry_guest_keep();
	for (u32 bit = 0; bit < 64; bit++) {
		CASE("%s: RIP with bit %u flipped", mode, bit);
		vmcs_write(GUEST_RIP, 0x100000 ^ BIT(bit));
		expect_guest_state(bit < 32);
	}
	CASE("%s: RIP of all ones", mode);
	vmcs_write(GUEST_RIP, ~0ull);
	expect_guest_state(false);
	vmcs_write(GUEST_RIP, 0xffffffff);
	expect_guest_state(true);
}

TEST("entry.guest.rip.high_not64", "out of 64-bit mode bits 63:32 of RIP are 0")
{
	entry_stop_guest_at_once();
	entry_guest_compatibility();
	flip_high_rip_bits("compatibility mode");
	entry_guest_32bit();
	flip_high_rip_bits("32-bit");
	/* CS.L is nothing outside IA-32e mode. */
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE64);
	flip_high_rip_bits("32-bit with CS.L");
}

/* Bits 63:N are equal. Bit N-1 is free: RIP need not be canonical. */
TEST("entry.guest.rip.bits_n", "in 64-bit mode bits 63:N of RIP are equal, and bit N-1 is free")
{
	const u32 width = linear_address_width();
	const u64 above = ~0ull << width;
	const u64 legal[] = { 0, above, BIT(width - 1), above | BIT(width - 1), ~above, above | 1, ~0ull };

	if (width == 64)
		skip("needs linear addresses of less than 64 bits");
	entry_stop_guest_at_once();
	entry_guest_keep();
	for (size_t i = 0; i < ARRAY_SIZE(legal); i++) {
		CASE("RIP %#lx", legal[i]);
		vmcs_write(GUEST_RIP, legal[i]);
		expect_guest_state(true);
		for (u32 bit = width; bit < 64 && width < 63; bit++) {
			CASE("RIP %#lx", legal[i] ^ BIT(bit));
			vmcs_write(GUEST_RIP, legal[i] ^ BIT(bit));
			expect_guest_state(false);
		}
	}
}

TEST("entry.guest.rflags.reserved", "reserved bits of RFLAGS are 0, and bit 1 is 1")
{
	ENTRY_VALUES(FIELDS(GUEST_RFLAGS), .bad = FLIPPED_BITS(RFLAGS_RESERVED | RFLAGS_FIXED),
		     .refused = BY_INVALID_GUEST_STATE,
		     .good = FLIPPED_BITS(~(RFLAGS_RESERVED | RFLAGS_FIXED | RFLAGS_VM)));
	entry_guest_32bit();
	ENTRY_VALUES(FIELDS(GUEST_RFLAGS), .bad = FLIPPED_BITS(RFLAGS_RESERVED | RFLAGS_FIXED),
		     .refused = BY_INVALID_GUEST_STATE,
		     .good = FLIPPED_BITS(~(RFLAGS_RESERVED | RFLAGS_FIXED | RFLAGS_VM)));
	entry_guest_v86();
	ENTRY_VALUES(FIELDS(GUEST_RFLAGS), .bad = FLIPPED_BITS(RFLAGS_RESERVED | RFLAGS_FIXED),
		     .refused = BY_INVALID_GUEST_STATE,
		     .good = FLIPPED_BITS(~(RFLAGS_RESERVED | RFLAGS_FIXED | RFLAGS_VM)));
}

TEST("entry.guest.rflags.vm_ia32e", "RFLAGS.VM is 0 in an IA-32e mode guest")
{
	entry_stop_guest_at_once();
	entry_guest_keep();
	CASE("64-bit guest");
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_VM);
	expect_guest_state(false);

	/* All else as virtual-8086 mode wants it, so that this rule alone decides. */
	entry_guest_v86();
	entry_guest_keep();
	CASE("virtual-8086 guest");
	expect_guest_state(true);
	vmcs_set_controls(ENTRYCTL_IA32E_MODE_GUEST);
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_PAE);
	CASE("virtual-8086 guest with IA-32e mode");
	expect_guest_state(false);
}

TEST("entry.guest.rflags.vm_pe", "RFLAGS.VM is 0 in a guest with CR0.PE = 0", NEEDS(PROC2_UNRESTRICTED_GUEST))
{
	entry_stop_guest_at_once();
	entry_guest_v86();
	entry_unrestricted_guest();
	entry_guest_keep();
	CASE("CR0.PE = 1");
	expect_guest_state(true);
	vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) & ~(CR0_PG | CR0_PE));
	CASE("CR0.PE = 0");
	expect_guest_state(false);
}

TEST("entry.guest.rflags.if_extint", "an external interrupt is injected only with RFLAGS.IF = 1")
{
	entry_stop_guest_in(ACTIVITY_ACTIVE);
	entry_guest_keep();
	WALK_OVER(vector, 0, 256) {
		CASE("vector %u", vector);
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INTERRUPTION_VALID | INTERRUPTION_TYPE_EXTERNAL | vector);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
		expect_guest_state(false);
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INTERRUPTION_VALID | INTERRUPTION_TYPE_EXTERNAL | vector);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
		expect_guest_state(true);
		/* Without the valid bit nothing is injected. */
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INTERRUPTION_TYPE_EXTERNAL | vector);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
		expect_guest_state(true);
	}
	CASE("an NMI");
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INTERRUPTION_VALID | INTERRUPTION_TYPE_NMI | VECTOR_NMI);
	expect_guest_state(true);
	CASE("an exception");
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | VECTOR_UD);
	expect_guest_state(true);
}

/*
 * As with RIP in 64-bit mode, and in every mode. (The preview of CET had another rule outside 64-bit mode: bits 63:32
 * are 0. The manual has dropped it.)
 */
static void try_ssp(const char *mode)
{
	const u32 width = linear_address_width();
	const u64 above = ~0ull << width, top = BIT(width - 1);
	const u64 legal[] = { 0, 4, BIT(31), BIT(32), top, above, above | top, ~above & ~3ull, ~3ull };
	const u64 illegal[] = { BIT(width), BIT(63), above & ~BIT(63), above & ~BIT(width), 1, 2, above | 1 };

	for (size_t i = 0; i < ARRAY_SIZE(legal); i++) {
		CASE("%s, SSP %#lx", mode, legal[i]);
		vmcs_write(GUEST_SSP, legal[i]);
		expect_guest_state(true);
	}
	for (size_t i = 0; i < ARRAY_SIZE(illegal); i++) {
		CASE("%s, SSP %#lx", mode, illegal[i]);
		vmcs_write(GUEST_SSP, illegal[i]);
		expect_guest_state(false);
	}
}

TEST("entry.guest.ssp.range", "if it is loaded, bits 1:0 of SSP are 0 and bits 63:N are equal in every mode, and bit N-1 is free",
     NEEDS(ENTRYCTL_LOAD_CET_STATE))
{
	vmcs_set_controls(ENTRYCTL_LOAD_CET_STATE);
	if (has(EXITCTL_LOAD_CET_STATE))
		vmcs_set_controls(EXITCTL_LOAD_CET_STATE);
	entry_stop_guest_at_once();
	entry_guest_keep();
	try_ssp("64-bit mode");
	entry_guest_compatibility();
	entry_guest_keep();
	try_ssp("compatibility mode");
	entry_guest_32bit();
	entry_guest_keep();
	try_ssp("32-bit");
}
