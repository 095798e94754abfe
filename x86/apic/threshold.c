/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The TPR threshold at a write to offset 080H and at VM entry (SDM Vol. 3C, "TPR Virtualization"; "VM Exits
 * Induced by the TPR Threshold").
 */
#include "pages.h"
#include "vmx/guest.h"
#include "x86/interrupt.h"

TEST("apic.tprshadow.mmio_threshold", "A write to offset 080H sets VTPR, and exits behind if below the threshold",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW))
{
	use_access_page();
	use_virtual_page();
	for (u32 threshold = 0; threshold < 16; threshold++)
		for (u32 class = 0; class < 16; class++) {
			const struct access *access = &accesses[(threshold + class) % 3];
			const u64 value = 0xa5c39600 | class << 4 | (threshold ^ class);

			CASE("threshold %u, VTPR = %#x, %u bytes", threshold, (u8)value, access->width);
			vmcs_write(TPR_THRESHOLD, threshold);
			*virtual_register(APIC_TPR) = 0x5a5a5aff;
			guest_write_at(access, GUEST_APIC + APIC_TPR, value);
			if (class < threshold)
				expect_exit(EXIT_TPR_BELOW_THRESHOLD, .qualification = 0,
					    .rip = (u64)access->behind_write);
			else
				expect_guest_done();
			expect_eq(*virtual_register(APIC_TPR), value & 0xff);
			expect_eq(read_cr8(), 0);
		}
	expect_access_page_untouched();
}

/* At VM entry, whatever blocks interrupts in the guest. */
static const struct {
	const char *name;
	u64 rflags;
	u32 interruptibility;
} blocking[] = {
	{ "IF = 0", RFLAGS_FIXED, 0 },
	{ "IF = 1", RFLAGS_FIXED | RFLAGS_IF, 0 },
	{ "blocking by STI", RFLAGS_FIXED | RFLAGS_IF, INTERRUPTIBILITY_STI },
	{ "blocking by MOV SS", RFLAGS_FIXED, INTERRUPTIBILITY_MOV_SS },
};

static u32 guest_has_run;

static void guest_runs(void)
{
	guest_has_run++;
}

extern const u8 guest_start[];

TEST("after.tprthr.immediate", "VM entry with VTPR[7:4] below the threshold exits before the first instruction",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW))
{
	use_access_page();
	use_virtual_page();
	for (size_t i = 0; i < ARRAY_SIZE(blocking); i++)
		for (u32 threshold = 0; threshold < 16; threshold++)
			for (u32 class = 0; class < 16; class++) {
				CASE("threshold %u, VTPR[7:4] = %u, %s", threshold, class, blocking[i].name);
				vmcs_write(TPR_THRESHOLD, threshold);
				/* Bits 3:0 and 31:8 of VTPR are not looked at. */
				*virtual_register(APIC_TPR) = class << 4 | (class < threshold ? 0xffffff0f : 0);
				vmcs_write(GUEST_RFLAGS, blocking[i].rflags);
				vmcs_write(GUEST_INTERRUPTIBILITY_STATE, blocking[i].interruptibility);
				guest_has_run = 0;
				guest_run(guest_runs);
				if (class < threshold) {
					expect_exit(EXIT_TPR_BELOW_THRESHOLD, .qualification = 0,
						    .rip = (u64)guest_start);
					expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE),
						  blocking[i].interruptibility);
				} else {
					expect_guest_done();
				}
				expect_eq(guest_has_run, class >= threshold);
			}
}

TEST("after.tprthr.hlt", "VM entry to HLT with VTPR[7:4] below the threshold exits",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, CAP_MISC_ACTIVITY_HLT))
{
	use_access_page();
	use_virtual_page();
	/* Nothing else ends this: let the watchdog not sleep for long. */
	if (has(PIN_ACTIVATE_VMX_PREEMPTION_TIMER))
		vmcs_write(VMX_PREEMPTION_TIMER_VALUE, vmcs_read(VMX_PREEMPTION_TIMER_VALUE) / 16);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
	vmcs_write(TPR_THRESHOLD, 2);
	*virtual_register(APIC_TPR) = 0x10;
	guest_run(guest_runs);
	expect_exit(EXIT_TPR_BELOW_THRESHOLD, .rip = (u64)guest_start);
}

TEST("after.tprthr.priority", "The TPR-threshold exit comes before pending debug exceptions and windows",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC_INTERRUPT_WINDOW_EXITING))
{
	const u64 pending_bp = BIT(0) | BIT(12);

	use_access_page();
	use_virtual_page();
	*virtual_register(APIC_TPR) = 0x10;
	vmcs_write(TPR_THRESHOLD, 2);

	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_DB));
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, pending_bp);
	guest_run(guest_runs);
	expect_exit(EXIT_TPR_BELOW_THRESHOLD, .rip = (u64)guest_start);
	expect_eq(vmcs_read(GUEST_PENDING_DEBUG_EXCEPTIONS), pending_bp);
	/* Without it the debug exception comes. */
	vmcs_write(TPR_THRESHOLD, 1);
	guest_resume();
	expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)guest_start);

	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
	vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	vmcs_write(TPR_THRESHOLD, 2);
	guest_run(guest_runs);
	expect_exit(EXIT_TPR_BELOW_THRESHOLD, .rip = (u64)guest_start);
	vmcs_write(TPR_THRESHOLD, 1);
	guest_resume();
	expect_exit(EXIT_INTERRUPT_WINDOW, .rip = (u64)guest_start);
	vmcs_clear_controls(PROC_INTERRUPT_WINDOW_EXITING);

	if (has(PROC_MONITOR_TRAP_FLAG)) {
		vmcs_write(TPR_THRESHOLD, 2);
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INTERRUPTION_VALID | INTERRUPTION_TYPE_OTHER);
		guest_run(guest_runs);
		expect_exit(EXIT_TPR_BELOW_THRESHOLD, .rip = (u64)guest_start);
	}

	/* It follows the injection of an event: RIP is the handler's, the old one is on the stack. */
	vmcs_write(TPR_THRESHOLD, 2);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INTERRUPTION_VALID | INTERRUPTION_TYPE_EXTERNAL | 0x40);
	guest_run(guest_runs);
	expect_exit(EXIT_TPR_BELOW_THRESHOLD, .rip = (u64)interrupt_entries + 0x40 * INTERRUPT_ENTRY_SIZE);
}
