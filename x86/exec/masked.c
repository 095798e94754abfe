/* SPDX-License-Identifier: BSD-2-Clause */
#include "masked.h"

void masked_set(const struct masked_register *r, u64 mask, u64 shadow)
{
	vmcs_write(r->mask, mask);
	vmcs_write(r->shadow, shadow);
}

static void mov(const struct masked_register *r, u64 value)
{
	vmcs_write(r->guest, r->own());
	guest.regs.rax = value;
	guest_run(r->write);
}

void masked_mov_exits(const struct masked_register *r, u64 value)
{
	const u64 shadow = vmcs_read(r->shadow);

	mov(r, value);
	expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(r->number, MOV_TO_CR, REG_RAX), .instruction_length = 3,
		    .rip = (u64)r->write);
	expect_eq(vmcs_read(r->guest), r->own());
	expect_eq(vmcs_read(r->shadow), shadow);
	expect_eq(guest.regs.rax, value);
}

void masked_mov_done(const struct masked_register *r, u64 value, u64 result)
{
	mov(r, value);
	expect_guest_done();
	expect_eq(vmcs_read(r->guest), result);
}

void masked_mov_refused(const struct masked_register *r, u64 value)
{
	mov(r, value);
	expect_guest_fault(VECTOR_GP, 0);
	expect_eq(vmcs_read(r->guest), r->own());
}

void masked_check_each_bit(const struct masked_register *r)
{
	const u64 own = r->own();

	for (u32 n = 0; n < 64; n++) {
		CASE("bit %u of the shadow differs, alone in the mask", n);
		masked_set(r, BIT(n), own ^ BIT(n));
		masked_mov_exits(r, own);
		CASE("bit %u of the shadow differs, all masked", n);
		masked_set(r, ~0ull, own ^ BIT(n));
		masked_mov_exits(r, own);
		CASE("bit %u of the shadow differs, all but it masked", n);
		masked_set(r, ~BIT(n), own ^ BIT(n));
		masked_mov_done(r, own, own);
		CASE("bit %u of the shadow agrees, alone in the mask", n);
		masked_set(r, BIT(n), ~own ^ BIT(n));
		masked_mov_done(r, own, own);
	}
}

static void expect_read(const struct masked_register *r, u64 mask, u64 shadow, u64 value)
{
	masked_set(r, mask, shadow);
	guest_run(r->read);
	expect_guest_done();
	expect_eq(guest.regs.rcx, value);
}

void masked_check_reads(const struct masked_register *r, u64 real)
{
	vmcs_write(r->guest, real);
	WALK_OVER(n, 0, CR_PATTERNS) {
		const u64 pattern = cr_pattern(n);

		CASE("CR%u %#lx, mask %#lx, shadow of other bits", r->number, real, pattern);
		expect_read(r, pattern, ~real, real ^ pattern);
		CASE("CR%u %#lx, shadow %#lx, all masked", r->number, real, pattern);
		expect_read(r, ~0ull, pattern, pattern);
	}
	expect_eq(vmcs_read(r->guest), real);
}

void masked_check_all_masked(const struct masked_register *r)
{
	WALK_OVER(n, 0, CR_PATTERNS) {
		const u64 source = (u32)cr_pattern(n);

		CASE("all masked, source and shadow %#lx", source);
		masked_set(r, ~0ull, source);
		masked_mov_done(r, source, r->own());
	}
}

u32 masked_check_refused(const struct masked_register *r, u64 fixed0, u64 fixed1)
{
	const u64 own = r->own();
	u32 refused = 0;

	for (u32 n = 0; n < 64; n++) {
		const u64 value = own ^ BIT(n);

		if ((value & fixed0) == fixed0 && !(value & ~fixed1))
			continue;
		CASE("CR%u %#lx", r->number, value);
		for (u32 masked = 0; masked < 2; masked++) {
			masked_set(r, masked ? ~BIT(n) : 0, own);
			masked_mov_refused(r, value);
		}
		refused++;
	}
	return refused;
}
