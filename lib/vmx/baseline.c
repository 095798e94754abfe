/* SPDX-License-Identifier: BSD-2-Clause */
/* The state that every test starts from: the guest is the host's twin. */
#include "vmx/decode.h"
#include "vmx/guest.h"
#include "x86/processor.h"
#include "x86/selectors.h"
#include "x86/tables.h"

#include "libc/string.h"

extern const u8 vmx_exit_point[];

/*
 * What the fields shall hold, by width, type and index of their encodings. They are put together here and then
 * written once each: where the suite is a guest, a VMWRITE is a VM exit.
 */
enum { INDICES = 64 };
static u64 fields[4][4][INDICES];

static u64 *value_of(u32 encoding)
{
	return &fields[field_width(encoding)][field_type(encoding)][encoding >> 1 & (INDICES - 1)];
}

static void set(enum vmcs_field field, u64 value)
{
	*value_of(field) = value;
}

static void set_control(u32 control)
{
	*value_of(control_words[control_word(control)].field) |= control_bit(control);
}

static void write_fields(void)
{
	for (u32 i = 0; i < vmcs_field_count; i++) {
		const u32 encoding = vmcs_fields[i].encoding;
		const u64 value = *value_of(encoding);

		if (field_type(encoding) == FIELD_READ_ONLY || !field_exists(&vmcs_fields[i]))
			continue;
		if (value)
			vmcs_write(encoding, value);
		else	/* That each field can be written is a test's business, not ours. */
			asm volatile("vmwrite %1, %0" : : "r"((u64)encoding), "r"(0ull) : "cc", "memory");
	}
}

static void set_controls(void)
{
	for (enum control_word word = 0; word < CONTROL_WORDS; word++)
		if (control_word_exists(word))
			set(control_words[word].field, vmx_capabilities()->word[word].must_be_1);
	set_control(EXITCTL_HOST_ADDRESS_SPACE_SIZE);
	set_control(ENTRYCTL_IA32E_MODE_GUEST);

	guest.apic_timer_watchdog = !token_met(PIN_ACTIVATE_VMX_PREEMPTION_TIMER) &&
				    token_met(PIN_EXTERNAL_INTERRUPT_EXITING);
	if (guest.apic_timer_watchdog)
		set_control(PIN_EXTERNAL_INTERRUPT_EXITING);
	if (token_met(PIN_ACTIVATE_VMX_PREEMPTION_TIMER)) {
		set_control(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
		set(VMX_PREEMPTION_TIMER_VALUE, guest_watchdog_value());
	}
}

/* Fields that stand for the same register in the guest and in the host. */
static void set_both(enum vmcs_field guest_field, enum vmcs_field host_field, u64 value)
{
	set(guest_field, value);
	set(host_field, value);
}

static void set_optional(u32 guest_control, enum vmcs_field guest_field, u32 host_control,
			   enum vmcs_field host_field, u32 msr)
{
	u64 value = 0;

	/* A hypervisor may have a control for an MSR that it does not have. */
	if ((!token_met(guest_control) && !token_met(host_control)) || TRY(value = rdmsr(msr)).raised)
		return;
	if (token_met(guest_control))
		set(guest_field, value);
	if (token_met(host_control))
		set(host_field, value);
}

static void set_registers(void)
{
	set_both(GUEST_CR0, HOST_CR0, read_cr0());
	set_both(GUEST_CR3, HOST_CR3, read_cr3());
	set_both(GUEST_CR4, HOST_CR4, read_cr4());
	set_both(GUEST_IA32_SYSENTER_CS, HOST_IA32_SYSENTER_CS, rdmsr(IA32_SYSENTER_CS));
	set_both(GUEST_IA32_SYSENTER_ESP, HOST_IA32_SYSENTER_ESP, rdmsr(IA32_SYSENTER_ESP));
	set_both(GUEST_IA32_SYSENTER_EIP, HOST_IA32_SYSENTER_EIP, rdmsr(IA32_SYSENTER_EIP));
	set_optional(ENTRYCTL_LOAD_IA32_EFER, GUEST_IA32_EFER, EXITCTL_LOAD_IA32_EFER, HOST_IA32_EFER, IA32_EFER);
	set_optional(ENTRYCTL_LOAD_IA32_PAT, GUEST_IA32_PAT, EXITCTL_LOAD_IA32_PAT, HOST_IA32_PAT, IA32_PAT);
	set_optional(ENTRYCTL_LOAD_IA32_PERF_GLOBAL_CTRL, GUEST_IA32_PERF_GLOBAL_CTRL, EXITCTL_LOAD_IA32_PERF_GLOBAL_CTRL,
		     HOST_IA32_PERF_GLOBAL_CTRL, IA32_PERF_GLOBAL_CTRL);
	set(GUEST_DR7, 0x400);
	set(GUEST_RFLAGS, RFLAGS_FIXED);
	set(HOST_RIP, (u64)vmx_exit_point);
}

static void set_data_segment(enum vmcs_field selector, enum vmcs_field limit, enum vmcs_field rights)
{
	set(selector, SELECTOR_DATA);
	set(limit, 0xffffffff);
	set(rights, RIGHTS_DATA32);
}

static void set_segments(void)
{
	const u16 tr = read_tr();

	set(GUEST_CS_SELECTOR, SELECTOR_CODE64);
	set(GUEST_CS_LIMIT, 0xffffffff);
	set(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE64);
	set_data_segment(GUEST_ES_SELECTOR, GUEST_ES_LIMIT, GUEST_ES_ACCESS_RIGHTS);
	set_data_segment(GUEST_SS_SELECTOR, GUEST_SS_LIMIT, GUEST_SS_ACCESS_RIGHTS);
	set_data_segment(GUEST_DS_SELECTOR, GUEST_DS_LIMIT, GUEST_DS_ACCESS_RIGHTS);
	set_data_segment(GUEST_FS_SELECTOR, GUEST_FS_LIMIT, GUEST_FS_ACCESS_RIGHTS);
	set_data_segment(GUEST_GS_SELECTOR, GUEST_GS_LIMIT, GUEST_GS_ACCESS_RIGHTS);
	set(GUEST_LDTR_ACCESS_RIGHTS, RIGHTS_NOT_USABLE);
	set(GUEST_TR_SELECTOR, tr);
	set(GUEST_TR_LIMIT, descriptor_limit(tr));
	set(GUEST_TR_ACCESS_RIGHTS, RIGHTS_TSS32);

	set(HOST_CS_SELECTOR, SELECTOR_CODE64);
	set(HOST_ES_SELECTOR, SELECTOR_DATA);
	set(HOST_SS_SELECTOR, SELECTOR_DATA);
	set(HOST_DS_SELECTOR, SELECTOR_DATA);
	set(HOST_TR_SELECTOR, tr);

	set_both(GUEST_FS_BASE, HOST_FS_BASE, rdmsr(IA32_FS_BASE));
	set_both(GUEST_GS_BASE, HOST_GS_BASE, rdmsr(IA32_GS_BASE));
	set_both(GUEST_TR_BASE, HOST_TR_BASE, descriptor_base(tr));
	set_both(GUEST_GDTR_BASE, HOST_GDTR_BASE, tables_gdtr().base);
	set_both(GUEST_IDTR_BASE, HOST_IDTR_BASE, tables_idtr().base);
	set(GUEST_GDTR_LIMIT, tables_gdtr().limit);
	set(GUEST_IDTR_LIMIT, tables_idtr().limit);
}

void guest_baseline(void)
{
	guest = (struct guest){ .launched = false };
	memset(fields, 0, sizeof(fields));
	set(VMCS_LINK_POINTER, ~0ull);
	if (token_met(PROC2_USE_TSC_SCALING))
		set(TSC_MULTIPLIER, BIT(48));
	set_controls();
	set_registers();
	set_segments();
	write_fields();
}
