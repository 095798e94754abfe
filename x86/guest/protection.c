/* SPDX-License-Identifier: BSD-2-Clause */
/* Page faults by SMEP, SMAP and protection keys. */
#include "window.h"

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
