/* SPDX-License-Identifier: BSD-2-Clause */
/* The state that every test starts from: the guest is the host's twin. */
#include "vmx/decode.h"
#include "vmx/guest.h"
#include "x86/processor.h"
#include "x86/selectors.h"
#include "x86/tables.h"

/* Segment access rights (SDM Vol. 3C, "Guest Register State"). */
enum {
	RIGHTS_CODE64 = 0xa09b, RIGHTS_DATA = 0xc093, RIGHTS_BUSY_TSS = 0x008b, RIGHTS_UNUSABLE = 0x10000,
};

extern const u8 vmx_exit_point[];

static void write_defaults(void)
{
	for (u32 i = 0; i < vmcs_field_count; i++) {
		const u32 encoding = vmcs_fields[i].encoding;

		if (field_type(encoding) == FIELD_READ_ONLY || !field_exists(&vmcs_fields[i]))
			continue;
		/* That each field can be written is a test's business, not ours. */
		asm volatile("vmwrite %1, %0" : : "r"((u64)encoding), "r"(0ull) : "cc", "memory");
	}
	vmcs_write(VMCS_LINK_POINTER, ~0ull);
	if (has(PROC2_USE_TSC_SCALING))
		vmcs_write(TSC_MULTIPLIER, BIT(48));
}

static void write_controls(void)
{
	for (enum control_word word = 0; word < CONTROL_WORDS; word++)
		if (control_word_exists(word))
			vmcs_write(control_words[word].field, vmx_capabilities()->word[word].must_be_1);
	vmcs_set_controls(EXITCTL_HOST_ADDRESS_SPACE_SIZE, ENTRYCTL_IA32E_MODE_GUEST);

	guest.apic_timer_watchdog = !has(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
	if (guest.apic_timer_watchdog) {
		vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	} else {
		vmcs_set_controls(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
		vmcs_write(VMX_PREEMPTION_TIMER_VALUE, guest_watchdog_ticks() >> (vmx_capabilities()->misc & 0x1f));
	}
}

/* Fields that stand for the same register in the guest and in the host. */
static void write_both(enum vmcs_field guest_field, enum vmcs_field host_field, u64 value)
{
	vmcs_write(guest_field, value);
	vmcs_write(host_field, value);
}

static void write_optional(u32 guest_control, enum vmcs_field guest_field, u32 host_control,
			   enum vmcs_field host_field, u32 msr)
{
	if (has(guest_control))
		vmcs_write(guest_field, rdmsr(msr));
	if (has(host_control))
		vmcs_write(host_field, rdmsr(msr));
}

static void write_registers(void)
{
	write_both(GUEST_CR0, HOST_CR0, read_cr0());
	write_both(GUEST_CR3, HOST_CR3, read_cr3());
	write_both(GUEST_CR4, HOST_CR4, read_cr4());
	write_both(GUEST_IA32_SYSENTER_CS, HOST_IA32_SYSENTER_CS, rdmsr(IA32_SYSENTER_CS));
	write_both(GUEST_IA32_SYSENTER_ESP, HOST_IA32_SYSENTER_ESP, rdmsr(IA32_SYSENTER_ESP));
	write_both(GUEST_IA32_SYSENTER_EIP, HOST_IA32_SYSENTER_EIP, rdmsr(IA32_SYSENTER_EIP));
	write_optional(ENTRYCTL_LOAD_IA32_EFER, GUEST_IA32_EFER, EXITCTL_LOAD_IA32_EFER, HOST_IA32_EFER, IA32_EFER);
	write_optional(ENTRYCTL_LOAD_IA32_PAT, GUEST_IA32_PAT, EXITCTL_LOAD_IA32_PAT, HOST_IA32_PAT, IA32_PAT);
	vmcs_write(GUEST_DR7, 0x400);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	vmcs_write(HOST_RIP, (u64)vmx_exit_point);
}

static void write_data_segment(enum vmcs_field selector, enum vmcs_field limit, enum vmcs_field rights)
{
	vmcs_write(selector, SELECTOR_DATA);
	vmcs_write(limit, 0xffffffff);
	vmcs_write(rights, RIGHTS_DATA);
}

static void write_segments(void)
{
	const u16 tr = read_tr();

	vmcs_write(GUEST_CS_SELECTOR, SELECTOR_CODE64);
	vmcs_write(GUEST_CS_LIMIT, 0xffffffff);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE64);
	write_data_segment(GUEST_ES_SELECTOR, GUEST_ES_LIMIT, GUEST_ES_ACCESS_RIGHTS);
	write_data_segment(GUEST_SS_SELECTOR, GUEST_SS_LIMIT, GUEST_SS_ACCESS_RIGHTS);
	write_data_segment(GUEST_DS_SELECTOR, GUEST_DS_LIMIT, GUEST_DS_ACCESS_RIGHTS);
	write_data_segment(GUEST_FS_SELECTOR, GUEST_FS_LIMIT, GUEST_FS_ACCESS_RIGHTS);
	write_data_segment(GUEST_GS_SELECTOR, GUEST_GS_LIMIT, GUEST_GS_ACCESS_RIGHTS);
	vmcs_write(GUEST_LDTR_ACCESS_RIGHTS, RIGHTS_UNUSABLE);
	vmcs_write(GUEST_TR_SELECTOR, tr);
	vmcs_write(GUEST_TR_LIMIT, descriptor_limit(tr));
	vmcs_write(GUEST_TR_ACCESS_RIGHTS, RIGHTS_BUSY_TSS);

	vmcs_write(HOST_CS_SELECTOR, SELECTOR_CODE64);
	vmcs_write(HOST_ES_SELECTOR, SELECTOR_DATA);
	vmcs_write(HOST_SS_SELECTOR, SELECTOR_DATA);
	vmcs_write(HOST_DS_SELECTOR, SELECTOR_DATA);
	vmcs_write(HOST_TR_SELECTOR, tr);

	write_both(GUEST_FS_BASE, HOST_FS_BASE, rdmsr(IA32_FS_BASE));
	write_both(GUEST_GS_BASE, HOST_GS_BASE, rdmsr(IA32_GS_BASE));
	write_both(GUEST_TR_BASE, HOST_TR_BASE, descriptor_base(tr));
	write_both(GUEST_GDTR_BASE, HOST_GDTR_BASE, tables_gdtr().base);
	write_both(GUEST_IDTR_BASE, HOST_IDTR_BASE, tables_idtr().base);
	vmcs_write(GUEST_GDTR_LIMIT, tables_gdtr().limit);
	vmcs_write(GUEST_IDTR_LIMIT, tables_idtr().limit);
}

void guest_baseline(void)
{
	guest = (struct guest){ .launched = false };
	write_defaults();
	write_controls();
	write_registers();
	write_segments();
}
