/* SPDX-License-Identifier: BSD-2-Clause */
/* CR3, process-context identifiers, and what flushes a translation. */
#include "guest.h"

#include "machine/memory.h"

TEST("guest.cr3.reserved", "CR3 refuses a 1 in each of bits 60:MAXPHYADDR")
{
	const u64 cr3 = read_cr3();

	for (unsigned int bit = physical_address_width(); bit < 61; bit++) {	/* 62:61 may be LAM's */
		CASE("bit %u", bit);
		expect_cr_refused(3, cr3 | BIT(bit));
	}
}

TEST("guest.cr3.bit63", "CR3 refuses a 1 in bit 63 if CR4.PCIDE is 0")
{
	expect_cr_refused(3, read_cr3() | BIT(63));
}

TEST("guest.cr3.pwt_pcd", "CR3 keeps PWT and PCD")
{
	const u64 cr3 = read_cr3();

	for (u64 bits = 0; bits <= 0x18; bits += 8) {
		write_cr3((cr3 & ~0x18ull) | bits);
		expect_eq(read_cr3() & 0x18, bits);
	}
	write_cr3(cr3);
}

/* Two pages with their own value, and the window on the first of them, read once. */
static u64 *map_first(u64 flags)
{
	u64 *pages = page_alloc_many(2);

	pages[0] = 1;
	pages[512] = 2;
	page_map(PAGE_WINDOW, physical_address(pages), PAGE_PRESENT | PAGE_WRITE | flags);
	invlpg(WINDOW_PAGE);
	require_eq(*WINDOW_PAGE, 1);
	return pages;
}

static void map_second(const u64 *pages, u64 flags)
{
	page_map(PAGE_WINDOW, physical_address(pages + 512), PAGE_PRESENT | PAGE_WRITE | flags);
}

TEST("guest.tlb.invlpg", "INVLPG ends the use of an old translation, of a global page too",
     NEEDS(FEATURE_PGE))
{
	const u64 cr4 = read_cr4();
	u64 *pages = map_first(0);

	map_second(pages, 0);
	invlpg(WINDOW_PAGE);
	expect_eq(*WINDOW_PAGE, 2);

	write_cr4(cr4 | CR4_PGE);
	pages = map_first(PAGE_GLOBAL);
	map_second(pages, PAGE_GLOBAL);
	invlpg((u8 *)PAGE_WINDOW + 0xfff);
	expect_eq(*WINDOW_PAGE, 2);
	write_cr4(cr4);
}

TEST("guest.tlb.invlpg_canonical", "INVLPG of an address that is not canonical does nothing")
{
	const struct fault fault = TRY(invlpg((void *)NOT_CANONICAL));

	expect_no_fault(fault);
}

TEST("guest.tlb.cr3", "MOV to CR3 ends the use of old translations of pages that are not global")
{
	const u64 *pages = map_first(0);

	map_second(pages, 0);
	write_cr3(read_cr3());
	expect_eq(*WINDOW_PAGE, 2);
}

TEST("guest.tlb.pge", "a change of CR4.PGE ends the use of old translations of global pages",
     NEEDS(FEATURE_PGE))
{
	const u64 cr4 = read_cr4();

	write_cr4(cr4 | CR4_PGE);
	const u64 *pages = map_first(PAGE_GLOBAL);
	map_second(pages, PAGE_GLOBAL);
	write_cr4(cr4 & ~(u64)CR4_PGE);
	expect_eq(*WINDOW_PAGE, 2);
	write_cr4(cr4);
}

TEST("guest.tlb.cr0_wp", "a change of CR0.WP takes effect on a translation in use")
{
	const u64 *page = map_window(PAGE_PRESENT);
	struct fault fault = TRY(*WINDOW_PAGE = 1);

	expect_fault(fault, VECTOR_PF, PF_P | PF_W);
	write_cr0(read_cr0() & ~(u64)CR0_WP);
	fault = TRY(*WINDOW_PAGE = 2);
	write_cr0(read_cr0() | CR0_WP);
	expect_no_fault(fault);
	fault = TRY(*WINDOW_PAGE = 3);
	expect_fault(fault, VECTOR_PF, PF_P | PF_W);
	expect_eq(page[0], 2);
}

/* CR4.PCIDE for the time of the test. */
static u64 pcid_on(void)
{
	const u64 cr4 = read_cr4();

	write_cr4(cr4 | CR4_PCIDE);
	return cr4;
}

TEST("guest.pcid.set", "CR4 refuses to set PCIDE while CR3[11:0] is not 0", NEEDS(FEATURE_PCID))
{
	const u64 cr3 = read_cr3(), cr4 = read_cr4();

	write_cr3(cr3 | 0x18);
	expect_cr_refused(4, cr4 | CR4_PCIDE);
	write_cr3(cr3);
	write_cr4(cr4 | CR4_PCIDE);
	expect_eq(read_cr4(), cr4 | CR4_PCIDE);
	write_cr4(cr4);
}

TEST("guest.pcid.cr3", "with PCIDE=1, CR3[11:0] holds any PCID", NEEDS(FEATURE_PCID))
{
	const u64 cr3 = read_cr3(), cr4 = pcid_on();

	for (u64 pcid = 1; pcid < 0x1000; pcid = pcid << 1 | (pcid & 1)) {
		write_cr3(cr3 | pcid);
		CASE("PCID %#lx", pcid);
		expect_eq(read_cr3(), cr3 | pcid);
	}
	write_cr3(cr3 | 0xaaa);
	expect_eq(read_cr3(), cr3 | 0xaaa);
	write_cr3(cr3);
	write_cr4(cr4);
}

TEST("guest.pcid.bit63", "with PCIDE=1, MOV to CR3 takes bit 63 and does not store it", NEEDS(FEATURE_PCID))
{
	const u64 cr3 = read_cr3(), cr4 = pcid_on();
	const struct fault fault = TRY(write_cr3(cr3 | 5 | BIT(63)));
	const u64 now = read_cr3();

	write_cr3(cr3);
	write_cr4(cr4);
	expect_no_fault(fault);
	expect_eq(now, cr3 | 5);
}

struct invpcid {
	u64 pcid, address;
};

static void invpcid(u64 type, const struct invpcid descriptor)
{
	asm volatile("invpcid %1, %0" : : "r"(type), "m"(descriptor) : "memory");
}

TEST("guest.invpcid.types", "INVPCID of each type ends the use of an old translation", NEEDS(FEATURE_INVPCID, FEATURE_PGE))
{
	const u64 cr4 = read_cr4();

	write_cr4(cr4 | CR4_PGE);
	for (u64 type = 0; type < 4; type++) {
		const u64 global = type == 2 ? PAGE_GLOBAL : 0;
		const u64 *pages = map_first(global);

		map_second(pages, global);
		invpcid(type, (struct invpcid){ 0, PAGE_WINDOW });
		CASE("type %u", type);
		expect_eq(*WINDOW_PAGE, 2);
	}
	write_cr4(cr4);
}

TEST("guest.invpcid.gp", "INVPCID refuses types above 3, reserved bits of its descriptor, and a wrong address",
     NEEDS(FEATURE_INVPCID))
{
	struct fault fault;

	for (u64 type = 4; type < BIT(32); type <<= 1) {
		CASE("type %#lx", type);
		fault = TRY(invpcid(type, (struct invpcid){ 0, 0 }));
		expect_fault(fault, VECTOR_GP, 0);
	}
	for (unsigned int bit = 12; bit < 64; bit++) {
		CASE("bit %u of the descriptor", bit);
		fault = TRY(invpcid(1, (struct invpcid){ BIT(bit), 0 }));
		expect_fault(fault, VECTOR_GP, 0);
	}
	CASE("the address");
	fault = TRY(invpcid(0, (struct invpcid){ 0, NOT_CANONICAL }));
	expect_fault(fault, VECTOR_GP, 0);
	CASE("PCID 1 with PCIDE = 0, type 0");
	fault = TRY(invpcid(0, (struct invpcid){ 1, 0 }));
	expect_fault(fault, VECTOR_GP, 0);
	CASE("PCID 1 with PCIDE = 0, type 1");
	fault = TRY(invpcid(1, (struct invpcid){ 1, 0 }));
	expect_fault(fault, VECTOR_GP, 0);
}

TEST("guest.invpcid.type_64bit", "INVPCID takes its type from 64 bits of the register", NEEDS(FEATURE_INVPCID))
{
	for (u64 type = BIT(32); type; type <<= 1) {
		const struct fault fault = TRY(invpcid(type, (struct invpcid){ 0, 0 }));

		CASE("type %#lx", type);
		expect_fault(fault, VECTOR_GP, 0);
	}
}

/* Bits of a present entry that are ignored in every edition, with CR4.PKE = 0: of one that leads to a table, and of one that maps a page. */
#define IGNORED_IN_TABLE	(BIT(6) | 7 << 8 | (BIT(63) - BIT(52)))
#define IGNORED_IN_PAGE		(7 << 9 | (BIT(63) - BIT(52)))

/* With each of them set alone, and all: reads, writes and fetches work, and the bits stay. */
static void check_ignored(u64 *entry, u64 ignored)
{
	const u64 before = *entry;

	for (u32 bit = 0; bit <= 63; bit++) {
		const u64 set = bit == 63 ? ignored : ignored & BIT(bit);

		if (!set)
			continue;
		CASE("bits %#lx", set);
		*entry = before | set;
		write_cr3(read_cr3());
		const struct fault fault = TRY(*WINDOW_PAGE = 0xc3; ((void (*)(void))PAGE_WINDOW)(); (void)*WINDOW_PAGE);
		expect_no_fault(fault);
		expect_eq(*entry & ~(u64)(PAGE_ACCESSED | PAGE_DIRTY) & ~before, set & ~(u64)(PAGE_ACCESSED | PAGE_DIRTY));
	}
	*entry = before;
	write_cr3(read_cr3());
}

static void check_ignored_at(u32 level, u64 ignored)
{
	map_window(PAGE_PRESENT | PAGE_WRITE);
	check_ignored(page_entry(PAGE_WINDOW, level), ignored);
}

TEST("guest.page.ignored_pml4e", "the ignored bits of a PML4 entry are ignored")
{
	check_ignored_at(4, IGNORED_IN_TABLE);
}

TEST("guest.page.ignored_pdpte", "the ignored bits of a page-directory-pointer-table entry that leads to a page directory are ignored")
{
	check_ignored_at(3, IGNORED_IN_TABLE);
}

TEST("guest.page.ignored_pde", "the ignored bits of a page-directory entry that leads to a page table are ignored")
{
	check_ignored_at(2, IGNORED_IN_TABLE);
}

TEST("guest.page.ignored_pte", "the ignored bits of a page-table entry are ignored")
{
	check_ignored_at(1, IGNORED_IN_PAGE);
}

TEST("guest.page.ignored_large", "the ignored bits of an entry that maps a 2-MByte page are ignored")
{
	u64 *const far = ram_within(0, MEMORY_LIMIT, 512, 0x200000);

	*page_entry(PAGE_WINDOW, 2) = physical_address(far) | PAGE_PRESENT | PAGE_WRITE | PAGE_LARGE;
	check_ignored(page_entry(PAGE_WINDOW, 2), IGNORED_IN_PAGE);
}

TEST("guest.page.accessed", "a read sets the accessed flags of all levels and no dirty flag")
{
	map_window(PAGE_PRESENT | PAGE_WRITE);
	for (unsigned int level = 1; level <= 4; level++)
		*page_entry(PAGE_WINDOW, level) &= ~(u64)(PAGE_ACCESSED | PAGE_DIRTY);
	write_cr3(read_cr3());
	(void)*WINDOW_PAGE;
	for (unsigned int level = 1; level <= 4; level++) {
		CASE("level %u", level);
		expect_eq(*page_entry(PAGE_WINDOW, level) & PAGE_ACCESSED, PAGE_ACCESSED);
	}
	expect_eq(*page_entry(PAGE_WINDOW, 1) & PAGE_DIRTY, 0);
}

TEST("guest.page.dirty", "a write sets the dirty flag, also after a read; a write that faults does not")
{
	map_window(PAGE_PRESENT | PAGE_WRITE);
	(void)*WINDOW_PAGE;
	expect_eq(*page_entry(PAGE_WINDOW, 1) & PAGE_DIRTY, 0);
	*WINDOW_PAGE = 1;
	expect_eq(*page_entry(PAGE_WINDOW, 1) & PAGE_DIRTY, PAGE_DIRTY);

	map_window(PAGE_PRESENT);
	const struct fault fault = TRY(*WINDOW_PAGE = 1);
	expect_fault(fault, VECTOR_PF, PF_P | PF_W);
	expect_eq(*page_entry(PAGE_WINDOW, 1) & PAGE_DIRTY, 0);
}

TEST("guest.page.large", "a 2-MByte page translates 21 bits of offset")
{
	u64 *const far = ram_within(0, MEMORY_LIMIT, 512, 0x200000);

	*page_entry(PAGE_WINDOW, 2) = physical_address(far) | PAGE_PRESENT | PAGE_WRITE | PAGE_LARGE;
	for (u64 offset = 8; offset < 0x200000; offset <<= 1) {
		far[offset / 8] = offset;
		CASE("offset %#lx", offset);
		expect_eq(*(volatile u64 *)(PAGE_WINDOW + offset), offset);
	}
	*(volatile u64 *)(PAGE_WINDOW + 0x1ffff8) = 0x1234567;
	expect_eq(far[0x1ffff8 / 8], 0x1234567);
	expect_eq(*page_entry(PAGE_WINDOW, 2) & PAGE_DIRTY, PAGE_DIRTY);
}

TEST("guest.page.huge", "a 1-GByte page translates 30 bits of offset", NEEDS(FEATURE_PAGE1GB))
{
	u64 *page = page_alloc();

	page[1] = 0x123456789;
	*page_entry(PAGE_WINDOW, 3) = PAGE_PRESENT | PAGE_WRITE | PAGE_LARGE;
	expect_eq(*(volatile u64 *)(PAGE_WINDOW + (u64)&page[1]), 0x123456789);
	*(volatile u64 *)(PAGE_WINDOW + (u64)&page[2]) = 3;
	expect_eq(page[2], 3);
}
