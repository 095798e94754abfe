/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/monitor.h"
#include "x86/apic.h"
#include "x86/fault.h"
#include "x86/interrupt.h"
#include "x86/processor.h"
#include "x86/wait.h"

/* As much as any processor monitors, with nothing else in it that is written. */
static volatile u8 monitored[4096] ALIGNED(4096);
enum { WAKE_UP_VECTOR = 0x71 };

void monitor_arm(void)
{
	asm volatile("monitor" : : "a"(monitored + sizeof(monitored) / 2), "c"(0), "d"(0) : "memory");
}

bool mwait_waits(u32 ticks)
{
	bool waited;

	interrupt_handle(WAKE_UP_VECTOR, interrupt_counter);
	apic_write(APIC_LVT_TIMER, WAKE_UP_VECTOR);
	apic_write(APIC_TIMER_DIVIDE, APIC_TIMER_DIVIDE_BY_1);
	apic_write(APIC_TIMER_INITIAL, ticks);
	asm volatile("sti; mwait; cli" : : "a"(0), "c"(0) : "memory");
	waited = interrupt_count[WAKE_UP_VECTOR];
	apic_write(APIC_TIMER_INITIAL, 0);
	apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
	apic_write(APIC_TIMER_DIVIDE, 0);
	take_pending(WAKE_UP_VECTOR);
	return waited;
}

bool mwait_can_wait(void)
{
	/* Anything may end one MWAIT. */
	for (u32 i = 0; i < 8; i++) {
		if (TRY(monitor_arm()).raised)
			return false;
		if (mwait_waits(MWAIT_TICKS))
			return true;
	}
	return false;
}
