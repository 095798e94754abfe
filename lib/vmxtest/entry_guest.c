/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmxtest/entry_guest.h"
#include "vmx/ept.h"
#include "vmx/msr_list.h"
#include "x86/interrupt.h"
#include "x86/model.h"

const char *const segment_names[SEGMENT_REGISTERS] = { "ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR" };

void entry_guest_compatibility(void)
{
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE32);
}

/* Leave IA-32e mode: the control, and IA32_EFER where VM entry loads it. */
static void leave_ia32e(void)
{
	vmcs_clear_controls(ENTRYCTL_IA32E_MODE_GUEST);
	if (has(ENTRYCTL_LOAD_IA32_EFER))
		vmcs_write(GUEST_IA32_EFER, vmcs_read(GUEST_IA32_EFER) & ~(u64)(EFER_LMA | EFER_LME));
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) & ~(u64)(CR4_PCIDE | CR4_CET | CR4_LA57));
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE32);
}

void entry_guest_32bit(void)
{
	leave_ia32e();
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) & ~(u64)CR4_PAE);
	vmcs_write(GUEST_CR3, physical_address(page_alloc()));
}

void entry_guest_pae(void)
{
	leave_ia32e();
	vmcs_write(GUEST_CR3, physical_address(page_alloc()));
}

static void write_segment(enum segment_register r, u16 selector, u32 limit, u32 rights)
{
	vmcs_write(segment_selector(r), selector);
	vmcs_write(segment_base(r), selector << 4);
	vmcs_write(segment_limit(r), limit);
	vmcs_write(segment_rights(r), rights);
}

void entry_guest_v86(void)
{
	entry_guest_32bit();
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_VM);
	for (enum segment_register r = SEG_ES; r <= SEG_GS; r++)
		write_segment(r, 0x1000 + r, 0xffff, RIGHTS_V86);
}

void entry_unrestricted_guest(void)
{
	vmcs_write(EPT_POINTER, ept_pointer(page_alloc()));
	vmcs_set_controls(PROC2_ENABLE_EPT, PROC2_UNRESTRICTED_GUEST);
}

void entry_guest_real(void)
{
	entry_unrestricted_guest();
	entry_guest_32bit();
	vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) & ~(CR0_PG | CR0_PE));
	for (enum segment_register r = SEG_ES; r <= SEG_GS; r++)
		write_segment(r, 0x1000, 0xffff, r == SEG_CS ? RIGHTS_CODE16 : RIGHTS_DATA16);
}

void entry_guest_ldtr(void)
{
	vmcs_write(GUEST_LDTR_SELECTOR, 0x48);
	vmcs_write(GUEST_LDTR_LIMIT, 0xffff);
	vmcs_write(GUEST_LDTR_ACCESS_RIGHTS, RIGHTS_LDT);
}

bool entry_canonical(u32 index, u64 *value)
{
	const u64 half = BIT(linear_address_width() - 1);
	const u64 values[] = { 0, half - 1, -half, ~0ull };

	if (index >= ARRAY_SIZE(values))
		return false;
	*value = values[index];
	return true;
}

static struct kept {
	u32 field;
	u64 value;
} kept[128];
static u32 kept_count;

static void keep(u32 field)
{
	if (kept_count < ARRAY_SIZE(kept))
		kept[kept_count++] = (struct kept){ field, vmcs_read(field) };
}

void entry_guest_forget(void)
{
	kept_count = 0;
}

/*
 * What an exit may save differently though the guest did nothing: the rights of unusable segments, what VM entry
 * normalises, what ends with it. Where a VMWRITE is slow these must do; any other field that changes is a defect.
 */
static const u32 may_change[] = {
	GUEST_ES_ACCESS_RIGHTS, GUEST_SS_ACCESS_RIGHTS, GUEST_DS_ACCESS_RIGHTS, GUEST_FS_ACCESS_RIGHTS,
	GUEST_GS_ACCESS_RIGHTS, GUEST_LDTR_ACCESS_RIGHTS, GUEST_CR0, GUEST_CR3, GUEST_CR4, GUEST_DR7, GUEST_RFLAGS,
	GUEST_RIP, GUEST_RSP, GUEST_INTERRUPTIBILITY_STATE, GUEST_ACTIVITY_STATE, GUEST_PENDING_DEBUG_EXCEPTIONS,
};

void entry_guest_keep(void)
{
	kept_count = 0;
	for (u32 i = 0; !walk_brief && i < vmcs_field_count; i++)
		if (field_type(vmcs_fields[i].encoding) == FIELD_GUEST && field_readable(&vmcs_fields[i]))
			keep(vmcs_fields[i].encoding);
	for (u32 i = 0; walk_brief && i < ARRAY_SIZE(may_change); i++)
		keep(may_change[i]);
	keep(VM_ENTRY_CONTROLS);
	keep(VM_ENTRY_INTERRUPTION_INFORMATION);
}

void entry_guest_put_back(void)
{
	if (guest.outcome.kind != OUTCOME_EXIT)
		return;
	for (u32 i = 0; i < kept_count; i++)
		vmcs_write(kept[i].field, kept[i].value);
}

/* An entry of the VM-entry MSR-load area (SDM Vol. 3C, "VM-Entry Controls for MSRs"). */
void entry_fail_after_guest_state(void)
{
	static const struct msr_entry list ALIGNED(16) = { .index = IA32_FS_BASE };	/* may not be in it */

	vmcs_write(VM_ENTRY_MSR_LOAD_ADDRESS, physical_address(&list));
	vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, 1);
}

void entry_stop_guest_in(u32 activity)
{
	if (!has(PIN_ACTIVATE_VMX_PREEMPTION_TIMER) || !has(PIN_EXTERNAL_INTERRUPT_EXITING) || activity > ACTIVITY_HLT) {
		entry_fail_after_guest_state();
		return;
	}
	entry_stop_guest_at_once();
	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	vmcs_write(GUEST_IDTR_LIMIT, 0);
	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);
	vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, 0);
}

static bool check_guest_state_of(const char *file, u32 line, bool legal, u64 qualification, struct outcome outcome)
{
	const bool fails_later = vmcs_read(VM_ENTRY_MSR_LOAD_COUNT);
	const char *text = legal ? "VM entry with a legal guest state" : "VM entry with an illegal guest state";
	bool passed;

	if (!legal)
		passed = check_outcome(file, line, text, outcome, ENTRY_FAILS(EXIT_INVALID_GUEST_STATE, qualification));
	else if (fails_later)
		passed = check_outcome(file, line, text, outcome, ENTRY_FAILS(EXIT_MSR_LOADING, 1));
	else
		passed = check_entered(file, line, outcome);
	entry_guest_put_back();
	/* What a failed entry or an exit leaves of blocking by NMI is another test's business (entry.fail, after). */
	nmi_unblock();
	return passed;
}

bool check_guest_state(const char *file, u32 line, bool legal, u64 qualification)
{
	return check_guest_state_of(file, line, legal, qualification, entry_attempt(false));
}

bool check_reserved_refused(const char *file, u32 line)
{
	const struct outcome outcome = entry_attempt(false);
	const bool taken = outcome.kind == OUTCOME_EXIT ||
			   (outcome.kind == OUTCOME_ENTRY_FAILURE && outcome.number == EXIT_MSR_LOADING);

	if (!taken || processor_is_known())
		return check_guest_state_of(file, line, false, 0, outcome);
	check_that_on_known(file, line, "the refusal of a reserved bit", false, "VM entry refuses it");
	return check_guest_state_of(file, line, true, 0, outcome);
}

bool entry_try_segment(enum segment_register r, u32 rights, u32 limit, bool legal)
{
	vmcs_write(segment_rights(r), rights);
	vmcs_write(segment_limit(r), limit);
	if (vmcs_read(segment_rights(r)) != rights)
		return false;
	CASE("%s rights %#x, limit %#x", segment_names[r], rights, limit);
	expect_guest_state(legal);
	return true;
}
