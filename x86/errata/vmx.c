/* SPDX-License-Identifier: BSD-2-Clause */
/* VMX instructions, entries and exits. */
#include "errata.h"

#include "libc/string.h"
#include "vmx/bitmaps.h"
#include "x86/time.h"
#include "x86/wait.h"

/* A place that the compiler takes for memory like any other. */
static volatile u8 *byte_at(u64 physical)
{
	asm volatile("" : "+r"(physical));
	return (volatile u8 *)physical;
}

TEST("errata.vmptrld_8f", "VMPTRLD behind a VMCLEAR of the current VMCS writes nothing at physical address 8FH")
{
	enum { FIRST = 0x8f, BYTES = 4 };
	const u64 address = physical_address(&vmcs_region);
	u8 before[BYTES];
	bool kept = true;

	for (u32 i = 0; i < BYTES; i++) {
		before[i] = *byte_at(FIRST + i);
		*byte_at(FIRST + i) = 0xa5 + i;
		kept &= *byte_at(FIRST + i) == 0xa5 + i;
	}
	for (u32 turn = 0; kept && turn < 100; turn++) {
		CASE("turn %u", turn);
		expect_outcome(vmclear(&address, NULL), SUCCEED);
		expect_outcome(vmptrld(&address, NULL), SUCCEED);
		for (u32 i = 0; i < BYTES; i++)
			expect_eq(*byte_at(FIRST + i), 0xa5 + i);
	}
	for (u32 i = 0; i < BYTES; i++)
		*byte_at(FIRST + i) = before[i];
	if (!kept)
		skip("cannot tell: there is no RAM at 8FH");
}

TEST("errata.vapic_bytes", "a VM entry without a TPR shadow leaves bytes 81H to 83H of the virtual-APIC page",
     NEEDS(PROC_USE_TPR_SHADOW, PROC2_VIRTUALIZE_X2APIC_MODE))
{
	u8 *const page = vmcs_use_tpr_shadow(0);

	memset(page, 0x5a, PAGE_SIZE);
	vmcs_clear_controls(PROC_USE_TPR_SHADOW);
	vmcs_set_controls(PROC2_VIRTUALIZE_X2APIC_MODE);
	expect_outcome(guest_run(guest_does_nothing), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	expect_filled(page, 0, PAGE_SIZE, 0x5a);
	vmcs_clear_controls(PROC2_VIRTUALIZE_X2APIC_MODE);
	guest_run(guest_does_nothing);
	expect_guest_done();
	expect_filled(page, 0, PAGE_SIZE, 0x5a);
}

GUEST_ASM(guest_reads_apic, "errata_read: mov (%rbx), %ecx\n ret");
extern const u8 errata_read[];

TEST("errata.apic_access_again", "\"virtualize APIC accesses\" holds behind exits with a VPID that store MSRs",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC2_ENABLE_VPID))
{
	u64 *const list = page_alloc();

	page_map(PAGE_WINDOW, physical_address(vmcs_use_apic_access_page()), PAGE_PRESENT | PAGE_WRITE);
	vmcs_write(VPID, 0x77);
	vmcs_set_controls(PROC2_ENABLE_VPID);
	list[0] = (u32)IA32_SYSENTER_CS;
	vmcs_write(VM_EXIT_MSR_STORE_ADDRESS, physical_address(list));
	for (u32 turn = 0; turn < 20; turn++) {
		CASE("turn %u", turn);
		vmcs_write(VM_EXIT_MSR_STORE_COUNT, turn % 4 != 0);
		guest.regs.rbx = PAGE_WINDOW + 0x30;
		guest_run(guest_reads_apic);
		expect_exit(EXIT_APIC_ACCESS, .qualification = 0x30, .rip = (u64)errata_read);
	}
}

#define EPT_SHADOW_STACK BIT(60)
enum { EPTP_SHADOW_STACK = BIT(7) };

TEST("errata.shadow_stack_write_bit", "a fetch from a shadow-stack page of EPT shows it not writable in the qualification",
     NEEDS(PROC2_ENABLE_EPT, CAP_EPT_SUPERVISOR_SHADOW_STACK))
{
	u8 *const page = page_alloc();

	page[0] = 0xc3;
	vmcs_use_ept();
	for (u32 turn = 0; turn < 2; turn++) {
		CASE("shadow-stack bit %u", turn);
		vmcs_write(EPT_POINTER, vmcs_read(EPT_POINTER) | EPTP_SHADOW_STACK);
		ept_map(physical_address(page), physical_address(page), EPT_READ | EPT_WB | (turn ? EPT_SHADOW_STACK : 0));
		ept_flush();
		guest_run((void (*)(void))page);
		expect_exit(EXIT_EPT_VIOLATION, .physical = physical_address(page));
		expect_bits(vmcs_read(EXIT_QUALIFICATION), 0x3f, EPT_VIOLATION_FETCH | 1 << EPT_VIOLATION_PERMISSIONS_SHIFT);
	}
}

/* Spins for so long that only a timer that does not work lets it come to its end. */
static volatile u64 spin_until;

static void guest_spins(void)
{
	while (rdtsc() < spin_until)
		;
}

TEST("errata.preemption_timer_1", "a VMX-preemption timer of 1 exits", NEEDS(PIN_ACTIVATE_VMX_PREEMPTION_TIMER))
{
	vmcs_set_controls(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
	PROBE_REPEATEDLY {
		CASE("one try of many");
		wait_ticks(probing_random() % 256);
		vmcs_write(VMX_PREEMPTION_TIMER_VALUE, 1);
		spin_until = rdtsc() + 20 * tsc_per_ms() + (4ull << (vmx_capabilities()->misc & 0x1f));
		guest_run(guest_spins);
		if (!expect_exit(EXIT_PREEMPTION_TIMER))
			break;
	}
}

/* Bits 27:16 are 0, and what is below is little beside what is above. */
TEST("errata.preemption_timer_large", "a VMX-preemption timer of a large value does not exit at once", NEEDS(PIN_ACTIVATE_VMX_PREEMPTION_TIMER))
{
	static const u32 values[] = { 0xe0003bf7, 0xf0000001, 0xd0000fff, 0xffffffff, 0xefff3bf7 };

	vmcs_set_controls(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
	for (u32 i = 0; i < ARRAY_SIZE(values); i++)
		for (u32 turn = 0; turn < 20; turn++) {
			CASE("value %#x", values[i]);
			vmcs_write(VMX_PREEMPTION_TIMER_VALUE, values[i]);
			guest_run(guest_does_nothing);
			expect_guest_done();
		}
}

/* The first instruction is VERR: guest_run_at() jumps to it. */
GUEST_ASM(guest_verr, "verr %cx\n errata_behind_verr: nop\n vmcall");
extern const u8 errata_behind_verr[];

TEST("errata.verr_dr6", "a breakpoint that pends behind a VM entry with blocking by MOV SS comes behind a VERR, with DR6 as it pended")
{
	const u64 dr6 = read_dr6();

	PROBE_REPEATEDLY {
		const u64 which = BIT(probing_random() % 4);

		CASE("one try of many");
		write_dr6(0xffff0ff0);
		vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, which | BIT(12));
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_MOV_SS);
		guest.regs.rcx = SELECTOR_DATA;
		guest_run_at(guest_verr);
		expect_guest_fault(VECTOR_DB, 0);
		expect_eq(guest.fault.frame.rip, (u64)errata_behind_verr);
		if (!expect_bits(read_dr6(), 0xf | BIT(13) | BIT(14) | BIT(15), which))
			break;
	}
	write_dr6(dr6);
}

/* #VE: the guest notes it in a TRY of its own, and the host raises the permission without INVEPT. */
static volatile bool ve_came[2];

static void guest_writes_twice(void)
{
	volatile u64 *const at = (volatile u64 *)PAGE_WINDOW;

	*at;
	for (u32 i = 0; i < 2; i++) {
		const struct fault fault = TRY(*at = 0x77);

		ve_came[i] = fault.raised && fault.vector == VECTOR_VE;
		guest_call_host(i);
	}
}

TEST("errata.ve_invalidates", "behind a #VE a raised permission of EPT applies without INVEPT, as behind an EPT violation",
     NEEDS(PROC2_EPT_VIOLATION_VE, PROC2_ENABLE_EPT))
{
	u64 *const page = probe_page(0);
	u32 *const information = page_alloc();

	vmcs_use_ept();
	if (has(PROC2_ENABLE_VPID)) {		/* else VM entry would end the old translation */
		vmcs_write(VPID, 0x33);
		vmcs_set_controls(PROC2_ENABLE_VPID);
	}
	vmcs_set_controls(PROC2_EPT_VIOLATION_VE);
	vmcs_write(VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS, physical_address(information));
	ept_map(physical_address(page), physical_address(page), EPT_READ | EPT_WB);
	ept_flush();
	guest_run(guest_writes_twice);
	require_exit(EXIT_VMCALL);
	expect_eq(ve_came[0], true);
	*ept_entry(physical_address(page), 1) |= EPT_WRITE;
	information[1] = 0;
	guest_skip_instruction();
	guest_resume();
	require_exit(EXIT_VMCALL);
	expect_eq(ve_came[1], false);
	expect_eq(*page, 0x77);
	ept_flush();
}
