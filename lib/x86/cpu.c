/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/processor.h"
#include "x86/tables.h"
#include "x86/time.h"

#include "libc/string.h"

/* The page below 1 MiB that other processors start in, and the SIPI vector of it. */
#define AP_START_PAGE 0x8000

static struct cpu cpus[MAX_CPUS];
static unsigned int online = 1;
static bool started;
unsigned int cpus_expected;
void (*cpu_fatal_hook)(const struct exception_frame *frame);

extern const u8 ap_start[], ap_start_end[];
extern const u32 ap_gdtr_offset, ap_gdt_offset;
extern volatile u32 ap_next;		/* the number that the next one to arrive gets */
extern u32 ap_stacks[MAX_CPUS];
void ap_main(u32 number);

struct cpu *cpu_number(unsigned int n)
{
	return &cpus[n];
}

void cpu_yield(void)
{
	outb(0x80, 0);
	cpu_relax();
}

void delay_us(unsigned int us)
{
	const u64 ticks = us * tsc_per_ms() / 1000, start = rdtsc();

	while (rdtsc() - start < ticks)
		cpu_yield();
}

void cpu_load_tables(struct cpu *cpu)
{
	cpu->self = cpu;
	cpu->tss.rsp[0] = (u64)(cpu->user_entry_stack + sizeof(cpu->user_entry_stack));
	for (int i = 0; i < IST_STACKS; i++)
		cpu->tss.ist[i] = (u64)(cpu->ist_stack[i] + sizeof(cpu->ist_stack[i]));
	cpu->tss.iomap_base = sizeof(cpu->tss);
	tables_set_tss(cpu);

	write_gdtr(tables_gdtr());
	write_idtr(tables_idtr());
	write_ldtr(0);
	asm volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss; mov %1, %%fs; mov %1, %%gs"
		     : : "r"(SELECTOR_DATA), "r"(0) : "memory");
	wrmsr(IA32_GS_BASE, (u64)cpu);
	asm volatile("ltr %w0" : : "r"(SELECTOR_TSS(cpu->number)) : "memory");
}

void cpu_init(void)
{
	tables_init();
	cpu_load_tables(&cpus[0]);
	apic_init();
	cpus[0].apic_id = apic_id();
}

void cpu_fatal(const struct exception_frame *frame)
{
	if (cpu_fatal_hook)
		cpu_fatal_hook(frame);
	for (;;)
		asm volatile("cli; hlt");
}

static void do_work(struct cpu *cpu)
{
	cpu->work_fault = TRY(cpu->work(cpu->work_argument));
	asm volatile("" : : : "memory");
	cpu->work = NULL;
}

void cpu_wake_up(struct cpu *cpu)
{
	apic_eoi();
	cpu->woken = true;
}

/*
 * Asleep, because one that spins takes half the time of a machine with fewer processors than it gives its guest.
 * It wakes up by the interrupt alone, not by looking at `work`, so that none is left for later. The TPR holds back
 * all interrupts of other classes, as if it had never let any in. With its APIC off it can only spin.
 */
static void wait_for_work(struct cpu *cpu)
{
	cpu->woken = false;
	write_cr8((VECTOR_WAKE >> 4) - 1);
	if (apic_read(APIC_SVR) & APIC_SVR_ENABLE)
		while (!cpu->woken)
			asm volatile("sti; hlt; cli" : : : "memory");
	write_cr8(0);
	while (!cpu->work)
		cpu_relax();
}

/* Another processor's life: wait for work. */
void ap_main(u32 number)
{
	struct cpu *cpu = &cpus[number];

	cpu->number = number;
	cpu_load_tables(cpu);
	apic_init();
	cpu->apic_id = apic_id();
	if (cpu->starts++ == 0)
		__atomic_fetch_add(&online, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		wait_for_work(cpu);
		do_work(cpu);
	}
}

static unsigned int online_now(void)
{
	return __atomic_load_n(&online, __ATOMIC_SEQ_CST);
}

/* Wait until so many have arrived; at the most `ms` milliseconds behind the last arrival. */
static void wait_for_arrivals(unsigned int expected, unsigned int ms)
{
	unsigned int seen = online_now();

	for (unsigned int waited = 0; waited < ms && seen < expected; waited++) {
		delay_us(1000);
		if (online_now() != seen) {
			seen = online_now();
			waited = 0;
		}
	}
}

static void start_others(void)
{
	u8 *page = (u8 *)AP_START_PAGE;
	const unsigned int expected = cpus_expected ? cpus_expected : MAX_CPUS;

	if (cpus_expected == 1)
		return;
	for (int i = 1; i < MAX_CPUS; i++)
		ap_stacks[i] = (u32)(u64)(cpus[i].stack + sizeof(cpus[i].stack));
	memcpy(page, ap_start, ap_start_end - ap_start);
	*(u32 *)(page + ap_gdtr_offset) = AP_START_PAGE + ap_gdt_offset;

	/* "MP Initialization Protocol": INIT, 10 ms, SIPI, and a second SIPI to who missed it. */
	apic_send_ipi_others(APIC_DELIVERY_INIT);
	delay_us(10000);
	apic_send_ipi_others(APIC_DELIVERY_SIPI | AP_START_PAGE >> 12);
	wait_for_arrivals(expected, 2);
	if (online_now() < expected) {
		apic_send_ipi_others(APIC_DELIVERY_SIPI | AP_START_PAGE >> 12);
		wait_for_arrivals(expected, cpus_expected ? 2000 : 100);
	}
}

unsigned int cpus_online(void)
{
	if (!started) {
		started = true;
		start_others();
	}
	return online_now();
}

void cpu_init_ipi(unsigned int n)
{
	apic_send_ipi(cpus[n].apic_id, APIC_DELIVERY_INIT);
	delay_us(1000);
}

void on_cpu_start(unsigned int n, void (*fn)(void *), void *argument)
{
	if (n >= cpus_online()) {
		cpus[n].work_fault = (struct fault){ .raised = true, .thrown = "the processor does not answer" };
		return;
	}
	cpus[n].work_argument = argument;
	asm volatile("" : : : "memory");
	cpus[n].work = fn;
	if (n == 0)
		do_work(&cpus[0]);
	else
		apic_send_ipi(cpus[n].apic_id, VECTOR_WAKE);
}

bool on_cpu_done(unsigned int n)
{
	return !cpus[n].work;
}

bool cpu_restart(unsigned int n)
{
	const unsigned int all = online_now();
	const u32 starts = cpus[n].starts;
	void (*const work)(void *) = cpus[n].work;

	if (n == 0 || n >= all)
		return false;
	ap_next = n;				/* the number that it draws */
	cpu_init_ipi(n);
	cpus[n].work = NULL;
	cpus[n].recovery = NULL;
	for (int ms = 0; ms < 200 && cpus[n].starts == starts; ms++) {
		/* One that is late to take its INIT (an emulator's, on a busy machine) loses the SIPIs before. */
		if (ms % 20 == 0)
			apic_send_ipi(cpus[n].apic_id, APIC_DELIVERY_SIPI | AP_START_PAGE >> 12);
		delay_us(1000);
	}
	ap_next = all;
	if (cpus[n].starts != starts)
		return true;
	cpus[n].work = work;
	return false;
}

struct fault on_cpu_wait(unsigned int n)
{
	while (cpus[n].work)
		cpu_yield();
	return cpus[n].work_fault;
}

struct fault on_cpu(unsigned int n, void (*fn)(void *), void *argument)
{
	on_cpu_start(n, fn, argument);
	return on_cpu_wait(n);
}
