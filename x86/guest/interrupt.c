/* SPDX-License-Identifier: BSD-2-Clause */
/* When interrupts and NMIs are delivered: IF, STI, MOV SS, IRET. */
#include "guest.h"

#define LABEL(name) extern const u8 name[]

enum { V = 0x63 };

static u64 came_at[4], saved_flags, handler_flags;
static volatile u32 came;

static void notes_rip(struct exception_frame *frame)
{
	if (came < ARRAY_SIZE(came_at))
		came_at[came] = frame->rip;
	came++;
	saved_flags = frame->rflags;
	handler_flags = read_rflags();
	apic_eoi();
}

/* Run with vector V requested, IF = 0. */
static void with_request(void (*function)(void))
{
	came = 0;
	require_pend(V);
	interrupt_handle(V, notes_rip);
	function();
	interrupts_off();
}

CODE(sti_nops, "sti; nop; behind_shadow_nop: nop; cli");
LABEL(behind_shadow_nop);

TEST("guest.int.sti", "STI lets an interrupt in behind the instruction that follows it")
{
	with_request(sti_nops);
	expect_eq(came, 1);
	expect_eq(came_at[0], (u64)behind_shadow_nop);
}

CODE(sti_cli, "sti; cli; nop; nop");

TEST("guest.int.sti_cli", "STI and CLI with nothing between let no interrupt in")
{
	with_request(sti_cli);
	expect_eq(came, 0);
	let_interrupts_in();
	expect_eq(came, 1);
}

CODE(sti_sti, "sti; sti; behind_second_sti: nop; nop; cli");
LABEL(behind_second_sti);

TEST("guest.int.sti_sti", "an STI with IF=1 delays nothing")
{
	with_request(sti_sti);
	expect_eq(came, 1);
	expect_eq(came_at[0], (u64)behind_second_sti);
}

CODE(popf_if, "pushfq; orq $0x200, (%rsp); popfq; behind_popf: nop; nop; cli");
LABEL(behind_popf);

TEST("guest.int.popf", "a POPF that sets IF lets an interrupt in at once")
{
	with_request(popf_if);
	expect_eq(came, 1);
	expect_eq(came_at[0], (u64)behind_popf);
}

CODE(iret_if, "mov %rsp, %rax; mov %ss, %ecx; push %rcx; push %rax; pushfq; orq $0x200, (%rsp);"
     "mov %cs, %ecx; push %rcx;"
     "lea behind_iret(%rip), %rax; push %rax; iretq; behind_iret: nop; nop; cli");
LABEL(behind_iret);

TEST("guest.int.iret", "an IRET that sets IF lets an interrupt in at once")
{
	with_request(iret_if);
	expect_eq(came, 1);
	expect_eq(came_at[0], (u64)behind_iret);
}

CODE(cr8_lower, "mov $15, %eax; mov %rax, %cr8; sti; nop; nop; xor %eax, %eax; mov %rax, %cr8; behind_cr8:");
LABEL(behind_cr8);

/* It comes some time behind the MOV. */
static void lower_cr8_and_wait(void)
{
	cr8_lower();
	wait_until(came, WAIT_MS);
}

TEST("guest.int.cr8", "a MOV to CR8 that makes way lets an interrupt in, not before it")
{
	with_request(lower_cr8_and_wait);
	expect_eq(came, 1);
	expect(came_at[0] < (u64)cr8_lower || came_at[0] >= (u64)behind_cr8,
	       "the interrupt's return address is no place in front of the MOV's end");
}

TEST("guest.int.flags", "an interrupt saves IF=1, and its handler runs with IF=0")
{
	with_request(sti_nops);
	expect_eq(came, 1);
	expect_eq(saved_flags & RFLAGS_IF, RFLAGS_IF);
	expect_eq(handler_flags & RFLAGS_IF, 0);
}

CODE(sti_hlt, "sti; hlt; behind_hlt: cli");
LABEL(behind_hlt);

TEST("guest.int.hlt", "an interrupt that waits ends an STI; HLT at once, behind the HLT")
{
	with_request(sti_hlt);
	expect_eq(came, 1);
	expect_eq(came_at[0], (u64)behind_hlt);
}

/* ---- NMI */

static volatile u32 nmi_depth, nmi_deepest, nmi_total;

static void nmi_sends_nmi(UNUSED struct exception_frame *frame)
{
	nmi_depth++;
	nmi_total++;
	if (nmi_depth > nmi_deepest)
		nmi_deepest = nmi_depth;
	if (nmi_total == 1)
		nmi_pend();
	nmi_depth--;
}

TEST("guest.nmi.iret_unblocks", "an NMI during an NMI waits for the IRET")
{
	nmi_depth = nmi_deepest = nmi_total = 0;
	interrupt_handle(VECTOR_NMI, nmi_sends_nmi);
	nmi_arrives();
	wait_until(nmi_total >= 2, WAIT_MS);
	expect_eq(nmi_total, 2);
	expect_eq(nmi_deepest, 1);
}

static volatile u32 nmis;
static u64 nmi_vector;

static void counts_nmi(struct exception_frame *frame)
{
	nmis++;
	nmi_vector = frame->vector;
}

TEST("guest.nmi.if", "an NMI is delivered with IF=0 and any TPR, as vector 2")
{
	nmis = 0;
	interrupt_handle(VECTOR_NMI, counts_nmi);
	write_cr8(15);
	apic_send_ipi(apic_id(), APIC_DELIVERY_NMI | 0x77);	/* its vector is ignored */
	wait_until(nmis, WAIT_MS);
	write_cr8(0);
	expect_eq(nmis, 1);
	expect_eq(nmi_vector, VECTOR_NMI);
}

static void sends_two(UNUSED struct exception_frame *frame)
{
	if (nmis++ == 0)
		for (u32 i = 0; i < 3; i++)
			nmi_pend();
}

TEST("guest.nmi.one_pends", "of several NMIs during an NMI, at least one is held, and no more than were sent")
{
	nmis = 0;
	interrupt_handle(VECTOR_NMI, sends_two);
	nmi_arrives();
	wait_until(nmis >= 2, WAIT_MS);
	wait_for_nothing();
	expect_between(2, nmis, 4);
}

static volatile u32 interrupted, nmis_when_interrupted;

static void iret_in_interrupt(UNUSED struct exception_frame *frame)
{
	interrupted++;
	nmis_when_interrupted = nmis;
	apic_eoi();
}

/* In the NMI: another NMI waits; an interrupt's IRET comes first. */
static void nmi_lets_interrupt_in(UNUSED struct exception_frame *frame)
{
	if (nmis++)
		return;
	nmi_pend();
	interrupt_pend(V);
	interrupts_on();
	wait_until(interrupted, WAIT_MS);
	interrupts_off();
}

TEST("guest.nmi.any_iret", "the IRET of an interrupt within an NMI handler ends the blocking too")
{
	nmis = interrupted = 0;
	interrupt_handle(VECTOR_NMI, nmi_lets_interrupt_in);
	interrupt_handle(V, iret_in_interrupt);
	/* An NMI within the NMI's handler would use the same IST stack: take none. */
	idt[VECTOR_NMI].ist = 0;
	nmi_arrives();
	wait_until(nmis >= 2, WAIT_MS);
	idt[VECTOR_NMI].ist = IST_NMI;
	expect_eq(interrupted, 1);
	expect_eq(nmis_when_interrupted, 1);
	expect_eq(nmis, 2);
}

static void nmi_faulting_iret(UNUSED struct exception_frame *frame)
{
	if (nmis++)
		return;
	nmi_pend();
	/* An IRET that faults; the fault's handler goes on behind the TRY, with no IRET of its own before. */
	const struct fault fault = TRY(asm volatile("pushq $0x4002; popfq; iretq" : : : "memory", "cc"));
	(void)fault;
}

TEST("guest.nmi.faulting_iret", "an IRET that faults ends the blocking of NMIs all the same")
{
	nmis = 0;
	interrupt_handle(VECTOR_NMI, nmi_faulting_iret);
	idt[VECTOR_NMI].ist = 0;
	nmi_arrives();
	wait_until(nmis >= 2, WAIT_MS);
	idt[VECTOR_NMI].ist = IST_NMI;
	expect_eq(nmis, 2);
}

static volatile bool awake;

static void sends_nmis_to_first(UNUSED void *unused)
{
	struct wait nmis_sent = wait_begin(10 * WAIT_MS);

	/* Again and again, as the first ones may come before the HLT; and ever slower, as one may take a hypervisor longer than that. */
	for (u32 us = 100; !awake && wait_goes_on_yielding(&nmis_sent); us += us / 4) {
		delay_us(us);
		apic_send_ipi(cpu_number(0)->apic_id, APIC_DELIVERY_NMI);
	}
}

TEST("guest.nmi.hlt", "an NMI wakes a processor that is halted with IF=0", NEEDS(NEED_CPUS(2)))
{
	nmis = 0;
	interrupt_handle(VECTOR_NMI, counts_nmi);
	awake = false;
	on_cpu_start(1, sends_nmis_to_first, NULL);
	asm volatile("cli; hlt" : : : "memory");
	awake = true;
	expect_at_least(nmis, 1);
	on_cpu_wait(1);
	wait_for_nothing();		/* one more may be under way */
}

/* ---- MOV SS, under fire from another processor */

static volatile bool fire;
static u32 fire_command;
static volatile u32 hits, wrong;
volatile u32 progress;		/* the loop below counts it */

/* Shoot at ever other moments, each time when the last shot has hit and the loop has gone on since. */
static void fires(UNUSED void *unused)
{
	for (u32 shot = 0; fire; shot++) {
		const u32 before = hits;

		apic_send_ipi(cpu_number(0)->apic_id, fire_command);
		wait_until(!fire || hits != before, WAIT_MS);
		const u32 behind = progress;
		wait_until(!fire || progress != behind, WAIT_MS);
		wait_ticks(shot % 32 * 7);
	}
}

/* MOV SS has two bytes, NOP one: an address of 2 modulo 3 is between them. */
CODE(mov_ss_loop, "mov %ss, %eax; mov $50, %ecx; 1: mov_ss_start: .rept 16; mov %eax, %ss; nop; .endr; mov_ss_end:"
     "incl progress(%rip); dec %ecx; jnz 1b");
LABEL(mov_ss_start); LABEL(mov_ss_end);

static void looks_at_rip(struct exception_frame *frame)
{
	const u64 start = (u64)mov_ss_start;

	if (frame->rip >= start && frame->rip < (u64)mov_ss_end && (frame->rip - start) % 3 == 2)
		wrong++;
	if (frame->vector >= 32)
		apic_eoi();
	hits++;
}

static void under_fire(u32 command, u8 vector, bool interrupts)
{
	hits = wrong = 0;
	fire_command = command;
	fire = true;
	interrupt_handle(vector, looks_at_rip);
	on_cpu_start(1, fires, NULL);

	/* Until it was hit so often; and once at the least, however late the other processor fires. */
	struct wait shooting = wait_begin(5 * WAIT_MS);

	for (int i = 0; hits < 300 && (i < 2000 || (!hits && wait_goes_on(&shooting))); i++) {
		if (interrupts)
			interrupts_on();
		mov_ss_loop();
		interrupts_off();
	}
	fire = false;
	on_cpu_wait(1);
	let_interrupts_in();
	expect_at_least(hits, 1);
	expect_eq(wrong, 0);
}

TEST("guest.int.mov_ss", "no interrupt comes between MOV SS and the next instruction", NEEDS(NEED_CPUS(2)))
{
	under_fire(APIC_DELIVERY_FIXED | V, V, true);
}

TEST("guest.nmi.mov_ss", "no NMI comes between MOV SS and the next instruction", NEEDS(NEED_CPUS(2)))
{
	under_fire(APIC_DELIVERY_NMI, VECTOR_NMI, false);
}
