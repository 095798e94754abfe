/* SPDX-License-Identifier: BSD-2-Clause */
/* Translations: which are used, and what an instruction leaves that has none. */
#include "errata.h"
#include "vmxtest/low.h"

#include "libc/string.h"

GUEST_ASM(guest_reads_rbx, "mov (%rbx), %rcx\n ret");

static u64 guest_reads(u64 linear)
{
	guest.regs.rbx = linear;
	guest.regs.rcx = 0;
	guest_run(guest_reads_rbx);
	expect_guest_done();
	return guest.regs.rcx;
}

static void map(u64 linear, const void *page)
{
	page_map(linear, physical_address(page), PAGE_PRESENT | PAGE_WRITE | PAGE_ACCESSED | PAGE_DIRTY);
}

/* "Enable VPID" in a word that is not active is 0: what that guest uses is of VPID 0, and ends with its exit. */
TEST("errata.vpid_inactive", "\"enable VPID\" without \"activate secondary controls\" leaves no translation for that VPID",
     NEEDS(PROC2_ENABLE_VPID, CAP_INVVPID_ALL_CONTEXT))
{
	u64 *const a = page_alloc(), *const b = page_alloc();

	*a = 0xaaaa;
	*b = 0xbbbb;
	vmcs_write(VPID, 0x55);
	for (u32 i = 0; i < 100; i++) {
		CASE("turn %u", i);
		vpid_flush_all();
		map(PAGE_WINDOW, a);
		vmcs_set_controls(PROC2_ENABLE_VPID);
		vmcs_clear_controls(PROC_ACTIVATE_SECONDARY_CONTROLS);
		expect_eq(guest_reads(PAGE_WINDOW), 0xaaaa);
		map(PAGE_WINDOW, b);
		vmcs_set_controls(PROC2_ENABLE_VPID);
		expect_eq(guest_reads(PAGE_WINDOW), 0xbbbb);
	}
	vpid_flush_all();
}

/* The operand of INVEPT is on a large page that has the first MByte of memory, by another linear address. */
TEST("errata.invlpg_after_invept", "INVLPG of a large page behind an INVEPT whose operand is on it ends its translation",
     NEEDS(PROC2_ENABLE_EPT, CAP_INVEPT, CAP_INVEPT_ALL_CONTEXT))
{
	const u64 low = low_page(), large = 2 << 20, flags = PAGE_PRESENT | PAGE_WRITE | PAGE_LARGE;
	u64 *const entry = page_entry(PAGE_WINDOW, 2);
	volatile u64 *const alias = (volatile u64 *)(PAGE_WINDOW + low);
	const u64 other = *(volatile u64 *)(large + low);

	for (u32 i = 0; i < 20; i++) {
		CASE("turn %u", i);
		*entry = flags;
		invlpg((const void *)alias);
		memset((void *)low, 0, sizeof(struct invept_descriptor));
		expect_outcome(invept(INVEPT_ALL_CONTEXT, (const struct invept_descriptor *)alias, NULL), SUCCEED);
		*alias = ~other;
		expect_eq(*(volatile u64 *)low, ~other);
		expect_eq(*alias, ~other);		/* its translation is the last one used */
		*entry = flags | large;
		invlpg((const void *)alias);
		expect_eq(*alias, other);
	}
	*entry = 0;
	invlpg((const void *)alias);
}

/* Arithmetic flags that ADD would change: CF, PF and ZF are 1, OF, SF and AF 0. */
static struct fault add_with_known_flags(volatile u32 *address)
{
	return TRY(asm volatile("cmp %%eax, %%eax\n\t stc\n\t addl $1, %0" : "+m"(*address) : : "eax", "cc"));
}

TEST("errata.flags_of_fault", "a page fault of ADD, with an old translation that allowed it, saves the flags from before")
{
	volatile u32 *const address = (volatile u32 *)PAGE_WINDOW;
	u32 *const page = probe_page(0);
	const u64 cr0 = read_cr0();

	write_cr0(cr0 | CR0_WP);
	PROBE_REPEATEDLY {
		CASE("one try of many");
		*page = 0x7fffffff;
		*page_entry(PAGE_WINDOW, 1) |= PAGE_WRITE;
		invlpg((const void *)address);
		add_with_known_flags(address);
		*page = 0x7fffffff;
		*page_entry(PAGE_WINDOW, 1) &= ~(u64)PAGE_WRITE;
		if (probing_random() & 1)
			invlpg((const void *)address);

		const struct fault fault = add_with_known_flags(address);

		if (!fault.raised)
			continue;	/* by the old translation, which may be used */
		expect_fault(fault, VECTOR_PF, 3);
		expect_bits(fault.frame.rflags, RFLAGS_ARITHMETIC, RFLAGS_CF | RFLAGS_PF | RFLAGS_ZF);
		expect_eq(*page, 0x7fffffff);
	}
	write_cr0(cr0);
}

TEST("errata.gla_of_violation", "an EPT violation says the linear address, all of its bits, also where it is the update of a flag",
     NEEDS(PROC2_ENABLE_EPT))
{
	static const u32 offsets[] = { 0, 1, 0x7f8, 0x678, 0xff8, 0xabc };
	u8 *const page = probe_page(0);

	vmcs_use_ept();
	for (enum violation_way way = 0; way < VIOLATION_WAYS; way++)
		for (u32 i = 0; i < ARRAY_SIZE(offsets); i++) {
			CASE("by %s, offset %#x", violation_ways[way], offsets[i]);
			probe_violation(way, 0, page);
			guest.regs.rbx = PAGE_WINDOW + offsets[i];
			guest_run(guest_reads_rbx);
			if (!expect_probe_violation(way))
				break;
			expect_eq(vmcs_read(GUEST_LINEAR_ADDRESS), PAGE_WINDOW + offsets[i]);
			expect_bits(vmcs_read(EXIT_QUALIFICATION), EPT_VIOLATION_LINEAR_VALID | EPT_VIOLATION_FINAL,
				    EPT_VIOLATION_LINEAR_VALID | (way == BY_THE_PAGE ? EPT_VIOLATION_FINAL : 0));
		}
}

GUEST_ASM(guest_copies, "mov %rbx, %rsi\n mov %rdx, %rdi\n rep movsb\n ret");

TEST("errata.rep_movs_violation", "REP MOVS that ends in an EPT violation stands where it says", NEEDS(PROC2_ENABLE_EPT))
{
	u8 *const from = probe_page(0), *const to = probe_page(1), *const behind = probe_page(2);

	vmcs_use_ept();
	for (u32 i = 0; i < PAGE_SIZE; i++)
		from[i] = (u8)(i * 7 + 1);
	for (enum violation_way way = 0; way < VIOLATION_WAYS; way++)
		for (u32 before = 1; before <= 64; before += 9) {
			CASE("by %s, %u bytes before the page", violation_ways[way], before);
			memset(to, 0, PAGE_SIZE);
			probe_no_violation(0, from);
			probe_no_violation(1, to);
			probe_violation(way, 2, behind);
			guest.regs.rbx = probe_linear(0);
			guest.regs.rdx = probe_linear(2) - before;
			guest.regs.rcx = 128;
			guest_run(guest_copies);
			if (!expect_probe_violation(way))
				break;
			/* All that is before the page that faults is done, and as many are left as it did not do. */
			expect_eq(guest.regs.rdi, probe_linear(2));
			expect_eq(guest.regs.rsi, probe_linear(0) + before);
			expect_eq(guest.regs.rcx, 128 - before);
			expect_bytes(to + PAGE_SIZE - before, from, before);
			expect_filled(to, 0, PAGE_SIZE - before, 0);
		}
}

/* What the trap finds is read by the host: the TRY ends at the first exception, be it the #DB or the #PF. */
TEST("errata.rep_movs_breakpoint", "a data breakpoint on an early byte of a REP MOVS is detected, also where a later one faults")
{
	u8 *const from = probe_page(0), *const to = probe_page(1);
	const u64 dr0 = read_dr0(), dr6 = read_dr6(), dr7 = read_dr7();

	for (u32 before = 1; before <= 64; before += 9) {
		const u64 first = probe_linear(2) - before;

		CASE("%u bytes before the fault", before);
		from[0] = 0x5a + before;
		write_dr0(first);
		write_dr6(0xffff0ff0);
		write_dr7(dr7 | 1 << 16 | 2);		/* G0; a write of one byte */
		const struct fault fault = TRY(asm volatile("rep movsb" : : "c"(128ull), "S"(probe_linear(0)), "D"(first) : "memory"));

		write_dr7(dr7);
		expect_bits(read_dr6(), 1, 1);
		expect_fault(fault, VECTOR_DB, 0);
		expect_eq(to[PAGE_SIZE - before], 0x5a + before);
	}
	write_dr0(dr0);
	write_dr6(dr6);
}

/* Two sets of page tables that lead the window to two pages; the guest changes from one to the other as fast as it can. */
static u64 roots[2], order;
static volatile u64 wrong;

static void guest_switches(void)
{
	const u64 mine = read_cr3();

	for (u32 i = 0; i < 64; i++) {
		const u64 which = order >> i & 1;

		write_cr3(roots[which]);
		wrong += *(volatile u64 *)PAGE_WINDOW != 0xaaaa + which;
	}
	write_cr3(mine);
}

TEST("errata.cr3_under_ept", "MOV to CR3 in a guest with EPT leads to the new tables, each time and without a fault", NEEDS(PROC2_ENABLE_EPT))
{
	vmcs_use_ept();
	vmcs_clear_controls(PROC_CR3_LOAD_EXITING, PROC_CR3_STORE_EXITING);
	for (u32 i = 0; i < 2; i++) {
		*page_entry(PAGE_WINDOW, 4) = 0;
		*(u64 *)probe_page(0) = 0xaaaa + i;
		roots[i] = physical_address(memcpy(page_alloc(), (const void *)(read_cr3() & PAGE_ADDRESS_MASK), PAGE_SIZE));
	}
	PROBE_REPEATEDLY {
		CASE("one try of many");
		order = probing_random();
		wrong = 0;
		guest_run(guest_switches);
		if (!expect_guest_done() || !expect_eq(wrong, 0))
			break;
	}
}
