/* SPDX-License-Identifier: BSD-2-Clause */
/* EPT translation (SDM Vol. 3C, "EPT Translation Mechanism"). */
#include "window.h"

#include "libc/string.h"
#include "machine/memory.h"

enum { TABLE = 512 };

static volatile u64 values[TABLE];

/* The first 8 bytes of each page of 2 MBytes from LINEAR's. */
static void guest_reads_pages(void)
{
	const u64 first = LINEAR & ~0x1fffffull;

	for (u64 i = 0; i < TABLE; i++)
		values[i] = *(const volatile u64 *)(first + i * PAGE_SIZE + i % 512 * 8);
}

static void guest_writes_pages(void)
{
	const u64 first = LINEAR & ~0x1fffffull;

	for (u64 i = 0; i < TABLE; i++)
		*(volatile u64 *)(first + i * PAGE_SIZE + i * 8) = ~i;
}

TEST("ept.translate.4k", "A walk of 4 levels maps each 4-KByte page as its entry says", NEEDS(PROC2_ENABLE_EPT))
{
	const u64 linear = LINEAR & ~0x1fffffull, physical = GUEST_PHYSICAL & ~0x1fffffull;
	u8 *pages;

	/* All entries of one table, in an order of their own, and the guest's as well. */
	use_window();
	pages = page_alloc_many(TABLE);
	for (u64 i = 0; i < TABLE; i++) {
		page_map(linear + i * PAGE_SIZE, physical + (i ^ 0x155) * PAGE_SIZE, PAGE_PRESENT | PAGE_WRITE);
		ept_map(physical + (i ^ 0x155) * PAGE_SIZE, physical_address(pages + i * 7 % TABLE * PAGE_SIZE),
			EPT_RWX | EPT_WB);
		*(u64 *)(pages + i * 7 % TABLE * PAGE_SIZE + i * 8) = i << 32 | i;
	}
	ept_flush();
	guest_run(guest_reads_pages);
	expect_guest_done();
	for (u64 i = 0; i < TABLE; i++) {
		CASE("page %u", i);
		expect_eq(values[i], i << 32 | i);
	}
	guest_run(guest_writes_pages);
	expect_guest_done();
	for (u64 i = 0; i < TABLE; i++) {
		CASE("page %u", i);
		expect_eq(*(u64 *)(pages + i * 7 % TABLE * PAGE_SIZE + i * 8), ~i);
	}

	/* Every bit of a guest-physical address tells one page from another; so does every bit of the offset. */
	u8 *other = page_alloc();

	for (u32 bit = 12; bit < physical_address_width() && bit < 48; bit++) {
		const u64 one = BIT(bit > 33 ? 33 : 34), two = one | BIT(bit);

		if (bit == 33 || bit == 34)
			continue;
		CASE("guest-physical address bit %u", bit);
		ept_map(one, physical_address(window_page), EPT_RWX | EPT_WB);
		ept_map(two, physical_address(other), EPT_RWX | EPT_WB);
		page_map(LINEAR, one, PAGE_PRESENT);
		page_map(LINEAR + PAGE_SIZE, two, PAGE_PRESENT);
		*(u64 *)(other + (1ull << bit % 9 << 3)) = bit;
		guest_access(READ, LINEAR);
		expect_guest_done();
		expect_eq(guest.regs.rcx, RETS);
		guest_access(READ, LINEAR + PAGE_SIZE + (1ull << bit % 9 << 3));
		expect_guest_done();
		expect_eq(guest.regs.rcx, bit);
	}
}

static volatile u32 differences, compared;
static volatile u64 large_bytes;

/* The memory behind a large page of the EPT, page by page against the identity map: equal, and of the right offset. */
static void guest_compares_large_page(void)
{
	const u64 step = large_bytes / 512;

	differences = 0;
	for (compared = 0; compared < 512; compared++) {
		const u64 at = compared * step + compared * 8;

		if (!memory_is_ram(at, at + sizeof(u64)))
			continue;
		if (*(const volatile u64 *)(PAGE_WINDOW + at) != *(const volatile u64 *)at)
			differences++;
	}
}

/* An entry of a level with bit 7: guest-physical 28 GiB and up is the same host memory as 0 and up. */
static void expect_large_page_translates(unsigned int level)
{
	const u64 bytes = level == 2 ? 2ull << 20 : 1ull << 30, physical = 28ull << 30;
	u64 *written = page_alloc();

	vmcs_use_ept();
	*ept_entry(physical, level) = 0 | EPT_RWX | EPT_WB | EPT_LARGE;
	ept_flush();
	for (u64 at = 0; at < bytes; at += 2 << 20)
		*page_entry(PAGE_WINDOW + at, 2) = (physical + at) | PAGE_PRESENT | PAGE_WRITE | PAGE_LARGE;

	large_bytes = bytes;
	guest_run(guest_compares_large_page);
	expect_guest_done();
	expect_eq(compared, 512);
	expect_eq(differences, 0);
	if ((u64)written >= bytes)
		return;
	guest.regs.rcx = 0x1122334455667788;
	guest_access(WRITE, PAGE_WINDOW + (u64)written + 0x7f8);
	expect_guest_done();
	expect_eq(written[0x7f8 / 8], 0x1122334455667788);
}

TEST("ept.translate.2m", "A PDE with bit 7 maps 2 MBytes", NEEDS(PROC2_ENABLE_EPT, CAP_EPT_2M_PAGES))
{
	expect_large_page_translates(2);
}

TEST("ept.translate.1g", "A PDPTE with bit 7 maps 1 GByte", NEEDS(PROC2_ENABLE_EPT, CAP_EPT_1G_PAGES))
{
	expect_large_page_translates(3);
}

TEST("ept.translate.5level", "With walk length 5 bits 56:48 choose the entry of the PML5 table",
     NEEDS(PROC2_ENABLE_EPT, CAP_EPT_PAGE_WALK_LENGTH_5))
{
	u64 *pml5 = page_alloc(), eptp;

	use_window();
	eptp = vmcs_read(EPT_POINTER);
	pml5[0] = (eptp & PAGE_ADDRESS_MASK) | EPT_RWX;
	vmcs_write(EPT_POINTER, physical_address(pml5) | (eptp & 7) | 4 << 3);
	ept_flush();
	expect_access_works(READ, LINEAR);
	expect_access_works(FETCH, LINEAR);

	/* Each bit from 48 on that an address can have chooses another entry. */
	for (unsigned int bit = 48; bit < physical_address_width(); bit++) {
		CASE("guest-physical address bit %u", bit);
		page_map(LINEAR, GUEST_PHYSICAL | BIT(bit), PAGE_PRESENT | PAGE_WRITE);
		pml5[BIT(bit) >> 48] = pml5[0];
		ept_flush();
		expect_access_works(READ, LINEAR);
		pml5[BIT(bit) >> 48] = 0;
		ept_flush();
		guest_access(READ, LINEAR);
		expect_exit(EXIT_EPT_VIOLATION, .physical = GUEST_PHYSICAL | BIT(bit));
	}

	/* Entry 0 is the one that is used without them: the first fetch of the guest has nowhere to go without it. */
	pml5[1] = pml5[0];
	pml5[0] = 0;
	ept_flush();
	guest_access(READ, LINEAR);
	expect_exit(EXIT_EPT_VIOLATION);
}

TEST("ept.off.guest_phys_is_host_phys", "Without EPT a guest-physical address is the host-physical one",
     NEEDS(PROC2_ENABLE_EPT))
{
	u64 *twin = page_alloc();

	use_window();
	*twin = 0x5a5a5a5a5a5a5a5a;
	page_map(LINEAR, physical_address(twin), PAGE_PRESENT | PAGE_WRITE);
	ept_map(physical_address(twin), physical_address(window_page), EPT_RWX | EPT_WB);
	ept_flush();
	guest_access(READ, LINEAR);
	expect_guest_done();
	expect_eq(guest.regs.rcx, RETS);

	/* The EPTP is as it was; now it is not used, nor is it where it would say "violation". */
	for (u32 i = 0; i < 2; i++) {
		vmcs_clear_controls(PROC2_ENABLE_EPT);
		guest_access(READ, LINEAR);
		expect_guest_done();
		expect_eq(guest.regs.rcx, 0x5a5a5a5a5a5a5a5a);
		vmcs_write(EPT_POINTER, 0);
	}
	guest.regs.rcx = 0x0123456789abcdef;
	guest_access(WRITE, LINEAR);
	expect_guest_done();
	expect_eq(*twin, 0x0123456789abcdef);
	expect_eq(*(u64 *)window_page, RETS);
}
