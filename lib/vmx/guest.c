/* SPDX-License-Identifier: BSD-2-Clause */
#include "hostile/hostile.h"
#include "vmx/guest.h"
#include "vmx/lacks.h"
#include "vmx/use.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/interrupt.h"
#include "x86/time.h"
#include "x86/wait.h"

#include "vmx/decode.h"

/* How long a guest may run before the watchdog stops it, in milliseconds. */
enum { WATCHDOG_MS = 4000, WATCHDOG_VECTOR = 0xee };

struct guest guest;
volatile bool guest_running;
u8 guest_stack[GUEST_STACK_SIZE] ALIGNED(16);

extern const u8 guest_start[], guest_fault_entry[];
u64 vmx_enter(struct guest_registers *regs, u64 launch, u64 host_rsp);
void guest_take_fault(void);

static struct recovery outermost;

static u64 stack_top(void)
{
	return (u64)(guest_stack + sizeof(guest_stack));
}

/* Runs in the guest. */
void guest_take_fault(void)
{
	guest.fault = outermost.fault;
}

/*
 * Without a VMX-preemption timer (the baseline arms that one) the APIC timer must
 * do: its interrupt exits, as long as the guest has not masked interrupts for good.
 */
static void arm_apic_timer(void)
{
	const struct apic_timer_count count = apic_timer_count(WATCHDOG_MS);

	apic_write(APIC_TIMER_DIVIDE, count.divide);
	apic_write(APIC_LVT_TIMER, WATCHDOG_VECTOR);
	apic_write(APIC_TIMER_INITIAL, count.initial);
}

/* Take it back; if it has fired, the interrupt waits in IRR: let it go. */
static void disarm_apic_timer(void)
{
	apic_write(APIC_TIMER_INITIAL, 0);
	apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
	apic_write(APIC_TIMER_DIVIDE, 0);
	if (apic_requested(WATCHDOG_VECTOR))
		take_pending(WATCHDOG_VECTOR);
}

u32 guest_watchdog_value(void)
{
	const u64 value = WATCHDOG_MS * tsc_per_ms() >> (vmx_capabilities()->misc & 0x1f);

	return value > 0xffffffff ? 0xffffffff : value;
}

static struct outcome outcome_of_entry(u64 result)
{
	if (result & BIT(63))
		return FAULTS(result >> 32 & 0xff, (u32)result);
	if (result)
		return outcome_from_rflags(result);

	const u32 reason = vmcs_read(EXIT_REASON);

	return (struct outcome){
		.kind = reason & BIT(31) ? OUTCOME_ENTRY_FAILURE : OUTCOME_EXIT,
		.number = reason & 0x7fffffff,
		.qualification = vmcs_read(EXIT_QUALIFICATION),
	};
}

struct outcome guest_enter(void)
{
	struct recovery *host = recovery_current();
	const bool apic_timer = guest.apic_timer_watchdog;
	const u32 activity = use_before_entry();
	u64 result;

	if (apic_timer)
		arm_apic_timer();
	recovery_set(guest.recovery);
	hostile_before_entry();
	guest_running = true;
	lacks_before_entry();
	result = vmx_enter(&guest.regs, !guest.launched, guest.host_rsp);
	lacks_after_entry();
	guest_running = false;
	hostile_after_entry();
	guest.recovery = recovery_current();
	recovery_set(host);
	if (apic_timer)
		disarm_apic_timer();

	guest.outcome = outcome_of_entry(result);
	use_of_entry(activity, guest.outcome);
	if (guest.outcome.kind == OUTCOME_EXIT)
		guest.launched = true;
	return guest.outcome;
}

struct outcome guest_run_at(const void *rip)
{
	outermost.rip = (u64)guest_fault_entry;
	outermost.rsp = stack_top();
	outermost.outer = NULL;
	guest.recovery = &outermost;
	guest.fault.raised = false;
	vmcs_write(GUEST_RSP, stack_top());
	vmcs_write(GUEST_RIP, (u64)rip);
	return guest_enter();
}

struct outcome guest_run(void (*function)(void))
{
	guest.regs.rdi = (u64)function;
	return guest_run_at(guest_start);
}

struct outcome guest_resume(void)
{
	return guest_enter();
}

void guest_skip_instruction(void)
{
	const u64 interruptibility = vmcs_read(GUEST_INTERRUPTIBILITY_STATE);

	vmcs_write(GUEST_RIP, vmcs_read(GUEST_RIP) + vmcs_read(EXIT_INSTRUCTION_LENGTH));
	if (interruptibility & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS))
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE,
			   interruptibility & ~(INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS));
}

static bool ended_by(u64 value)
{
	return guest.outcome.kind == OUTCOME_EXIT && guest.outcome.number == EXIT_VMCALL &&
	       (u32)guest.regs.rax == value;
}

bool guest_is_done(void)
{
	return ended_by(GUEST_DONE);
}

bool guest_has_faulted(void)
{
	return ended_by(GUEST_FAULTED);
}
