/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MOV to and from CR0 with the CR0 guest/host mask and read shadow (SDM Vol. 3C,
 * "Guest/Host Masks and Read Shadows for CR0 and CR4").
 */
#include "cr.h"

GUEST_ASM(guest_mov_to_cr0, "mov %rax, %cr0; ret");
GUEST_ASM(guest_mov_from_cr0, "mov $-1, %rcx; mov %cr0, %rcx; ret");

/* The bits that a 64-bit guest without "unrestricted guest" may change one by one; NW only with CD. */
static const u64 free_bits[] = { CR0_MP, CR0_EM, CR0_TS, CR0_WP, CR0_AM, CR0_CD };

/* The guest moves a value to CR0: it must exit as such, with nothing changed. */
static void expect_mov_exits(u64 value)
{
	const u64 shadow = vmcs_read(CR0_READ_SHADOW);

	vmcs_write(GUEST_CR0, read_cr0());
	guest.regs.rax = value;
	guest_run(guest_mov_to_cr0);
	expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(0, MOV_TO_CR, REG_RAX), .instruction_length = 3,
		    .rip = (u64)guest_mov_to_cr0);
	expect_eq(vmcs_read(GUEST_CR0), read_cr0());
	expect_eq(vmcs_read(CR0_READ_SHADOW), shadow);
	expect_eq(guest.regs.rax, value);
}

/* It must not exit, and leave this in CR0. */
static void expect_mov_done(u64 value, u64 result)
{
	vmcs_write(GUEST_CR0, read_cr0());
	guest.regs.rax = value;
	guest_run(guest_mov_to_cr0);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_CR0), result);
}

static void set_mask(u64 mask, u64 shadow)
{
	vmcs_write(CR0_GUEST_HOST_MASK, mask);
	vmcs_write(CR0_READ_SHADOW, shadow);
}

TEST("exit.cr0.mask", "MOV to CR0 exits where a masked bit of its source differs from the read shadow")
{
	const u64 cr0 = read_cr0();

	/* The source is CR0 as it is: the shadow alone decides. */
	for (u32 n = 0; n < 64; n++) {
		CASE("bit %u of the shadow differs, alone in the mask", n);
		set_mask(BIT(n), cr0 ^ BIT(n));
		expect_mov_exits(cr0);
		CASE("bit %u of the shadow differs, all masked", n);
		set_mask(~0ull, cr0 ^ BIT(n));
		expect_mov_exits(cr0);
		CASE("bit %u of the shadow differs, all but it masked", n);
		set_mask(~BIT(n), cr0 ^ BIT(n));
		expect_mov_done(cr0, cr0);
		CASE("bit %u of the shadow agrees, alone in the mask", n);
		set_mask(BIT(n), ~cr0 ^ BIT(n));
		expect_mov_done(cr0, cr0);
	}

	/* The source changes CR0. */
	for (u32 i = 0; i < ARRAY_SIZE(free_bits); i++) {
		const u64 bit = free_bits[i];

		CASE("change bits %#lx, which are masked", bit);
		set_mask(bit, cr0);
		expect_mov_exits(cr0 ^ bit);
		CASE("change bits %#lx, all else masked", bit);
		set_mask(~bit, cr0);
		expect_mov_done(cr0 ^ bit, cr0 ^ bit);
		write_cr0(cr0);		/* VM exits leave CD alone */
	}
}

TEST("exit.cr0.shadow_read", "MOV from CR0 returns the read shadow where the mask is 1, CR0 where it is 0")
{
	const u64 host_cr0 = read_cr0();
	const u64 bits = CR0_MP | CR0_EM | CR0_TS | CR0_WP | CR0_AM | CR0_CD;

	/* Two values of the real CR0, of which each bit that can change takes both values. */
	for (u32 turned = 0; turned < 2; turned++) {
		const u64 cr0 = turned ? host_cr0 ^ bits : host_cr0;

		write_cr0((host_cr0 & ~CR0_CD) | (cr0 & CR0_CD));	/* VM entries leave CD alone */
		vmcs_write(GUEST_CR0, cr0);
		for (u32 n = 0; n < CR_PATTERNS; n++) {
			const u64 mask = cr_pattern(n);

			CASE("CR0 %#lx, mask %#lx, shadow ~CR0", cr0, mask);
			set_mask(mask, ~cr0);
			guest_run(guest_mov_from_cr0);
			expect_guest_done();
			expect_eq(guest.regs.rcx, cr0 ^ mask);
			CASE("CR0 %#lx, shadow %#lx, all masked", cr0, mask);
			set_mask(~0ull, mask);
			guest_run(guest_mov_from_cr0);
			expect_guest_done();
			expect_eq(guest.regs.rcx, mask);
		}
		expect_eq(vmcs_read(GUEST_CR0), cr0);
	}
	write_cr0(host_cr0);
}
