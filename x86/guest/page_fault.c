/* SPDX-License-Identifier: BSD-2-Clause */
/* "Interrupt 14 - Page-Fault Exception (#PF)": each cause, its error code and CR2. */
#include "window.h"

TEST("guest.pf.not_present", "an access to a page that is not present gives P=0 and CR2")
{
	static const u64 offsets[] = { 0, 1, 0x7f8, 0xff8, 0x123456789000 & 0x7fffffffff };

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		volatile u8 *address = (volatile u8 *)(PAGE_WINDOW + offsets[i]);

		CASE("offset %#lx", offsets[i]);
		struct fault fault = TRY((void)*address);
		expect_fault(fault, VECTOR_PF, 0);
		expect_eq(fault.cr2, (u64)address);
		fault = TRY(*address = 1);
		expect_fault(fault, VECTOR_PF, PF_W);
		expect_eq(fault.cr2, (u64)address);
	}
}

TEST("guest.pf.not_present_levels", "P=0 at any level gives P=0 in the error code")
{
	for (unsigned int level = 1; level <= 4; level++) {
		map_all();
		change_entry(level, PAGE_PRESENT, 0);
		CASE("level %u", level);
		struct fault fault = TRY(reads_window());
		expect_fault(fault, VECTOR_PF, 0);
		expect_eq(fault.cr2, PAGE_WINDOW);
		fault = TRY(writes_window());
		expect_fault(fault, VECTOR_PF, PF_W);
		change_entry(level, 0, PAGE_PRESENT);
		fault = TRY(writes_window());
		expect_no_fault(fault);
	}
}

TEST("guest.pf.not_present_ignored", "an entry with P=0 has no reserved bits")
{
	for (unsigned int level = 1; level <= 4; level++) {
		map_all();
		*page_entry(PAGE_WINDOW, level) = ~(u64)PAGE_PRESENT;
		write_cr3(read_cr3());
		const struct fault fault = TRY(reads_window());
		CASE("level %u", level);
		expect_fault(fault, VECTOR_PF, 0);
		*page_entry(PAGE_WINDOW, level) = 0;
		if (level < 4)
			page_window_reset();
	}
}

TEST("guest.pf.user_not_present", "a user access to a page that is not present gives U/S=1 and P=0")
{
	user_pages_on();
	struct fault fault = user_run(reads_window);
	expect_fault(fault, VECTOR_PF, PF_U);
	expect_eq(fault.cr2, PAGE_WINDOW);
	fault = user_run(writes_window);
	expect_fault(fault, VECTOR_PF, PF_U | PF_W);
	expect_eq(fault.frame.cs & 3, 3);
}

TEST("guest.pf.write", "a supervisor write to a read-only page faults if CR0.WP is 1")
{
	u64 *page = map_window(PAGE_PRESENT);
	struct fault fault = TRY(*WINDOW_PAGE = 1);

	expect_fault(fault, VECTOR_PF, PF_P | PF_W);
	expect_eq(fault.cr2, PAGE_WINDOW);
	expect_eq(page[0], 0);

	write_cr0(read_cr0() & ~(u64)CR0_WP);
	fault = TRY(*WINDOW_PAGE = 2);
	write_cr0(read_cr0() | CR0_WP);
	expect_no_fault(fault);
	expect_eq(page[0], 2);
}

TEST("guest.pf.write_levels", "R/W=0 at any level makes a page read-only")
{
	for (unsigned int level = 1; level <= 4; level++) {
		map_all();
		change_entry(level, PAGE_WRITE, 0);
		CASE("level %u", level);
		struct fault fault = TRY(writes_window());
		expect_fault(fault, VECTOR_PF, PF_P | PF_W);
		fault = TRY(reads_window());
		expect_no_fault(fault);
		change_entry(level, 0, PAGE_WRITE);
	}
}

TEST("guest.pf.write_user", "a user write to a read-only page faults, whatever CR0.WP")
{
	map_window(PAGE_PRESENT | PAGE_USER);
	user_pages_on();
	struct fault fault = user_run(writes_window);
	expect_fault(fault, VECTOR_PF, PF_P | PF_W | PF_U);
	write_cr0(read_cr0() & ~(u64)CR0_WP);
	fault = user_run(writes_window);
	write_cr0(read_cr0() | CR0_WP);
	expect_fault(fault, VECTOR_PF, PF_P | PF_W | PF_U);
	fault = user_run(reads_window);
	expect_no_fault(fault);
}

TEST("guest.pf.write_rmw", "a read-modify-write of a read-only page is a write, even if it changes nothing")
{
	map_window(PAGE_PRESENT);
	struct fault fault = TRY(asm volatile("lock orq $0, (%0)" : : "r"(PAGE_WINDOW) : "memory"));
	expect_fault(fault, VECTOR_PF, PF_P | PF_W);
	fault = TRY(asm volatile("lock cmpxchgq %%rcx, (%0)" : : "r"(PAGE_WINDOW), "a"(77ull), "c"(5ull) : "memory"));
	expect_fault(fault, VECTOR_PF, PF_P | PF_W);
}

TEST("guest.pf.user", "a user access to a supervisor page gives U/S=1")
{
	u64 *page = page_alloc();
	struct fault fault;

	user_pages_on();
	page_map(PAGE_WINDOW, physical_address(page), PAGE_PRESENT | PAGE_WRITE);
	fault = user_run(reads_window);
	expect_fault(fault, VECTOR_PF, PF_P | PF_U);
	expect_eq(fault.cr2, PAGE_WINDOW);
	fault = user_run(writes_window);
	expect_fault(fault, VECTOR_PF, PF_P | PF_W | PF_U);

	page_map(PAGE_WINDOW, physical_address(page), PAGE_PRESENT | PAGE_WRITE | PAGE_USER);
	invlpg(WINDOW_PAGE);
	fault = user_run(writes_window);
	expect_no_fault(fault);
	expect_eq(page[0], 3);
}

TEST("guest.pf.user_levels", "U/S=0 at any level makes a page the supervisor's")
{
	user_pages_on();
	for (unsigned int level = 1; level <= 4; level++) {
		map_all();
		change_entry(level, PAGE_USER, 0);
		CASE("level %u", level);
		struct fault fault = user_run(reads_window);
		expect_fault(fault, VECTOR_PF, PF_P | PF_U);
		fault = TRY(reads_window());
		expect_no_fault(fault);
		change_entry(level, 0, PAGE_USER);
	}
}

TEST("guest.pf.user_fetch", "a user fetch from a supervisor page gives U/S=1, and I/D=1 if EFER.NXE is 1")
{
	u8 *page = map_window(PAGE_PRESENT);

	page[0] = 0xc3;		/* ret */
	user_pages_on();
	const struct fault fault = user_run(runs_window);
	expect_fault(fault, VECTOR_PF, PF_P | PF_U | (rdmsr(IA32_EFER) & EFER_NXE ? PF_I : 0));
	expect_eq(fault.cr2, PAGE_WINDOW);
	expect_eq(fault.frame.rip, PAGE_WINDOW);
}

/* ---- reserved bits */

/* Each of the bits from first to last, reserved in the entry at a level, with other bits set too. */
static void check_reserved(unsigned int level, unsigned int first, unsigned int last, u64 set)
{
	map_all();
	for (unsigned int bit = first; bit <= last; bit++) {
		const u64 entry = *page_entry(PAGE_WINDOW, level);

		change_entry(level, 0, set | BIT(bit));
		CASE("bit %u at level %u", bit, level);
		struct fault fault = TRY(reads_window());
		expect_fault(fault, VECTOR_PF, PF_P | PF_RSVD);
		expect_eq(fault.cr2, PAGE_WINDOW);
		fault = TRY(writes_window());
		expect_fault(fault, VECTOR_PF, PF_P | PF_W | PF_RSVD);
		*page_entry(PAGE_WINDOW, level) = entry;
		write_cr3(read_cr3());
	}
	const struct fault fault = TRY(reads_window());
	expect_no_fault(fault);
}

TEST("guest.pf.reserved", "an address bit from MAXPHYADDR on in a PTE gives RSVD=1")
{
	need_reserved_address_bit();
	check_reserved(1, physical_address_width(), 51, 0);
}

TEST("guest.pf.reserved_levels", "an address bit from MAXPHYADDR on in an entry of any level gives RSVD=1")
{
	need_reserved_address_bit();
	for (unsigned int level = 2; level <= 4; level++)
		check_reserved(level, physical_address_width(), 51, 0);
}

TEST("guest.pf.reserved_pml4e_ps", "PS=1 in a PML4 entry gives RSVD=1")
{
	check_reserved(4, 7, 7, 0);
}

TEST("guest.pf.reserved_2m", "bits 20:13 of an entry that maps a 2-MByte page are reserved")
{
	map_all();
	*page_entry(PAGE_WINDOW, 2) &= ~0x1fe000ull;
	for (unsigned int bit = 13; bit <= 20; bit++) {
		*page_entry(PAGE_WINDOW, 2) = BIT(bit) | PAGE_LARGE | PAGE_PRESENT;
		write_cr3(read_cr3());
		CASE("bit %u", bit);
		const struct fault fault = TRY(reads_window());
		expect_fault(fault, VECTOR_PF, PF_P | PF_RSVD);
	}
	*page_entry(PAGE_WINDOW, 2) = BIT(21) | BIT(12) | PAGE_LARGE | PAGE_PRESENT;	/* bit 12 is PAT */
	write_cr3(read_cr3());
	const struct fault fault = TRY(reads_window());
	expect_no_fault(fault);
}

TEST("guest.pf.reserved_1g", "an entry that maps a 1-GByte page has bits 29:13 reserved, or PS where there are none")
{
	const bool supported = has_feature(FEATURE_PAGE1GB);

	map_all();
	for (unsigned int bit = 13; bit <= 29; bit++) {
		*page_entry(PAGE_WINDOW, 3) = BIT(bit) | PAGE_LARGE | PAGE_PRESENT;
		write_cr3(read_cr3());
		CASE("bit %u", bit);
		const struct fault fault = TRY(reads_window());
		expect_fault(fault, VECTOR_PF, PF_P | PF_RSVD);
	}
	*page_entry(PAGE_WINDOW, 3) = BIT(12) | PAGE_LARGE | PAGE_PRESENT;
	write_cr3(read_cr3());
	const struct fault fault = TRY(reads_window());
	CASE("bit 12");
	if (supported)
		expect_no_fault(fault);
	else
		expect_fault(fault, VECTOR_PF, PF_P | PF_RSVD);
}

TEST("guest.pf.reserved_user", "a user access through a reserved bit gives U/S=1 and RSVD=1")
{
	const u64 reserved = need_reserved_address_bit();

	user_pages_on();
	map_all();
	change_entry(1, 0, reserved);
	struct fault fault = user_run(reads_window);
	expect_fault(fault, VECTOR_PF, PF_P | PF_U | PF_RSVD);
	fault = user_run(writes_window);
	expect_fault(fault, VECTOR_PF, PF_P | PF_U | PF_W | PF_RSVD);
}

TEST("guest.pf.reserved_xd", "with EFER.NXE=0, XD is a reserved bit", NEEDS(FEATURE_NX))
{
	const u64 efer = rdmsr(IA32_EFER);

	map_all();
	change_entry(1, 0, PAGE_NX);
	wrmsr(IA32_EFER, efer & ~(u64)EFER_NXE);
	write_cr3(read_cr3());
	const struct fault off = TRY(reads_window());
	wrmsr(IA32_EFER, efer);
	write_cr3(read_cr3());
	const struct fault on = TRY(reads_window());
	expect_fault(off, VECTOR_PF, PF_P | PF_RSVD);
	expect_no_fault(on);
}

/* ---- fetches */

TEST("guest.pf.fetch", "a fetch from a page with XD gives I/D=1", NEEDS(FEATURE_NX))
{
	u8 *page = map_window(PAGE_PRESENT | PAGE_WRITE | PAGE_NX);
	struct fault fault;

	page[0] = 0xc3;		/* ret */
	fault = TRY(runs_window());
	expect_fault(fault, VECTOR_PF, PF_P | PF_I);
	expect_eq(fault.cr2, PAGE_WINDOW);
	expect_eq(fault.frame.rip, PAGE_WINDOW);
	fault = TRY(reads_window());
	expect_no_fault(fault);

	change_entry(1, PAGE_NX, 0);
	fault = TRY(runs_window());
	expect_no_fault(fault);
}

TEST("guest.pf.fetch_levels", "XD at any level forbids fetches", NEEDS(FEATURE_NX))
{
	u8 *page = (u8 *)map_all();

	page[0] = 0xc3;
	for (unsigned int level = 1; level <= 4; level++) {
		change_entry(level, 0, PAGE_NX);
		CASE("level %u", level);
		struct fault fault = TRY(runs_window());
		expect_fault(fault, VECTOR_PF, PF_P | PF_I);
		fault = TRY(reads_window());
		expect_no_fault(fault);
		change_entry(level, PAGE_NX, 0);
		fault = TRY(runs_window());
		expect_no_fault(fault);
	}
}

TEST("guest.pf.fetch_not_present", "a fetch from a page that is not present gives I/D=1 if EFER.NXE is 1",
     NEEDS(FEATURE_NX))
{
	const struct fault fault = TRY(runs_window());

	expect_fault(fault, VECTOR_PF, PF_I);
	expect_eq(fault.cr2, PAGE_WINDOW);
}

TEST("guest.pf.fetch_no_nxe", "without EFER.NXE and SMEP, a fetch that faults gives I/D=0", NEEDS(FEATURE_NX))
{
	const u64 efer = rdmsr(IA32_EFER);

	wrmsr(IA32_EFER, efer & ~(u64)EFER_NXE);
	const struct fault fault = TRY(runs_window());
	wrmsr(IA32_EFER, efer);
	expect_fault(fault, VECTOR_PF, 0);
}

TEST("guest.pf.fetch_straddle", "an instruction that ends in a page that is not present gives that page's address")
{
	u8 *page = map_window(PAGE_PRESENT);
	void (*const code)(void) = (void (*)(void))(PAGE_WINDOW + 0xffe);

	page[0xffe] = 0x48;	/* the first two bytes of mov $imm64, %rax */
	page[0xfff] = 0xb8;
	const struct fault fault = TRY(code());
	expect_fault(fault, VECTOR_PF, rdmsr(IA32_EFER) & EFER_NXE ? PF_I : 0);
	expect_eq(fault.cr2, PAGE_WINDOW + 0x1000);
	expect_eq(fault.frame.rip, PAGE_WINDOW + 0xffe);
}
