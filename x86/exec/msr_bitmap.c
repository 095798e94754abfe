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

static void walk_reads(u32 first, u32 offset)
{
	u8 *quarter = vmcs_use_msr_bitmap() + offset;

	interrupt_handle(VECTOR_GP, skip_faulting_access);
	for (u32 n = 0; n < QUARTER_BITS; n++) {
		const u32 other = n ^ 1 << n % 13;

		CASE("RDMSR of %#x behind one of %#x", first + n, first + other);
		bitmap_set(quarter, n);
		guest.regs.r10 = first + other;
		guest.regs.rcx = first + n;
		guest_run(guest_reads_twice);
		expect_exit(EXIT_RDMSR, .qualification = 0, .rip = (u64)second_read);
		bitmap_clear(quarter, n);
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
static void walk_clear_reads(u32 first, u32 offset)
{
	u8 *bitmap = vmcs_use_msr_bitmap();

	msr_trap_faults();
	memset(bitmap, 0xff, PAGE_SIZE);
	for (u32 i = 0; i < TELLING; i++) {
		const u32 n = telling(i);

		CASE("RDMSR of %#x", first + n);
		msr_read(first + n);
		expect_msr_exit(MSR_READ);
		bitmap_clear(bitmap + offset, n);
		msr_read(first + n);
		expect_msr_passed();
		bitmap_set(bitmap + offset, n);
	}
}

TEST("exec.msrbitmap.read_low", "bit n of the read bitmap for low MSRs, at offset 0, makes RDMSR of MSR n exit",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	walk_reads(FIRST_LOW, READ_LOW);
	walk_clear_reads(FIRST_LOW, READ_LOW);
}
