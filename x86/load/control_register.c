/* SPDX-License-Identifier: BSD-2-Clause */
/* "Loading Guest Control Registers, Debug Registers, and MSRs": CR0, CR3, CR4, and CR2, which is not loaded. */
#include "load.h"

#include "libc/string.h"
#include "vmx/ept.h"
#include "x86/cr4.h"

CODE(read_crs, "mov %cr0, %rax; mov %cr4, %rcx; mov %cr2, %rdx");

/* ET, NW, CD and the reserved bits: never modified, and not looked at in the field. */
#define CR0_KEPT (CR0_ET | CR0_NW | CR0_CD | 0xffc0 | BIT(17) | 0x1ff80000)

static void try_cr0(u64 field, u64 host)
{
	CASE("CR0 field %#lx, before VM entry %#lx", field, host);
	vmcs_write(GUEST_CR0, field);
	run_code(read_crs);
	expect_code_ran();
	expect_eq(guest.regs.rax, (field & ~CR0_KEPT) | (host & CR0_KEPT));
}

TEST("entry.load.cr0.unmodified_bits", "VM entry loads CR0, but never ET, NW, CD and reserved bits, whatever the field has")
{
	const u64 home = read_cr0();
	const u64 free = (vmx_capabilities()->cr0_fixed1 & ~vmx_capabilities()->cr0_fixed0) | CR0_NW | CR0_CD;

	for (u32 bit = 0; bit < 32; bit++) {
		/* Without PE and PG it is another mode. */
		if (BIT(bit) & free & ~(CR0_PG | CR0_PE))
			try_cr0(home ^ BIT(bit), home);
	}
	try_cr0(home ^ (free & CR0_KEPT), home);
	try_cr0(home ^ (free & ~(CR0_PG | CR0_PE)), home);

	/* The other way round: they are 1 before. VM exit does not change them either. */
	if (!may(MAY_TURN_CACHES_OFF))
		return;
	for (u64 host = home | CR0_CD; ; host |= CR0_NW) {
		write_cr0(host);
		try_cr0(home, host);
		try_cr0(host, host);
		try_cr0(home ^ CR0_NW, host);
		asm volatile("wbinvd" : : : "memory");
		if (host & CR0_NW)
			break;
	}
	write_cr0(home);
}

static void try_cr4(u64 value)
{
	CASE("CR4 = %#lx", value);
	vmcs_write(GUEST_CR4, value);
	run_code(read_crs);
	expect_code_ran();
	expect_eq(guest.regs.rcx, value);
}

static struct fault dr4_fault;

/* With CR4.DE = 0 another name of DR6. */
static void guest_reads_dr4(void)
{
	dr4_fault = TRY(asm volatile(".byte 0x0f, 0x21, 0xe0" : : : "rax"));	/* mov %dr4, %rax */
}

static void check_cr4(void)
{
	const u64 home = vmcs_read(GUEST_CR4);
	const u64 free = vmx_capabilities()->cr4_fixed1 & ~vmx_capabilities()->cr4_fixed0 & CR4_HARMLESS;

	try_cr4(home);
	for (u32 bit = 0; bit < 32; bit++)
		if (free & BIT(bit))
			try_cr4(home ^ BIT(bit));
	try_cr4(home | free);
	try_cr4(home & ~free);

	for (u64 de = 0; de < 2; de++) {
		CASE("CR4.DE = %u", de);
		vmcs_write(GUEST_CR4, (home & ~(u64)CR4_DE) | de * CR4_DE);
		guest_run(guest_reads_dr4);
		expect_guest_done();
		if (de)
			expect_fault(dr4_fault, VECTOR_UD, 0);
		else
			expect_no_fault(dr4_fault);
	}
	vmcs_write(GUEST_CR4, home);
}

/* The page at PAGE_WINDOW says which tables are in use. */
CODE(read_marker, "mov %cr3, %rbx; mov $0x8000000000, %rax; mov (%rax), %rax");

static u64 marker_of(u32 i)
{
	return 0x3a3a000000000000 + i;
}

/* A PML4 of its own, but for the window the host's: a page there holds the marker. */
static u64 *make_tables(u32 i)
{
	u64 *const pages = page_alloc_many(5);
	u64 *const pml4 = pages, *const pdpt = pages + 512, *const pd = pages + 1024, *const pt = pages + 1536;

	memcpy(pml4, (void *)(read_cr3() & PAGE_ADDRESS_MASK), PAGE_SIZE);
	pml4[PAGE_WINDOW >> 39 & 511] = physical_address(pdpt) | PAGE_PRESENT | PAGE_WRITE;
	pdpt[0] = physical_address(pd) | PAGE_PRESENT | PAGE_WRITE;
	pd[0] = physical_address(pt) | PAGE_PRESENT | PAGE_WRITE;
	pt[0] = physical_address(pages + 2048) | PAGE_PRESENT | PAGE_WRITE;
	pages[2048] = marker_of(i);
	return pml4;
}

static void try_cr3(u64 cr3, u32 marker)
{
	CASE("CR3 = %#lx", cr3);
	vmcs_write(GUEST_CR3, cr3);
	run_code(read_marker);
	expect_code_ran();
	expect_eq(guest.regs.rbx, cr3);
	expect_eq(guest.regs.rax, marker_of(marker));
}

TEST("entry.load.cr3_cr4", "VM entry loads CR3 and CR4 from the guest fields: the guest reads them and runs with them")
{
	u64 *tables[4];

	need_flexible(PROC_CR3_STORE_EXITING);
	check_cr4();

	for (u32 i = 0; i < ARRAY_SIZE(tables); i++)
		tables[i] = make_tables(i);
	for (u32 i = 0; i < 2 * ARRAY_SIZE(tables); i++)
		for (u64 flags = 0; flags <= (PAGE_PWT | PAGE_PCD); flags += PAGE_PWT)
			try_cr3(physical_address(tables[i % 4]) | flags, i % 4);
	if (!has(PROC2_ENABLE_EPT))
		return;
	/* Every bit of the address, by EPT: guest-physical addresses beyond the memory lead to one of the tables. */
	vmcs_use_ept();
	for (u32 bit = 12; bit < physical_address_width(); bit++) {
		const u64 address = bit < 32 ? BIT(bit) | BIT(32) : BIT(bit);

		ept_map(address, physical_address(tables[bit % 4]), EPT_RWX | EPT_WB);
		ept_flush();
		try_cr3(address, bit % 4);
	}
}

TEST("entry.load.cr2_not_loaded", "CR2 is not in the VMCS: the guest reads what CR2 was before VM entry")
{
	WALK_OVER(n, 0, 128) {
		const u64 value = n & 1 ? ~BIT(n / 2) : BIT(n / 2);

		CASE("CR2 = %#lx", value);
		write_cr2(value);
		run_code(read_crs);
		expect_code_ran();
		expect_eq(guest.regs.rdx, value);
	}
	FOR_EACH_MODE(mode) {
		if (mode == MODE_VIRTUAL_8086)		/* MOV from CR2 raises #GP there */
			continue;
		CASE("%s", guest_mode_names[mode]);
		start_in(mode);
		write_cr2(0x89abcdef);
		run_code(read_crs);
		expect_code_ran();
		expect_eq((u32)guest.regs.rdx, 0x89abcdef);
	}
	write_cr2(0);
}
