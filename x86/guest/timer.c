/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC's timer: one-shot, periodic, TSC-deadline. */
#include "guest.h"
#include "x86/time.h"

enum { TIMER_VECTOR = 0x59, PERIODIC = 1 << 17, TSC_DEADLINE = 1 << 18 };

static void timer_start(u32 lvt, u32 initial)
{
	interrupt_handle(TIMER_VECTOR, interrupt_counter);
	apic_write(APIC_TIMER_DIVIDE, APIC_TIMER_DIVIDE_BY_1);
	apic_write(APIC_LVT_TIMER, lvt | TIMER_VECTOR);
	apic_write(APIC_TIMER_INITIAL, initial);
	/* In xAPIC mode a WRMSR to IA32_TSC_DEADLINE may come before the LVT's store, and is then ignored. */
	asm volatile("mfence" : : : "memory");
}

static void timer_stop(void)
{
	apic_write(APIC_TIMER_INITIAL, 0);
	apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
	apic_write(APIC_TIMER_DIVIDE, 0);
	if (apic_requested(TIMER_VECTOR))
		let_interrupts_in();
}

/* Wait with interrupts on until so many have come. */
static u32 wait_for_timer(u32 count)
{
	interrupts_on();
	wait_until(interrupt_count[TIMER_VECTOR] >= count, 2 * WAIT_MS);
	interrupts_off();
	return interrupt_count[TIMER_VECTOR];
}

/* Wait with interrupts on for so many ticks of the TSC. */
static void let_interrupts_in_for(u64 ticks)
{
	interrupts_on();
	wait_ticks(ticks);
	interrupts_off();
}

TEST("guest.timer.one_shot", "in one-shot mode the timer counts down to 0, interrupts once, and stays at 0")
{
	timer_start(0, 2000);
	expect_eq(wait_for_timer(1), 1);
	expect_eq(apic_read(APIC_TIMER_CURRENT), 0);
	let_interrupts_in();
	expect_eq(interrupt_count[TIMER_VECTOR], 1);
	expect_eq(apic_read(APIC_TIMER_INITIAL), 2000);
	timer_stop();
}

/* Stops the timer itself: where its handler takes longer than a period, nothing else runs. */
static void stops_after_five(struct exception_frame *frame)
{
	interrupt_counter(frame);
	if (interrupt_count[TIMER_VECTOR] >= 5)
		apic_write(APIC_TIMER_INITIAL, 0);
}

TEST("guest.timer.periodic", "in periodic mode the timer interrupts again and again")
{
	timer_start(PERIODIC, 5000);
	interrupt_handle(TIMER_VECTOR, stops_after_five);
	expect_at_least(wait_for_timer(5), 5);
	timer_stop();
}

TEST("guest.timer.counts", "the current count goes down from the initial count")
{
	timer_start(APIC_LVT_MASKED, 0x7fffffff);
	const u32 first = apic_read(APIC_TIMER_CURRENT);
	delay_us(100);
	const u32 second = apic_read(APIC_TIMER_CURRENT);
	timer_stop();
	expect_between(1, first, 0x7fffffff);
	expect_at_most(second, first - 1);
}

TEST("guest.timer.stop", "an initial count of 0 stops the timer")
{
	enum { COUNT = 50000 };

	timer_start(0, COUNT);
	expect_eq(wait_for_timer(1), 1);

	/* How long the count takes, however late the interrupt has been. */
	u64 start = rdtsc();
	timer_start(APIC_LVT_MASKED, COUNT);
	wait_until(!apic_read(APIC_TIMER_CURRENT), 2 * WAIT_MS);
	const u64 whole = rdtsc() - start;

	/* Again if something came between start and stop: the timer may have fired then. */
	for (int tries = 0; tries < 50; tries++) {
		start = rdtsc();
		timer_start(0, COUNT);
		const u32 left = apic_read(APIC_TIMER_CURRENT);
		apic_write(APIC_TIMER_INITIAL, 0);
		if (left > COUNT / 2 && rdtsc() - start < whole / 2 && !apic_requested(TIMER_VECTOR))
			break;
		let_interrupts_in();
		interrupt_count[TIMER_VECTOR] = 0;
	}
	expect_eq(apic_read(APIC_TIMER_CURRENT), 0);
	let_interrupts_in_for(3 * whole);
	timer_stop();
	expect_eq(interrupt_count[TIMER_VECTOR], 0);
}

TEST("guest.timer.masked", "a masked timer counts and does not interrupt")
{
	timer_start(APIC_LVT_MASKED, 1000);
	wait_until(!apic_read(APIC_TIMER_CURRENT), 2 * WAIT_MS);
	expect_eq(apic_read(APIC_TIMER_CURRENT), 0);
	let_interrupts_in();
	timer_stop();
	expect_eq(interrupt_count[TIMER_VECTOR], 0);
}

TEST("guest.timer.divide", "the divide configuration register keeps bits 0, 1 and 3")
{
	for (u32 value = 0; value < 16; value++) {
		if (value & 4)
			continue;
		apic_write(APIC_TIMER_DIVIDE, value);
		CASE("value %u", value);
		expect_eq(apic_read(APIC_TIMER_DIVIDE) & 0xf, value);
	}
	apic_write(APIC_TIMER_DIVIDE, 0);
}

TEST("guest.timer.hlt", "the timer's interrupt wakes a processor that is halted, behind its HLT")
{
	timer_start(0, 20000);
	asm volatile("sti; hlt; cli" : : : "memory");
	expect_eq(interrupt_count[TIMER_VECTOR], 1);
	timer_stop();
}

static void deadline_start(u64 ticks)
{
	timer_start(TSC_DEADLINE, 0);
	wrmsr(IA32_TSC_DEADLINE, rdtsc() + ticks);
}

TEST("guest.deadline.fires", "the TSC-deadline timer interrupts once, not before its time",
     NEEDS(FEATURE_TSC_DEADLINE))
{
	timer_start(TSC_DEADLINE, 0);
	const u64 deadline = rdtsc() + tsc_per_ms() / 10;
	wrmsr(IA32_TSC_DEADLINE, deadline);
	const u32 count = wait_for_timer(1);
	const u64 now = rdtsc();
	let_interrupts_in();
	timer_stop();
	expect_eq(count, 1);
	expect_at_least(now, deadline);
	expect_eq(interrupt_count[TIMER_VECTOR], 1);
}

TEST("guest.deadline.past", "a deadline that is past interrupts at once", NEEDS(FEATURE_TSC_DEADLINE))
{
	timer_start(TSC_DEADLINE, 0);
	wrmsr(IA32_TSC_DEADLINE, 1);
	expect_eq(wait_for_timer(1), 1);
	timer_stop();
}

TEST("guest.deadline.clears", "IA32_TSC_DEADLINE reads as 0 when the timer has fired", NEEDS(FEATURE_TSC_DEADLINE))
{
	deadline_start(tsc_per_ms() / 100);
	expect_eq(wait_for_timer(1), 1);
	expect_eq(rdmsr(IA32_TSC_DEADLINE), 0);
	timer_stop();
}

/* Arm the timer and disarm it before its time. False: the time had come, or nearly. */
static bool arm_and_disarm(u64 ticks, u64 *armed)
{
	timer_start(TSC_DEADLINE, 0);
	const u64 deadline = rdtsc() + ticks;
	wrmsr(IA32_TSC_DEADLINE, deadline);
	*armed = rdmsr(IA32_TSC_DEADLINE);
	wrmsr(IA32_TSC_DEADLINE, 0);
	return rdtsc() < deadline - ticks / 4;
}

TEST("guest.deadline.disarm", "a 0 in IA32_TSC_DEADLINE disarms the timer", NEEDS(FEATURE_TSC_DEADLINE))
{
	u64 armed, ticks = 20 * tsc_per_ms();

	for (u32 i = 0; i < 4 && !arm_and_disarm(ticks, &armed); i++) {
		ticks *= 2;
		timer_stop();
	}
	let_interrupts_in_for(ticks + ticks / 2);
	timer_stop();
	expect_ne(armed, 0);
	expect_eq(interrupt_count[TIMER_VECTOR], 0);
}

TEST("guest.deadline.other_mode", "in another mode of the timer, IA32_TSC_DEADLINE ignores writes and reads as 0",
     NEEDS(FEATURE_TSC_DEADLINE))
{
	timer_start(0, 0);
	wrmsr(IA32_TSC_DEADLINE, rdtsc() + tsc_per_ms());
	expect_eq(rdmsr(IA32_TSC_DEADLINE), 0);
	timer_stop();
}

TEST("guest.deadline.initial_count", "in TSC-deadline mode, the initial count is ignored and the current count is 0",
     NEEDS(FEATURE_TSC_DEADLINE))
{
	timer_start(TSC_DEADLINE, 0);
	apic_write(APIC_TIMER_INITIAL, 1000);
	expect_eq(apic_read(APIC_TIMER_CURRENT), 0);
	interrupts_on();
	delay_us(200);
	interrupts_off();
	timer_stop();
	expect_eq(interrupt_count[TIMER_VECTOR], 0);
}
