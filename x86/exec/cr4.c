/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MOV to and from CR4 with the CR4 guest/host mask and read shadow (SDM Vol. 3C,
 * "Guest/Host Masks and Read Shadows for CR0 and CR4").
 */
#include "masked.h"

GUEST_ASM(guest_mov_to_cr4, "mov %rax, %cr4; ret");
GUEST_ASM(guest_mov_from_cr4, "mov $-1, %rcx; mov %cr4, %rcx; ret");

/* Bits that change nothing for a guest such as these. */
static const u64 free_bits[] = { CR4_VME, CR4_PVI, CR4_TSD, CR4_DE, CR4_PSE, CR4_MCE, CR4_PGE, CR4_PCE, CR4_OSFXSR,
				 CR4_OSXMMEXCPT };

static const struct masked_register reg = {
	.number = 4, .guest = GUEST_CR4, .mask = CR4_GUEST_HOST_MASK, .shadow = CR4_READ_SHADOW,
	.write = guest_mov_to_cr4, .read = guest_mov_from_cr4, .own = read_cr4,
};

TEST("exit.cr4.mask", "MOV to CR4 exits where a masked bit of its source differs from the read shadow")
{
	const u64 cr4 = read_cr4();

	masked_check_each_bit(&reg);

	/* The source differs from CR4: an exit comes before any fault for an unsupported value. */
	for (u32 n = 0; n < 32; n++) {
		CASE("change bit %u, which is masked", n);
		masked_set(&reg, BIT(n), cr4);
		masked_mov_exits(&reg, cr4 ^ BIT(n));
	}
	for (u32 i = 0; i < ARRAY_SIZE(free_bits); i++) {
		const u64 bit = free_bits[i];

		if (!(vmx_capabilities()->cr4_fixed1 & bit))
			continue;
		CASE("change bits %#lx, all else masked", bit);
		masked_set(&reg, ~bit, cr4);
		masked_mov_done(&reg, cr4 ^ bit, cr4 ^ bit);
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

		masked_check_reads(&reg, cr4);
	}
}

TEST("exit.cr4.mask_same_as_shadow", "A MOV to CR4 that agrees with the shadow leaves the masked bits of CR4 alone")
{
	const u64 cr4 = read_cr4();
	u64 free = 0;

	for (u32 i = 0; i < ARRAY_SIZE(free_bits); i++)
		free |= free_bits[i] & vmx_capabilities()->cr4_fixed1;

	masked_check_all_masked(&reg);

	/* Part of the free bits masked: the source changes all of them, or none of those masked, or all of those. */
	WALK_OVER(n, 0, CR_PATTERNS) {
		const u64 mask = cr_pattern(n) | CR4_VMXE;
		const u64 sources[] = { cr4 ^ free, cr4 ^ (free & ~mask), cr4 ^ (free & mask) };

		for (u32 i = 0; i < ARRAY_SIZE(sources); i++) {
			const u64 source = sources[i] & ~(u64)CR4_VMXE;

			CASE("mask %#lx, source %#lx", mask, source);
			masked_set(&reg, mask, source ^ ~mask);
			masked_mov_done(&reg, source, (cr4 & mask) | (source & ~mask));
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
		masked_set(&reg, all_but_tsd, shadow);
		masked_mov_done(&reg, (shadow & all_but_tsd) | CR4_TSD, cr4 | CR4_TSD);
		expect_eq(vmcs_read(CR4_READ_SHADOW), shadow);
		expect_eq(vmcs_read(CR4_GUEST_HOST_MASK), all_but_tsd);
		CASE("shadow %#lx, nothing masked", shadow);
		masked_set(&reg, 0, shadow);
		masked_mov_done(&reg, cr4 ^ CR4_PCE, cr4 ^ CR4_PCE);
		expect_eq(vmcs_read(CR4_READ_SHADOW), shadow);
		expect_eq(vmcs_read(CR4_GUEST_HOST_MASK), 0);
		CASE("shadow %#lx, exit", shadow);
		masked_set(&reg, ~0ull, shadow);
		masked_mov_exits(&reg, cr4 ^ ((shadow ^ cr4) & CR4_PCE) ^ CR4_PCE);
		expect_eq(vmcs_read(CR4_GUEST_HOST_MASK), ~0ull);
	}
}

TEST("exit.cr4.unmasked_fixed_gp", "MOV to CR4 of a value that VMX operation does not support raises #GP in the guest")
{
	const struct vmx_capabilities *const c = vmx_capabilities();
	const u64 cr4 = read_cr4();

	expect_at_least(masked_check_refused(&reg, c->cr4_fixed0, c->cr4_fixed1), 1 + 32);
	masked_set(&reg, 0, 0);
	for (u32 i = 0; i < ARRAY_SIZE(free_bits); i++) {
		if (!(c->cr4_fixed1 & free_bits[i]))
			continue;
		CASE("supported: change %#lx", free_bits[i]);
		masked_mov_done(&reg, cr4 ^ free_bits[i], cr4 ^ free_bits[i]);
	}
}

TEST("exit.cr4.vmxe_hidden", "A guest whose VMXE is masked and 0 in the shadow reads 0 there, and setting it exits")
{
	const u64 cr4 = read_cr4();

	masked_set(&reg, CR4_VMXE, 0);
	guest_run(guest_mov_from_cr4);
	expect_guest_done();
	expect_eq(guest.regs.rcx, cr4 & ~(u64)CR4_VMXE);
	masked_mov_exits(&reg, cr4);
	CASE("write back what was read");
	masked_mov_done(&reg, cr4 & ~(u64)CR4_VMXE, cr4);
	CASE("VMXE 1 in the shadow");
	masked_set(&reg, CR4_VMXE, CR4_VMXE);
	guest_run(guest_mov_from_cr4);
	expect_guest_done();
	expect_eq(guest.regs.rcx, cr4);
	masked_mov_exits(&reg, cr4 & ~(u64)CR4_VMXE);
	masked_mov_done(&reg, cr4, cr4);
}
