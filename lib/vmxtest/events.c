/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmxtest/events.h"
#include "x86/cpu.h"
#include "x86/tables.h"
#include "x86/time.h"

static void stop_timer(void)
{
	apic_write(APIC_TIMER_INITIAL, 0);
	apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
	apic_write(APIC_TIMER_DIVIDE, 0);
}

/* How long the guest may take to halt: that many ticks at first, and a second of the TSC's at the most. */
enum { FIRST_TICKS = 100000, MOST_TICKS = 100000000 };

static u32 most_ticks(void)
{
	const u64 second = 1000 * tsc_per_ms();

	return second < MOST_TICKS ? second : MOST_TICKS;
}

bool run_halted_until_timer(void (*function)(void), u64 rflags, const void *behind_hlt)
{
	vmcs_set_controls(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
	for (u32 ticks = FIRST_TICKS; ticks <= most_ticks(); ticks *= 10) {
		vmcs_write(GUEST_RFLAGS, rflags);
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
		vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
		vmcs_write(VMX_PREEMPTION_TIMER_VALUE, (ticks >> (vmx_capabilities()->misc & 0x1f)) + 1);
		guest_run(function);
		if (vmcs_read(GUEST_RIP) == (u64)behind_hlt)
			return true;
	}
	return false;
}

bool run_halted_until_interrupt(void (*function)(void), u64 rflags, u8 vector, const void *behind_hlt)
{
	guest.apic_timer_watchdog = false;
	for (u32 ticks = FIRST_TICKS; ticks <= most_ticks(); ticks *= 10) {
		vmcs_write(GUEST_RFLAGS, rflags);
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
		vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
		apic_write(APIC_TIMER_DIVIDE, APIC_TIMER_DIVIDE_BY_1);
		apic_write(APIC_LVT_TIMER, vector);
		apic_write(APIC_TIMER_INITIAL, ticks);
		guest_run(function);
		stop_timer();
		if (vmcs_read(GUEST_RIP) == (u64)behind_hlt)
			return true;
		/* Too early: again, without it. */
		if (apic_in_service(vector))
			apic_eoi();
		else
			take_pending(vector);
	}
	return false;
}

void guest_touches_tables(void)
{
	struct cpu *const cpu = this_cpu();

	*(volatile const u64 *)&gdt[SELECTOR_CODE64 / 8];
	for (u32 vector = 0; vector < 256; vector++)
		*(volatile const u8 *)&idt[vector];
	for (u32 i = 0; i < IST_STACKS; i++)
		for (u32 at = 0; at < sizeof(cpu->ist_stack[i]); at += sizeof(cpu->ist_stack[i]) - 1)
			*(volatile u8 *)&cpu->ist_stack[i][at] = 0;
}
