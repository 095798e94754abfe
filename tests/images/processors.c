/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the library does with processors: online=N and parked=N on the command line say what there must be. Boot it with
 * more processors than smp=N, with gaps in the APIC IDs, with none.
 */
#include "tap/plain.h"
#include "vmx/vmcs.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/interrupt.h"
#include "x86/page.h"
#include "x86/processor.h"
#include "x86/wait.h"

#include "libc/string.h"

static u32 wanted_online, wanted_parked;

static u32 number_in(const char *text)
{
	u32 number = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		number = 10 * number + (*text - '0');
	return number;
}

bool tap_image_word(const char *word)
{
	if (!strncmp(word, "online=", 7))
		wanted_online = number_in(word + 7);
	else if (!strncmp(word, "parked=", 7))
		wanted_parked = number_in(word + 7);
	else
		return false;
	return true;
}

static void do_nothing(UNUSED void *unused)
{
}

static void leave_interrupts_on(UNUSED void *unused)
{
	interrupts_on();
}

static void stay_for_ever(UNUSED void *unused)
{
	interrupts_off();
	while (!wait_for_other(false, WAIT_MS))
		;
}

static void expect_that_all_work(void)
{
	for (u32 n = 0; n < cpus_online(); n++) {
		const struct fault fault = on_cpu(n, do_nothing, NULL);

		CASE("processor %u", n);
		expect_no_fault(fault);
		expect_eq(cpu_number(n)->number, n);
	}
}

TEST("self.cpus.online", "as many processors are used as online= says")
{
	expect_eq(cpus_online(), wanted_online);
	expect_that_all_work();
}

static volatile u32 nmis[MAX_CPUS];

static void count_nmi(UNUSED struct exception_frame *frame)
{
	nmis[this_cpu()->number]++;
}

static bool all_others_have(u32 count)
{
	for (u32 n = 1; n < cpus_online(); n++)
		if (nmis[n] < count)
			return false;
	return true;
}

TEST("self.cpus.parked", "the others are parked, as many as parked= says, and survive an NMI to all", NEEDS(NEED_CPUS(2)))
{
	expect(wait_for_other(ap_parked >= wanted_parked, WAIT_MS), "so many processors are parked as parked= says");
	interrupt_handle(VECTOR_NMI, count_nmi);
	for (u32 count = 1; count <= 3; count++) {
		apic_send_ipi_others(APIC_DELIVERY_NMI);
		expect(wait_for_other(all_others_have(count), WAIT_MS), "all other processors have counted");
	}
	delay_us(1000);
	expect_eq(ap_parked, wanted_parked);
	expect_that_all_work();
}

TEST("self.cpus.interrupts_left_on", "no wake-up is lost behind a work that left interrupts on", NEEDS(NEED_CPUS(2)))
{
	/* The next one at once: between the end of a work and its sleep is where it could be lost. */
	for (u32 i = 0; i < 20000; i++) {
		on_cpu_start(1, leave_interrupts_on, NULL);
		if (!expect(wait_until(on_cpu_done(1), WAIT_MS), "the processor comes back in time"))
			break;
	}
}

TEST("self.cpus.lost", "a processor that does not come back is named, and gets no other work", NEEDS(NEED_CPUS(2)))
{
	on_cpu_start(1, stay_for_ever, NULL);
	struct fault fault = TRY(on_cpu_wait_within(1, 20));
	expect(fault.thrown && !strcmp(fault.thrown, "processor 1 does not come back"), "thrown: processor 1 does not come back");
	fault = TRY(on_cpu_start(1, do_nothing, NULL));
	expect(fault.thrown && !strcmp(fault.thrown, "processor 1 is still at other work"), "thrown: processor 1 is still at other work");
}

TEST("self.cpus.recalled", "it is started afresh before the next test", NEEDS(NEED_CPUS(2)))
{
	expect_eq(cpus_lost(), 0);
	expect_eq(cpus_online(), wanted_online);
	expect_that_all_work();
}

TEST("self.cpus.restarted", "a processor that INIT stopped is started afresh before the next test", NEEDS(NEED_CPUS(2)))
{
	cpu_init_ipi(1);
	cpus_recall();
	expect_eq(cpus_lost(), 0);
	expect_that_all_work();
}

static struct vmcs_region other_vmxon_region;

/* Where INIT is blocked: in VMX root operation. */
static void hide(UNUSED void *unused)
{
	const u64 on = physical_address(&other_vmxon_region);
	char reason[64];

	if (!vmx_usable(reason, sizeof(reason)))
		throw("VMX is not usable on the other processor");
	write_cr0((read_cr0() | vmx_capabilities()->cr0_fixed0) & vmx_capabilities()->cr0_fixed1);
	write_cr4((read_cr4() | vmx_capabilities()->cr4_fixed0 | CR4_VMXE) & vmx_capabilities()->cr4_fixed1);
	other_vmxon_region.revision = vmx_capabilities()->revision;
	if (vmxon(&on, NULL).kind != OUTCOME_SUCCEED)
		throw("VMXON fails on the other processor");
	stay_for_ever(NULL);
}

TEST("self.cpus.left_out", "one that cannot be started afresh is left out, and the last one gets its number",
     NEEDS(NEED_CPUS(3), FEATURE_VMX))
{
	struct cpu *second = cpu_number(1), *last = cpu_number(wanted_online - 1);

	on_cpu_start(1, hide, NULL);
	const struct fault fault = TRY(on_cpu_wait_within(1, 20));
	expect(fault.thrown && !strcmp(fault.thrown, "processor 1 does not come back"), "thrown: processor 1 does not come back");
	cpus_recall();
	expect_eq(cpus_lost(), 1);
	expect_eq(cpus_online(), wanted_online - 1);
	expect(cpu_number(1) == last && cpu_number(wanted_online - 1) == second, "the last processor has the number of the one that is left out");
	expect_that_all_work();
}

TEST("self.cpus.skipped", "a test that needs one more is a SKIP behind it", NEEDS(NEED_CPUS(3)))
{
	expect_eq(cpus_lost(), 0);
}
