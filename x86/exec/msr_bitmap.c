/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The MSR bitmap (SDM Vol. 3C, "MSR-Bitmap Address"): four quarters of 8192 bits.
 * Each is walked through: with the bit of one MSR set that MSR exits, and another
 * one, whose number differs in one bit, does not.
 */
#include "msr.h"

#include "libc/string.h"
#include "x86/interrupt.h"

/* Where each quarter is in the page, in bytes, and the first MSR that it is for. */
enum { READ_LOW = 0x000, READ_HIGH = 0x400, WRITE_LOW = 0x800, WRITE_HIGH = 0xc00, QUARTER_BITS = 0x2000 };
enum { FIRST_LOW = 0 };
#define FIRST_HIGH 0xc0000000

/* Two accesses: the first to the MSR in R10, with R9:R8; the second to the one in ECX, with EDX:EAX. */
GUEST_ASM(guest_reads_twice,
	  "mov %ecx, %r11d; mov %r10d, %ecx; rdmsr; mov %r11d, %ecx\n\t"
	  "second_read: rdmsr; ret");
GUEST_ASM(guest_writes_twice,
	  "mov %ecx, %r11d; mov %eax, %r12d; mov %edx, %r13d\n\t"
	  "mov %r10d, %ecx; mov %r8d, %eax; mov %r9d, %edx; wrmsr\n\t"
	  "mov %r11d, %ecx; mov %r12d, %eax; mov %r13d, %edx\n\t"
	  "second_write: wrmsr; ret");
extern const u8 second_read[], second_write[];

/* The first access may be to an MSR that does not exist: the guest skips it. */
static void skip_faulting_access(struct exception_frame *frame)
{
	frame->rip += 2;
}

/* Those of every processor with 64-bit mode whose own value can be put back without any effect. */
static const u32 own_value[] = {
	IA32_SYSENTER_CS, IA32_SYSENTER_ESP, IA32_SYSENTER_EIP, IA32_PAT, IA32_STAR, IA32_LSTAR, IA32_CSTAR, IA32_FMASK,
	IA32_FS_BASE, IA32_GS_BASE, IA32_KERNEL_GS_BASE,
};

static bool has_own_value(u32 msr)
{
	for (size_t i = 0; i < ARRAY_SIZE(own_value); i++)
		if (own_value[i] == msr)
			return true;
	return false;
}

/*
 * May the MSR be accessed at all, if only by mistake? A read may have effects where nobody knows the MSR, and so may a
 * write of what was read; so on a real machine the walks are over the few MSRs above.
 */
static bool may_access(u32 msr)
{
	return has_own_value(msr) || may(MAY_SWEEP_MSRS);
}

static void note_selection(void)
{
	if (!may(MAY_SWEEP_MSRS))
		note("only MSRs that are known to do no harm: the others not without the word dangerous=msrs");
}

/* Another MSR of the same quarter that has a value of its own. */
static u32 other_with_own_value(u32 msr)
{
	for (size_t i = 0; i < ARRAY_SIZE(own_value); i++)
		if (own_value[i] != msr && (own_value[i] ^ msr) < QUARTER_BITS)
			return own_value[i];
	throw("a quarter without two MSRs to choose from");
}

static void check_read(u8 *quarter, u32 msr, u32 other)
{
	const u32 n = msr & (QUARTER_BITS - 1);

	CASE("RDMSR of %#x behind one of %#x", msr, other);
	bitmap_set(quarter, n);
	guest.regs.r10 = other;
	guest.regs.rcx = msr;
	guest_run(guest_reads_twice);
	expect_exit(EXIT_RDMSR, .qualification = 0, .rip = (u64)second_read);
	bitmap_clear(quarter, n);
}

static void walk_reads(u32 first, u32 offset)
{
	u8 *quarter = vmcs_use_msr_bitmap() + offset;

	interrupt_handle(VECTOR_GP, skip_faulting_access);
	for (size_t i = 0; i < ARRAY_SIZE(own_value); i++)
		if (own_value[i] - first < QUARTER_BITS)
			check_read(quarter, own_value[i], other_with_own_value(own_value[i]));
	note_selection();
	if (may(MAY_SWEEP_MSRS)) {
		WALK_OVER(n, 0, QUARTER_BITS)
			check_read(quarter, first + n, first + (n ^ 1 << n % 13));
	}
	interrupt_handle(VECTOR_GP, NULL);
}

/* The numbers in a quarter that have one bit, lack one, and the ends. */
enum { TELLING = 28 };
static u32 telling(u32 i)
{
	return i < 13 ? 1 << i : i < 26 ? 0x1fff & ~(1 << (i - 13)) : i == 26 ? 0 : 0x1fff;
}

/* With all bits of the page 1 but one, that MSR alone does not exit. */
static void check_clear_read(u8 *bitmap, u32 first, u32 offset, u32 n)
{
	if (!may_access(first + n))
		return;
	CASE("RDMSR of %#x", first + n);
	msr_read(first + n);
	expect_msr_exit(MSR_READ);
	bitmap_clear(bitmap + offset, n);
	msr_read(first + n);
	expect_msr_passed();
	bitmap_set(bitmap + offset, n);
}

static void walk_clear(u32 first, u32 offset, void (*check)(u8 *bitmap, u32 first, u32 offset, u32 n))
{
	u8 *bitmap = vmcs_use_msr_bitmap();

	msr_trap_faults();
	memset(bitmap, 0xff, PAGE_SIZE);
	for (u32 i = 0; i < TELLING; i++)
		check(bitmap, first, offset, telling(i));
	for (size_t i = 0; i < ARRAY_SIZE(own_value); i++)
		if (own_value[i] - first < QUARTER_BITS)
			check(bitmap, first, offset, own_value[i] - first);
}

/*
 * What may be written where a broken processor, or a clear bit, lets WRMSR through:
 * what the MSR holds already; 0 where it cannot be read, or must not.
 */
static u64 value_to_write(u32 msr)
{
	u64 value;

	return may_access(msr) && msr_value(msr, &value) ? value : 0;
}

static void check_write(u8 *quarter, u32 msr, u32 other)
{
	const u32 n = msr & (QUARTER_BITS - 1);
	const u64 value = value_to_write(msr);

	CASE("WRMSR of %#x behind one of %#x", msr, other);
	bitmap_set(quarter, n);
	guest.regs.r10 = other;
	guest.regs.r8 = (u32)rdmsr(other);
	guest.regs.r9 = rdmsr(other) >> 32;
	guest.regs.rcx = msr;
	guest.regs.rax = (u32)value;
	guest.regs.rdx = value >> 32;
	guest_run(guest_writes_twice);
	expect_exit(EXIT_WRMSR, .qualification = 0, .rip = (u64)second_write);
	bitmap_clear(quarter, n);
}

static void walk_writes(u32 first, u32 offset)
{
	u8 *quarter = vmcs_use_msr_bitmap() + offset;

	for (size_t i = 0; i < ARRAY_SIZE(own_value); i++)
		if (own_value[i] - first < QUARTER_BITS)
			check_write(quarter, own_value[i], other_with_own_value(own_value[i]));
	note_selection();
	if (may(MAY_SWEEP_MSRS)) {
		WALK_OVER(n, 0, QUARTER_BITS)
			check_write(quarter, first + n, other_with_own_value(first + n));
	}
}

/*
 * May a guest write an MSR? Yes if it is one with a value of its own, or one that RDMSR refuses
 * (a 0 raises #GP), but for the few that exist and can only be written.
 */
static bool may_write(u32 msr)
{
	static const u32 write_only[] = { IA32_PRED_CMD, IA32_BIOS_UPDT_TRIG, IA32_FLUSH_CMD, 0x80b, 0x83f };
	u64 value;

	if (has_own_value(msr))
		return true;
	if (!may(MAY_SWEEP_MSRS))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(write_only); i++)
		if (msr == write_only[i])
			return false;
	return !msr_value(msr, &value);
}

static void check_clear_write(u8 *bitmap, u32 first, u32 offset, u32 n)
{
	const u64 value = value_to_write(first + n);

	if (!may_write(first + n))
		return;
	CASE("WRMSR of %#x", first + n);
	msr_write(first + n, value);
	expect_msr_exit(MSR_WRITE);
	bitmap_clear(bitmap + offset, n);
	msr_write(first + n, value);
	expect_msr_passed();
	bitmap_set(bitmap + offset, n);
}

TEST("exec.msrbitmap.read_low", "bit n of the read bitmap for low MSRs, at offset 0, makes RDMSR of MSR n exit",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	walk_reads(FIRST_LOW, READ_LOW);
	walk_clear(FIRST_LOW, READ_LOW, check_clear_read);
}

TEST("exec.msrbitmap.read_high",
     "bit n of the read bitmap for high MSRs, at offset 400H, makes RDMSR of MSR C0000000H + n exit",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	walk_reads(FIRST_HIGH, READ_HIGH);
	walk_clear(FIRST_HIGH, READ_HIGH, check_clear_read);
}

TEST("exec.msrbitmap.write_low", "bit n of the write bitmap for low MSRs, at offset 800H, makes WRMSR of MSR n exit",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	walk_writes(FIRST_LOW, WRITE_LOW);
	walk_clear(FIRST_LOW, WRITE_LOW, check_clear_write);
}

TEST("exec.msrbitmap.write_high",
     "bit n of the write bitmap for high MSRs, at offset C00H, makes WRMSR of MSR C0000000H + n exit",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	walk_writes(FIRST_HIGH, WRITE_HIGH);
	walk_clear(FIRST_HIGH, WRITE_HIGH, check_clear_write);
}

TEST("exec.msrbitmap.off", "without MSR bitmaps every RDMSR and WRMSR exits")
{
	/* A bitmap that would let everything pass is there, and not in use. */
	if (has(PROC_USE_MSR_BITMAPS)) {
		vmcs_use_msr_bitmap();
		vmcs_clear_controls(PROC_USE_MSR_BITMAPS);
	}
	msr_trap_faults();
	for (u32 i = 0; i < 3 * TELLING; i++) {
		static const u32 first[] = { FIRST_LOW, FIRST_HIGH, 0x40000000 };
		const u32 msr = first[i % 3] + telling(i / 3);

		CASE("MSR %#x", msr);
		msr_read(msr);
		expect_msr_exit(MSR_READ);
		msr_write(msr, value_to_write(msr));
		expect_msr_exit(MSR_WRITE);
	}
}

TEST("exec.msrbitmap.out_of_range", "RDMSR and WRMSR exit where ECX is outside both ranges, whatever the bitmap holds",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	u8 *bitmap = vmcs_use_msr_bitmap();

	msr_trap_faults();
	for (u32 i = 0; i < 2 * (19 + 17 + 4); i++) {
		static const u32 others[] = { 0x3fff, 0xbfffffff, 0xffffffff, 0xc0003fff };
		const u32 n = i / 2;
		const u32 msr = n < 19 ? 1u << (13 + n) :			/* one bit above 1FFFH */
				n < 36 ? FIRST_HIGH | 1u << (13 + n - 19) :	/* one above C0001FFFH */
				others[n - 36];

		CASE("MSR %#x, all bits of the bitmap %u", msr, i % 2);
		memset(bitmap, i % 2 ? 0xff : 0, PAGE_SIZE);
		msr_read(msr);
		expect_msr_exit(MSR_READ);
		msr_write(msr, value_to_write(msr));
		expect_msr_exit(MSR_WRITE);
	}
}

TEST("exec.msrbitmap.boundaries", "the first and last MSR of each range select their bit, those next to them exit",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	static const struct {
		u32 msr;
		int read, write;	/* place of the bit in the page; -1: none */
	} edges[] = {
		{ 0x00000000, 8 * READ_LOW, 8 * WRITE_LOW },
		{ 0x00001fff, 8 * READ_LOW + 0x1fff, 8 * WRITE_LOW + 0x1fff },
		{ 0x00002000, -1, -1 },
		{ 0xbfffffff, -1, -1 },
		{ 0xc0000000, 8 * READ_HIGH, 8 * WRITE_HIGH },
		{ 0xc0001fff, 8 * READ_HIGH + 0x1fff, 8 * WRITE_HIGH + 0x1fff },
		{ 0xc0002000, -1, -1 },
	};
	u8 *bitmap = vmcs_use_msr_bitmap();

	msr_trap_faults();
	for (size_t i = 0; i < ARRAY_SIZE(edges); i++)
		for (enum msr_access access = MSR_READ; access <= MSR_WRITE; access++) {
			const int bit = access == MSR_READ ? edges[i].read : edges[i].write;
			const u32 msr = edges[i].msr;

			CASE("%s of %#x", access == MSR_READ ? "RDMSR" : "WRMSR", msr);
			memset(bitmap, 0, PAGE_SIZE);
			if (bit < 0) {
				msr_access(access, msr, 0);
				expect_msr_exit(access);
				continue;
			}
			bitmap_set(bitmap, bit);
			msr_access(access, msr, value_to_write(msr));
			expect_msr_exit(access);
			if (access == MSR_WRITE ? !may_write(msr) : !may_access(msr))
				continue;
			memset(bitmap, 0xff, PAGE_SIZE);
			bitmap_clear(bitmap, bit);
			msr_access(access, msr, value_to_write(msr));
			expect_msr_passed();
		}
}

TEST("exec.msrbitmap.independent", "the read bit of an MSR does not affect WRMSR, nor its write bit RDMSR",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	static const struct {
		u32 msr, read, write;
	} rows[] = {
		{ IA32_SYSENTER_CS, 8 * READ_LOW + 0x174, 8 * WRITE_LOW + 0x174 },
		{ IA32_SYSENTER_EIP, 8 * READ_LOW + 0x176, 8 * WRITE_LOW + 0x176 },
		{ IA32_STAR, 8 * READ_HIGH + 0x81, 8 * WRITE_HIGH + 0x81 },
		{ IA32_KERNEL_GS_BASE, 8 * READ_HIGH + 0x102, 8 * WRITE_HIGH + 0x102 },
	};
	u8 *bitmap = vmcs_use_msr_bitmap();

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const u64 value = rdmsr(rows[i].msr);

		CASE("MSR %#x", rows[i].msr);
		bitmap_set(bitmap, rows[i].read);
		msr_read(rows[i].msr);
		expect_msr_exit(MSR_READ);
		msr_write(rows[i].msr, value);
		expect_guest_done();
		bitmap_clear(bitmap, rows[i].read);

		bitmap_set(bitmap, rows[i].write);
		msr_write(rows[i].msr, value);
		expect_msr_exit(MSR_WRITE);
		msr_read(rows[i].msr);
		expect_guest_done();
		bitmap_clear(bitmap, rows[i].write);
	}
}

TEST("exec.msrbitmap.ecx_high_ignored", "bits 63:32 of RCX play no part in RDMSR and WRMSR",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	u8 *bitmap = vmcs_use_msr_bitmap();
	const u64 value = rdmsr(IA32_LSTAR);

	for (u32 bit = 32; bit < 64; bit++)
		for (enum msr_access access = MSR_READ; access <= MSR_WRITE; access++) {
			const u32 position = 8 * (access == MSR_READ ? READ_HIGH : WRITE_HIGH) + 0x82;

			CASE("bit %u, access %u", bit, access);
			for (u32 set = 0; set < 2; set++) {
				(set ? bitmap_set : bitmap_clear)(bitmap, position);
				guest.regs.rcx = BIT(bit) | (u32)IA32_LSTAR;
				guest.regs.rax = (u32)value;
				guest.regs.rdx = value >> 32;
				guest_run(access == MSR_READ ? msr_guest_reads : msr_guest_writes);
				if (set)
					expect_msr_exit(access);
				else
					expect_guest_done();
			}
		}
}
