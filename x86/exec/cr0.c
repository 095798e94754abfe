/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MOV to and from CR0 with the CR0 guest/host mask and read shadow (SDM Vol. 3C,
 * "Guest/Host Masks and Read Shadows for CR0 and CR4").
 */
#include "masked.h"
#include "x86/selectors.h"

GUEST_ASM(guest_mov_to_cr0, "mov %rax, %cr0; ret");
GUEST_ASM(guest_mov_from_cr0, "mov $-1, %rcx; mov %cr0, %rcx; ret");

/*
 * The bits that a 64-bit guest without "unrestricted guest" may change one by one. Not NW: with CD = NW = 1 "memory
 * coherency is not maintained" (SDM Vol. 3A, "Cache Operating Modes"), and NW alone is refused.
 */
static const u64 free_bits[] = { CR0_MP, CR0_EM, CR0_TS, CR0_WP, CR0_AM, CR0_CD };

static u32 free_count(void)
{
	return ARRAY_SIZE(free_bits) - !may(MAY_TURN_CACHES_OFF);
}

static const struct masked_register reg = {
	.number = 0, .guest = GUEST_CR0, .mask = CR0_GUEST_HOST_MASK, .shadow = CR0_READ_SHADOW,
	.write = guest_mov_to_cr0, .read = guest_mov_from_cr0, .own = read_cr0,
};

TEST("exit.cr0.mask", "MOV to CR0 exits where a masked bit of its source differs from the read shadow")
{
	const u64 cr0 = read_cr0();

	masked_check_each_bit(&reg);

	/* The source changes CR0. */
	for (u32 i = 0; i < free_count(); i++) {
		const u64 bit = free_bits[i];

		CASE("change bits %#lx, which are masked", bit);
		masked_set(&reg, bit, cr0);
		masked_mov_exits(&reg, cr0 ^ bit);
		CASE("change bits %#lx, all else masked", bit);
		masked_set(&reg, ~bit, cr0);
		masked_mov_done(&reg, cr0 ^ bit, cr0 ^ bit);
		write_cr0(cr0);		/* VM exits leave CD alone */
	}
}

TEST("exit.cr0.shadow_read", "MOV from CR0 returns the read shadow where the mask is 1, CR0 where it is 0")
{
	const u64 host_cr0 = read_cr0();
	const u64 bits = CR0_MP | CR0_EM | CR0_TS | CR0_WP | CR0_AM | (may(MAY_TURN_CACHES_OFF) ? CR0_CD : 0);

	/* Two values of the real CR0, of which each bit that can change takes both values. */
	for (u32 turned = 0; turned < 2; turned++) {
		const u64 cr0 = turned ? host_cr0 ^ bits : host_cr0;

		write_cr0((host_cr0 & ~CR0_CD) | (cr0 & CR0_CD));	/* VM entries leave CD alone */
		masked_check_reads(&reg, cr0);
	}
	write_cr0(host_cr0);
}

TEST("exit.cr0.mask_each_bit", "Each named bit of CR0 triggers the exit by itself, in both directions")
{
	static const u64 bits[] = { CR0_PE, CR0_MP, CR0_EM, CR0_TS, CR0_ET, CR0_NE, CR0_WP, CR0_AM, CR0_NW, CR0_CD,
				    CR0_PG };
	const u64 cr0 = read_cr0();

	for (u32 i = 0; i < ARRAY_SIZE(bits); i++)
		for (u32 others = 0; others < 2; others++) {
			/* The other bits of the shadow do not count, whatever they are. */
			const u64 shadow = (others ? ~0ull : 0) & ~bits[i];

			CASE("set %#lx, which the shadow has clear (other bits %u)", bits[i], others);
			masked_set(&reg, bits[i], shadow);
			masked_mov_exits(&reg, cr0 | bits[i]);
			CASE("leave %#lx clear, which the shadow has set (other bits %u)", bits[i], others);
			masked_set(&reg, bits[i], shadow | bits[i]);
			masked_mov_exits(&reg, cr0 & ~bits[i]);
			CASE("%#lx as the shadow has it (other bits %u)", bits[i], others);
			masked_set(&reg, bits[i], shadow | (cr0 & bits[i]));
			masked_mov_done(&reg, cr0, cr0);
		}
}

/* Bits 0-4 of a number, spread over the bits of CR0 that VM entries load and VM exits save. */
static u64 spread(u32 number)
{
	u64 value = 0;

	for (u32 i = 0; i < 5; i++)
		if (number & 1 << i)
			value |= free_bits[i];
	return value;
}

TEST("exit.cr0.mask_same_as_shadow", "A MOV to CR0 that agrees with the shadow leaves the masked bits of CR0 alone")
{
	const u64 cr0 = read_cr0();
	const u64 all = spread(31);

	/* Every mask over these bits with every source, upon a CR0 that has them all clear or all set. */
	for (u32 real = 0; real < 2; real++)
		for (u32 m = 0; m < 32; m++)
			for (u32 s = 0; s < 32; s++) {
				if (!walk_takes(m * 32 + s, 32 * 32))
					continue;

				const u64 before = (cr0 & ~all) | (real ? all : 0);
				const u64 mask = spread(m);
				const u64 source = (cr0 & ~all) | spread(s);

				CASE("CR0 %#lx, mask %#lx, source %#lx", before, mask, source);
				masked_set(&reg, mask, source ^ ~mask);
				vmcs_write(GUEST_CR0, before);
				guest.regs.rax = source;
				guest_run(guest_mov_to_cr0);
				expect_guest_done();
				expect_eq(vmcs_read(GUEST_CR0), (before & mask) | (source & ~mask));
			}

	masked_check_all_masked(&reg);
	CASE("NE masked");
	masked_set(&reg, CR0_NE, 0);
	masked_mov_done(&reg, cr0 & ~CR0_NE, cr0);
	CASE("NE masked, and WP changes");
	masked_mov_done(&reg, cr0 & ~CR0_NE & ~CR0_WP, cr0 & ~CR0_WP);
	CASE("PE and PG masked");
	masked_set(&reg, CR0_PE | CR0_PG, 0);
	masked_mov_done(&reg, cr0 & ~(CR0_PE | CR0_PG), cr0);
}

TEST("exit.cr0.unmasked_write", "The guest writes unmasked bits of CR0 without an exit, and VM exits save them")
{
	const u64 cr0 = read_cr0();

	for (u32 i = 0; i < free_count(); i++)
		for (u32 masked = 0; masked < 2; masked++) {
			const u64 changed = cr0 ^ free_bits[i];

			CASE("change %#lx, all other bits masked: %u", free_bits[i], masked);
			masked_set(&reg, masked ? ~free_bits[i] : 0, masked ? cr0 ^ free_bits[i] : ~changed);
			masked_mov_done(&reg, changed, changed);
			guest_run(guest_mov_from_cr0);
			expect_guest_done();
			expect_eq(guest.regs.rcx, changed);
			CASE("change %#lx back", free_bits[i]);
			guest.regs.rax = cr0;
			guest_run(guest_mov_to_cr0);
			expect_guest_done();
			expect_eq(vmcs_read(GUEST_CR0), cr0);
			write_cr0(cr0);		/* CD, in case it is still there */
		}
}

TEST("exit.cr0.unmasked_fixed_gp", "MOV to CR0 of a value that VMX operation does not support raises #GP in the guest")
{
	const struct vmx_capabilities *const c = vmx_capabilities();
	const u64 cr0 = read_cr0();

	expect_at_least(masked_check_refused(&reg, c->cr0_fixed0, c->cr0_fixed1), 3 + 32);
	masked_set(&reg, 0, 0);
	CASE("a supported value");
	masked_mov_done(&reg, cr0 ^ CR0_TS, cr0 ^ CR0_TS);
}

/*
 * A guest with 32-bit paging: in 64-bit mode clearing PG is refused in any case.
 * RSI = the value for CR0; any exception exits.
 */
GUEST_ASM(guest_paging32, ".code32; mov %esi, %cr0; vmcall; .code64");

static void run_paging32(u64 cr0)
{
	u32 *directory = page_alloc();

	for (u32 i = 0; i < 1024; i++)
		directory[i] = i << 22 | PAGE_LARGE | PAGE_WRITE | PAGE_PRESENT;
	vmcs_clear_controls(ENTRYCTL_IA32E_MODE_GUEST);
	vmcs_write(GUEST_CR0, read_cr0());
	vmcs_write(GUEST_CR3, physical_address(directory));
	vmcs_write(GUEST_CR4, (read_cr4() & ~(u64)CR4_PAE) | CR4_PSE);
	vmcs_write(GUEST_CS_SELECTOR, SELECTOR_CODE32);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE32);
	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);
	vmcs_write(GUEST_RIP, (u64)guest_paging32);
	guest.regs.rsi = cr0;
	guest.regs.rax = 0;
	guest_enter();
}

TEST("exit.cr0.unmasked_pg_gp", "Clearing PG or both PE and PG raises #GP in a guest that is not unrestricted")
{
	static const u64 cleared[] = { CR0_PG, CR0_PE | CR0_PG };
	const u64 cr0 = read_cr0();

	for (u32 i = 0; i < ARRAY_SIZE(cleared); i++) {
		CASE("clear %#lx", cleared[i]);
		run_paging32(cr0 & ~cleared[i]);
		expect_exit(EXIT_EXCEPTION_OR_NMI, .interruption = INTERRUPTION_VALID | INTERRUPTION_ERROR_CODE |
			    INTERRUPTION_TYPE_HARDWARE | VECTOR_GP, .interruption_error = 0,
			    .rip = (u64)guest_paging32);
		expect_eq(vmcs_read(GUEST_CR0), cr0);
	}
	CASE("a supported value");
	run_paging32(cr0 ^ CR0_TS);
	expect_exit(EXIT_VMCALL);
	expect_eq(vmcs_read(GUEST_CR0), cr0 ^ CR0_TS);
}

GUEST_ASM(guest_plays_with_cr0,
	  "mov %cr0, %rcx; mov %rax, %cr0; clts; lmsw %ax; smsw %dx; mov %rcx, %cr0; mov %cr0, %rcx; ret");

TEST("exit.cr0.shadow_not_updated", "The processor never writes the CR0 guest/host mask and read shadow")
{
	static const u64 masks[] = { 0, CR0_MP, CR0_TS, CR0_PE | CR0_MP | CR0_EM | CR0_TS, ~0ull };
	const u64 cr0 = read_cr0();

	for (u32 m = 0; m < ARRAY_SIZE(masks); m++)
		for (u32 s = 0; s < 16; s++) {
			/* CLTS and LMSW write the low four bits: every value of theirs. */
			const u64 shadow = s | (s & 1 ? ~cr0 : cr0) >> 4 << 4;

			CASE("mask %#lx, shadow %#lx", masks[m], shadow);
			masked_set(&reg, masks[m], shadow);
			vmcs_write(GUEST_CR0, cr0);
			guest.regs.rax = cr0 ^ CR0_TS ^ CR0_EM;
			guest_run(guest_plays_with_cr0);
			while (guest.outcome.kind == OUTCOME_EXIT && guest.outcome.number == EXIT_CR_ACCESS) {
				expect_eq(vmcs_read(CR0_READ_SHADOW), shadow);
				guest_skip_instruction();
				guest_resume();
			}
			expect_guest_done();
			expect_eq(vmcs_read(CR0_READ_SHADOW), shadow);
			expect_eq(vmcs_read(CR0_GUEST_HOST_MASK), masks[m]);
		}
}
