/* SPDX-License-Identifier: BSD-2-Clause */
/* PDPTEs of a guest with PAE paging ("Checks on Guest Page-Directory-Pointer-Table Entries"): qualification 2. */
#include "vmxtest/entry_guest.h"
#include "vmx/ept.h"

enum { QUALIFICATION_PDPTE = 2, PDPTES = 4 };

/* Reserved in a PDPTE that is present (SDM Vol. 3A, "PDPTE with PAE Paging"). */
static u64 reserved_bits(void)
{
	return 6 | 0x1e0 | (~0ull << physical_address_width());
}

static u64 *table;

static void write_in_memory(u32 n, u64 value)
{
	table[n] = value;
}

static void write_in_vmcs(u32 n, u64 value)
{
	vmcs_write(GUEST_PDPTE0 + 2 * n, value);
}

/* Each bit of each PDPTE, in a present one or in one that is not. */
static void try_pdptes(void (*write)(u32 n, u64 value), bool present)
{
	const u64 legal = present ? physical_address(page_alloc()) | PAGE_PRESENT : 0;

	for (u32 n = 0; n < PDPTES; n++)
		write(n, legal);
	entry_guest_keep();
	CASE("every PDPTE %#lx", legal);
	expect_guest_state(true);
	for (u32 n = 0; n < PDPTES; n++) {
		for (u32 bit = 1; bit < 64; bit++) {
			CASE("PDPTE%u = %#lx", n, legal | BIT(bit));
			write(n, legal | BIT(bit));
			expect_guest_state_q(!(present && reserved_bits() & BIT(bit)), QUALIFICATION_PDPTE);
			write(n, legal);
		}
	}
}

static void use_ept(void)
{
	vmcs_write(EPT_POINTER, ept_pointer(page_alloc()));
	vmcs_set_controls(PROC2_ENABLE_EPT);
}

/* The host does not use PAE paging, so the entry loads them (and checks them) whatever CR3 was before. */
TEST("entry.guest.pdpte.cr3", "without EPT a present PDPTE in memory has no reserved bit")
{
	entry_stop_guest_at_once();
	entry_guest_pae();
	table = (u64 *)vmcs_read(GUEST_CR3);
	try_pdptes(write_in_memory, true);
	try_pdptes(write_in_memory, false);

	/* Bits 11:5 of CR3 are part of the table's address. */
	table += 0xfe0 / sizeof(u64);
	vmcs_write(GUEST_CR3, physical_address(table));
	entry_guest_keep();
	write_in_memory(3, reserved_bits() | PAGE_PRESENT);
	expect_guest_state_q(false, QUALIFICATION_PDPTE);
	write_in_memory(3, 0);
	expect_guest_state(true);
}

TEST("entry.guest.pdpte.vmcs", "with EPT a PDPTE field that is present has no reserved bit", NEEDS(PROC2_ENABLE_EPT))
{
	entry_stop_guest_at_once();
	entry_guest_pae();
	use_ept();
	try_pdptes(write_in_vmcs, true);
}

TEST("entry.guest.pdpte.notpresent", "a PDPTE field that is not present may have any bits", NEEDS(PROC2_ENABLE_EPT))
{
	entry_stop_guest_at_once();
	entry_guest_pae();
	use_ept();
	try_pdptes(write_in_vmcs, false);
	for (u32 n = 0; n < PDPTES; n++)
		write_in_vmcs(n, ~(u64)PAGE_PRESENT);
	CASE("every PDPTE with every bit but P");
	expect_guest_state(true);
}

static void expect_pdptes_ignored(const char *mode)
{
	entry_guest_keep();
	for (u32 n = 0; n < PDPTES; n++) {
		CASE("%s: PDPTE%u", mode, n);
		write_in_vmcs(n, ~0ull);
		expect_guest_state(true);
		write_in_vmcs(n, 0);
	}
}

TEST("entry.guest.pdpte.ignored_64", "PDPTE fields are not checked without PAE paging", NEEDS(PROC2_ENABLE_EPT))
{
	entry_stop_guest_at_once();
	use_ept();
	expect_pdptes_ignored("IA-32e mode");
	entry_guest_32bit();
	expect_pdptes_ignored("32-bit paging");
	if (has(PROC2_UNRESTRICTED_GUEST)) {
		entry_guest_real();
		vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) | CR0_PE);
		vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_PAE);
		expect_pdptes_ignored("CR4.PAE without paging");
		vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) | CR0_PG);
		entry_guest_keep();
		CASE("CR4.PAE with paging");
		write_in_vmcs(0, ~0ull);
		expect_guest_state_q(false, QUALIFICATION_PDPTE);
	}
	/* Without EPT the fields are not used at all. */
	vmcs_clear_controls(PROC2_ENABLE_EPT, PROC2_UNRESTRICTED_GUEST);
	vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) | CR0_PE | CR0_PG);
	entry_guest_pae();
	expect_pdptes_ignored("PAE paging without EPT");
}
