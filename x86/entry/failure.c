/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "VM-Entry Failures During or After Loading Guest State": what an entry failure
 * reports, loads and leaves alone. Each is shown for an invalid guest state (reason
 * 33) and for an MSR that cannot be loaded (reason 34), where the guest state is in
 * the registers already.
 */
#include "registers.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/interrupt.h"
#include "x86/wait.h"

/* FS base may not be in a list that is loaded. */
static void list_bad_msr(void)
{
	u64 *area = page_alloc();

	area[0] = (u32)IA32_FS_BASE;
	vmcs_write(VM_ENTRY_MSR_LOAD_ADDRESS, physical_address(area));
	vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, 1);
}

/* Fail by reason 33 or 34; what was prepared for it is taken back. */
static void fail_by(u32 reason)
{
	CASE("reason %u", reason);
	if (reason == EXIT_MSR_LOADING) {
		list_bad_msr();
		expect_outcome(entry_attempt(false), ENTRY_FAILS(EXIT_MSR_LOADING, 1));
		vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, 0);
	} else {
		expect_outcome(entry_attempt_with_illegal_guest(), ENTRY_FAILS(EXIT_INVALID_GUEST_STATE, 0));
	}
}

static const u32 reasons[] = { EXIT_INVALID_GUEST_STATE, EXIT_MSR_LOADING };
#define FOR_EACH_REASON(reason) \
	for (u32 i_ = 0, reason; i_ < ARRAY_SIZE(reasons) && (reason = reasons[i_], true); i_++)

TEST("fail.reason_bit31", "the exit reason of an entry failure is 33 or 34 with bit 31 set, and nothing else")
{
	entry_stop_guest_at_once();
	FOR_EACH_REASON(reason) {
		fail_by(reason);
		expect_eq(vmcs_read(EXIT_REASON), 0x80000000 | reason);
	}
}

TEST("fail.again_and_again", "entries that fail with a TPR shadow and an APIC-access page leave the next one as good as the first",
     NEEDS(PROC_USE_TPR_SHADOW, PROC2_VIRTUALIZE_APIC_ACCESSES))
{
	enum { TIMES = 1000, BRIEF = 100 };
	const u32 times = walk_brief ? BRIEF : TIMES;

	vmcs_use_tpr_shadow(0);
	vmcs_use_apic_access_page();
	entry_stop_guest_at_once();
	for (u32 i = 0; i < times; i++) {
		CASE("entry %u", i);
		expect_outcome(entry_attempt_with_illegal_guest(), ENTRY_FAILS(EXIT_INVALID_GUEST_STATE, 0));
	}
	expect_entered(entry_attempt(false));
}

/* 32-bit protected mode with PAE paging; the PDPTEs that CR3 leads to are the caller's. */
static u64 *make_guest_pae(void)
{
	u64 *pdpt = page_alloc();

	vmcs_clear_controls(ENTRYCTL_IA32E_MODE_GUEST);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE32);
	vmcs_write(GUEST_CR3, physical_address(pdpt));
	for (u32 i = 0; i < 4; i++)
		pdpt[i] = (i << 30) | PAGE_PRESENT;
	return pdpt;
}

static void check_pdpte_qualification(void)
{
	u64 *pdpt = make_guest_pae();

	for (u32 i = 0; i < 4; i++) {
		CASE("PDPTE%u has reserved bits set", i);
		pdpt[i] |= 0x1e6;
		expect_outcome(entry_attempt(false), ENTRY_FAILS(EXIT_INVALID_GUEST_STATE, 2));
		pdpt[i] &= ~(u64)0x1e6;
	}
}

/* 3, for an NMI that STI blocks, is in entry.guest.intr.nmi_sti: a processor may inject it. */
TEST("fail.exit_qual", "the qualification of reason 33 is 0, but 2 for a PDPTE and 4 for the link pointer")
{
	entry_stop_guest_at_once();
	CASE("RFLAGS");
	expect_outcome(entry_attempt_with_illegal_guest(), ENTRY_FAILS(EXIT_INVALID_GUEST_STATE, 0));
	CASE("activity state");
	vmcs_write(GUEST_ACTIVITY_STATE, 4);
	expect_outcome(entry_attempt(false), ENTRY_FAILS(EXIT_INVALID_GUEST_STATE, 0));
	vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
	CASE("link pointer");
	vmcs_write(VMCS_LINK_POINTER, 1);
	expect_outcome(entry_attempt(false), ENTRY_FAILS(EXIT_INVALID_GUEST_STATE, 4));
	vmcs_write(VMCS_LINK_POINTER, ~0ull);

	check_pdpte_qualification();
}

/* In the order of the manual; the reason and the qualification are what a failure does write. */
static const enum vmcs_field exit_information[] = {
	GUEST_PHYSICAL_ADDRESS, EXIT_INTERRUPTION_INFORMATION, EXIT_INTERRUPTION_ERROR_CODE,
	IDT_VECTORING_INFORMATION, IDT_VECTORING_ERROR_CODE, EXIT_INSTRUCTION_LENGTH, EXIT_INSTRUCTION_INFORMATION,
	IO_RCX, IO_RSI, IO_RDI, IO_RIP, GUEST_LINEAR_ADDRESS,
};

/* Exits that leave something in them: #GP with an error code, and OUTS. */
GUEST_ASM(guest_loads_bad_selector, "mov $0x7ff0, %eax; mov %eax, %ds; ret");
GUEST_ASM(guest_outputs_string, "mov $0x80, %edx; mov %rsp, %rsi; mov $1, %ecx; rep outsb; ret");

static void fill_exit_information(void)
{
	if (has(PROC_UNCONDITIONAL_IO_EXITING)) {
		vmcs_set_controls(PROC_UNCONDITIONAL_IO_EXITING);
		guest_run(guest_outputs_string);
		expect_exit(EXIT_IO);
		vmcs_clear_controls(PROC_UNCONDITIONAL_IO_EXITING);
	}
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_GP));
	guest_run(guest_loads_bad_selector);
	expect_exit(EXIT_EXCEPTION_OR_NMI, .interruption_error = 0x7ff0);
	vmcs_write(EXCEPTION_BITMAP, 0);
	if (!has(CAP_MISC_VMWRITE_ANY_FIELD))
		return;
	for (u32 i = 0; i < ARRAY_SIZE(exit_information); i++)
		if (field_readable(field_find(exit_information[i])))
			vmcs_write(exit_information[i], 0x5a5a0000a5a50000 | (i + 1) * 0x101);
}

TEST("fail.info_unmodified", "an entry failure leaves all exit information but reason and qualification alone")
{
	u64 before[ARRAY_SIZE(exit_information)];

	fill_exit_information();
	entry_stop_guest_at_once();
	for (u32 i = 0; i < ARRAY_SIZE(exit_information); i++)
		if (field_readable(field_find(exit_information[i])))
			before[i] = vmcs_read(exit_information[i]);
	FOR_EACH_REASON(reason) {
		fail_by(reason);
		for (u32 i = 0; i < ARRAY_SIZE(exit_information); i++) {
			if (!field_readable(field_find(exit_information[i])))
				continue;
			CASE("reason %u, %s", reason, field_find(exit_information[i])->name);
			expect_eq(vmcs_read(exit_information[i]), before[i]);
		}
	}
}

TEST("fail.valid_not_cleared", "an entry failure leaves the valid bit of the event to inject set")
{
	static const u32 events[] = {
		INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | VECTOR_UD,
		INTERRUPTION_VALID | INTERRUPTION_TYPE_NMI | VECTOR_NMI,
		INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE | VECTOR_GP,
		INTERRUPTION_VALID | INTERRUPTION_TYPE_SOFTWARE_INTERRUPT | 0x81,
	};

	entry_stop_guest_at_once();
	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, 2);
	vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, 0x1234);
	for (u32 i = 0; i < ARRAY_SIZE(events); i++) {
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, events[i]);
		FOR_EACH_REASON(reason) {
			fail_by(reason);
			expect_eq(vmcs_read(VM_ENTRY_INTERRUPTION_INFORMATION), events[i]);
			expect_eq(vmcs_read(VM_ENTRY_EXCEPTION_ERROR_CODE), 0x1234);
			expect_eq(vmcs_read(VM_ENTRY_INSTRUCTION_LENGTH), 2);
		}
		vmcs_write(CR3_TARGET_COUNT, 0xffff);
		CASE("VMfail");
		expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
		expect_eq(vmcs_read(VM_ENTRY_INTERRUPTION_INFORMATION), events[i]);
		vmcs_write(CR3_TARGET_COUNT, 0);
	}
}

enum { MOST_FIELDS = 256 };

/* All fields of a type, before and after. */
static void expect_area_kept(enum field_type type, u32 reason)
{
	static u64 before[MOST_FIELDS];

	require_between(1, vmcs_field_count, MOST_FIELDS);
	for (u32 i = 0; i < vmcs_field_count; i++)
		if (field_type(vmcs_fields[i].encoding) == type && field_readable(&vmcs_fields[i]))
			before[i] = vmcs_read(vmcs_fields[i].encoding);
	fail_by(reason);
	for (u32 i = 0; i < vmcs_field_count; i++) {
		if (field_type(vmcs_fields[i].encoding) != type || !field_readable(&vmcs_fields[i]))
			continue;
		CASE("reason %u, %s", reason, vmcs_fields[i].name);
		/* guest_enter writes this one itself. */
		if (vmcs_fields[i].encoding != HOST_RSP)
			expect_eq(vmcs_read(vmcs_fields[i].encoding), before[i]);
	}
}

TEST("fail.guest_not_saved", "an entry failure saves nothing in the guest-state area")
{
	entry_stop_guest_at_once();
	guest_state_make_different();
	vmcs_set_controls(EXITCTL_SAVE_DEBUG_CONTROLS);
	if (has(EXITCTL_SAVE_IA32_EFER))
		vmcs_set_controls(EXITCTL_SAVE_IA32_EFER);
	if (has(EXITCTL_SAVE_IA32_PAT))
		vmcs_set_controls(EXITCTL_SAVE_IA32_PAT);
	expect_area_kept(FIELD_GUEST, EXIT_INVALID_GUEST_STATE);
	expect_area_kept(FIELD_GUEST, EXIT_MSR_LOADING);
	expect_bits(vmcs_read(VM_ENTRY_CONTROLS), control_bit(ENTRYCTL_IA32E_MODE_GUEST),
		    control_bit(ENTRYCTL_IA32E_MODE_GUEST));
}

GUEST_ASM(guest_spins, "1: jmp 1b");

TEST("fail.guest_not_saved.timer", "an entry failure does not save the VMX-preemption timer's value",
     NEEDS(PIN_ACTIVATE_VMX_PREEMPTION_TIMER, EXITCTL_SAVE_VMX_PREEMPTION_TIMER_VALUE))
{
	enum { TICKS = 0x12345678 };

	entry_stop_guest_at_once();
	vmcs_set_controls(EXITCTL_SAVE_VMX_PREEMPTION_TIMER_VALUE);
	FOR_EACH_REASON(reason) {
		vmcs_write(VMX_PREEMPTION_TIMER_VALUE, TICKS);
		fail_by(reason);
		expect_eq(vmcs_read(VMX_PREEMPTION_TIMER_VALUE), TICKS);
	}
	CASE("a VM exit does");
	vmcs_write(VMX_PREEMPTION_TIMER_VALUE, 1);
	guest_run(guest_spins);
	expect_exit(EXIT_PREEMPTION_TIMER);
	expect_eq(vmcs_read(VMX_PREEMPTION_TIMER_VALUE), 0);
}

TEST("entry.host.not_written", "VM entry and VM exit write no host-state field")
{
	static u64 before[MOST_FIELDS];

	entry_stop_guest_at_once();
	host_state_make_different();
	for (u32 i = 0; i < vmcs_field_count; i++)
		if (field_type(vmcs_fields[i].encoding) == FIELD_HOST && field_readable(&vmcs_fields[i]))
			before[i] = vmcs_read(vmcs_fields[i].encoding);
	for (u32 way = 0; way < 3; way++) {
		struct outcome outcome;

		if (way == 0)
			vmcs_write(CR3_TARGET_COUNT, 0xffff);
		outcome = entry_attempt(way == 1);
		CASE("VMfail, entry failure, exit: %u", way);
		if (way == 0)
			expect_outcome(outcome, FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
		else if (way == 1)
			expect_outcome(outcome, ACCEPTED);
		else
			expect_entered(outcome);
		vmcs_write(CR3_TARGET_COUNT, 0);
		for (u32 i = 0; i < vmcs_field_count; i++) {
			if (field_type(vmcs_fields[i].encoding) != FIELD_HOST || !field_readable(&vmcs_fields[i]) ||
			    vmcs_fields[i].encoding == HOST_RSP)
				continue;
			CASE("VMfail, entry failure, exit: %u, %s", way, vmcs_fields[i].name);
			expect_eq(vmcs_read(vmcs_fields[i].encoding), before[i]);
		}
	}
	host_state_put_back();
}

TEST("fail.no_msr_store", "an entry failure stores no MSR")
{
	const u64 canary = 0x5aa5c33c0ff0e11e;
	u64 *area = page_alloc();

	entry_stop_guest_at_once();
	vmcs_write(VM_EXIT_MSR_STORE_ADDRESS, physical_address(area));
	vmcs_write(VM_EXIT_MSR_STORE_COUNT, 2);
	for (u32 i = 0; i < 4; i += 2) {
		area[i] = i ? IA32_SYSENTER_CS : (u32)IA32_KERNEL_GS_BASE;
		area[i + 1] = canary;
	}
	FOR_EACH_REASON(reason) {
		fail_by(reason);
		expect_eq(area[1], canary);
		expect_eq(area[3], canary);
	}
	CASE("a VM exit does");
	expect_entered(entry_attempt(false));
	expect_eq(area[1], rdmsr(IA32_KERNEL_GS_BASE));
	expect_eq(area[3], rdmsr(IA32_SYSENTER_CS));
}

TEST("fail.host_loaded", "an entry failure loads the host state as a VM exit does")
{
	FOR_EACH_REASON(reason) {
		vmcs_reset();
		guest_baseline();
		registers_read();
		entry_stop_guest_at_once();
		guest_state_make_different();
		host_state_make_different();
		write_dr7(0x700);
		fail_by(reason);
		expect_host_loaded();
		host_state_put_back();
	}
}

TEST("fail.exit_msr_loaded", "an entry failure loads the MSRs of the VM-exit MSR-load area")
{
	const u64 before = rdmsr(IA32_KERNEL_GS_BASE);
	u64 *area = page_alloc();

	entry_stop_guest_at_once();
	area[0] = (u32)IA32_KERNEL_GS_BASE;
	area[2] = IA32_SYSENTER_ESP;
	vmcs_write(VM_EXIT_MSR_LOAD_ADDRESS, physical_address(area));
	vmcs_write(VM_EXIT_MSR_LOAD_COUNT, 2);
	FOR_EACH_REASON(reason) {
		area[1] = 0x123456789abc + reason;
		area[3] = 0x3456789abcde + reason;
		fail_by(reason);
		expect_eq(rdmsr(IA32_KERNEL_GS_BASE), area[1]);
		expect_eq(rdmsr(IA32_SYSENTER_ESP), area[3]);
	}
	wrmsr(IA32_KERNEL_GS_BASE, before);
	wrmsr(IA32_SYSENTER_ESP, vmcs_read(HOST_IA32_SYSENTER_ESP));
}

static u32 nmis_while_blocked;

/* Runs with NMIs blocked, the first time. */
static void fail_in_nmi_handler(struct exception_frame *frame)
{
	interrupt_counter(frame);
	if (interrupt_count[VECTOR_NMI] > 1)
		return;

	/* An NMI that is not held back would overwrite the stack that this one's handler is on. */
	static u8 stack_of_another[PAGE_SIZE] ALIGNED(16);
	struct tss *tss = &this_cpu()->tss;
	const u64 own = tss->ist[IST_NMI - 1];

	tss->ist[IST_NMI - 1] = (u64)(stack_of_another + sizeof(stack_of_another));
	FOR_EACH_REASON(reason) {
		fail_by(reason);
		nmi_pend();
		nmis_while_blocked += interrupt_count[VECTOR_NMI] - 1;
	}
	tss->ist[IST_NMI - 1] = own;
}

/* The IRET of any handler ends the blocking. */
static void unblock_nmi(void)
{
	interrupt_handle(VECTOR_BP, interrupt_counter);
	asm volatile("int3" : : : "memory");
}

TEST("fail.nmi_blocking_kept", "blocking by NMI is after an entry failure what it was before")
{
	entry_stop_guest_at_once();
	nmis_while_blocked = 0;
	interrupt_handle(VECTOR_NMI, fail_in_nmi_handler);
	expect(nmi_arrives(), "an NMI that is sent now is taken: NMIs are not blocked");
	wait_until(interrupt_count[VECTOR_NMI] >= 2, WAIT_MS);
	wait_for_nothing();
	CASE("NMIs in the handler of an NMI, and behind it");
	expect_eq(nmis_while_blocked, 0);
	/* Two were sent there: whether the second of them is held too the manual leaves open. */
	expect_between(2, interrupt_count[VECTOR_NMI], 3);

	/* The guest's blocking, of real NMIs as there are no virtual ones, is not the host's. */
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_NMI);
	if (has(PIN_VIRTUAL_NMIS) && has(PROC_NMI_WINDOW_EXITING))
		vmcs_clear_controls(PIN_VIRTUAL_NMIS, PROC_NMI_WINDOW_EXITING);
	FOR_EACH_REASON(reason) {
		fail_by(reason);
		expect(nmi_arrives(), "an NMI that is sent now is taken: NMIs are not blocked");
		unblock_nmi();
	}
}
