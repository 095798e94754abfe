/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/clock.h"
#include "x86/apic.h"
#include "x86/fault.h"
#include "x86/feature.h"
#include "x86/processor.h"
#include "x86/time.h"

#include "libc/printf.h"
#include "libc/string.h"

/* Where there is no clock: faster than any TSC so far, and what an emulator that counts instructions carries out of them. */
enum { TSC_KHZ_AT_MOST = 6000000, INSTRUCTIONS_PER_MS = 20000 };

/* What somebody says: TSC ticks in a millisecond; 0: it says nothing. */

/* SDM Vol. 2A, CPUID, leaf 15H: the ratio to the core crystal clock, and since 2017 its frequency in Hz in ECX, or 0. */
static u64 said_by_leaf_15h(void)
{
	if (cpuid(0, 0).eax < 0x15)
		return 0;

	const struct cpuid c = cpuid(0x15, 0);

	return c.eax && c.ebx ? (u64)c.ecx * c.ebx / c.eax / 1000 : 0;
}

/* Leaf 16H: the base frequency in MHz, at which the TSC of a processor with leaf 15H runs. */
static u64 said_by_leaf_16h(void)
{
	return cpuid(0, 0).eax < 0x16 ? 0 : (cpuid(0x16, 0).eax & 0xffff) * 1000;
}

static bool hypervisor_is(const char *signature, u32 last_leaf)
{
	if (!has_feature(FEATURE_HYPERVISOR))
		return false;

	const struct cpuid c = cpuid(0x40000000, 0);

	return c.eax >= last_leaf && c.eax < 0x40001000 && !memcmp(&c.ebx, signature, 12);
}

static u64 said_by_vmware(void)
{
	return hypervisor_is("VMwareVMware", 0x40000010) ? cpuid(0x40000010, 0).eax : 0;
}

/* QEMU hands VMware's leaf out under KVM's signature too. */
static u64 said_by_kvm(void)
{
	return hypervisor_is("KVMKVMKVM\0\0\0", 0x40000010) ? cpuid(0x40000010, 0).eax : 0;
}

/* Hypervisor Top Level Functional Specification, "Partition Reference Time Enlightenment": in Hz, if access is granted. */
static u64 said_by_hyper_v(void)
{
	enum { MSR_TSC_FREQUENCY = 0x40000022, ACCESS_FREQUENCY_MSRS = BIT(11) };
	volatile u64 hertz = 0;

	if (!hypervisor_is("Microsoft Hv", 0x40000003) || !(cpuid(0x40000003, 0).eax & ACCESS_FREQUENCY_MSRS) ||
	    TRY(hertz = rdmsr(MSR_TSC_FREQUENCY)).raised)
		return 0;
	return hertz / 1000;
}

static const struct {
	const char *name;
	u64 (*khz)(void);
} statements[] = {
	{ "CPUID 15H", said_by_leaf_15h },
	{ "CPUID 16H", said_by_leaf_16h },
	{ "VMware's CPUID leaf 40000010H", said_by_vmware },
	{ "KVM's CPUID leaf 40000010H", said_by_kvm },
	{ "Hyper-V's MSR 40000022H", said_by_hyper_v },
};

static u64 tsc_khz;
static char source[96];

static bool said(struct clock *by)
{
	for (size_t i = 0; i < ARRAY_SIZE(statements); i++) {
		*by = (struct clock){ statements[i].name, statements[i].khz() };
		if (by->tsc_khz)
			return true;
	}
	return false;
}

static bool agree(u64 khz, u64 other)
{
	return khz / 2 <= other && other / 2 <= khz;
}

static void take(const struct clock *clock)
{
	tsc_khz = clock->tsc_khz;
	snprintf(source, sizeof(source), "%s", clock->name);
}

/* No processor has done a CPUID in twenty ticks; an emulator may count a tick for each instruction, whatever it is. */
static bool tsc_counts_instructions(void)
{
	enum { EACH = 16, FEW = 20 * EACH };
	u64 least = FEW;

	for (int i = 0; i < 8; i++) {
		const u64 start = rdtsc();

		for (u32 j = 0, leaf = 0; j < EACH; j++, leaf = 0)
			asm volatile("cpuid" : "+a"(leaf) : : "ebx", "ecx", "edx");

		const u64 ticks = rdtsc() - start;

		if (ticks < least)
			least = ticks;
	}
	return least < FEW;
}

/*
 * An emulator may hand out the words of the processor that it is a model of, while its TSC counts something else: so what
 * is said is held against a clock, or at least against what a TSC cannot be.
 */
static void find_out(void)
{
	static const struct clock fast = { "no clock: taken for a fast one", TSC_KHZ_AT_MOST };
	static const struct clock counter = { "no clock: taken for an emulator's count of instructions", INSTRUCTIONS_PER_MS };
	struct clock stated, measured;
	const bool is_stated = said(&stated), is_measured = clock_measure_tsc(&measured);

	if (!is_measured && tsc_counts_instructions())
		measured = counter;
	else if (!is_measured)
		measured = is_stated ? stated : fast;
	take(is_stated && agree(stated.tsc_khz, measured.tsc_khz) ? &stated : &measured);
	if (is_stated && tsc_khz != stated.tsc_khz)
		snprintf(source, sizeof(source), "%s (%s says %lu kHz)", measured.name, stated.name, stated.tsc_khz);
}

u64 tsc_per_ms(void)
{
	if (!tsc_khz)
		find_out();
	return tsc_khz;
}

const char *tsc_source(void)
{
	tsc_per_ms();
	return source;
}

/* ---- The APIC timer */

/* Ticks in a millisecond, undivided; the TSC is read around it, so what it may be wrong by is too many. */
static u64 measure_apic_timer(void)
{
	const u64 wait = tsc_per_ms();

	apic_write(APIC_TIMER_DIVIDE, APIC_TIMER_DIVIDE_BY_1);
	apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
	apic_write(APIC_TIMER_INITIAL, 0xffffffff);

	const u64 start = rdtsc();
	u64 passed = 0;

	while (passed < wait)
		passed = rdtsc() - start;

	const u64 ticks = 0xffffffff - apic_read(APIC_TIMER_CURRENT);

	apic_write(APIC_TIMER_INITIAL, 0);
	apic_write(APIC_TIMER_DIVIDE, 0);
	return ticks * wait / passed;
}

static u64 apic_timer_per_ms(void)
{
	enum { MEASUREMENTS = 3 };
	static u64 least;

	if (least)
		return least;
	least = measure_apic_timer();
	for (int i = 1; i < MEASUREMENTS; i++) {
		const u64 ticks = measure_apic_timer();

		if (ticks < least)
			least = ticks;
	}
	return least;
}

struct apic_timer_count apic_timer_count(u32 ms)
{
	/* Divide by 1, 2, 4 ... 128. */
	static const u8 divide[] = { APIC_TIMER_DIVIDE_BY_1, 0, 1, 2, 3, 8, 9, 10 };
	const u64 ticks = ms * apic_timer_per_ms();
	u32 shift = 0;

	while (shift < ARRAY_SIZE(divide) - 1 && ticks >> shift > 0xffffffff)
		shift++;
	return (struct apic_timer_count){ divide[shift], ticks >> shift > 0xffffffff ? 0xffffffff : ticks >> shift };
}
