/* SPDX-License-Identifier: BSD-2-Clause */
/* "Interrupt 14 - Page-Fault Exception (#PF)": each cause, its error code and CR2. */
#include "guest.h"

static void reads_window(void)
{
	(void)*WINDOW_PAGE;
}

static void writes_window(void)
{
	*WINDOW_PAGE = 3;
}

static void (*const runs_window)(void) = (void (*)(void))PAGE_WINDOW;

/* Clear or set bits in the window's entry at a level. */
static void change_entry(unsigned int level, u64 clear, u64 set)
{
	u64 *entry = page_entry(PAGE_WINDOW, level);

	*entry = (*entry & ~clear) | set;
	write_cr3(read_cr3());
}

static u64 *map_all(void)
{
	return map_window(PAGE_PRESENT | PAGE_WRITE | PAGE_USER);
}

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
	for (unsigned int bit = first; bit <= last; bit++) {
		map_all();
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
	check_reserved(1, physical_address_width(), 51, 0);
}

TEST("guest.pf.reserved_levels", "an address bit from MAXPHYADDR on in an entry of any level gives RSVD=1")
{
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
	user_pages_on();
	map_all();
	change_entry(1, 0, BIT(51));
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

TEST("guest.pf.fetch_not_present", "a fetch from a page that is not present gives I/D=1 if EFER.NXE is 1", NEEDS(FEATURE_NX))
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

/* ---- SMEP, SMAP, protection keys */

TEST("guest.pf.smep", "with SMEP=1, a supervisor fetch from a user page gives P=1 and I/D=1", NEEDS(FEATURE_SMEP))
{
	u8 *page = (u8 *)map_all();

	page[0] = 0xc3;
	write_cr4(read_cr4() | CR4_SMEP);
	const struct fault on = TRY(runs_window());
	const struct fault read = TRY(reads_window());
	write_cr4(read_cr4() & ~(u64)CR4_SMEP);
	const struct fault off = TRY(runs_window());
	expect_fault(on, VECTOR_PF, PF_P | PF_I);
	expect_eq(on.cr2, PAGE_WINDOW);
	expect_no_fault(read);
	expect_no_fault(off);
}

TEST("guest.pf.smep_id", "with SMEP=1 and EFER.NXE=0, a fetch that faults gives I/D=1", NEEDS(FEATURE_SMEP))
{
	const u64 efer = rdmsr(IA32_EFER);

	wrmsr(IA32_EFER, efer & ~(u64)EFER_NXE);
	write_cr4(read_cr4() | CR4_SMEP);
	const struct fault fault = TRY(runs_window());
	write_cr4(read_cr4() & ~(u64)CR4_SMEP);
	wrmsr(IA32_EFER, efer);
	expect_fault(fault, VECTOR_PF, PF_I);
}

static void with_ac(void (*function)(void))
{
	asm volatile("stac" : : : "memory");
	function();
	asm volatile("clac" : : : "memory");
}

TEST("guest.pf.smap", "with SMAP=1 and AC=0, a supervisor access to a user page faults with P=1", NEEDS(FEATURE_SMAP))
{
	map_all();
	write_cr4(read_cr4() | CR4_SMAP);
	const struct fault read = TRY(reads_window());
	const struct fault write = TRY(writes_window());
	write_cr4(read_cr4() & ~(u64)CR4_SMAP);
	const struct fault off = TRY(writes_window());
	expect_fault(read, VECTOR_PF, PF_P);
	expect_eq(read.cr2, PAGE_WINDOW);
	expect_fault(write, VECTOR_PF, PF_P | PF_W);
	expect_no_fault(off);
}

TEST("guest.pf.smap_ac", "with SMAP=1 and AC=1, a supervisor access to a user page succeeds", NEEDS(FEATURE_SMAP))
{
	u64 *page = map_all();

	write_cr4(read_cr4() | CR4_SMAP);
	const struct fault fault = TRY(with_ac(writes_window));
	write_cr4(read_cr4() & ~(u64)CR4_SMAP);
	expect_no_fault(fault);
	expect_eq(page[0], 3);
}

static void load_fs_from_gdt(void)
{
	asm volatile("mov %w0, %%fs" : : "r"(0x1000 | 3));
}

/*
 * GDTR at the window, where the second page is the second of *pages; FS is loaded
 * from there by the function, at CPL 0 or 3.
 */
static struct fault load_from_far_gdt(struct fault (*run)(void), u64 second_page_flags)
{
	u64 *pages = page_alloc_many(2);

	for (size_t i = 0; i < GDT_ENTRIES; i++)
		pages[i] = gdt[i];
	pages[512] = gdt[SELECTOR_USER_DATA / 8];
	page_map(PAGE_WINDOW, physical_address(pages), PAGE_PRESENT | PAGE_WRITE);
	page_map(PAGE_WINDOW + 0x1000, physical_address(pages + 512), second_page_flags);
	write_cr3(read_cr3());
	write_gdtr((struct table_register){ 0x1fff, PAGE_WINDOW });
	const struct fault fault = run();
	write_gdtr(tables_gdtr());
	asm volatile("mov %w0, %%fs" : : "r"(0));
	return fault;
}

static struct fault load_at_cpl0_with_ac(void)
{
	return TRY(with_ac(load_fs_from_gdt));
}

static struct fault load_at_cpl3(void)
{
	return user_run(load_fs_from_gdt);
}

TEST("guest.pf.implicit", "an access to the GDT is a supervisor's also at CPL 3: U/S=0")
{
	user_pages_on();
	struct fault fault = load_from_far_gdt(load_at_cpl3, 0);
	expect_fault(fault, VECTOR_PF, 0);
	expect_eq(fault.cr2, PAGE_WINDOW + 0x1000);
	expect_eq(fault.frame.cs & 3, 3);
	fault = load_from_far_gdt(load_at_cpl3, PAGE_PRESENT | PAGE_WRITE);
	expect_no_fault(fault);
}

static struct fault load_at_cpl0(void)
{
	return TRY(load_fs_from_gdt());
}

TEST("guest.pf.smap_gdt", "SMAP forbids the access to a GDT in a user page", NEEDS(FEATURE_SMAP))
{
	write_cr4(read_cr4() | CR4_SMAP);
	struct fault fault = load_from_far_gdt(load_at_cpl0, PAGE_PRESENT | PAGE_WRITE | PAGE_USER);
	expect_fault(fault, VECTOR_PF, PF_P);
	expect_eq(fault.cr2, PAGE_WINDOW + 0x1000);
	fault = load_from_far_gdt(load_at_cpl0, PAGE_PRESENT | PAGE_WRITE);
	expect_no_fault(fault);
	write_cr4(read_cr4() & ~(u64)CR4_SMAP);
}

TEST("guest.pf.smap_implicit", "SMAP forbids the access to a GDT in a user page, whatever AC", NEEDS(FEATURE_SMAP))
{
	write_cr4(read_cr4() | CR4_SMAP);
	struct fault fault = load_from_far_gdt(load_at_cpl0_with_ac, PAGE_PRESENT | PAGE_WRITE | PAGE_USER);
	expect_fault(fault, VECTOR_PF, PF_P);
	expect_eq(fault.cr2, PAGE_WINDOW + 0x1000);
	fault = load_from_far_gdt(load_at_cpl0_with_ac, PAGE_PRESENT | PAGE_WRITE);
	expect_no_fault(fault);
	write_cr4(read_cr4() & ~(u64)CR4_SMAP);
}

CODE(stac, "stac");

TEST("guest.pf.stac_user", "STAC at CPL 3 raises #UD", NEEDS(FEATURE_SMAP))
{
	user_pages_on();
	const struct fault fault = user_run(stac);
	expect_fault(fault, VECTOR_UD, 0);
}

TEST("guest.pf.stac", "STAC sets RFLAGS.AC and CLAC clears it, and no other flag changes", NEEDS(FEATURE_SMAP))
{
	u64 set, clear;

	asm volatile("stc; stac; pushfq; pop %0; clac; pushfq; pop %1" : "=r"(set), "=r"(clear) : : "memory", "cc");
	expect_bits(set, RFLAGS_AC | RFLAGS_CF | RFLAGS_IF, RFLAGS_AC | RFLAGS_CF);
	expect_bits(clear, RFLAGS_AC | RFLAGS_CF | RFLAGS_IF, RFLAGS_CF);
}

static void wrpkru(u32 value)
{
	asm volatile("wrpkru" : : "a"(value), "c"(0), "d"(0) : "memory");
}

enum { KEY = 5, KEY_AD = 1 << (2 * KEY), KEY_WD = 2 << (2 * KEY) };

/* What an access does under PKRU, at CPL 0 and at CPL 3. */
static void under_pkru(u32 pkru, void (*access)(void), struct fault faults[2])
{
	map_all();
	change_entry(1, 0, (u64)KEY << 59);
	user_pages_on();
	write_cr4(read_cr4() | CR4_PKE);
	wrpkru(pkru);
	faults[0] = TRY(access());
	faults[1] = user_run(access);
	wrpkru(0);
	write_cr4(read_cr4() & ~(u64)CR4_PKE);
}

TEST("guest.pf.pkru_ad", "PKRU.AD forbids user data accesses to a user page with its key: PK=1", NEEDS(FEATURE_PKU))
{
	struct fault faults[2];

	under_pkru(KEY_AD, reads_window, faults);
	expect_fault(faults[1], VECTOR_PF, PF_P | PF_U | PF_PK);
	expect_eq(faults[1].cr2, PAGE_WINDOW);
	under_pkru(KEY_AD, writes_window, faults);
	expect_fault(faults[1], VECTOR_PF, PF_P | PF_U | PF_W | PF_PK);
}

TEST("guest.pf.pkru_ad_supervisor", "PKRU.AD forbids supervisor data accesses to a user page with its key: PK=1",
     NEEDS(FEATURE_PKU))
{
	struct fault faults[2];

	under_pkru(KEY_AD, reads_window, faults);
	expect_fault(faults[0], VECTOR_PF, PF_P | PF_PK);
	expect_eq(faults[0].cr2, PAGE_WINDOW);
	under_pkru(KEY_AD, writes_window, faults);
	expect_fault(faults[0], VECTOR_PF, PF_P | PF_W | PF_PK);
}

TEST("guest.pf.pkru_wd", "PKRU.WD forbids writes to a user page with its key, and no reads", NEEDS(FEATURE_PKU))
{
	struct fault faults[2];

	under_pkru(KEY_WD, reads_window, faults);
	expect_no_fault(faults[0]);
	expect_no_fault(faults[1]);
	under_pkru(KEY_WD, writes_window, faults);
	expect_fault(faults[0], VECTOR_PF, PF_P | PF_W | PF_PK);
	expect_fault(faults[1], VECTOR_PF, PF_P | PF_U | PF_W | PF_PK);
}

TEST("guest.pf.pkru_other", "PKRU's bits of other keys forbid nothing", NEEDS(FEATURE_PKU))
{
	struct fault faults[2];

	/* Key 0 is that of the image's own pages. */
	under_pkru(~(u32)(KEY_AD | KEY_WD | 3), writes_window, faults);
	expect_no_fault(faults[0]);
	expect_no_fault(faults[1]);
}

TEST("guest.pf.pkru_wp", "PKRU.WD leaves supervisor writes alone if CR0.WP is 0", NEEDS(FEATURE_PKU))
{
	struct fault faults[2];

	write_cr0(read_cr0() & ~(u64)CR0_WP);
	under_pkru(KEY_WD, writes_window, faults);
	write_cr0(read_cr0() | CR0_WP);
	expect_no_fault(faults[0]);
	expect_fault(faults[1], VECTOR_PF, PF_P | PF_U | PF_W | PF_PK);
}

TEST("guest.pf.pkru_fetch", "PKRU does not forbid fetches", NEEDS(FEATURE_PKU))
{
	u8 *page = (u8 *)map_all();

	page[0] = 0xc3;
	change_entry(1, 0, (u64)KEY << 59);
	user_pages_on();
	write_cr4(read_cr4() | CR4_PKE);
	wrpkru(KEY_AD);
	const struct fault fetch = user_run(runs_window);
	const struct fault read = user_run(reads_window);
	wrpkru(0);
	write_cr4(read_cr4() & ~(u64)CR4_PKE);
	expect_no_fault(fetch);
	expect_fault(read, VECTOR_PF, PF_P | PF_U | PF_PK);
}

TEST("guest.pf.pkrs", "IA32_PKRS forbids supervisor accesses to supervisor pages with its key", NEEDS(FEATURE_PKS))
{
	map_window(PAGE_PRESENT | PAGE_WRITE);
	change_entry(1, 0, (u64)KEY << 59);
	write_cr4(read_cr4() | CR4_PKS);
	wrmsr(IA32_PKRS, KEY_AD);
	const struct fault read = TRY(reads_window());
	wrmsr(IA32_PKRS, KEY_WD);
	const struct fault read_wd = TRY(reads_window());
	const struct fault write = TRY(writes_window());
	wrmsr(IA32_PKRS, 0);
	write_cr4(read_cr4() & ~(u64)CR4_PKS);
	expect_fault(read, VECTOR_PF, PF_P | PF_PK);
	expect_no_fault(read_wd);
	expect_fault(write, VECTOR_PF, PF_P | PF_W | PF_PK);
}

/* ---- where it leaves the instruction */

TEST("guest.pf.straddle", "a write across pages, of which the second faults, writes nothing and gives that page's address")
{
	u8 *page = map_window(PAGE_PRESENT | PAGE_WRITE);

	for (u64 size = 1; size < 8; size++) {
		volatile u64 *address = (volatile u64 *)(PAGE_WINDOW + 0x1000 - size);

		CASE("%u bytes in the first page", size);
		struct fault fault = TRY(*address = ~0ull);
		expect_fault(fault, VECTOR_PF, PF_W);
		expect_eq(fault.cr2, PAGE_WINDOW + 0x1000);
		expect_eq(*(u64 *)(page + 0xff8), 0);
		fault = TRY((void)*address);
		expect_fault(fault, VECTOR_PF, 0);
		expect_eq(fault.cr2, PAGE_WINDOW + 0x1000);
	}
}

static u64 late_page;

static void maps_late(struct exception_frame *frame)
{
	(void)frame;
	page_map(read_cr2() & ~0xfffull, late_page, PAGE_PRESENT | PAGE_WRITE);
	interrupt_count[VECTOR_PF]++;
}

TEST("guest.pf.restart", "the instruction that faulted runs again, with all registers as before")
{
	u64 *page = page_alloc(), value = 0x1122334455667788, old = 0;

	page_entry(PAGE_WINDOW, 1);
	late_page = physical_address(page);
	interrupt_handle(VECTOR_PF, maps_late);
	asm volatile("xchg %0, (%1)" : "+r"(value) : "r"(PAGE_WINDOW) : "memory");
	expect_eq(value, 0);
	asm volatile("pushq (%1); popq %0" : "=r"(old) : "r"(PAGE_WINDOW) : "memory");
	expect_eq(old, 0x1122334455667788);
	expect_eq(page[0], 0x1122334455667788);
	expect_eq(interrupt_count[VECTOR_PF], 1);
}

TEST("guest.pf.rep", "a REP STOS that faults leaves RCX and RDI where it stands, and goes on from there")
{
	u8 *page = map_window(PAGE_PRESENT | PAGE_WRITE);
	u64 rcx, rdi;
	const struct fault fault = TRY(asm volatile("rep stosb" : : "a"(0x5a), "c"(100ull), "D"(PAGE_WINDOW + 0xfc0)
						    : "memory"));

	expect_fault(fault, VECTOR_PF, PF_W);
	expect_eq(fault.cr2, PAGE_WINDOW + 0x1000);
	expect_eq(fault.frame.rdi, PAGE_WINDOW + 0x1000);
	expect_eq(fault.frame.rcx, 100 - 0x40);
	expect_eq(page[0xfbf], 0);
	expect_eq(page[0xfc0], 0x5a);
	expect_eq(page[0xfff], 0x5a);

	late_page = physical_address(page_alloc());
	interrupt_handle(VECTOR_PF, maps_late);
	asm volatile("rep stosb" : "=c"(rcx), "=D"(rdi) : "a"(0xa5), "c"(100ull), "D"(PAGE_WINDOW + 0xfc0) : "memory");
	expect_eq(rcx, 0);
	expect_eq(rdi, PAGE_WINDOW + 0xfc0 + 100);
	expect_eq(((u8 *)late_page)[99 - 0x40], 0xa5);
	expect_eq(((u8 *)late_page)[100 - 0x40], 0);
}

static u64 rsp_before, rsp_faulted;

static void notes_rsp(struct exception_frame *frame)
{
	rsp_faulted = frame->rsp;
	maps_late(frame);
}

TEST("guest.pf.push", "a PUSH whose write faults leaves RSP as it was, and runs again")
{
	u64 rsp_after;

	/* The exception's own frame must not go below the same RSP. */
	idt[VECTOR_PF].ist = 1;
	page_entry(PAGE_WINDOW, 1);
	late_page = physical_address(page_alloc());
	interrupt_handle(VECTOR_PF, notes_rsp);
	asm volatile("mov %%rsp, %0\n\t"
		     "mov %2, %%rsp\n\t"
		     "pushq $0x77\n\t"
		     "mov %%rsp, %1\n\t"
		     "mov %0, %%rsp"
		     : "=&r"(rsp_before), "=&r"(rsp_after) : "r"(PAGE_WINDOW + 0x800) : "memory");
	idt[VECTOR_PF].ist = 0;
	expect_eq(rsp_faulted, PAGE_WINDOW + 0x800);
	expect_eq(rsp_after, PAGE_WINDOW + 0x7f8);
	expect_eq(*(u64 *)(late_page + 0x7f8), 0x77);
}
