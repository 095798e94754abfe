/* SPDX-License-Identifier: BSD-2-Clause */
#include "segment.h"

void start_segments(enum guest_mode mode)
{
	start_in(mode);
	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);
}

/* The same mnemonics for both sizes of code: a 32-bit address, a 32-bit operand. */
#define ACCESS(s)									\
	CODE(read32_##s, ".code32; mov %" #s ":(%ebx), %eax; .code64");			\
	CODE(write32_##s, ".code32; mov %ecx, %" #s ":(%ebx); .code64");		\
	CODE(read16_##s, ".code16; mov %" #s ":(%ebx), %eax; .code64");			\
	CODE(write16_##s, ".code16; mov %ecx, %" #s ":(%ebx); .code64")
ACCESS(es);
ACCESS(cs);
ACCESS(ss);
ACCESS(ds);
ACCESS(fs);
ACCESS(gs);

static const struct code *const accesses[][4] = {
#define ROW(s) { &read32_##s, &write32_##s, &read16_##s, &write16_##s }
	ROW(es), ROW(cs), ROW(ss), ROW(ds), ROW(fs), ROW(gs),
};

struct outcome run_based_code(struct code code)
{
	const u32 base = vmcs_read(GUEST_CS_BASE);

	if (guest_is_16bit())
		return run_code(code);
	return guest_run_at((const void *)(u64)((u32)(u64)code.start - base));
}

static struct outcome go_through(enum segment_register r, u32 offset, bool write)
{
	guest.regs.rbx = offset;
	return run_based_code(*accesses[r][guest_is_16bit() * 2 + write]);
}

struct outcome read_through(enum segment_register r, u32 offset)
{
	guest.regs.rax = 0xdeaddead;
	return go_through(r, offset, false);
}

struct outcome write_through(enum segment_register r, u32 offset, u32 value)
{
	guest.regs.rcx = value;
	return go_through(r, offset, true);
}

void set_segment(enum segment_register r, u64 base, u32 limit, u32 rights)
{
	vmcs_write(segment_base(r), base);
	vmcs_write(segment_limit(r), limit);
	vmcs_write(segment_rights(r), rights);
}

bool check_exception(const char *file, u32 line, u8 vector)
{
	const bool real = !(vmcs_read(GUEST_CR0) & CR0_PE), codes = !real && vector >= VECTOR_DF && vector != VECTOR_MF;
	const u32 information = INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | (codes ? INTERRUPTION_ERROR_CODE : 0) | vector;
	/* That there is none in real mode is another test's business. */
	const u32 mask = 0x800007ff | (real ? 0 : INTERRUPTION_ERROR_CODE);

	if (!check_outcome(file, line, "the guest's exit", guest.outcome, EXITS(EXIT_EXCEPTION_OR_NMI)))
		return false;
	if (!check_bits(file, line, "exit interruption information", vmcs_read(EXIT_INTERRUPTION_INFORMATION), mask,
			information))
		return false;
	return !codes || check_equal(file, line, "error code", vmcs_read(EXIT_INTERRUPTION_ERROR_CODE), 0);
}
