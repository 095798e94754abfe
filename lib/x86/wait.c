/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/ports.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/interrupt.h"
#include "x86/processor.h"
#include "x86/time.h"
#include "x86/wait.h"

#include "libc/string.h"

enum { LEAST_LOOKS = 1000, FIRST_VECTOR = 16 };

/* Ticks that an interrupt or NMI to itself took: the most, of which an eighth is forgotten with each that is seen. */
static u64 slowest;

struct wait wait_begin(u64 limit_ms)
{
	return (struct wait){ .start = rdtsc(), .ticks = limit_ms * tsc_per_ms() };
}

static bool is_over(struct wait *wait)
{
	return wait->looks++ >= LEAST_LOOKS && rdtsc() - wait->start >= wait->ticks;
}

static void relax(void)
{
	asm volatile("pause" : : : "memory");
}

void cpu_yield(void)
{
	ports_write_diagnostic();
	relax();
}

bool wait_goes_on(struct wait *wait)
{
	relax();
	return !is_over(wait);
}

bool wait_goes_on_yielding(struct wait *wait)
{
	cpu_yield();
	return !is_over(wait);
}

void wait_ticks(u64 ticks)
{
	const u64 start = rdtsc();

	while (rdtsc() - start < ticks)
		relax();
}

void delay_us(unsigned int us)
{
	const u64 ticks = us * tsc_per_ms() / 1000, start = rdtsc();

	while (rdtsc() - start < ticks)
		cpu_yield();
}

/*
 * A processor that stood still for long once, as one of a hypervisor that had another to run, shall not slow down all that
 * comes behind: what was measured is forgotten little by little, wait by wait, until it is measured again.
 */
static u64 ample(void)
{
	const u64 least = tsc_per_ms() / 20, most = 250 * tsc_per_ms(), ticks = 4 * slowest;

	slowest -= slowest / 4;
	return ticks < least ? least : ticks > most ? most : ticks;
}

void wait_for_nothing(void)
{
	wait_ticks(ample());
}

static void note_latency(u64 ticks)
{
	slowest -= slowest / 8;
	if (ticks > slowest)
		slowest = ticks;
}

bool interrupt_pend(u8 vector)
{
	const u64 start = rdtsc();

	apic_send_ipi_self(APIC_DELIVERY_FIXED | vector);
	if (!wait_until(apic_requested(vector), SELF_MS))
		return false;
	note_latency(rdtsc() - start);
	wait_ticks(tsc_per_ms() / 1000);	/* on its way from the IRR to the processor */
	return true;
}

bool interrupt_arrives(u8 vector)
{
	const u32 before = this_cpu()->interrupts;
	const u64 start = rdtsc();

	apic_send_ipi_self(APIC_DELIVERY_FIXED | vector);
	if (!wait_until(this_cpu()->interrupts != before, SELF_MS))
		return false;
	note_latency(rdtsc() - start);
	return true;
}

void let_interrupts_in(void)
{
	interrupts_on();
	wait_for_nothing();
	interrupts_off();
}

u32 take_pending(u8 vector)
{
	interrupt_handle(vector, interrupt_counter);
	interrupts_on();
	if (apic_requested(vector))
		wait_until(interrupt_count[vector], SELF_MS);
	else
		wait_for_nothing();
	interrupts_off();

	const u32 came = interrupt_count[vector];

	interrupt_handle(vector, NULL);
	return came;
}

static void nmi_send(void)
{
	apic_send_ipi(apic_id(), APIC_DELIVERY_NMI);
}

void nmi_pend(void)
{
	nmi_send();
	wait_for_nothing();
}

bool nmi_arrives(void)
{
	const u32 before = this_cpu()->nmis;

	nmi_send();
	return wait_until(this_cpu()->nmis != before, SELF_MS);
}

bool nmi_timed(void)
{
	const u64 start = rdtsc();

	if (!nmi_arrives())
		return false;
	note_latency(rdtsc() - start);
	return true;
}

void sipi_send(u32 to_apic_id, u8 vector)
{
	apic_send_ipi(to_apic_id, APIC_DELIVERY_SIPI | vector);
}

/* An interrupt may have any vector from 16; where an exception pushes an error code, the entry point expects one. */
static bool can_be_taken(u32 vector)
{
	return vector != VECTOR_AC && vector != VECTOR_CP && vector != 29 && vector != 30;
}

static volatile u8 drained[256];

static void take_drained(struct exception_frame *frame)
{
	apic_eoi();
	drained[frame->vector] = 1;
}

static void end_those_in_service(void (*found)(const char *where, u8 vector))
{
	for (u32 vector = 255; vector >= FIRST_VECTOR; vector--) {
		if (!apic_in_service(vector))
			continue;
		apic_eoi();		/* ends the highest one, which is this */
		if (found)
			found("the APIC's ISR", vector);
	}
}

/* Vectors below FIRST_VECTOR are illegal (SDM Vol. 3A, 10.5.2): one that a target requests all the same never leaves the IRR. */
static bool any_in(enum apic_register first)
{
	for (u32 word = 0; word < 8; word++)
		if (apic_read(first + word * 0x10) & (word ? ~0u : ~0u << FIRST_VECTOR))
			return true;
	return false;
}

static void take_those_requested(void (*found)(const char *where, u8 vector))
{
	memset((void *)drained, 0, sizeof(drained));
	for (u32 vector = FIRST_VECTOR; vector < 256; vector++)
		interrupt_handle(vector, can_be_taken(vector) ? take_drained : NULL);
	interrupts_on();
	wait_until(!any_in(APIC_IRR), SELF_MS);
	interrupts_off();
	for (u32 vector = FIRST_VECTOR; vector < 256; vector++) {
		interrupt_handle(vector, NULL);
		if (drained[vector] && found)
			found("the APIC's IRR", vector);
	}
}

void interrupts_drain(void (*found)(const char *where, u8 vector))
{
	wait_for_nothing();
	if (any_in(APIC_ISR))
		end_those_in_service(found);
	if (any_in(APIC_IRR))
		take_those_requested(found);
}
