/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest.h"

TEST("guest.tsc.monotone", "RDTSC never goes back, and goes on")
{
	const u64 first = rdtsc();
	u64 last = first;

	for (int i = 0; i < 1000; i++) {
		const u64 now = rdtsc();

		expect_at_least(now, last);
		last = now;
	}
	expect_at_least(last, first + 1);
}

/* What is behind executes behind what is before it; RDTSC and RDMSR alone are not ordered ("Time-Stamp Counter"). */
static void order(void)
{
	asm volatile("lfence" : : : "memory");
}

TEST("guest.tsc.rdtscp", "RDTSCP reads what RDTSC reads", NEEDS(FEATURE_RDTSCP))
{
	u32 aux;

	for (int i = 0; i < 100; i++) {
		const u64 before = rdtsc();
		order();
		const u64 value = rdtscp(&aux);
		order();

		expect_between(before, value, rdtsc());
	}
}

TEST("guest.tsc.rdmsr", "RDMSR of IA32_TIME_STAMP_COUNTER reads what RDTSC reads")
{
	for (int i = 0; i < 100; i++) {
		const u64 before = rdtsc();
		order();
		const u64 value = rdmsr(IA32_TIME_STAMP_COUNTER);
		order();

		expect_between(before, value, rdtsc());
	}
}

TEST("guest.tsc.registers", "RDTSC clears bits 63:32 of RAX and RDX")
{
	u64 rax = ~0ull, rdx = ~0ull;

	asm volatile("rdtsc" : "+a"(rax), "+d"(rdx));
	expect_eq(rax >> 32, 0);
	expect_eq(rdx >> 32, 0);
}

TEST("guest.tsc.rdtscp_registers", "RDTSCP clears bits 63:32 of RAX, RDX and RCX", NEEDS(FEATURE_RDTSCP))
{
	u64 rax = ~0ull, rdx = ~0ull, rcx = ~0ull;

	asm volatile("rdtscp" : "+a"(rax), "+d"(rdx), "+c"(rcx));
	expect_eq(rax >> 32, 0);
	expect_eq(rdx >> 32, 0);
	expect_eq(rcx >> 32, 0);
}

CODE(reads_tsc, "rdtsc");
CODE(reads_tscp, "rdtscp");

static void check_tsd(void (*read)(void))
{
	user_pages_on();
	struct fault fault = user_run(read);
	expect_no_fault(fault);
	write_cr4(read_cr4() | CR4_TSD);
	fault = user_run(read);
	const struct fault at_cpl0 = TRY(read());
	write_cr4(read_cr4() & ~(u64)CR4_TSD);
	expect_fault(fault, VECTOR_GP, 0);
	expect_no_fault(at_cpl0);
}

TEST("guest.tsc.tsd", "CR4.TSD keeps RDTSC from CPL 3 alone")
{
	check_tsd(reads_tsc);
}

TEST("guest.tsc.tsd_rdtscp", "CR4.TSD keeps RDTSCP from CPL 3 alone", NEEDS(FEATURE_RDTSCP))
{
	check_tsd(reads_tscp);
}

/* Far more than any test takes, in ticks. */
#define FAR BIT(50)
#define NEAR BIT(40)

TEST("guest.tsc.write", "WRMSR to IA32_TIME_STAMP_COUNTER sets all 64 bits of it")
{
	const u64 adjust = has_feature(FEATURE_TSC_ADJUST) ? rdmsr(IA32_TSC_ADJUST) : 0;
	const u64 start = rdtsc();
	const u64 value = start + FAR + 0x12345678;

	wrmsr(IA32_TIME_STAMP_COUNTER, value);
	const u64 up = rdtsc();
	wrmsr(IA32_TIME_STAMP_COUNTER, up - FAR - 0x12345678);
	const u64 down = rdtsc();
	if (has_feature(FEATURE_TSC_ADJUST))
		wrmsr(IA32_TSC_ADJUST, adjust);		/* the two writes of the TSC do not cancel to the tick */
	expect_between(value, up, value + NEAR);
	expect_between(start, down, start + NEAR);
}

TEST("guest.tsc.adjust", "WRMSR to IA32_TSC_ADJUST moves the TSC by the difference", NEEDS(FEATURE_TSC_ADJUST))
{
	const u64 adjust = rdmsr(IA32_TSC_ADJUST), start = rdtsc();

	wrmsr(IA32_TSC_ADJUST, adjust + FAR);
	const u64 up = rdtsc(), by_msr = rdmsr(IA32_TIME_STAMP_COUNTER), read = rdmsr(IA32_TSC_ADJUST);
	wrmsr(IA32_TSC_ADJUST, adjust);
	const u64 down = rdtsc();
	expect_between(start + FAR, up, start + FAR + NEAR);
	expect_between(up, by_msr, up + NEAR);
	expect_eq(read, adjust + FAR);
	expect_between(start, down, start + NEAR);
}

TEST("guest.tsc.adjust_follows", "WRMSR to IA32_TIME_STAMP_COUNTER changes IA32_TSC_ADJUST by the difference",
     NEEDS(FEATURE_TSC_ADJUST))
{
	const u64 adjust = rdmsr(IA32_TSC_ADJUST);

	wrmsr(IA32_TIME_STAMP_COUNTER, rdtsc() + FAR);
	const u64 now = rdmsr(IA32_TSC_ADJUST);
	wrmsr(IA32_TSC_ADJUST, adjust);
	expect_between(adjust + FAR - NEAR, now, adjust + FAR);
}

static bool has_tsc_aux(void)
{
	return has_feature(FEATURE_RDTSCP) || has_feature(FEATURE_RDPID);
}

TEST("guest.tsc.aux", "RDTSCP returns IA32_TSC_AUX in ECX", NEEDS(FEATURE_RDTSCP))
{
	const u64 before = rdmsr(IA32_TSC_AUX);

	for (unsigned int bit = 0; bit < 32; bit++) {
		u32 aux;

		wrmsr(IA32_TSC_AUX, BIT(bit));
		rdtscp(&aux);
		CASE("bit %u", bit);
		expect_eq(aux, BIT(bit));
		expect_eq(rdmsr(IA32_TSC_AUX), BIT(bit));
	}
	wrmsr(IA32_TSC_AUX, before);
}

TEST("guest.tsc.aux_reserved", "IA32_TSC_AUX refuses a 1 in each of bits 63:32")
{
	if (!has_tsc_aux())
		skip("needs RDTSCP or RDPID");
	for (unsigned int bit = 32; bit < 64; bit++) {
		CASE("bit %u", bit);
		expect_msr_refused(IA32_TSC_AUX, (u32)rdmsr(IA32_TSC_AUX) | BIT(bit));
	}
}

TEST("guest.tsc.rdpid", "RDPID reads IA32_TSC_AUX, also at CPL 3 with CR4.TSD=1", NEEDS(FEATURE_RDPID))
{
	const u64 before = rdmsr(IA32_TSC_AUX);
	u64 value = ~0ull;

	wrmsr(IA32_TSC_AUX, 0x9abcdef1);
	write_cr4(read_cr4() | CR4_TSD);
	asm volatile(".byte 0xf3, 0x0f, 0xc7, 0xf8" : "=a"(value));	/* rdpid %rax */
	write_cr4(read_cr4() & ~(u64)CR4_TSD);
	wrmsr(IA32_TSC_AUX, before);
	expect_eq(value, 0x9abcdef1);
}

/* ---- on every processor */

static void count_backwards(void *back)
{
	u64 last = rdtsc();

	for (int i = 0; i < 1000; i++) {
		const u64 now = rdtsc();

		*(u32 *)back += now < last;
		last = now;
	}
}

TEST("guest.tsc.smp_monotone", "RDTSC never goes back on any processor", NEEDS(NEED_CPUS(2)))
{
	for (u32 n = 0; n < cpus_online(); n++) {
		u32 back = 0;
		const struct fault fault = on_cpu(n, count_backwards, &back);

		CASE("processor %u", n);
		expect_no_fault(fault);
		expect_eq(back, 0);
	}
}

static void set_aux(void *value)
{
	wrmsr(IA32_TSC_AUX, *(u64 *)value);
}

static void get_aux(void *value)
{
	*(u64 *)value = rdmsr(IA32_TSC_AUX);
}

TEST("guest.tsc.smp_aux", "each processor has an IA32_TSC_AUX of its own", NEEDS(NEED_CPUS(2), FEATURE_RDTSCP))
{
	const u64 mine = rdmsr(IA32_TSC_AUX);
	u64 theirs, value = 0x1234;

	on_cpu(1, get_aux, &theirs);
	on_cpu(1, set_aux, &value);
	wrmsr(IA32_TSC_AUX, 0x5678);
	on_cpu(1, get_aux, &value);
	expect_eq(value, 0x1234);
	expect_eq(rdmsr(IA32_TSC_AUX), 0x5678);
	on_cpu(1, set_aux, &theirs);
	wrmsr(IA32_TSC_AUX, mine);
}
