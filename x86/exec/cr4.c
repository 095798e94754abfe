/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MOV to and from CR4 with the CR4 guest/host mask and read shadow (SDM Vol. 3C,
 * "Guest/Host Masks and Read Shadows for CR0 and CR4").
 */
#include "cr.h"

GUEST_ASM(guest_mov_to_cr4, "mov %rax, %cr4; ret");
GUEST_ASM(guest_mov_from_cr4, "mov $-1, %rcx; mov %cr4, %rcx; ret");

/* Bits that change nothing for a guest such as these. */
static const u64 free_bits[] = { CR4_VME, CR4_PVI, CR4_TSD, CR4_DE, CR4_PSE, CR4_MCE, CR4_PGE, CR4_PCE, CR4_OSFXSR,
				 CR4_OSXMMEXCPT };

static void expect_mov_exits(u64 value)
{
	const u64 shadow = vmcs_read(CR4_READ_SHADOW);

	vmcs_write(GUEST_CR4, read_cr4());
	guest.regs.rax = value;
	guest_run(guest_mov_to_cr4);
	expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(4, MOV_TO_CR, REG_RAX), .instruction_length = 3,
		    .rip = (u64)guest_mov_to_cr4);
	expect_eq(vmcs_read(GUEST_CR4), read_cr4());
	expect_eq(vmcs_read(CR4_READ_SHADOW), shadow);
	expect_eq(guest.regs.rax, value);
}

static void expect_mov_done(u64 value, u64 result)
{
	vmcs_write(GUEST_CR4, read_cr4());
	guest.regs.rax = value;
	guest_run(guest_mov_to_cr4);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_CR4), result);
}

static void set_mask(u64 mask, u64 shadow)
{
	vmcs_write(CR4_GUEST_HOST_MASK, mask);
	vmcs_write(CR4_READ_SHADOW, shadow);
}

TEST("exit.cr4.mask", "MOV to CR4 exits where a masked bit of its source differs from the read shadow")
{
	const u64 cr4 = read_cr4();

	/* The source is CR4 as it is: the shadow alone decides. */
	for (u32 n = 0; n < 64; n++) {
		CASE("bit %u of the shadow differs, alone in the mask", n);
		set_mask(BIT(n), cr4 ^ BIT(n));
		expect_mov_exits(cr4);
		CASE("bit %u of the shadow differs, all masked", n);
		set_mask(~0ull, cr4 ^ BIT(n));
		expect_mov_exits(cr4);
		CASE("bit %u of the shadow differs, all but it masked", n);
		set_mask(~BIT(n), cr4 ^ BIT(n));
		expect_mov_done(cr4, cr4);
		CASE("bit %u of the shadow agrees, alone in the mask", n);
		set_mask(BIT(n), ~cr4 ^ BIT(n));
		expect_mov_done(cr4, cr4);
	}

	/* The source differs from CR4: an exit comes before any fault for an unsupported value. */
	for (u32 n = 0; n < 32; n++) {
		CASE("change bit %u, which is masked", n);
		set_mask(BIT(n), cr4);
		expect_mov_exits(cr4 ^ BIT(n));
	}
	for (u32 i = 0; i < ARRAY_SIZE(free_bits); i++) {
		const u64 bit = free_bits[i];

		if (!(vmx_capabilities()->cr4_fixed1 & bit))
			continue;
		CASE("change bits %#lx, all else masked", bit);
		set_mask(~bit, cr4);
		expect_mov_done(cr4 ^ bit, cr4 ^ bit);
	}
}

TEST("exit.cr4.shadow_read", "MOV from CR4 returns the read shadow where the mask is 1, CR4 where it is 0")
{
	u64 bits = 0;

	for (u32 i = 0; i < ARRAY_SIZE(free_bits); i++)
		bits |= free_bits[i] & vmx_capabilities()->cr4_fixed1;

	/* Two values of the real CR4, of which each of these bits takes both values. */
	for (u32 turned = 0; turned < 2; turned++) {
		const u64 cr4 = turned ? read_cr4() ^ bits : read_cr4();

		vmcs_write(GUEST_CR4, cr4);
		WALK_OVER(n, 0, CR_PATTERNS) {
			const u64 mask = cr_pattern(n);

			CASE("CR4 %#lx, mask %#lx, shadow ~CR4", cr4, mask);
			set_mask(mask, ~cr4);
			guest_run(guest_mov_from_cr4);
			expect_guest_done();
			expect_eq(guest.regs.rcx, cr4 ^ mask);
			CASE("CR4 %#lx, shadow %#lx, all masked", cr4, mask);
			set_mask(~0ull, mask);
			guest_run(guest_mov_from_cr4);
			expect_guest_done();
			expect_eq(guest.regs.rcx, mask);
		}
		expect_eq(vmcs_read(GUEST_CR4), cr4);
	}
}

TEST("exit.cr4.mask_same_as_shadow", "A MOV to CR4 that agrees with the shadow leaves the masked bits of CR4 alone")
{
	const u64 cr4 = read_cr4();
	u64 free = 0;

	for (u32 i = 0; i < ARRAY_SIZE(free_bits); i++)
		free |= free_bits[i] & vmx_capabilities()->cr4_fixed1;

	/* All masked: nothing changes, also where the value would be refused without the mask. */
	WALK_OVER(n, 0, CR_PATTERNS) {
		const u64 source = (u32)cr_pattern(n);

		CASE("all masked, source and shadow %#lx", source);
		set_mask(~0ull, source);
		expect_mov_done(source, cr4);
	}

	/* Part of the free bits masked: the source changes all of them, or none of those masked, or all of those. */
	WALK_OVER(n, 0, CR_PATTERNS) {
		const u64 mask = cr_pattern(n) | CR4_VMXE;
		const u64 sources[] = { cr4 ^ free, cr4 ^ (free & ~mask), cr4 ^ (free & mask) };

		for (u32 i = 0; i < ARRAY_SIZE(sources); i++) {
			const u64 source = sources[i] & ~(u64)CR4_VMXE;

			CASE("mask %#lx, source %#lx", mask, source);
			set_mask(mask, source ^ ~mask);
			expect_mov_done(source, (cr4 & mask) | (source & ~mask));
		}
	}
}

TEST("exit.cr4.shadow_not_updated", "The processor never writes the CR4 guest/host mask and read shadow")
{
	const u64 all_but_tsd = (u32)~CR4_TSD;
	const u64 cr4 = read_cr4();

	WALK_OVER(n, 0, CR_PATTERNS) {
		const u64 shadow = cr_pattern(n);

		CASE("shadow %#lx, TSD unmasked", shadow);
		set_mask(all_but_tsd, shadow);
		expect_mov_done((shadow & all_but_tsd) | CR4_TSD, cr4 | CR4_TSD);
		expect_eq(vmcs_read(CR4_READ_SHADOW), shadow);
		expect_eq(vmcs_read(CR4_GUEST_HOST_MASK), all_but_tsd);
		CASE("shadow %#lx, nothing masked", shadow);
		set_mask(0, shadow);
		expect_mov_done(cr4 ^ CR4_PCE, cr4 ^ CR4_PCE);
		expect_eq(vmcs_read(CR4_READ_SHADOW), shadow);
		expect_eq(vmcs_read(CR4_GUEST_HOST_MASK), 0);
		CASE("shadow %#lx, exit", shadow);
		set_mask(~0ull, shadow);
		expect_mov_exits(cr4 ^ ((shadow ^ cr4) & CR4_PCE) ^ CR4_PCE);
		expect_eq(vmcs_read(CR4_GUEST_HOST_MASK), ~0ull);
	}
}

TEST("exit.cr4.unmasked_fixed_gp", "MOV to CR4 of a value that VMX operation does not support raises #GP in the guest")
{
	const struct vmx_capabilities *const c = vmx_capabilities();
	const u64 cr4 = read_cr4();
	u32 refused = 0;

	for (u32 n = 0; n < 64; n++) {
		const u64 value = cr4 ^ BIT(n);

		if ((value & c->cr4_fixed0) == c->cr4_fixed0 && !(value & ~c->cr4_fixed1))
			continue;
		CASE("CR4 %#lx", value);
		for (u32 masked = 0; masked < 2; masked++) {
			set_mask(masked ? ~BIT(n) : 0, cr4);
			vmcs_write(GUEST_CR4, cr4);
			guest.regs.rax = value;
			guest_run(guest_mov_to_cr4);
			expect_guest_fault(VECTOR_GP, 0);
			expect_eq(vmcs_read(GUEST_CR4), cr4);
		}
		refused++;
	}
	expect(refused >= 1 + 32);
	set_mask(0, 0);
	for (u32 i = 0; i < ARRAY_SIZE(free_bits); i++) {
		if (!(c->cr4_fixed1 & free_bits[i]))
			continue;
		CASE("supported: change %#lx", free_bits[i]);
		expect_mov_done(cr4 ^ free_bits[i], cr4 ^ free_bits[i]);
	}
}

TEST("exit.cr4.vmxe_hidden", "A guest whose VMXE is masked and 0 in the shadow reads 0 there, and setting it exits")
{
	const u64 cr4 = read_cr4();

	set_mask(CR4_VMXE, 0);
	guest_run(guest_mov_from_cr4);
	expect_guest_done();
	expect_eq(guest.regs.rcx, cr4 & ~(u64)CR4_VMXE);
	expect_mov_exits(cr4);
	CASE("write back what was read");
	expect_mov_done(cr4 & ~(u64)CR4_VMXE, cr4);
	CASE("VMXE 1 in the shadow");
	set_mask(CR4_VMXE, CR4_VMXE);
	guest_run(guest_mov_from_cr4);
	expect_guest_done();
	expect_eq(guest.regs.rcx, cr4);
	expect_mov_exits(cr4 & ~(u64)CR4_VMXE);
	expect_mov_done(cr4, cr4);
}
