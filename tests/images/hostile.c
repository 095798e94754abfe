/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wrong on purpose: each test takes for granted what is so on the machine at hand and is promised nowhere. On a strange
 * machine (tests/machines/axes.cfg) it must fail, or that machine finds nothing.
 */
#include "vmxtest/vmxtest.h"

#include "machine/memory.h"
#include "tap/tap.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/feature.h"
#include "x86/interrupt.h"
#include "x86/page.h"
#include "x86/time.h"
#include "x86/wait.h"

#define PLAIN_TEST(id, title, ...) TAP_TEST(plain_fixture, id, title, ##__VA_ARGS__)
enum { SOME_VECTOR = 0x51 };

static void take(u8 vector)
{
	interrupt_handle(vector, interrupt_counter);
	for (int i = 0; i < 1000000 && !interrupt_count[vector]; i++)
		asm volatile("sti; nop; cli" : : : "memory");
	interrupt_handle(vector, NULL);
}

PLAIN_TEST("self.wrong.ipi", "an interrupt sent to itself has been requested at the next instruction")
{
	apic_send_ipi_self(SOME_VECTOR);
	expect_requested(SOME_VECTOR);
	take(SOME_VECTOR);
}

PLAIN_TEST("self.wrong.nmi", "an NMI sent to itself has come ten instructions later")
{
	interrupt_handle(VECTOR_NMI, interrupt_counter);
	apic_send_ipi(apic_id(), APIC_DELIVERY_NMI);	/* the shorthand "self" has no NMI */
	asm volatile(".rept 10; nop; .endr" : : : "memory");
	expect_eq(interrupt_count[VECTOR_NMI], 1);
	for (int i = 0; i < 1000000 && !interrupt_count[VECTOR_NMI]; i++)
		wait_ticks(1);
	interrupt_handle(VECTOR_NMI, NULL);
}

/* ---- time */

PLAIN_TEST("self.wrong.gap", "two reads of the TSC, one behind the other, are never 50 microseconds apart")
{
	const u64 most = tsc_per_ms() / 20;
	bool apart = false;

	for (int i = 0; i < 3000; i++) {
		const u64 start = rdtsc();

		apart |= rdtsc() - start > most;
	}
	expect(!apart, "no two reads are so far apart");
}

PLAIN_TEST("self.wrong.tsc", "the TSC has not counted to 2^62 since the reset")
{
	expect_between(0, rdtsc(), BIT(62));
}

PLAIN_TEST("self.wrong.tsc_adjust", "IA32_TSC_ADJUST is 0", NEEDS(FEATURE_TSC_ADJUST))
{
	expect_eq(rdmsr(IA32_TSC_ADJUST), 0);
}

static volatile u64 other_tsc;

static void read_other_tsc(UNUSED void *nothing)
{
	other_tsc = rdtsc();
}

PLAIN_TEST("self.wrong.skew", "the TSCs of two processors are the same", NEEDS(NEED_CPUS(2)))
{
	const u64 before = rdtsc();
	const struct fault fault = on_cpu(1, read_other_tsc, NULL);

	require_no_fault(fault);
	expect_between(before, other_tsc, rdtsc());
}

PLAIN_TEST("self.wrong.late", "another processor has begun to work two milliseconds later", NEEDS(NEED_CPUS(2)))
{
	other_tsc = 0;
	on_cpu_start(1, read_other_tsc, NULL);
	delay_us(2000);
	expect_ne(other_tsc, 0);
	on_cpu_wait(1);
}

static volatile u64 guest_tsc;

static void guest_reads_tsc(void)
{
	guest_tsc = rdtsc();
}

TEST("self.wrong.entry", "a guest runs half a millisecond after its host at the latest")
{
	const u64 before = rdtsc();

	guest_run(guest_reads_tsc);
	expect_between(before, guest_tsc, before + tsc_per_ms() / 2);
}

TEST("self.wrong.phase", "from the host's last read of the TSC to the guest's first it is an even number of ticks")
{
	const u64 before = rdtsc();

	guest_run(guest_reads_tsc);
	expect_bits(guest_tsc - before, 1, 0);
}

/* ---- the processor */

TEST("self.wrong.width", "VM entry refuses an address of 46 bits", NEEDS(PROC_USE_IO_BITMAPS))
{
	vmcs_use_io_bitmaps();
	vmcs_write(IO_BITMAP_A_ADDRESS, vmcs_read(IO_BITMAP_A_ADDRESS) | BIT(45));
	guest_run(guest_reads_tsc);
	expect_outcome(guest.outcome, FAIL_VALID(7));
}

PLAIN_TEST("self.wrong.address_bits", "the processor has 40 bits of physical addresses")
{
	expect_eq(physical_address_width(), 40);
}

PLAIN_TEST("self.wrong.la57", "linear addresses have 57 bits, as those of QEMU's model max")
{
	expect_eq(linear_address_width(), 57);
}

PLAIN_TEST("self.wrong.feature", "CR4.SMEP can be 1")
{
	const u64 cr4 = read_cr4();

	expect_no_fault(TRY(write_cr4(cr4 | CR4_SMEP)));
	TRY(write_cr4(cr4));
}

PLAIN_TEST("self.wrong.feature_new", "CPUID says LASS")
{
	expect(has_feature(FEATURE_LASS), "LASS is enumerated");
}

PLAIN_TEST("self.wrong.hypervisor", "no hypervisor says that it is there, and if so it is TCG")
{
	const struct cpuid c = cpuid(0x40000000, 0);

	expect(!has_feature(FEATURE_HYPERVISOR) || c.ebx == 0x54474354, "no hypervisor, or TCG");
}

/* Its value is 0 again when tests begin: machine_quiet() has written that. */
PLAIN_TEST("self.wrong.pmu", "RDMSR refuses IA32_PERF_GLOBAL_CTRL")
{
	volatile u64 value;
	const struct fault fault = TRY(value = rdmsr(IA32_PERF_GLOBAL_CTRL));

	(void)value;
	expect_fault(fault, VECTOR_GP, 0);
}

PLAIN_TEST("self.wrong.reset_state", "MSRs are as a reset leaves them")
{
	expect_eq(rdmsr(IA32_SYSENTER_ESP), 0);
	expect_eq(rdmsr(IA32_KERNEL_GS_BASE), 0);
}

PLAIN_TEST("self.wrong.apic_base", "the APIC is at FEE00000H, in xAPIC mode")
{
	expect_eq(rdmsr(IA32_APIC_BASE) & ~0x9ffull, 0xfee00000);
}

/* ---- the machine */

PLAIN_TEST("self.wrong.smp", "the machine has two processors")
{
	expect_eq(cpus_online(), 2);
}

PLAIN_TEST("self.wrong.ids", "the N-th processor has the APIC id N")
{
	for (u32 i = 0; i < cpus_online(); i++)
		expect_eq(cpu_number(i)->apic_id, i);
}

PLAIN_TEST("self.wrong.memory", "there is RAM at 32 MiB, and for 16 MiB from there on")
{
	expect(memory_is_ram(32 << 20, 48 << 20), "there is RAM from 32 MiB to 48 MiB");
}

PLAIN_TEST("self.wrong.low_memory", "there is RAM at 8000H")
{
	expect(memory_is_ram(0x8000, 0x9000), "there is RAM at 8000H");
}

static void some_code(void)
{
}

PLAIN_TEST("self.wrong.layout", "the image's first code is within 16 KiB of its beginning")
{
	extern u8 image_start[];

	expect_between(image_start, (u64)some_code, image_start + 0x4000);
}

PLAIN_TEST("self.wrong.pit", "the PIT says what it was told")
{
	outb(0x43, 0xb0);
	outb(0x42, 0xff);
	outb(0x42, 0xff);
	outb(0x43, 0xe8);		/* latch the status of channel 2: its mode is in bits 3:1, how it is written in 5:4 */
	expect_eq(inb(0x42) & 0x3f, 0x30);
}

PLAIN_TEST("self.wrong.firmware", "nobody has told the PIT to interrupt again and again")
{
	outb(0x43, 0xe2);		/* latch the status of channel 0 */
	expect_ne((inb(0x40) >> 1) & 3, 2);
}

PLAIN_TEST("self.wrong.hpet", "the first comparator of the HPET is as a reset leaves it")
{
	expect_eq(((volatile u64 *)0xfed00000ull)[0x108 / 8], ~0ull);
}

/* ---- the order */

static bool set_by_first;

PLAIN_TEST("self.wrong.order_first", "a test that leaves something for the next one")
{
	for (int i = 0; i < 10; i++)
		expect(true, "nothing");
	set_by_first = true;
}

PLAIN_TEST("self.wrong.order_second", "a test that needs what the one before has left")
{
	expect(set_by_first, "the first test ran before");
}
