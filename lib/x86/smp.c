/* SPDX-License-Identifier: BSD-2-Clause */
/* Other processors: their start, their work, and what becomes of one that does not come back (SDM Vol. 3A, "MP Initialization"). */
#include "machine/acpi.h"
#include "machine/madt.h"
#include "machine/memory.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/feature.h"
#include "x86/processor.h"
#include "x86/quiet.h"
#include "x86/state.h"
#include "x86/wait.h"

#include "libc/printf.h"
#include "libc/string.h"

enum {
	INIT_TO_SIPI_US = 10000, SIPI_TO_SIPI_MS = 1,
	KNOWN_COME_WITHIN_MS = 2000, UNKNOWN_COME_WITHIN_MS = 100,	/* behind the last that came */
	STARTS_AGAIN_WITHIN_MS = 3000, COMES_BACK_WITHIN_MS = 10000,
	CLOSED = 0x7fffffff,
};

/* smp.S: the first number that is free, and the one that is none; the slot that is being started again. */
extern volatile u32 ap_next, ap_end, ap_again, ap_use_x2apic;
extern u32 ap_stacks[MAX_CPUS], ap_initial_ids[MAX_CPUS];
volatile u32 ap_next = 1, ap_end, ap_again, ap_use_x2apic, ap_parked;
u32 ap_stacks[MAX_CPUS], ap_initial_ids[MAX_CPUS];

extern const u8 ap_start[], ap_start_end[], park_again[], park_nmi[], park_machine_check[], cpu_sleep_halt[];
void cpu_sleep(void);
void ap_main(u32 slot);

unsigned int cpus_expected;
static struct cpu cpus[MAX_CPUS];
static struct cpu *numbered[MAX_CPUS] = { &cpus[0] };
static unsigned int online = 1, lost;
static u64 start_page;			/* below 1 MiB, for ap_start; 0: none is free, or no processor has been started yet */
static bool started;
static volatile bool mode_is_settled;

struct cpu *cpu_number(unsigned int n)
{
	return numbered[n];
}

/* ---- What the others do */

void cpu_wake_up(struct cpu *cpu, struct exception_frame *frame)
{
	apic_eoi();
	cpu->woken = true;
	/* An NMI that came behind STI may have let this one in before HLT, which would then wait for another. */
	if (frame->rip == (u64)cpu_sleep_halt)
		frame->rip++;
}

/*
 * Asleep, because one that spins takes half the time of a machine with fewer processors than it gives its guest.
 * It wakes up by the interrupt alone, not by looking at `work`, so that none is left for later. The TPR holds back
 * all interrupts of other classes, as if it had never let any in. With its APIC off it can only spin.
 */
static void wait_for_work(struct cpu *cpu)
{
	write_cr8((VECTOR_WAKE >> 4) - 1);
	if (apic_read(APIC_SVR) & APIC_SVR_ENABLE)
		while (!cpu->woken)
			cpu_sleep();
	write_cr8(0);
	while (!wait_for_other(cpu->work, WAIT_MS))
		;
}

static void do_work(struct cpu *cpu)
{
	hostile_processor_works();
	cpu->work_fault = TRY(cpu->work(cpu->work_argument));
}

/* From the end of this on the next work may come; its interrupt has to wait until wait_for_work(). */
static void end_work(struct cpu *cpu)
{
	write_rflags(RFLAGS_FIXED);
	cpu->woken = false;
	asm volatile("" : : : "memory");
	cpu->work = NULL;
}

/* Another processor's life: wait for work. The same entry state as the first one's, in the APIC mode that all are in. */
void ap_main(u32 slot)
{
	struct cpu *cpu = &cpus[slot];

	cpu_load_tables(cpu);
	hostile_processor_starts();
	cpu->came_in_x2apic = apic_is_x2apic();
	cpu->arrived = true;
	while (!wait_for_other(mode_is_settled, WAIT_MS))
		;
	if (ap_use_x2apic && !apic_is_x2apic())
		apic_enable_x2apic();
	machine_quiet_processor();
	cpu->apic_id = apic_id();
	cpu->woken = false;
	asm volatile("" : : : "memory");
	cpu->starts++;
	for (;;) {
		wait_for_work(cpu);
		do_work(cpu);
		end_work(cpu);
	}
}

/* ---- Starting them */

/* A gate of 32-bit mode, for those that are parked. */
struct gate32 {
	u16 offset_15_0, selector;
	u8 zero, type;
	u16 offset_31_16;
};

extern struct gate32 ap_idt[32];

static void set_park_gate(u8 vector, const u8 *entry)
{
	const u32 offset = (u64)entry;

	ap_idt[vector] = (struct gate32){ .offset_15_0 = offset, .selector = 8, .type = 0x8e, .offset_31_16 = offset >> 16 };
}

/* A page where a SIPI leads to ap_start: a test may have had it in between. */
static void prepare_start(void)
{
	memcpy((void *)start_page, ap_start, ap_start_end - ap_start);
}

static void prepare_first_start(unsigned int most)
{
	prepare_start();
	for (u32 vector = 0; vector < ARRAY_SIZE(ap_idt); vector++)
		set_park_gate(vector, park_again);
	set_park_gate(VECTOR_NMI, park_nmi);
	set_park_gate(VECTOR_MC, park_machine_check);
	for (u32 slot = 1; slot < MAX_CPUS; slot++) {
		cpus[slot].slot = cpus[slot].number = slot;
		numbered[slot] = &cpus[slot];
		ap_stacks[slot] = (u64)(cpus[slot].stack + sizeof(cpus[slot].stack));
	}
	ap_use_x2apic = apic_is_x2apic();
	ap_end = most;
}

/*
 * APIC IDs of the others, if they are known: by a MADT that lists as many as the command line promises. They are started
 * all, for an NMI to all others reaches each, and where the firmware has left one there may be no IDT.
 */
struct listed {
	bool known;
	u32 ids[1024];
	unsigned int count;
};

static const struct listed *list_others(unsigned int most)
{
	static struct listed others;
	const struct acpi_table *madt = acpi_find("APIC");
	const bool has_x2apic = has_feature(FEATURE_X2APIC);
	const unsigned int all = madt ? madt_processors(madt, others.ids, ARRAY_SIZE(others.ids)) : 0;

	for (unsigned int i = 0; i < all; i++)
		if (others.ids[i] != cpus[0].apic_id && (others.ids[i] <= APIC_LAST_XAPIC_ID || has_x2apic))
			others.ids[others.count++] = others.ids[i];
	others.known = all && (!cpus_expected || others.count + 1 >= most);
	return &others;
}

static void send(const struct listed *to, u32 delivery)
{
	if (!to->known)
		apic_send_ipi_others(delivery);
	for (unsigned int i = 0; to->known && i < to->count; i++)
		apic_send_ipi(to->ids[i], delivery);
}

/* Wait until so many have drawn a number; at the most `ms` milliseconds behind the last that did. */
static bool have_come(unsigned int expected, unsigned int ms)
{
	unsigned int seen;

	do
		seen = ap_next;
	while (seen < expected && wait_for_other(ap_next != seen, ms));
	return seen >= expected;
}

static bool has_arrived(const struct cpu *cpu)
{
	return cpu->arrived;
}

static bool is_up(const struct cpu *cpu)
{
	return cpu->starts;
}

/* Wait until the first `all` are so, but not longer than a second. */
static void wait_until_all(bool (*is_so)(const struct cpu *cpu), unsigned int all)
{
	unsigned int n = 1;

	wait_for_other(n >= all || (is_so(&cpus[n]) && ++n >= all), WAIT_MS);
}

/* Nobody in x2APIC mode, or everybody (SDM Vol. 3A, "x2APIC State Transitions"): that reaches each APIC ID. */
static void use_x2apic(void)
{
	if (apic_is_x2apic() || !has_feature(FEATURE_X2APIC))
		return;
	apic_enable_x2apic();
	apic_init();
	cpus[0].apic_id = apic_id();
	state_forget();
}

static void settle_mode(unsigned int all)
{
	for (unsigned int i = 1; i < all; i++)
		if (cpus[i].came_in_x2apic || ap_initial_ids[i] > APIC_LAST_XAPIC_ID)
			use_x2apic();
	ap_use_x2apic = apic_is_x2apic();
	mode_is_settled = true;
}

static void start_others(void)
{
	const unsigned int most = cpus_expected && cpus_expected < MAX_CPUS ? cpus_expected : MAX_CPUS;

	if (most > 1)
		start_page = memory_low_page();
	if (!start_page)
		return;

	const struct listed *others = list_others(most);
	const unsigned int expected = others->known && others->count < most ? others->count + 1 : most;
	const bool count_is_known = cpus_expected || others->known;

	for (unsigned int i = 0; others->known && i < others->count; i++)
		if (others->ids[i] > APIC_LAST_XAPIC_ID)
			use_x2apic();
	prepare_first_start(most);
	send(others, APIC_DELIVERY_INIT);
	delay_us(INIT_TO_SIPI_US);
	send(others, APIC_DELIVERY_SIPI | start_page >> 12);
	if (!have_come(expected, SIPI_TO_SIPI_MS)) {
		send(others, APIC_DELIVERY_SIPI | start_page >> 12);
		have_come(expected, count_is_known ? KNOWN_COME_WITHIN_MS : UNKNOWN_COME_WITHIN_MS);
	}

	online = __atomic_exchange_n(&ap_next, CLOSED, __ATOMIC_SEQ_CST);
	wait_until_all(has_arrived, online);
	settle_mode(online);
	wait_until_all(is_up, online);
	for (unsigned int n = online - 1; n > 0; n--)
		if (!is_up(numbered[n]))
			cpu_leave_out(n);
}

unsigned int cpus_online(void)
{
	if (!started) {
		started = true;
		start_others();
	}
	return online;
}

static bool is_ours(u32 id)
{
	for (unsigned int n = 0; n < online + lost; n++)
		if (numbered[n]->apic_id == id)
			return true;
	return false;
}

bool cpus_unused_apic_id(u32 *id)
{
	const void *madt = acpi_find("APIC");

	if (cpus_online() == 1 || (!madt && ap_parked))
		return false;
	for (*id = APIC_LAST_XAPIC_ID; *id; --*id)
		if (!is_ours(*id) && !(madt && madt_has_id(madt, *id)))
			return true;
	return false;
}

/* ---- Starting one again */

void cpu_init_ipi(unsigned int n)
{
	numbered[n]->stopped = true;
	apic_send_ipi(numbered[n]->apic_id, APIC_DELIVERY_INIT);
	delay_us(1000);
}

bool cpu_restart(unsigned int n)
{
	if (n == 0 || n >= online)
		return false;

	struct cpu *cpu = numbered[n];
	const u32 starts = cpu->starts;
	void (*const work)(void *) = cpu->work;

	prepare_start();
	ap_again = cpu->slot;
	cpu_init_ipi(n);
	cpu->work = NULL;
	cpu->recovery = NULL;
	/* One that is late to take its INIT (an emulator's, on a busy machine) loses the SIPIs before, or goes by a test's. */
	bool is_back = sipi_until(cpu->apic_id, start_page >> 12, cpu->starts != starts, STARTS_AGAIN_WITHIN_MS / 3);
	if (!is_back) {
		cpu_init_ipi(n);
		is_back = sipi_until(cpu->apic_id, start_page >> 12, cpu->starts != starts, STARTS_AGAIN_WITHIN_MS * 2 / 3);
	}
	ap_again = 0;
	if (is_back)
		cpu->stopped = false;
	else
		cpu->work = work;
	return is_back;
}

void cpu_leave_out(unsigned int n)
{
	struct cpu *cpu = numbered[n];

	lost++;
	online--;
	numbered[n] = numbered[online];
	numbered[n]->number = n;
	numbered[online] = cpu;
	cpu->number = online;
}

void cpus_recall(void)
{
	for (unsigned int n = online - 1; n > 0; n--)
		if ((numbered[n]->work || numbered[n]->stopped) && !cpu_restart(n))
			cpu_leave_out(n);
}

unsigned int cpus_lost(void)
{
	return lost;
}

/* ---- Giving them work */

static void throw_about(unsigned int n, const char *what)
{
	static char text[48];

	snprintf(text, sizeof(text), "processor %u %s", n, what);
	throw(text);
}

void on_cpu_start(unsigned int n, void (*fn)(void *), void *argument)
{
	if (n >= cpus_online())
		return;

	struct cpu *cpu = numbered[n];

	if (cpu->work)
		throw_about(n, "is still at other work");
	cpu->work_argument = argument;
	asm volatile("" : : : "memory");
	cpu->work = fn;
	if (n == 0) {
		do_work(cpu);
		cpu->work = NULL;
	} else {
		apic_send_ipi(cpu->apic_id, VECTOR_WAKE);
	}
}

bool on_cpu_done(unsigned int n)
{
	return n >= online || !numbered[n]->work;
}

struct fault on_cpu_wait(unsigned int n)
{
	return on_cpu_wait_within(n, COMES_BACK_WITHIN_MS);
}

struct fault on_cpu_wait_within(unsigned int n, u32 ms)
{
	if (n >= online)
		return (struct fault){ .raised = true, .thrown = "there is no such processor" };
	if (!wait_for_other(on_cpu_done(n), ms))
		throw_about(n, "does not come back");
	return numbered[n]->work_fault;
}

struct fault on_cpu(unsigned int n, void (*fn)(void *), void *argument)
{
	on_cpu_start(n, fn, argument);
	return on_cpu_wait(n);
}
