/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest with PAE paging and EPT: MOV to CR3 loads four PDPTEs (SDM Vol. 3C, "EPT Translation Mechanism"). */
#include "window.h"
#include "x86/selectors.h"

#include "libc/string.h"

extern u64 boot_pd[2048];

GUEST_ASM(guest_loads_cr3, ".code32\n mov %eax, %cr3\n guest_behind_cr3: vmcall\n .code64");
extern const u8 guest_behind_cr3[];

static const enum vmcs_field pdptes[4] = { GUEST_PDPTE0, GUEST_PDPTE1, GUEST_PDPTE2, GUEST_PDPTE3 };

/* What the guest names by CR3: its tables are at a guest-physical page that EPT puts elsewhere. */
static u64 *tables_named, *tables_read;

/* Some copies of the page directories of the identity map: which one a PDPTE names tells where it is from. */
enum copy { BEFORE, IN_TABLE, LOADED, COPIES };
static u64 *directories[COPIES];

static u64 pdpte(u32 i, enum copy copy)
{
	return physical_address(&directories[copy][i * 512]) | PAGE_PRESENT;
}

/* What an exit saves of a PDPTE that is present: bits 11:9 are undefined. */
#define SAVED_BITS (~0xe00ull)

static void fill_tables(void)
{
	for (u32 i = 0; i < 512; i++)
		tables_read[i] = pdpte(i % 4, IN_TABLE);
}

/* The guest in 32-bit code, and EPT with the tables' page elsewhere. */
static void use_pae_guest(void)
{
	for (u32 i = 0; i < COPIES; i++) {
		directories[i] = page_alloc_many(4);
		memcpy(directories[i], boot_pd, sizeof(boot_pd));
	}
	tables_named = page_alloc();
	tables_read = page_alloc();
	vmcs_use_ept();
	ept_map(physical_address(tables_named), physical_address(tables_read), EPT_RWX | EPT_WB);
	ept_flush();

	vmcs_clear_controls(ENTRYCTL_IA32E_MODE_GUEST);
	vmcs_write(GUEST_CS_SELECTOR, SELECTOR_CODE32);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE32);
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_GP));
	fill_tables();
}

/* It begins with other PDPTEs, and a CR3 that nobody reads. */
static void run_load_of_cr3(u64 offset)
{
	for (u32 i = 0; i < 4; i++)
		vmcs_write(pdptes[i], pdpte(i, BEFORE));
	vmcs_write(GUEST_CR3, 0);
	vmcs_write(GUEST_RIP, (u64)guest_loads_cr3);
	guest.regs.rax = physical_address(tables_named) + offset;
	guest_enter();
}

TEST("ept.pae_pdptes_vmcs", "With PAE paging MOV to CR3 loads the PDPTEs through EPT; a reserved bit raises #GP",
     NEEDS(PROC2_ENABLE_EPT))
{
	const u64 reserved = BIT(1) | BIT(2) | 0xf << 5;

	use_pae_guest();
	for (u64 offset = 0; offset < PAGE_SIZE; offset += 32) {
		CASE("CR3 bits 11:5 at %#x", offset);
		fill_tables();
		for (u32 i = 0; i < 4; i++)
			tables_read[offset / 8 + i] = pdpte(i, LOADED);
		run_load_of_cr3(offset);
		expect_exit(EXIT_VMCALL, .rip = (u64)guest_behind_cr3);
		expect_eq(vmcs_read(GUEST_CR3), physical_address(tables_named) + offset);
		for (u32 i = 0; i < 4; i++)
			expect_bits(vmcs_read(pdptes[i]), SAVED_BITS, pdpte(i, LOADED));
	}

	fill_tables();
	for (u32 i = 0; i < 4; i++)
		for (u32 bit = 1; bit < 64; bit++) {
			if (!(reserved & BIT(bit)) && bit < physical_address_width())
				continue;
			CASE("PDPTE %u, bit %u", i, bit);
			tables_read[i] = pdpte(i, IN_TABLE) | BIT(bit);
			run_load_of_cr3(0);
			expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)guest_loads_cr3, .interruption_error = 0);
			expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), 0x80000fff,
				    INTERRUPTION_VALID | INTERRUPTION_ERROR_CODE | INTERRUPTION_TYPE_HARDWARE | VECTOR_GP);
			/* Nothing is loaded. */
			expect_bits(vmcs_read(pdptes[i]), SAVED_BITS, pdpte(i, BEFORE));
			expect_eq(vmcs_read(GUEST_CR3), 0);

			tables_read[i] = pdpte(i, IN_TABLE);
		}

	/* One that is not present is loaded as such; the last one is not needed to go on. Some processors check its bits, too. */
	CASE("PDPTE 3 not present");
	tables_read[3] = 0;
	run_load_of_cr3(0);
	expect_exit(EXIT_VMCALL, .rip = (u64)guest_behind_cr3);
	expect_eq(vmcs_read(pdptes[3]) & PAGE_PRESENT, 0);
	tables_read[3] = BIT(1);
	run_load_of_cr3(0);
	if (guest.outcome.number == EXIT_EXCEPTION_OR_NMI)
		note("reserved bits are checked in a PDPTE with P = 0, too");
	else
		expect_exit(EXIT_VMCALL, .rip = (u64)guest_behind_cr3);
}

TEST("ept.viol.pdpte_load", "A violation by a load of the PDPTEs has no linear address: bit 7 is 0",
     NEEDS(PROC2_ENABLE_EPT))
{
	static const u64 offsets[] = { 0, 0x20, 0x7e0, 0xfe0 };
	u64 *entry;

	use_pae_guest();
	entry = ept_entry(physical_address(tables_named), 1);
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		CASE("offset %#x", offsets[i]);
		*entry &= ~(u64)EPT_RWX;
		ept_flush();
		run_load_of_cr3(offsets[i]);
		expect_exit(EXIT_EPT_VIOLATION, .rip = (u64)guest_loads_cr3);
		/* With bit 7 = 0 bit 8 means nothing. */
		expect_bits(vmcs_read(EXIT_QUALIFICATION), EPT_VIOLATION_DEFINED & ~(u64)EPT_VIOLATION_FINAL,
			    EPT_VIOLATION_READ);
		expect_eq(vmcs_read(GUEST_PHYSICAL_ADDRESS) & ~0x1full, physical_address(tables_named) + offsets[i]);

		*entry |= EPT_RWX;
		guest_resume();
		expect_exit(EXIT_VMCALL, .rip = (u64)guest_behind_cr3);
	}
}
