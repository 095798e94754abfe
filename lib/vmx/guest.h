/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Running a guest is a call that returns the outcome.
 *
 *	guest_run(function);	VM entry; the function runs as the guest
 *	guest_resume();		go on behind the exit
 *
 * A guest shares memory, page tables, GDT, IDT and TSS with the host, and has a
 * stack of its own. When its function returns it executes a VMCALL that means
 * done; an exception that it does not recover from (TRY works in guests too) ends
 * in a VMCALL that carries the fault. A guest that never exits is stopped by a
 * watchdog: the VMX-preemption timer, or the APIC timer where there is none.
 */
#pragma once

#include "vmx/outcome.h"
#include "vmx/vmcs.h"
#include "x86/fault.h"

/* General registers of the guest but RSP, which is in the VMCS. */
struct guest_registers {
	u64 rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
};

/* RAX of the VMCALLs that end a guest. */
enum { GUEST_DONE = 0x600d600d, GUEST_FAULTED = 0x0bad0bad };

struct guest {
	struct guest_registers regs;	/* loaded on entry, stored on exit */
	struct outcome outcome;		/* of the last entry */
	struct fault fault;		/* valid when it ended in GUEST_FAULTED */
	bool launched;			/* enter by VMRESUME */
	bool apic_timer_watchdog;	/* no VMX-preemption timer: arm the APIC timer for each entry */
	struct recovery *recovery;	/* the guest's own, while the host runs */
	u64 host_rsp;			/* for HOST_RSP; 0: the stack in use. Only with an exit probe (vmx/probe.h) */
};

extern struct guest guest;

/* True between VM entry and VM exit: for handlers that both modes share. */
extern volatile bool guest_running;

/*
 * The watchdog's time limit as a VMX-preemption timer value, which counts the TSC divided by a power of two. Where there
 * is that timer the baseline activates it with this value; a test that owns the timer clears the control.
 */
u32 guest_watchdog_value(void);

#define GUEST_STACK_SIZE 65536
extern u8 guest_stack[GUEST_STACK_SIZE];

/*
 * Write every field of the current VMCS afresh: host and guest state as the
 * processor is now, no control set that may be 0 but those that a 64-bit host and
 * guest need. Part of the harness: each test starts from here.
 */
void guest_baseline(void);

/* Enter a guest that executes the function; from a C function or a label in assembly. */
struct outcome guest_run(void (*function)(void));

/*
 * The same for code that is not a function: it is jumped to, with RSP at the top of
 * the guest's stack and RDI as in guest.regs, and ends as it likes. For code of other modes.
 */
struct outcome guest_run_at(const void *rip);

/* Enter at RIP exactly as the VMCS and guest.regs say. */
struct outcome guest_enter(void);

/* Enter again behind the last exit: the next instruction is the one at RIP. */
struct outcome guest_resume(void);

/* Move RIP behind the instruction that exited, and end STI and MOV SS blocking. */
void guest_skip_instruction(void);

/* Did the guest's function return? */
bool guest_is_done(void);

/* Did it end in an exception, which is then in guest.fault? */
bool guest_has_faulted(void);

/* End the running guest function here, with a value in RAX (VMCALL). */
static inline void guest_call_host(u64 value)
{
	asm volatile("vmcall" : "+a"(value) : : "memory", "cc");
}
