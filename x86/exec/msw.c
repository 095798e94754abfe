/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CLTS, LMSW and SMSW: the instructions that see a part of CR0 (SDM Vol. 3C,
 * "Instructions That Cause VM Exits Conditionally" and "Changes to Instruction
 * Behavior in VMX Non-Root Operation").
 */
#include "cr.h"
#include "x86/user.h"

#define MSW_BITS (CR0_PE | CR0_MP | CR0_EM | CR0_TS)

GUEST_ASM(guest_clts, "clts; ret");
GUEST_ASM(guest_lmsw_register, "lmsw %ax; ret");
GUEST_ASM(guest_lmsw_r9, "lmsw %r9w; ret");
GUEST_ASM(guest_lmsw_memory, "lmsw (%rbx); ret");
GUEST_ASM(guest_lmsw_far, "lmsw %fs:0x12345678(%rbx, %rcx, 4); ret");
GUEST_ASM(guest_smsw_16, "smsw %cx; ret");
GUEST_ASM(guest_smsw_32, "smsw %ecx; ret");
GUEST_ASM(guest_smsw_64, "smsw %rcx; ret");
GUEST_ASM(guest_smsw_memory, "smsw (%rbx); ret");
GUEST_ASM(guest_smsw_memory_rexw, ".byte 0x48, 0x0f, 0x01, 0x23; ret");

static void set_mask(u64 mask, u64 shadow)
{
	vmcs_write(CR0_GUEST_HOST_MASK, mask);
	vmcs_write(CR0_READ_SHADOW, shadow);
}

/* CLTS with each of TS in the mask, the shadow and CR0; other bits of mask and shadow must not count. */
static void run_clts(u32 n)
{
	const u64 ts[2] = { 0, CR0_TS };
	const u64 cr0 = (read_cr0() & ~(u64)CR0_TS) | ts[n >> 2 & 1];
	const u64 others = n & 8 ? ~(u64)CR0_TS : 0;

	CASE("TS: mask %u, shadow %u, CR0 %u; other bits %u", n & 1, n >> 1 & 1, n >> 2 & 1, n >> 3);
	set_mask(ts[n & 1] | others, ts[n >> 1 & 1] | others);
	vmcs_write(GUEST_CR0, cr0);
	guest_run(guest_clts);
}

#define CLTS_CASES 16

static u64 guest_ts(void)
{
	return vmcs_read(GUEST_CR0) >> 3 & 1;
}

TEST("exit.clts.exit", "CLTS exits if TS is 1 in both the CR0 mask and the read shadow, and only then")
{
	for (u32 n = 0; n < CLTS_CASES; n++) {
		run_clts(n);
		if ((n & 3) != 3) {
			expect_guest_done();
			continue;
		}
		expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(0, CLTS, 0), .instruction_length = 2,
			    .rip = (u64)guest_clts);
		expect_eq(guest_ts(), n >> 2 & 1);
	}
}

TEST("exit.clts.noexit_masked", "CLTS with TS masked and 0 in the shadow does not change CR0.TS")
{
	for (u32 n = 0; n < CLTS_CASES; n++) {
		if ((n & 3) != 1)
			continue;
		run_clts(n);
		expect_guest_done();
		expect_eq(guest_ts(), n >> 2 & 1);
		expect_eq(vmcs_read(GUEST_CR0) & ~(u64)CR0_TS, read_cr0() & ~(u64)CR0_TS);
	}
}

TEST("exit.clts.noexit_unmasked", "CLTS with TS not masked clears CR0.TS without an exit")
{
	for (u32 n = 0; n < CLTS_CASES; n++) {
		if (n & 1)
			continue;
		run_clts(n);
		expect_guest_done();
		expect_eq(vmcs_read(GUEST_CR0), read_cr0() & ~(u64)CR0_TS);
	}
}

/* LMSW ---------------------------------------------------------------------------- */

static u16 word_in_memory[3];

/* What the manual says of mask, shadow and source, of which only the bits 3:0 count. */
static bool lmsw_exits(u64 mask, u64 shadow, u64 source)
{
	return (mask & source & ~shadow & CR0_PE) || (mask & (source ^ shadow) & (CR0_MP | CR0_EM | CR0_TS));
}

static void run_lmsw(bool memory, u16 source)
{
	word_in_memory[1] = source;
	guest.regs.rax = source | (memory ? 0 : 0xa5a5a5a5a5a50000);
	guest.regs.rbx = (u64)&word_in_memory[1];
	guest_run(memory ? guest_lmsw_memory : guest_lmsw_register);
}

static void check_lmsw(u64 mask, u64 shadow, u16 source, u64 cr0, bool memory)
{
	if (!lmsw_exits(mask, shadow, source)) {
		const u64 written = ~mask & (CR0_MP | CR0_EM | CR0_TS);

		expect_guest_done();
		expect_eq(vmcs_read(GUEST_CR0), (cr0 & ~written) | (source & written));
		return;
	}
	expect_exit(EXIT_CR_ACCESS,
		    .qualification = CR_ACCESS(0, memory ? LMSW_MEMORY : LMSW, 0) | LMSW_SOURCE(source),
		    .instruction_length = 3);
	expect_eq(vmcs_read(GUEST_CR0), cr0);
}

/*
 * Every shadow and source in bits 3:0, from a register and from memory, with CR0's MP,
 * EM and TS all clear or all set. What is above bit 3 must not count: there the shadow
 * differs from the source.
 */
static void expect_lmsw(u64 mask)
{
	WALK_OVER(n, 0, 16 * 16 * 2) {
		const u64 shadow = n & 15;
		const u16 source = n >> 4 & 15;
		const bool memory = n >> 8 & 1;
		const bool turned = (shadow >> 3 ^ source) & 1;
		const u64 cr0 = (read_cr0() & ~MSW_BITS) | CR0_PE | (turned ? MSW_BITS : 0);

		CASE("mask %#lx, shadow %#lx, source %#x, from memory: %u", mask, shadow, source, memory);
		set_mask(mask | ~MSW_BITS, shadow | ~MSW_BITS);
		vmcs_write(GUEST_CR0, cr0);
		run_lmsw(memory, source);
		check_lmsw(mask, shadow, source, cr0, memory);
	}
}

TEST("exit.lmsw.exit_pe", "LMSW exits when it would set PE, which is masked and 0 in the shadow")
{
	expect_lmsw(CR0_PE);
}

TEST("exit.lmsw.exit_mp_em_ts", "LMSW exits when a masked bit among MP, EM and TS differs from the shadow")
{
	for (u64 mask = 1; mask < 16; mask++)
		expect_lmsw(mask);
}

TEST("exit.lmsw.noexit", "LMSW without an exit writes the unmasked low bits but never clears PE")
{
	const u64 cr0 = read_cr0();

	expect_lmsw(0);

	/* Nothing masked, and a source that is all ones above bit 3: these bits of CR0 do not change. */
	for (u32 source = 0; source < 16; source++) {
		CASE("no mask, source %#x", 0xfff0 | source);
		set_mask(0, ~0ull);
		vmcs_write(GUEST_CR0, cr0);
		run_lmsw(source & 1, 0xfff0 | source);
		expect_guest_done();
		expect_eq(vmcs_read(GUEST_CR0), (cr0 & ~MSW_BITS) | source | CR0_PE);
	}
}

TEST("exit.lmsw.qual", "The exit of LMSW reports the operand's type, the 16 bits of the source, and a linear address")
{
	const u64 base = 0xffff800012340000;

	set_mask(CR0_TS, CR0_TS);
	for (u32 n = 0; n < 64; n++) {
		const u16 source = (n < 16 ? 1u << n : n < 32 ? ~(1u << (n - 16)) : n * 0x6b5d) & ~CR0_TS;

		CASE("source %#x, register", source);
		run_lmsw(false, source);
		expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(0, LMSW, 0) | LMSW_SOURCE(source),
			    .instruction_length = 3, .rip = (u64)guest_lmsw_register);
		CASE("source %#x, R9", source);
		guest.regs.r9 = ~0xffffull | source;
		guest_run(guest_lmsw_r9);
		expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(0, LMSW, 0) | LMSW_SOURCE(source),
			    .rip = (u64)guest_lmsw_r9);
		CASE("source %#x, memory", source);
		run_lmsw(true, source);
		expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(0, LMSW_MEMORY, 0) | LMSW_SOURCE(source),
			    .instruction_length = 3, .rip = (u64)guest_lmsw_memory,
			    .linear = (u64)&word_in_memory[1]);
	}

	CASE("memory with a segment base, index and displacement");
	word_in_memory[1] = 0x5a50;
	vmcs_write(GUEST_FS_BASE, base);
	guest.regs.rcx = 0x1111;
	guest.regs.rbx = (u64)&word_in_memory[1] - base - 0x12345678 - 4 * 0x1111;
	guest_run(guest_lmsw_far);
	expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(0, LMSW_MEMORY, 0) | LMSW_SOURCE(0x5a50),
		    .linear = (u64)&word_in_memory[1]);

	CASE("memory above 4 GiB, at the end of a page");
	u8 *page = page_alloc();

	page_map(PAGE_WINDOW + 0x7654321000, physical_address(page), PAGE_PRESENT | PAGE_WRITE);
	*(u16 *)(page + PAGE_SIZE - 2) = 0xa5a0;
	guest.regs.rbx = PAGE_WINDOW + 0x7654321ffe;
	guest_run(guest_lmsw_memory);
	expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(0, LMSW_MEMORY, 0) | LMSW_SOURCE(0xa5a0),
		    .linear = PAGE_WINDOW + 0x7654321ffe);
}

/* SMSW ---------------------------------------------------------------------------- */

/* SMSW in every form, with the mix of CR0 and shadow that it must store. */
static void expect_smsw(u64 mix)
{
	const u64 before = 0xfedcba9876543210;

	guest.regs.rcx = before;
	guest_run(guest_smsw_16);
	expect_guest_done();
	expect_eq(guest.regs.rcx, (before & ~0xffffull) | (mix & 0xffff));
	guest.regs.rcx = before;
	guest_run(guest_smsw_32);
	expect_guest_done();
	expect_eq(guest.regs.rcx, (u32)mix);
	guest.regs.rcx = before;
	guest_run(guest_smsw_64);
	expect_guest_done();
	expect_eq((u32)guest.regs.rcx, (u32)mix);

	for (u32 rexw = 0; rexw < 2; rexw++) {
		word_in_memory[0] = word_in_memory[2] = 0x7777;
		word_in_memory[1] = ~mix;
		guest.regs.rbx = (u64)&word_in_memory[1];
		guest_run(rexw ? guest_smsw_memory_rexw : guest_smsw_memory);
		expect_guest_done();
		expect_eq(word_in_memory[1], (u16)mix);
		expect_eq(word_in_memory[0], 0x7777);
		expect_eq(word_in_memory[2], 0x7777);
	}
}

static u64 user_msw;

static void user_smsw(void)
{
	asm volatile("smsw %0" : "=r"(user_msw));
}

static void guest_user_smsw(void)
{
	user_run(user_smsw);
}

TEST("exit.cr0.shadow_smsw", "SMSW stores the read shadow where the mask is 1, CR0 where it is 0, in every form")
{
	for (u32 turned = 0; turned < 2; turned++) {
		const u64 cr0 = read_cr0() ^ (turned ? CR0_MP | CR0_EM | CR0_TS | CR0_WP | CR0_AM : 0);

		vmcs_write(GUEST_CR0, cr0);
		WALK_OVER(n, 0, CR_PATTERNS) {
			const u64 mask = cr_pattern(n);

			CASE("CR0 %#lx, mask %#lx, shadow ~CR0", cr0, mask);
			set_mask(mask, ~cr0);
			expect_smsw(cr0 ^ mask);
			CASE("CR0 %#lx, shadow %#lx, all masked", cr0, mask);
			set_mask(~0ull, mask);
			expect_smsw(mask);
		}
		expect_eq(vmcs_read(GUEST_CR0), cr0);
	}

	CASE("CPL 3");
	user_pages_on();
	vmcs_write(GUEST_CR0, read_cr0());
	set_mask(CR0_PE | CR0_MP | CR0_TS | CR0_AM, ~read_cr0());
	guest_run(guest_user_smsw);
	expect_guest_done();
	expect_eq((u32)user_msw, (u32)read_cr0() ^ (CR0_PE | CR0_MP | CR0_TS | CR0_AM));
}

TEST("exit.cr0.shadow_smsw_64", "SMSW to a 64-bit register stores the mix in bits 63:32 too")
{
	for (u32 n = 32; n < 64; n++) {
		CASE("bit %u masked and 1 in the shadow", n);
		set_mask(BIT(n), BIT(n));
		guest.regs.rcx = 0;
		guest_run(guest_smsw_64);
		expect_guest_done();
		expect_eq(guest.regs.rcx, read_cr0() | BIT(n));
		CASE("bit %u 1 in the shadow and not masked", n);
		set_mask(~BIT(n), BIT(n));
		guest.regs.rcx = ~0ull;
		guest_run(guest_smsw_64);
		expect_guest_done();
		expect_eq(guest.regs.rcx, 0);
	}
}
