/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest CR0, CR3 and CR4 ("Checks on Guest Control Registers, Debug Registers, and MSRs"). */
#include "vmxtest/entry_guest.h"
#include "vmx/ept.h"

#define CR0_HIGH 0xffffffff00000000ull
#define CR4_FRED BIT(32)

static void set_cr0(u64 bits) { vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) | bits); }
static void clear_cr0(u64 bits) { vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) & ~bits); }

/* Does each bit that is checked have a value that VMX operation supports? */
static bool supported(u64 value, u64 fixed0, u64 fixed1, u64 not_checked)
{
	return !(((value & ~fixed1) | (~value & fixed0)) & ~not_checked);
}

/* Flip each bit of the mask in turn: legal if the fixed-bit MSRs say so. */
static void flip_fixed_bits(enum vmcs_field field, u64 mask, u64 fixed0, u64 fixed1, u64 not_checked)
{
	const u64 base = vmcs_read(field);

	entry_guest_keep();
	for (u32 bit = 0; bit < 64; bit++) {
		if (!(mask & BIT(bit)))
			continue;
		CASE("%s = %#lx (bit %u)", field_find(field)->name, base ^ BIT(bit), bit);
		vmcs_write(field, base ^ BIT(bit));
		expect_guest_state(supported(base ^ BIT(bit), fixed0, fixed1, not_checked));
		vmcs_write(field, base);
	}
	CASE("%s = %#lx (as it was)", field_find(field)->name, base);
	expect_guest_state(true);
}

/* CD and NW are never checked, PE and PG not with "unrestricted guest" (which has rules of its own). */
static void flip_cr0_bits(u64 mask, bool unrestricted)
{
	const struct vmx_capabilities *cap = vmx_capabilities();
	const u64 not_checked = CR0_CD | CR0_NW | (unrestricted ? CR0_PE | CR0_PG : 0);

	flip_fixed_bits(GUEST_CR0, mask, cap->cr0_fixed0, cap->cr0_fixed1, not_checked);
}

TEST("entry.guest.cr0.fixed", "each bit of guest CR0 has a value that VMX operation supports")
{
	entry_stop_guest_at_once();
	flip_cr0_bits(~CR0_HIGH, false);
	/* Without "unrestricted guest" EPT changes nothing, whatever the hypervisor below lets its own guest do. */
	if (has(PROC2_ENABLE_EPT)) {
		vmcs_write(EPT_POINTER, ept_pointer(page_alloc()));
		vmcs_set_controls(PROC2_ENABLE_EPT);
		flip_cr0_bits(~CR0_HIGH, false);
	}
	if (has(PROC2_UNRESTRICTED_GUEST)) {
		entry_unrestricted_guest();
		entry_guest_32bit();
		flip_cr0_bits(~CR0_HIGH & ~(CR0_PE | CR0_PG), true);
		entry_guest_real();
		flip_cr0_bits(~CR0_HIGH & ~(CR0_PE | CR0_PG), true);
	}
}

TEST("entry.guest.cr0.high32", "guest CR0 bits 63:32 are 0")
{
	entry_stop_guest_at_once();
	flip_cr0_bits(CR0_HIGH, false);
	if (has(PROC2_UNRESTRICTED_GUEST)) {
		entry_guest_real();
		flip_cr0_bits(CR0_HIGH, true);
	}
}

/* Every combination of PE and PG, in the guest that was prepared. */
static void try_pe_pg(bool (*legal)(bool pe, bool pg))
{
	entry_guest_keep();
	for (u64 n = 0; n < 4; n++) {
		const bool pe = n & 1, pg = n & 2;

		clear_cr0(CR0_PE | CR0_PG);
		set_cr0((pe ? CR0_PE : 0) | (pg ? CR0_PG : 0));
		CASE("guest CR0.PE = %u, CR0.PG = %u", pe, pg);
		expect_guest_state(legal(pe, pg));
	}
}

static bool both(bool pe, bool pg) { return pe && pg; }
static bool pg_needs_pe(bool pe, bool pg) { return pe || !pg; }


TEST("entry.guest.cr0.pe_pg_no_ug", "without unrestricted guest CR0.PE and CR0.PG are 1")
{
	entry_stop_guest_at_once();
	try_pe_pg(both);
	if (has(PROC2_ENABLE_EPT)) {
		vmcs_write(EPT_POINTER, ept_pointer(page_alloc()));
		vmcs_set_controls(PROC2_ENABLE_EPT);
		try_pe_pg(both);
	}
	entry_guest_32bit();
	try_pe_pg(both);
}

TEST("entry.guest.cr0.pg_without_pe", "with unrestricted guest CR0.PG = 1 needs CR0.PE = 1",
     NEEDS(PROC2_UNRESTRICTED_GUEST))
{
	entry_stop_guest_at_once();
	entry_guest_real();
	entry_guest_keep();
	set_cr0(CR0_PG);
	expect_guest_state(false);
	set_cr0(CR0_PE);
	expect_guest_state(true);
}

TEST("entry.guest.cr0.ug_relaxed", "with unrestricted guest CR0.PE = 0, and PG = 0 with PE = 1, enter",
     NEEDS(PROC2_UNRESTRICTED_GUEST))
{
	entry_stop_guest_at_once();
	entry_guest_real();
	try_pe_pg(pg_needs_pe);
}

static volatile u64 cr0_in_guest;

static void guest_reads_cr0(void)
{
	cr0_in_guest = read_cr0();
}

TEST("entry.guest.cr0.cd_nw_ignored", "CD and NW of guest CR0 are not checked, and do not reach the register")
{
	const u64 cd_nw = CR0_CD | CR0_NW;
	const u64 host = read_cr0();

	for (u64 n = 0; n < 4; n++) {
		const u64 value = (host & ~cd_nw) | (n & 1 ? CR0_CD : 0) | (n & 2 ? CR0_NW : 0);

		CASE("guest CR0 = %#lx", value);
		vmcs_write(GUEST_CR0, value);
		cr0_in_guest = ~host;
		guest_run(guest_reads_cr0);
		expect_guest_done();
		expect_bits(cr0_in_guest, cd_nw, host & cd_nw);
		expect_bits(read_cr0(), cd_nw, host & cd_nw);
	}
}

static void flip_cr4_bits(u64 mask)
{
	const struct vmx_capabilities *cap = vmx_capabilities();

	flip_fixed_bits(GUEST_CR4, mask, cap->cr4_fixed0, cap->cr4_fixed1, 0);
}

TEST("entry.guest.cr4.fixed", "each bit of guest CR4 has a value that VMX operation supports")
{
	entry_stop_guest_at_once();
	set_cr0(CR0_WP);		/* CR4.CET needs it */
	flip_cr4_bits(~(u64)CR4_PAE);	/* IA-32e mode needs that one */
	entry_guest_32bit();
	flip_cr4_bits(~(CR4_PCIDE | CR4_FRED));
	if (has(PROC2_UNRESTRICTED_GUEST)) {
		entry_guest_real();
		flip_cr4_bits(~(CR4_PCIDE | CR4_FRED));
	}
}

TEST("entry.guest.cr4.cet_wp", "guest CR4.CET = 1 needs CR0.WP = 1", NEEDS(FEATURE_CET_SS))
{
	entry_stop_guest_at_once();
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_CET);
	entry_guest_keep();
	clear_cr0(CR0_WP);
	expect_guest_state(false);
	set_cr0(CR0_WP);
	expect_guest_state(true);
	clear_cr0(CR0_WP);
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) & ~(u64)CR4_CET);
	expect_guest_state(true);
}

TEST("entry.guest.ia32e.cr0_pg", "an IA-32e mode guest needs CR0.PG = 1", NEEDS(PROC2_UNRESTRICTED_GUEST))
{
	entry_stop_guest_at_once();
	entry_unrestricted_guest();
	clear_cr0(CR0_PG);
	entry_guest_keep();
	expect_guest_state(false);
	set_cr0(CR0_PG);
	expect_guest_state(true);
	entry_guest_32bit();
	clear_cr0(CR0_PG);
	expect_guest_state(true);
}

TEST("entry.guest.ia32e.cr4_pae", "an IA-32e mode guest needs CR4.PAE = 1")
{
	entry_stop_guest_at_once();
	entry_guest_keep();
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) & ~(u64)CR4_PAE);
	expect_guest_state(false);
	if (has(PROC2_ENABLE_EPT)) {
		vmcs_write(EPT_POINTER, ept_pointer(page_alloc()));
		vmcs_set_controls(PROC2_ENABLE_EPT);
		expect_guest_state(false);
		if (has(PROC2_UNRESTRICTED_GUEST)) {
			vmcs_set_controls(PROC2_UNRESTRICTED_GUEST);
			expect_guest_state(false);
		}
	}
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_PAE);
	expect_guest_state(true);
	entry_guest_32bit();
	expect_guest_state(true);
}

/* A CR4 bit that only an IA-32e mode guest may have. */
static void only_in_ia32e(u64 cr4_bit)
{
	entry_stop_guest_at_once();
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | cr4_bit);
	entry_guest_keep();
	expect_guest_state(true);
	entry_guest_32bit();
	entry_guest_keep();
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | cr4_bit);
	CASE("without PAE");
	expect_guest_state(false);
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_PAE);
	CASE("with PAE");
	expect_guest_state(false);
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) & ~cr4_bit);
	expect_guest_state(true);
}

TEST("entry.guest.ia32e.pcide", "CR4.PCIDE = 1 needs an IA-32e mode guest", NEEDS(FEATURE_PCID))
{
	only_in_ia32e(CR4_PCIDE);
}

TEST("entry.guest.ia32e.fred", "CR4.FRED = 1 needs an IA-32e mode guest", NEEDS(FEATURE_FRED))
{
	only_in_ia32e(CR4_FRED);
}

/* Bits 62:61 turn LAM on. */
static u64 cr3_above_width(void)
{
	return (~0ull << physical_address_width()) & ~(has(FEATURE_LAM) ? 3ull << 61 : 0);
}

TEST("entry.guest.cr3.paw", "guest CR3 is within the physical-address width")
{
	const u64 page = physical_address(page_alloc());
	const u64 legal = BIT(physical_address_width()) - 1;

	entry_stop_guest_at_once();
	for (int mode = 0; mode < 3; mode++) {
		if (mode == 1)
			entry_guest_32bit();
		else if (mode == 2)
			entry_guest_pae();
		vmcs_write(GUEST_CR3, page);
		entry_guest_keep();
		for (u32 bit = 0; bit < 64; bit++) {
			const bool above = cr3_above_width() & BIT(bit);

			/* In memory at CR3 there are PDPTEs with PAE paging: leave those where they are. */
			if (!above && ((legal & BIT(bit)) == 0 || (mode == 2 && bit > 4)))
				continue;
			CASE("mode %u: CR3 = %#lx", mode, page ^ BIT(bit));
			vmcs_write(GUEST_CR3, page ^ BIT(bit));
			expect_guest_state(!above);
		}
		vmcs_write(GUEST_CR3, page);
		expect_guest_state(true);
	}
}
