/* SPDX-License-Identifier: BSD-2-Clause */
/* "Saving Non-Register State" (SDM Vol. 3C): pending debug exceptions, and the guest interrupt status. */
#include "hostload.h"

#include "libc/string.h"
#include "vmx/bitmaps.h"
#include "vmxtest/events.h"
#include "x86/apic.h"
#include "x86/interrupt.h"
#include "x86/page.h"

enum { PENDING_BREAKPOINT = BIT(12), PENDING_BS = BIT(14) };

static volatile u32 watched ALIGNED(8);

GUEST_ASM(save_tf_cpuid, "cpuid; vmcall");
GUEST_ASM(save_tf_nop, "nop; nop; nop; vmcall");
GUEST_ASM(save_watched_read, "mov (%rbx), %eax; nop; cpuid; vmcall");
GUEST_ASM(save_watched_mov_ss, "mov (%rbx), %ss; cpuid; vmcall");
GUEST_ASM(save_watched_mov_ss_ud, "mov (%rbx), %ss; ud2; vmcall");
GUEST_ASM(save_watched_mov_ds, "mov (%rbx), %ds; cpuid; vmcall");

/* DR7: breakpoint n by its local or global bit, at 2 bytes, for reads and writes or for writes. */
static u64 breakpoint(u32 n, bool global, u32 condition)
{
	return 0x400 | BIT(2 * n + global) | (u64)(condition | 1 << 2) << (16 + 4 * n);
}

static void watch(u32 n)
{
	const u64 here = (u64)&watched, elsewhere = (u64)&watched + 0x1000;

	write_dr0(n == 0 ? here : elsewhere);
	write_dr1(n == 1 ? here : elsewhere);
	write_dr2(n == 2 ? here : elsewhere);
	write_dr3(n == 3 ? here : elsewhere);
}

static void run_with(void (*function)(void), u64 dr7, u64 rflags)
{
	watched = SELECTOR_DATA;
	guest.regs.rbx = (u64)&watched;
	vmcs_write(GUEST_DR7, dr7);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | rflags);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
	guest_run_at(function);
}

TEST("save.pdbg_clear", "exits of instructions, exceptions and timers save no pending debug exceptions")
{
	exit_probe_on();
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_DB) | BIT(VECTOR_UD));

	CASE("CPUID");
	run_with(save_tf_cpuid, 0x400, 0);
	expect_exit(EXIT_CPUID);
	expect_eq(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), 0);

	CASE("#DB by a single step");
	run_with(save_tf_nop, 0x400, RFLAGS_TF);
	expect_exit(EXIT_EXCEPTION_OR_NMI, .qualification = BIT(14));
	expect_eq(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), 0);

	for (u32 n = 0; n < 4; n++) {
		CASE("#DB by data breakpoint %u", n);
		watch(n);
		run_with(save_watched_read, breakpoint(n, n & 1, BREAK_ON_ACCESS), 0);
		expect_exit(EXIT_EXCEPTION_OR_NMI);
		expect_bits(vmcs_read(EXIT_QUALIFICATION), BIT(n) | BIT(14), BIT(n));
		expect_eq(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), 0);

		CASE("CPUID behind a breakpoint %u that is not enabled", n);
		run_with(save_watched_mov_ds, breakpoint(n, false, BREAK_ON_ACCESS) & ~BIT(2 * n), 0);
		expect_exit(EXIT_CPUID);
		expect_eq(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), 0);
	}
	if (!has(PIN_ACTIVATE_VMX_PREEMPTION_TIMER))
		return;
	CASE("VMX-preemption timer");
	vmcs_write(VMX_PREEMPTION_TIMER_VALUE, 0);
	run_with(save_tf_nop, 0x400, 0);
	expect_exit(EXIT_PREEMPTION_TIMER);
	expect_eq(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), 0);
}

TEST("save.pdbg_clear_tf", "the exit of an instruction with RFLAGS.TF = 1 saves no pending single step")
{
	exit_probe_on();
	run_with(save_tf_cpuid, 0x400, RFLAGS_TF);
	expect_exit(EXIT_CPUID);
	expect_eq(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), 0);
}

/* The exit is that of the instruction behind MOV SS. */
static void expect_pending(void (*function)(void), u32 reason)
{
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_UD));

	/* A hypervisor below this one that maps the pages late has then done it. */
	CASE("no breakpoint");
	run_with(function, 0x400, 0);
	expect_exit(reason);
	expect_eq(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), 0);
	for (u32 n = 0; n < 4; n++)
		for (u32 global = 0; global < 2; global++) {
			CASE("breakpoint %u, global %u", n, global);
			watch(n);
			run_with(function, breakpoint(n, global, BREAK_ON_ACCESS), 0);
			expect_exit(reason);
			expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_MOV_SS);
			expect_eq(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), PENDING_BREAKPOINT | BIT(n));

			/* Bits 3:0 may say that it matched. */
			CASE("breakpoint %u, not enabled", n);
			run_with(function, breakpoint(n, global, BREAK_ON_ACCESS) & ~(3ull << 2 * n), 0);
			expect_exit(reason);
			expect_bits(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), ~BIT(n), 0);

			CASE("breakpoint %u for writes", n);
			run_with(function, breakpoint(n, global, BREAK_ON_WRITE), 0);
			expect_exit(reason);
			expect_eq(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), 0);
		}
}

TEST("save.pdbg_movss", "an exit with blocking by MOV SS saves the data breakpoint that MOV SS matched as pending")
{
	exit_probe_on();
	expect_pending(save_watched_mov_ss, EXIT_CPUID);

	/* TF: whether BS is set is up to the processor; nothing else is. */
	CASE("a single step");
	watch(4);
	run_with(save_watched_mov_ss, 0x400, 0);
	expect_exit(EXIT_CPUID);
	expect_eq(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), 0);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_MOV_SS);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_TF);
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, PENDING_BS);
	guest_run_at(save_tf_cpuid);
	expect_exit(EXIT_CPUID);
	expect_bits(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), ~(u64)PENDING_BS, 0);
}

TEST("save.pdbg_movss_fault", "an exit by a fault with blocking by MOV SS saves the data breakpoint as pending too")
{
	exit_probe_on();
	expect_pending(save_watched_mov_ss_ud, EXIT_EXCEPTION_OR_NMI);
}

static void handler_exits_and_ends(UNUSED struct exception_frame *frame)
{
	guest_call_host(1);
	*(volatile u32 *)(PAGE_WINDOW + APIC_EOI) = 0;
	guest_call_host(2);
}

static void guest_lets_interrupts_in(void)
{
	guest_call_host(0);
	let_interrupts_in();
}

/* A guest that is elsewhere is not resumed. */
static void expect_status(u64 call, u32 status)
{
	require_exit(EXIT_VMCALL);
	require_eq(guest.regs.rax, call);
	expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), status);
	guest_skip_instruction();
	guest_resume();
}

TEST("save.guest_intr_status", "RVI and SVI are saved as virtual-interrupt delivery and EOI left them",
     NEEDS(PROC2_VIRTUAL_INTERRUPT_DELIVERY, PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW))
{
	u8 *apic = vmcs_use_tpr_shadow(0), *access = vmcs_use_apic_access_page();

	page_map(PAGE_WINDOW, physical_address(access), PAGE_PRESENT | PAGE_WRITE);
	guest_run(guest_touches_tables);
	expect_guest_done();
	vmcs_set_controls(PROC2_VIRTUAL_INTERRUPT_DELIVERY, PIN_EXTERNAL_INTERRUPT_EXITING);
	interrupt_handle(TEST_VECTOR, handler_exits_and_ends);
	for (u32 lower = 0; lower < 2; lower++) {
		CASE("with a second interrupt %u", lower);
		memset(apic, 0, PAGE_SIZE);
		*(u32 *)(apic + APIC_IRR + TEST_VECTOR / 32 * 16) = 1u << TEST_VECTOR % 32;
		/* Of a lower class: it stays requested while the first one is in service; then the guest masks it. */
		if (lower)
			*(u32 *)(apic + APIC_IRR + LOWER_VECTOR / 32 * 16) = 1u << LOWER_VECTOR % 32;
		*(u32 *)(apic + APIC_TPR) = lower ? 0x50 : 0;
		vmcs_write(GUEST_INTERRUPT_STATUS, TEST_VECTOR);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
		guest_run(guest_lets_interrupts_in);
		expect_status(0, TEST_VECTOR);
		expect_status(1, TEST_VECTOR << 8 | (lower ? LOWER_VECTOR : 0));
		expect_status(2, lower ? LOWER_VECTOR : 0);
		expect_guest_done();
	}
}
