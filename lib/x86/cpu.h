/* SPDX-License-Identifier: BSD-2-Clause */
/* The processors: what each has of its own, and how to run code on another one. */
#pragma once

#include "libc/types.h"
#include "x86/fault.h"
#include "x86/selectors.h"

/* Interrupt-stack-table slots (TSS.IST1...): one for each that must survive a bad stack. */
enum { IST_NMI = 1, IST_DF = 2, IST_MC = 3, IST_STACKS = 3 };

/* 64-bit task-state segment. */
struct tss {
	u32 reserved0;
	u64 rsp[3];
	u64 reserved1;
	u64 ist[7];
	u64 reserved2;
	u16 reserved3;
	u16 iomap_base;
} __attribute__((packed));

struct cpu {
	struct cpu *self;		/* first: GS base points here */
	u32 number;			/* 0 is the one that booted; that of another changes when one is left out */
	u32 slot;			/* which TSS, stack and place in the IDs of smp.S it has: never changes */
	u32 apic_id;
	struct recovery *recovery;
	const char *thrown;
	void (*const *handlers)(struct exception_frame *);	/* 256 of its own; NULL: interrupt_handle's */
	void (*volatile work)(void *);	/* on_cpu()'s, until it is done */
	void *work_argument;
	struct fault work_fault;
	volatile bool woken;		/* VECTOR_WAKE has come since its last work */
	volatile u32 starts;		/* how often it has come up */
	bool stopped;			/* by cpu_init_ipi() */
	volatile bool arrived, came_in_x2apic;	/* it has come up; its APIC was in x2APIC mode then */
	volatile u32 interrupts, nmis;	/* how many it has taken: external interrupts, NMIs */
	struct tss tss ALIGNED(16);
	u8 ist_stack[IST_STACKS][4096] ALIGNED(16);
	u8 user_entry_stack[4096] ALIGNED(16);	/* RSP0: for exceptions from CPL 3 */
	u8 stack[16384] ALIGNED(16);		/* of all but the one that booted */
};

/* Tables and state of the processor that boots; called once, first of all. */
void cpu_init(void);

/* Load GDTR, IDTR, TR, the data segments and GS base of the calling processor afresh. */
void cpu_load_tables(struct cpu *cpu);

static inline struct cpu *this_cpu(void)
{
	struct cpu *cpu;

	asm("mov %%gs:0, %0" : "=r"(cpu));
	return cpu;
}

/*
 * How many processors answer: their numbers are 0 to this less 1, and at the most MAX_CPUS. The first call starts the
 * others, those that the MADT lists (machine/madt.h) one by one, or all but itself where there is no MADT; at the most
 * the first N where the command line has smp=N. One that comes later than two seconds behind the last is not used.
 */
unsigned int cpus_online(void);

/*
 * Before a test, for what an earlier one left: start those processors afresh that are still at work or stopped. One that
 * does not answer is left out from then on: the last one gets its number, and cpus_online() is one less.
 */
void cpus_recall(void);

/* Leave processor n, which is at no work, out in the same way: a test has changed it for good. */
void cpu_leave_out(unsigned int n);

/* How many have come up and are not used: they halt for good. */
extern volatile u32 ap_parked;

/* How many have been left out. */
unsigned int cpus_lost(void);

/*
 * An APIC ID that no processor has, be it enabled or not: by the MADT, or because the suite uses all that came when all
 * were called. False: it cannot be told, or there is none below 255.
 */
bool cpus_unused_apic_id(u32 *id);

/*
 * Run fn(argument) on processor n (1 and up) and wait until it has returned; n = 0
 * runs it here. The fault that ended it, or one with the message that there is no
 * processor n. Throws if it has not returned after ten seconds.
 */
struct fault on_cpu(unsigned int n, void (*fn)(void *), void *argument);

/* The same without waiting; on_cpu_wait() ends it. Throws if processor n is still at other work. */
void on_cpu_start(unsigned int n, void (*fn)(void *), void *argument);
struct fault on_cpu_wait(unsigned int n);

/* on_cpu_wait() with another limit, in milliseconds of the TSC. */
struct fault on_cpu_wait_within(unsigned int n, u32 ms);

/* Has the work of on_cpu_start() ended? */
bool on_cpu_done(unsigned int n);

/* INIT processor n: whatever it does, it then waits for a SIPI. It has no other use until cpu_restart(). */
void cpu_init_ipi(unsigned int n);

/*
 * Start processor n afresh (INIT, SIPI), whatever it was doing; false if it does not
 * answer: INIT is blocked in VMX root operation.
 */
bool cpu_restart(unsigned int n);

struct cpu *cpu_number(unsigned int n);

/* An exception outside every TRY: says so on the console and ends the image. */
void cpu_fatal(const struct exception_frame *frame) __attribute__((noreturn));
extern void (*cpu_fatal_hook)(const struct exception_frame *frame);

/* The interrupt that says to a processor that sleeps that it has work. Part of interrupt_dispatch(). */
enum { VECTOR_WAKE = 0xfe };
void cpu_wake_up(struct cpu *cpu, struct exception_frame *frame);

/* How many processors the command line says there are (smp=N), be it more than MAX_CPUS; 0: nothing said. */
extern unsigned int cpus_expected;
