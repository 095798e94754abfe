/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The VMX-preemption timer (SDM Vol. 3C, "VMX-Preemption Timer"). It counts down by one each time bit X of the TSC
 * changes, X being IA32_VMX_MISC[4:0]. Nothing here depends on how fast the machine is: what the timer did is
 * compared with the TSC inside and around the guest.
 */
#include "event.h"
#include "x86/time.h"

#define NEEDS_TIMER	NEEDS(PIN_ACTIVATE_VMX_PREEMPTION_TIMER)
#define NEEDS_SAVING	NEEDS(PIN_ACTIVATE_VMX_PREEMPTION_TIMER, EXITCTL_SAVE_VMX_PREEMPTION_TIMER_VALUE)

/* TSC cycles of the longest runs where the timer counts fast; what the timer needs for it is this >> rate(). */
enum { LONG_RUN = 400000 };

/*
 * How long a guest runs, or how late the processor comes back to it, is not promised: where a timer must not expire
 * before the guest is done, the test begins again with ten times as much, up to this many cycles.
 */
static u64 longest_run(void)
{
	return 300 * tsc_per_ms();
}

/* So many times as long, or the longest of all. */
static u64 times(u64 cycles, u32 factor)
{
	return cycles * factor < longest_run() ? cycles * factor : longest_run();
}

/* 0: there is no longer one. */
static u64 longer(u64 cycles)
{
	return cycles >= longest_run() ? 0 : times(cycles, 10);
}

static u32 rate(void)
{
	return vmx_capabilities()->misc & 0x1f;
}

static void set_timer(u64 value)
{
	vmcs_set_controls(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
	vmcs_write(VMX_PREEMPTION_TIMER_VALUE, value);
}

/* A timer that does not expire while the guest runs for LONG_RUN. */
static u32 enough(void)
{
	return guest_watchdog_value();
}

/* The guest's TSC when it starts and as late as it came; how long it shall run. */
static struct {
	volatile u64 first, last, cycles;
} ran;

static void guest_runs_for(void)
{
	ran.first = ran.last = rdtsc();
	while (ran.last - ran.first < ran.cycles)
		ran.last = rdtsc();
}

/* The same again and again, with an exit each time. */
static void guest_runs_in_parts(void)
{
	for (;;) {
		guest_runs_for();
		guest_call_host(1);
	}
}

static void guest_runs_for_ever(void)
{
	ran.cycles = ~0ull;
	guest_runs_for();
}

static u64 ran_cycles(void)
{
	return ran.last - ran.first;
}

static void expect_timer_exit(void)
{
	if (!expect_exit(EXIT_PREEMPTION_TIMER, .qualification = 0))
		return;
	expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), INTERRUPTION_VALID, 0);
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);
}

/* So many cycles at the least: a guest that runs as long sees the timer count, twice at the least. */
static u64 counted(u64 cycles)
{
	return cycles > 2ull << rate() ? cycles : 2ull << rate();
}

static const u32 timer_values[] = { 2, 3, 5, 16, 255, 256, 1000, 4097, 65535, 65536, 100000 };

/* The first one always; then those that take no more than a second. */
static bool is_short(u32 value)
{
	return value == timer_values[0] || (u64)value << rate() < 1000 * tsc_per_ms();
}

/* One run that needs next to nothing of the timer, host time that needs more than all of it, and a second run. */
static bool run_around_host_time(u64 cycles)
{
	const u64 value = (cycles >> rate()) + 2;

	set_timer(value);
	ran.cycles = 0;
	guest_run(guest_runs_for);
	if (!guest_is_done())
		return false;
	wait_ticks(2 * value << rate());
	guest_run(guest_runs_for);
	return guest_is_done();
}

TEST("feat.preempt.countdown", "The VMX-preemption timer counts down in the guest and exits at 0, with reason 52",
     NEEDS_TIMER)
{
	u32 turn = 0;

	/* 0 exits before the first instruction. */
	CASE("value 0");
	set_timer(0);
	ran.first = 0;
	guest_run(guest_runs_for_ever);
	expect_timer_exit();
	expect_eq(vmcs_read(GUEST_RIP), (u64)guest_start);
	expect_eq(ran.first, 0);

	for (u32 i = 0; i < ARRAY_SIZE(timer_values); i++) {
		if (!walk_takes_nth(&turn, 3) || !is_short(timer_values[i]))
			continue;

		const u64 least = (u64)(timer_values[i] - 1) << rate();
		u64 before, after;

		CASE("value %u", timer_values[i]);
		set_timer(timer_values[i]);
		before = rdtsc();
		guest_run(guest_runs_for_ever);
		after = rdtsc();
		expect_timer_exit();
		expect_between(least, after - before, ~0ull);
	}

	CASE("between two entries");
	bool done = false;

	for (u64 cycles = LONG_RUN; !done && cycles; cycles = longer(cycles))
		done = run_around_host_time(cycles);
	expect(done, "the timer has not counted what passed between two entries");
}

/* Does the exit come before the guest has run for one and a half times as long, in the best of some runs? */
static bool exits_at_its_rate(u64 cycles)
{
	const u64 value = (cycles >> rate()) + 2;
	bool in_time = false;

	CASE("value %u", value);
	set_timer(value);
	for (u32 i = 0; i < 5 && !in_time; i++) {
		const u64 before = rdtsc();

		guest_run(guest_runs_for_ever);
		expect_between((value - 1) << rate(), rdtsc() - before, ~0ull);
		expect_timer_exit();
		in_time = ran_cycles() <= (value << rate()) + (value << rate()) / 2;
	}
	return in_time;
}

/*
 * How late the exit comes behind the timer's end is nobody's promise, be it due to an SMI or to a hypervisor below: with
 * ten times as long a timer it makes a tenth of the difference. A wrong rate is off by a factor of 2 or more however long.
 */
TEST("feat.preempt.rate", "The timer counts at the rate that IA32_VMX_MISC[4:0] says", NEEDS_TIMER)
{
	u64 cycles = LONG_RUN / 8;

	for (int i = 0; i < 4; i++, cycles = times(cycles, 2)) {
		bool in_time = exits_at_its_rate(cycles);

		while (!in_time && (cycles = longer(cycles)))
			in_time = exits_at_its_rate(cycles);
		require(in_time, "the exit comes when the timer's value has counted down at that rate");
	}
}

/* The guest runs for a quarter of the timer in each of eight entries: does none of them end by the timer? */
static bool each_entry_starts_afresh(u64 cycles)
{
	const u32 value = (cycles >> rate()) + 2;

	set_timer(value);
	ran.cycles = ((u64)value << rate()) / 4;
	guest_run(guest_runs_in_parts);
	for (int i = 0; i < 8; i++) {
		CASE("entry %u", i);
		if (guest.outcome.kind == OUTCOME_EXIT && guest.outcome.number == EXIT_PREEMPTION_TIMER)
			return false;
		expect_exit(EXIT_VMCALL);
		expect_eq(vmcs_read(VMX_PREEMPTION_TIMER_VALUE), value);
		guest_skip_instruction();
		guest_resume();
	}
	return true;
}

TEST("feat.preempt.reload", "Without the save control the timer's field stays, and each entry starts from it",
     NEEDS_TIMER)
{
	const u32 value = (LONG_RUN >> rate()) + 1;
	bool afresh = false;

	vmcs_clear_controls(EXITCTL_SAVE_VMX_PREEMPTION_TIMER_VALUE);
	for (u64 cycles = LONG_RUN; !afresh && cycles; cycles = longer(cycles))
		afresh = each_entry_starts_afresh(cycles);
	expect(afresh, "no entry ends by the timer, for each starts with the whole value");
	CASE("exit by the timer");
	set_timer(value);
	guest_run(guest_runs_for_ever);
	expect_timer_exit();
	expect_eq(vmcs_read(VMX_PREEMPTION_TIMER_VALUE), value);
}

static void guest_runs_and_raises_ud(void)
{
	guest_runs_for();
	asm volatile("ud2");
}

/* One run of the guest with the save control; the saved value must fit the TSC in the guest and around it. */
static void check_saved(u64 cycles, u64 scale)
{
	const u32 value = vmcs_read(VMX_PREEMPTION_TIMER_VALUE);
	u64 before, around, saved;

	ran.cycles = cycles;
	before = rdtsc();
	guest_run(guest_runs_for);
	around = rdtsc() - before;
	expect_guest_done();
	saved = vmcs_read(VMX_PREEMPTION_TIMER_VALUE);
	expect_between((ran_cycles() / scale) >> rate(), value - saved + 1, (around >> rate()) + 2);
}

TEST("feat.preempt.save", "With the save control each exit stores what is left of the timer", NEEDS_SAVING)
{
	vmcs_set_controls(EXITCTL_SAVE_VMX_PREEMPTION_TIMER_VALUE);
	for (u64 cycles = 1000; cycles <= LONG_RUN; cycles *= 3) {
		CASE("%u cycles", cycles);
		set_timer(enough());
		check_saved(cycles, 1);
	}
	CASE("so many cycles that the timer must have counted");
	set_timer(enough());
	check_saved(counted(LONG_RUN), 1);
	expect_between(0, vmcs_read(VMX_PREEMPTION_TIMER_VALUE), enough() - 1);

	/* The next entry goes on from what is left: four of them, in each of which it counts, use all of it up. */
	const u32 value = counted(LONG_RUN) >> rate();

	CASE("several entries");
	set_timer(4 * value);
	ran.cycles = (u64)value << rate();
	guest_run(guest_runs_in_parts);
	for (int i = 0; i < 5 && guest.outcome.kind == OUTCOME_EXIT && guest.outcome.number == EXIT_VMCALL; i++) {
		guest_skip_instruction();
		guest_resume();
	}
	expect_timer_exit();

	CASE("exit by an exception");
	set_timer(enough());
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_UD));
	ran.cycles = counted(0);
	guest_run(guest_runs_and_raises_ud);
	expect_exit(EXIT_EXCEPTION_OR_NMI);
	expect_between(0, vmcs_read(VMX_PREEMPTION_TIMER_VALUE), enough() - 1);
}

TEST("feat.preempt.after_vmxoff", "A timer that has not expired when VMX operation ends is no more; a guest of later runs as ever", NEEDS_TIMER)
{
	const u64 cycles = 2 * tsc_per_ms();

	for (u32 turn = 0; turn < 3; turn++) {
		CASE("turn %u", turn);
		set_timer((cycles >> rate()) + 2);
		ran.cycles = 0;
		guest_run(guest_runs_for);
		vmx_off();
		wait_ticks(4 * cycles);
		vmx_on();
		vmcs_reset();
		guest_baseline();
		ran.cycles = 0;
		guest_run(guest_runs_for);
		expect_guest_done();
	}
}

TEST("feat.preempt.save_zero", "With the save control an exit by the timer stores 0", NEEDS_SAVING)
{
	u32 turn = 0;

	vmcs_set_controls(EXITCTL_SAVE_VMX_PREEMPTION_TIMER_VALUE);
	for (u32 i = 0; i < ARRAY_SIZE(timer_values); i++) {
		if (!walk_takes_nth(&turn, 3) || !is_short(timer_values[i]))
			continue;
		CASE("value %u", timer_values[i]);
		set_timer(timer_values[i]);
		guest_run(guest_runs_for_ever);
		expect_timer_exit();
		expect_eq(vmcs_read(VMX_PREEMPTION_TIMER_VALUE), 0);
		/* And 0 exits at once. */
		guest_run(guest_runs_for_ever);
		expect_timer_exit();
		expect_eq(vmcs_read(GUEST_RIP), (u64)guest_start);
		expect_eq(vmcs_read(VMX_PREEMPTION_TIMER_VALUE), 0);
	}
}

TEST("feat.preempt.off", "Without the timer's control its field is not looked at, and not written", NEEDS_TIMER)
{
	static const u32 values[] = { 0, 1, 1000, 0xffffffff };

	vmcs_clear_controls(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
	ran.cycles = 20000;
	for (u32 i = 0; i < ARRAY_SIZE(values); i++) {
		CASE("value %#x", values[i]);
		vmcs_write(VMX_PREEMPTION_TIMER_VALUE, values[i]);
		guest_run(guest_runs_for);
		expect_guest_done();
		expect_eq(vmcs_read(VMX_PREEMPTION_TIMER_VALUE), values[i]);
	}
}

GUEST_ASM(guest_hlts, "hlt; behind_timer_hlt: ret");
extern const u8 behind_timer_hlt[];

TEST("feat.preempt.hlt", "The timer wakes a halted guest: its exit saves activity state HLT", NEEDS_TIMER)
{
	CASE("HLT in the guest");
	expect(run_halted_until_timer(guest_hlts, RFLAGS_FIXED, behind_timer_hlt), "the exit finds the guest behind its HLT");
	expect_timer_exit();
	expect_eq(vmcs_read(GUEST_ACTIVITY_STATE), ACTIVITY_HLT);
	expect_eq(vmcs_read(GUEST_RIP), (u64)behind_timer_hlt);

	/* The state that was saved is one that can be entered: the guest halts again. */
	if (has(CAP_MISC_ACTIVITY_HLT)) {
		CASE("entry into HLT");
		guest_resume();
		expect_timer_exit();
		expect_eq(vmcs_read(GUEST_ACTIVITY_STATE), ACTIVITY_HLT);
		expect_eq(vmcs_read(GUEST_RIP), (u64)behind_timer_hlt);
	}
	vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
	set_timer(enough());
	guest_resume();
	expect_guest_done();
}

TEST("feat.preempt.priority", "The timer's exit comes before windows and interrupts, but behind a debug trap",
     NEEDS(PIN_ACTIVATE_VMX_PREEMPTION_TIMER, PIN_EXTERNAL_INTERRUPT_EXITING, PROC_INTERRUPT_WINDOW_EXITING,
	   PROC_USE_MSR_BITMAPS))
{
	if (has(PROC_NMI_WINDOW_EXITING)) {
		CASE("NMI window");
		use_virtual_nmis();
		vmcs_set_controls(PROC_NMI_WINDOW_EXITING);
		set_timer(0);
		guest_run(guest_does_nothing);
		expect_timer_exit();
		vmcs_clear_controls(PROC_NMI_WINDOW_EXITING, PIN_VIRTUAL_NMIS, PIN_NMI_EXITING);
	}

	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	set_timer(0);
	CASE("interrupt");
	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	require_pend(TEST_VECTOR);
	guest_run(guest_does_nothing);
	expect_timer_exit();
	CASE("interrupt window");
	vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);
	guest_run(guest_does_nothing);
	expect_timer_exit();
	expect_eq(take_pending(TEST_VECTOR), 1);

	CASE("single step pending");
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_DB));
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_TF);
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, BIT(14));
	guest_run(guest_does_nothing);
	expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)guest_start,
		    .interruption = INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | VECTOR_DB);
}

TEST("feat.preempt.tsc_offset_indep", "TSC offset and TSC scaling do not change how the timer counts", NEEDS_SAVING)
{
	vmcs_set_controls(EXITCTL_SAVE_VMX_PREEMPTION_TIMER_VALUE);
	if (has(PROC_USE_TSC_OFFSETTING)) {
		for (u32 bit = 8; bit < 64; bit += 5) {
			CASE("offset %#lx", BIT(bit));
			vmcs_set_controls(PROC_USE_TSC_OFFSETTING);
			vmcs_write(TSC_OFFSET, BIT(bit));
			set_timer(enough());
			check_saved(counted(LONG_RUN / 16), 1);
		}
	}
	if (has(PROC2_USE_TSC_SCALING)) {
		CASE("the guest's TSC runs 8 times as fast");
		vmcs_set_controls(PROC2_USE_TSC_SCALING);
		vmcs_write(TSC_MULTIPLIER, 8 * BIT(48));
		set_timer(enough());
		check_saved(8 * counted(LONG_RUN / 8), 8);
	}
}
