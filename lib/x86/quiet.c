/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/quiet.h"

#include "machine/interrupts.h"
#include "x86/apic.h"
#include "x86/fault.h"
#include "x86/feature.h"
#include "x86/interrupt.h"
#include "x86/wait.h"

enum { RTIT_TRACE_EN = BIT(0), DR6_RESET = 0xffff0ff0, DR7_RESET = 0x400 };
#define PAT_RESET 0x0007040600070406ull

static void debug_registers_off(void)
{
	write_dr7(DR7_RESET);
	write_dr0(0);
	write_dr1(0);
	write_dr2(0);
	write_dr3(0);
	write_dr6(DR6_RESET);
}

static void extended_state_off(void)
{
	const u64 cr4 = read_cr4();

	if (!has_feature(FEATURE_XSAVE))
		return;
	write_cr4(cr4 | CR4_OSXSAVE);
	xsetbv(0, 1);				/* x87 alone, which cannot be off */
	write_cr4(cr4);
}

/* Reserved bits of trace control keep what they are; writing the register while TraceEn is 1 is a fault, but this. */
static void trace_off(void)
{
	u64 control = 0;

	if (!has_feature(FEATURE_INTEL_PT) || TRY(control = rdmsr(IA32_RTIT_CTL)).raised || !(control & RTIT_TRACE_EN))
		return;
	(void)TRY(wrmsr(IA32_RTIT_CTL, control & ~(u64)RTIT_TRACE_EN));
}

static bool has_global_counter_control(void)
{
	return cpuid(0, 0).eax >= 0xa && (cpuid(0xa, 0).eax & 0xff) >= 2;
}

static bool has_cet(void)
{
	return has_feature(FEATURE_CET_SS) || has_feature(FEATURE_CET_IBT);
}

/* A processor, or whoever plays one, may lack an MSR that it ought to have: no reason to end. */
static void set_msr(bool exists, u32 index, u64 value)
{
	volatile u64 before = value;

	if (exists && !TRY(before = rdmsr(index)).raised && before != value)
		(void)TRY(wrmsr(index, value));
}

void machine_quiet_processor(void)
{
	write_rflags(RFLAGS_FIXED);
	debug_registers_off();
	trace_off();
	set_msr(true, IA32_DEBUGCTL, 0);
	set_msr(has_feature(FEATURE_ARCH_LBR), IA32_LBR_CTL, 0);
	set_msr(has_global_counter_control(), IA32_PERF_GLOBAL_CTRL, 0);
	set_msr(has_feature(FEATURE_PAT), IA32_PAT, PAT_RESET);
	set_msr(has_feature(FEATURE_XSAVES), IA32_XSS, 0);
	set_msr(has_cet(), IA32_S_CET, 0);
	set_msr(has_cet(), IA32_U_CET, 0);
	extended_state_off();
	apic_init();
}

/*
 * A loader that came from an NMI's handler leaves further ones blocked, until an IRET, which may be that of the first
 * fault; and one may wait for it. It is taken here, where a handler is there for it.
 */
void machine_quiet(void)
{
	interrupt_handle(VECTOR_NMI, interrupt_counter);
	nmi_unblock();
	interrupt_sources_off();
	machine_quiet_processor();
	interrupts_drain(NULL);
	interrupt_handlers_reset();
}

void machine_quiet_again(void)
{
	if (apic_is_busy())
		interrupts_drain(NULL);
}
