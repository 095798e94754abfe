/* SPDX-License-Identifier: BSD-2-Clause */
/* Other processors: IPIs, INIT, SIPI. */
#include "init.h"

#include "libc/string.h"

static void note_apic_id(void *id)
{
	*(u32 *)id = apic_id();
}

TEST("guest.smp.call", "every other processor starts, and runs what it is asked to", NEEDS(NEED_CPUS(2)))
{
	for (u32 n = 0; n < cpus_online(); n++) {
		u32 id = ~0u;
		const struct fault fault = on_cpu(n, note_apic_id, &id);

		CASE("processor %u", n);
		expect_no_fault(fault);
		expect_eq(id, cpu_number(n)->apic_id);
		for (u32 other = 0; other < n; other++)
			expect_ne(id, cpu_number(other)->apic_id);
	}
}

static void note_apic_base(void *base)
{
	*(u64 *)base = rdmsr(IA32_APIC_BASE);
}

TEST("guest.smp.bsp", "IA32_APIC_BASE.BSP is 1 on the processor that booted, and on no other", NEEDS(NEED_CPUS(2)))
{
	for (u32 n = 0; n < cpus_online(); n++) {
		u64 base = 0;

		on_cpu(n, note_apic_base, &base);
		CASE("processor %u", n);
		expect_eq(base >> 8 & 1, n == 0);
		expect_eq(base >> 11 & 1, 1);
	}
}

static volatile u32 taken_by[MAX_CPUS];

static void notes_taker(struct exception_frame *frame)
{
	taken_by[this_cpu()->number]++;
	if (frame->vector >= 32)
		apic_eoi();
}

/* Let interrupts in for a while, and until the one has come that is expected, if it is. */
static void takes_interrupts(void *expected)
{
	let_interrupts_in();
	if (*(const bool *)expected) {
		interrupts_on();
		wait_until(taken_by[this_cpu()->number], WAIT_MS);
		interrupts_off();
	}
}

static bool second_gets_it(u32 n)
{
	return n == 1;
}

static bool others_get_it(u32 n)
{
	return n != 0;
}

static bool all_get_it(UNUSED u32 n)
{
	return true;
}

static bool nobody_gets_it(UNUSED u32 n)
{
	return false;
}

/* Send with `send`, let all processors let interrupts in, and look who has taken it. */
static void share(u8 vector, void (*send)(u32 command), bool (*gets_it)(u32 n))
{
	memset((void *)taken_by, 0, sizeof(taken_by));
	interrupt_handle(vector, notes_taker);
	send(APIC_DELIVERY_FIXED | vector);
	for (u32 n = 0; n < cpus_online(); n++) {
		bool expected = gets_it(n);

		on_cpu(n, takes_interrupts, &expected);
	}
	for (u32 n = 0; n < cpus_online(); n++) {
		CASE("processor %u", n);
		expect_eq(taken_by[n], gets_it(n));
	}
}

static void to_second(u32 command)
{
	apic_send_ipi(cpu_number(1)->apic_id, command);
}

static void to_all(u32 command)
{
	apic_send_ipi(cpu_number(0)->apic_id, command | 2 << 18);
}

TEST("guest.smp.ipi", "an IPI to an APIC id arrives there, once, and nowhere else", NEEDS(NEED_CPUS(2)))
{
	share(0x64, to_second, second_gets_it);
}

TEST("guest.smp.ipi_others", "an IPI to all but itself arrives at all others", NEEDS(NEED_CPUS(2)))
{
	share(0x65, apic_send_ipi_others, others_get_it);
}

TEST("guest.smp.ipi_all", "an IPI to all, itself included, arrives at all", NEEDS(NEED_CPUS(2)))
{
	share(0x66, to_all, all_get_it);
}

static u32 unused_id;

static void to_nobody(u32 command)
{
	apic_send_ipi(unused_id, command);
}

/* "IPIs ... to ... nonexistent local APICs" may be "resent repeatedly" ("System and APIC Bus Arbitration"). */
TEST("guest.smp.ipi_nobody", "an IPI to an APIC ID that no processor has arrives at none", NEEDS(NEED_CPUS(2), MAY_STOP))
{
	if (!cpus_unused_apic_id(&unused_id))
		skip("needs an APIC ID of which it is known that no processor has it");
	share(0x67, to_nobody, nobody_gets_it);
	apic_write(APIC_ESR, 0);
}

TEST("guest.smp.nmi", "an NMI to another processor arrives there, whatever its IF", NEEDS(NEED_CPUS(2)))
{
	memset((void *)taken_by, 0, sizeof(taken_by));
	interrupt_handle(VECTOR_NMI, notes_taker);
	to_second(APIC_DELIVERY_NMI);
	wait_for_other(taken_by[1], WAIT_MS);
	expect_eq(taken_by[1], 1);
	expect_eq(taken_by[0], 0);
}

static volatile u32 shared_count;

static void adds(UNUSED void *unused)
{
	for (int i = 0; i < 2000; i++)
		asm volatile("lock incl %0" : "+m"(shared_count) : : "memory", "cc");
}

TEST("guest.smp.lock", "increments with LOCK from two processors lose none", NEEDS(NEED_CPUS(2)))
{
	shared_count = 0;
	on_cpu_start(1, adds, NULL);
	adds(NULL);
	on_cpu_wait(1);
	expect_eq(shared_count, 4000);
}

/* ---- INIT and SIPI */

extern const u8 sipi_start[], sipi_end[];

/*
 * In real mode; DS and SS are made the page behind the code, which it does not write to: there are machines that
 * translate a page anew after each write, and come to nothing else.
 */
asm(".pushsection .rodata\n"
    ".code16\n"
    ".balign 16\n"
    "sipi_start:\n"
    "	mov %ds, %bx\n"
    "	mov %cs, %ax\n"
    "	add $0x100, %ax\n"
    "	mov %ax, %ds\n"
    "	xor %di, %di\n"
    "	mov %cr0, %eax; mov %eax, (%di)\n"
    "	mov %cr4, %eax; mov %eax, 4(%di)\n"
    "	mov %dr7, %eax; mov %eax, 12(%di)\n"
    "	mov %cs, 20(%di)\n"
    "	mov %bx, 22(%di)\n"
    "	mov %ss, 24(%di)\n"
    "	sidtl 26(%di)\n"
    "	mov %ax, %ss; mov $0x800, %sp\n"
    "	pushfl; popl 8(%di)\n"
    "1:	incl 16(%di); out %al, $0x80\n"	/* an exit, as in cpu_yield() */
    "	jmp 1b\n"
    "sipi_end:\n"
    ".code64\n"
    ".popsection");

u8 start_vector(u64 lowest)
{
	return physical_address(ram_within(lowest << 12, BIT(20), 2, PAGE_SIZE)) >> 12;
}

const u8 *start_prefix, *start_prefix_end;

static volatile struct report *prepare_page(u8 vector)
{
	u8 *page = (u8 *)((u64)vector << 12);

	const size_t size = start_prefix_end - start_prefix;

	memcpy(page, start_prefix, size);
	memcpy(page + size, sipi_start, sipi_end - sipi_start);
	memset(page + PAGE_SIZE, 0, sizeof(struct report));
	return (volatile struct report *)(page + PAGE_SIZE);
}

static bool runs_within(volatile struct report *report, unsigned int ms)
{
	const u32 before = report->running;

	return wait_for_other(report->running != before, ms);
}

volatile struct report *start_at(u8 vector)
{
	volatile struct report *report = prepare_page(vector);
	bool runs = false;

	for (unsigned int ms = WAIT_MS / 4; ms <= 2 * WAIT_MS && !runs; ms *= 2) {
		cpu_init_ipi(1);
		runs = sipi_until(cpu_number(1)->apic_id, vector, report->eflags && report->running, ms);
	}
	expect(runs, "the processor runs the page behind INIT and SIPIs");
	return report;
}

TEST("guest.init.sipi", "a SIPI after INIT starts a processor in real mode in the page of its vector",
     NEEDS(NEED_CPUS(2)))
{
	const u8 vector = start_vector(0x0a);
	const volatile struct report *report = start_at(vector);

	expect_eq(report->cs, vector << 8);
	expect_eq(report->cr0 & CR0_PE, 0);
	report = start_at(vector);
	expect_eq(report->cs, vector << 8);
	expect(cpu_restart(1), "the processor starts again by INIT and SIPI");
}

TEST("guest.init.registers", "INIT leaves CR0 but for CD and NW, CR4, RFLAGS, DR7, DS and SS as a reset does",
     NEEDS(NEED_CPUS(2)))
{
	const volatile struct report *report = start_at(start_vector(0x0a));

	expect_eq(report->cr0 & ~(u32)(CR0_CD | CR0_NW), CR0_ET);
	expect_eq(report->cr4, 0);
	/* Bits 31:22 are undefined (note 1 of the table of processor states). */
	expect_bits(report->eflags, (BIT(22) - 1) & ~(u64)RFLAGS_ARITHMETIC, RFLAGS_FIXED);
	expect_eq(report->dr7, 0x400);
	expect_eq(report->ds, 0);
	expect_eq(report->ss, 0);
	expect(cpu_restart(1), "the processor starts again by INIT and SIPI");
}

TEST("guest.init.idtr", "INIT makes the IDTR base 0, limit FFFFH", NEEDS(NEED_CPUS(2)))
{
	const volatile struct report *report = start_at(start_vector(0x0a));

	expect_eq(report->idtr_base, 0);
	expect_eq(report->idtr_limit, 0xffff);
	expect(cpu_restart(1), "the processor starts again by INIT and SIPI");
}

TEST("guest.init.stops", "INIT stops a processor until a SIPI", NEEDS(NEED_CPUS(2)))
{
	volatile struct report *report = start_at(start_vector(0x0a));

	bool running = true;
	for (int inits = 0; inits < 3 && running; inits++) {	/* a SIPI of start_at() that is held may start it again */
		cpu_init_ipi(1);
		running = !wait_for_other(!runs_within(report, WAIT_MS / 4), WAIT_MS);
	}
	expect(!running, "behind INIT the processor does not count any more");
	expect(cpu_restart(1), "the processor starts again by INIT and SIPI");
}

TEST("guest.init.sipi_ignored", "a SIPI to a processor that runs is ignored", NEEDS(NEED_CPUS(2)))
{
	const u8 vector = start_vector(0x4c);
	volatile struct report *other = prepare_page(vector), *report = start_at(start_vector(0x0a));

	sipi_send(cpu_number(1)->apic_id, vector);
	wait_for_nothing();
	expect(runs_within(report, WAIT_MS), "the processor still counts in its own page");
	expect_eq(other->running, 0);
	expect(cpu_restart(1), "the processor starts again by INIT and SIPI");
}

TEST("guest.init.interrupts", "a processor that waits for a SIPI takes no interrupt, and none waits for it",
     NEEDS(NEED_CPUS(2)))
{
	memset((void *)taken_by, 0, sizeof(taken_by));
	interrupt_handle(0x68, notes_taker);
	cpu_init_ipi(1);
	to_second(APIC_DELIVERY_FIXED | 0x68);
	delay_us(1000);
	wait_for_nothing();
	expect(cpu_restart(1), "the processor starts again by INIT and SIPI");
	on_cpu(1, takes_interrupts, &(bool){ false });
	expect_eq(taken_by[1], 0);
}

static void set_sysenter(void *value)
{
	wrmsr(IA32_SYSENTER_ESP, *(u64 *)value);
}

static void get_sysenter(void *value)
{
	*(u64 *)value = rdmsr(IA32_SYSENTER_ESP);
}

static void get_tsc(void *value)
{
	*(u64 *)value = rdtsc();
}

TEST("guest.init.msrs", "INIT leaves IA32_SYSENTER_ESP alone", NEEDS(NEED_CPUS(2), FEATURE_SEP))
{
	u64 value = 0x123456789abc, zero = 0;

	on_cpu(1, set_sysenter, &value);
	require(cpu_restart(1), "the processor starts again by INIT and SIPI");
	value = 1;
	on_cpu(1, get_sysenter, &value);
	expect_eq(value, 0x123456789abc);
	on_cpu(1, set_sysenter, &zero);
}

TEST("guest.init.tsc", "INIT does not set the TSC back", NEEDS(NEED_CPUS(2)))
{
	u64 before = 0, after = 0;

	on_cpu(1, get_tsc, &before);
	require(cpu_restart(1), "the processor starts again by INIT and SIPI");
	on_cpu(1, get_tsc, &after);
	expect_between(before + 1, after, before + BIT(63));	/* it may pass 2^64 */
}
