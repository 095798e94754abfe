/* SPDX-License-Identifier: BSD-2-Clause */
/* "VM-Execution Control Fields", "VM-Exit Control Fields" and "VM-Entry Control Fields", but for the event to inject. */
#include "vmxtest/model/look.h"

/* Reserved bits are set properly. */
static bool word_allowed(const struct model_state *s, enum control_word word)
{
	const struct control_range *range = &s->cpu->word[word];
	const u64 value = v(s, word_field(word));

	return (value & range->must_be_1) == range->must_be_1 && !(value & ~range->may_be_1);
}

/* The same of a word that another control activates; without it the word is not looked at. */
static bool activated_word_allowed(const struct model_state *s, enum control_word word, u32 activator)
{
	return !on(s, activator) || !may_be_1(s, activator) || word_allowed(s, word);
}

bool holds_pin_reserved(const struct model_state *s) { return word_allowed(s, WORD_PIN); }
bool holds_proc_reserved(const struct model_state *s) { return word_allowed(s, WORD_PROC); }
bool holds_exit_reserved(const struct model_state *s) { return word_allowed(s, WORD_EXITCTL); }
bool holds_entry_reserved(const struct model_state *s) { return word_allowed(s, WORD_ENTRYCTL); }

bool holds_proc2_reserved(const struct model_state *s)
{
	return activated_word_allowed(s, WORD_PROC2, PROC_ACTIVATE_SECONDARY_CONTROLS);
}

bool holds_proc3_reserved(const struct model_state *s)
{
	return activated_word_allowed(s, WORD_PROC3, PROC_ACTIVATE_TERTIARY_CONTROLS);
}

bool holds_exit2_reserved(const struct model_state *s)
{
	return activated_word_allowed(s, WORD_EXITCTL2, EXITCTL_ACTIVATE_SECONDARY_CONTROLS);
}

bool holds_cr3_targets(const struct model_state *s)
{
	return v(s, M_CR3_TARGET_COUNT) <= s->cpu->cr3_targets;
}

/* The low bits of an address are 0 if a control is 1; it has no bit that physical addresses have not. */
static bool aligned_if(const struct model_state *s, u32 control, enum model_field field, u64 low_bits)
{
	return !on(s, control) || !(v(s, field) & low_bits);
}

static bool within_if(const struct model_state *s, u32 control, enum model_field field)
{
	return !on(s, control) || !(v(s, field) & above_width(s));
}

static bool page_if(const struct model_state *s, u32 control, enum model_field field)
{
	return aligned_if(s, control, field, 0xfff) && within_if(s, control, field);
}

bool holds_iobitmap_align(const struct model_state *s)
{
	return aligned_if(s, PROC_USE_IO_BITMAPS, M_IO_BITMAP_A_ADDRESS, 0xfff) &&
	       aligned_if(s, PROC_USE_IO_BITMAPS, M_IO_BITMAP_B_ADDRESS, 0xfff);
}

bool holds_iobitmap_paw(const struct model_state *s)
{
	return within_if(s, PROC_USE_IO_BITMAPS, M_IO_BITMAP_A_ADDRESS) && within_if(s, PROC_USE_IO_BITMAPS, M_IO_BITMAP_B_ADDRESS);
}

bool holds_msrbitmap_align(const struct model_state *s) { return aligned_if(s, PROC_USE_MSR_BITMAPS, M_MSR_BITMAP_ADDRESS, 0xfff); }
bool holds_msrbitmap_paw(const struct model_state *s) { return within_if(s, PROC_USE_MSR_BITMAPS, M_MSR_BITMAP_ADDRESS); }
bool holds_vapic_align(const struct model_state *s) { return aligned_if(s, PROC_USE_TPR_SHADOW, M_VIRTUAL_APIC_ADDRESS, 0xfff); }
bool holds_vapic_paw(const struct model_state *s) { return within_if(s, PROC_USE_TPR_SHADOW, M_VIRTUAL_APIC_ADDRESS); }

/* The threshold is looked at. */
static bool threshold_counts(const struct model_state *s)
{
	return on(s, PROC_USE_TPR_SHADOW) && !on(s, PROC2_VIRTUAL_INTERRUPT_DELIVERY);
}

bool holds_tprthr_reserved(const struct model_state *s)
{
	return !threshold_counts(s) || !(v(s, M_TPR_THRESHOLD) & 0xfffffff0);
}

/* VTPR is memory: known at the page that the address has by default. */
bool holds_tprthr_vtpr(const struct model_state *s)
{
	return !threshold_counts(s) || on(s, PROC2_VIRTUALIZE_APIC_ACCESSES) || v(s, M_VIRTUAL_APIC_ADDRESS) != s->cpu->virtual_apic ||
	       (v(s, M_TPR_THRESHOLD) & 15) <= (v(s, M_VTPR) >> 4 & 15);
}

bool holds_tprthr_elsewhere(const struct model_state *s)
{
	return !threshold_counts(s) || on(s, PROC2_VIRTUALIZE_APIC_ACCESSES) || v(s, M_VIRTUAL_APIC_ADDRESS) == s->cpu->virtual_apic ||
	       v(s, M_VIRTUAL_APIC_ADDRESS) & (above_width(s) | 0xfff);
}

static bool needs(const struct model_state *s, u32 control, u32 needed)
{
	return !on(s, control) || on(s, needed);
}

bool holds_virtual_nmis(const struct model_state *s) { return needs(s, PIN_VIRTUAL_NMIS, PIN_NMI_EXITING); }
bool holds_nmi_window(const struct model_state *s) { return needs(s, PROC_NMI_WINDOW_EXITING, PIN_VIRTUAL_NMIS); }
bool holds_apicaccess_align(const struct model_state *s)
{
	return aligned_if(s, PROC2_VIRTUALIZE_APIC_ACCESSES, M_APIC_ACCESS_ADDRESS, 0xfff);
}
bool holds_apicaccess_paw(const struct model_state *s) { return within_if(s, PROC2_VIRTUALIZE_APIC_ACCESSES, M_APIC_ACCESS_ADDRESS); }

bool holds_apic_needs_tprshadow(const struct model_state *s)
{
	return needs(s, PROC2_VIRTUALIZE_X2APIC_MODE, PROC_USE_TPR_SHADOW) &&
	       needs(s, PROC2_APIC_REGISTER_VIRTUALIZATION, PROC_USE_TPR_SHADOW) &&
	       needs(s, PROC2_VIRTUAL_INTERRUPT_DELIVERY, PROC_USE_TPR_SHADOW);
}

bool holds_x2apic_excl(const struct model_state *s)
{
	return !on(s, PROC2_VIRTUALIZE_X2APIC_MODE) || !on(s, PROC2_VIRTUALIZE_APIC_ACCESSES);
}

bool holds_vid_needs_extint(const struct model_state *s)
{
	return needs(s, PROC2_VIRTUAL_INTERRUPT_DELIVERY, PIN_EXTERNAL_INTERRUPT_EXITING);
}

bool holds_posted_needs_vid(const struct model_state *s)
{
	return needs(s, PIN_PROCESS_POSTED_INTERRUPTS, PROC2_VIRTUAL_INTERRUPT_DELIVERY);
}

bool holds_posted_needs_ack(const struct model_state *s)
{
	return needs(s, PIN_PROCESS_POSTED_INTERRUPTS, EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT);
}

bool holds_posted_vector(const struct model_state *s)
{
	return aligned_if(s, PIN_PROCESS_POSTED_INTERRUPTS, M_POSTED_INTERRUPT_NOTIFICATION_VECTOR, 0xff00);
}

bool holds_posted_align(const struct model_state *s)
{
	return aligned_if(s, PIN_PROCESS_POSTED_INTERRUPTS, M_POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, 0x3f);
}

bool holds_posted_paw(const struct model_state *s)
{
	return within_if(s, PIN_PROCESS_POSTED_INTERRUPTS, M_POSTED_INTERRUPT_DESCRIPTOR_ADDRESS);
}

bool holds_vpid_zero(const struct model_state *s) { return !on(s, PROC2_ENABLE_VPID) || v(s, M_VPID); }

static bool capable(const struct model_state *s, u32 bit)
{
	return s->cpu->ept_vpid >> bit & 1;
}

bool holds_eptp_memtype(const struct model_state *s)
{
	const u64 type = v(s, M_EPT_POINTER) & 7;

	return !on(s, PROC2_ENABLE_EPT) || (type == 0 && capable(s, 8)) || (type == 6 && capable(s, 14));
}

/* A length of 5 where IA32_VMX_EPT_VPID_CAP[7] has it. */
bool holds_eptp_walk(const struct model_state *s)
{
	const u64 length = (v(s, M_EPT_POINTER) >> 3 & 7) + 1;

	return !on(s, PROC2_ENABLE_EPT) || (length == 4 && capable(s, 6)) || (length == 5 && capable(s, 7));
}

bool holds_eptp_ad(const struct model_state *s) { return capable(s, 21) || aligned_if(s, PROC2_ENABLE_EPT, M_EPT_POINTER, BIT(6)); }
bool holds_eptp_sss(const struct model_state *s) { return capable(s, 23) || aligned_if(s, PROC2_ENABLE_EPT, M_EPT_POINTER, BIT(7)); }

bool holds_eptp_reserved(const struct model_state *s)
{
	return !on(s, PROC2_ENABLE_EPT) || !(v(s, M_EPT_POINTER) & (0xf00 | ~0ull << s->cpu->physical_width));
}

bool holds_pml_needs_ept(const struct model_state *s) { return needs(s, PROC2_ENABLE_PML, PROC2_ENABLE_EPT); }
bool holds_pml_addr(const struct model_state *s) { return page_if(s, PROC2_ENABLE_PML, M_PML_ADDRESS); }
bool holds_ug_needs_ept(const struct model_state *s) { return needs(s, PROC2_UNRESTRICTED_GUEST, PROC2_ENABLE_EPT); }
bool holds_mbec_needs_ept(const struct model_state *s) { return needs(s, PROC2_MODE_BASED_EXECUTE_CONTROL_FOR_EPT, PROC2_ENABLE_EPT); }

bool holds_spp_needs_ept(const struct model_state *s)
{
	return needs(s, PROC2_SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT, PROC2_ENABLE_EPT) &&
	       page_if(s, PROC2_SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT, M_SUB_PAGE_PERMISSION_TABLE_POINTER);
}

bool holds_vmfunc_reserved(const struct model_state *s)
{
	return !on(s, PROC2_ENABLE_VM_FUNCTIONS) || !(v(s, M_VM_FUNCTION_CONTROLS) & ~s->cpu->vmfunc);
}

static bool eptp_switching(const struct model_state *s)
{
	return on(s, PROC2_ENABLE_VM_FUNCTIONS) && v(s, M_VM_FUNCTION_CONTROLS) & s->cpu->vmfunc & 1;
}

bool holds_vmfunc_eptp_needs_ept(const struct model_state *s) { return !eptp_switching(s) || on(s, PROC2_ENABLE_EPT); }
bool holds_vmfunc_list(const struct model_state *s) { return !eptp_switching(s) || page_if(s, PROC2_ENABLE_VM_FUNCTIONS, M_EPTP_LIST_ADDRESS); }

bool holds_shadow_bitmaps(const struct model_state *s)
{
	return page_if(s, PROC2_VMCS_SHADOWING, M_VMREAD_BITMAP_ADDRESS) && page_if(s, PROC2_VMCS_SHADOWING, M_VMWRITE_BITMAP_ADDRESS);
}

bool holds_ve_info(const struct model_state *s)
{
	return page_if(s, PROC2_EPT_VIOLATION_VE, M_VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS);
}

/* Only newer editions of the manual have it. */
bool holds_tsc_multiplier(const struct model_state *s) { return !on(s, PROC2_USE_TSC_SCALING) || v(s, M_TSC_MULTIPLIER); }

bool holds_pt_guestpa(const struct model_state *s)
{
	return needs(s, PROC2_INTEL_PT_USES_GUEST_PHYSICAL_ADDRESSES, PROC2_ENABLE_EPT) &&
	       needs(s, PROC2_INTEL_PT_USES_GUEST_PHYSICAL_ADDRESSES, ENTRYCTL_LOAD_IA32_RTIT_CTL) &&
	       needs(s, PROC2_INTEL_PT_USES_GUEST_PHYSICAL_ADDRESSES, EXITCTL_CLEAR_IA32_RTIT_CTL);
}

bool holds_hlat(const struct model_state *s)
{
	return needs(s, PROC3_ENABLE_HLAT, PROC2_ENABLE_EPT) && aligned_if(s, PROC3_ENABLE_HLAT, M_HLAT_POINTER, 0xfe7) &&
	       within_if(s, PROC3_ENABLE_HLAT, M_HLAT_POINTER);
}

bool holds_pgverify(const struct model_state *s)
{
	return needs(s, PROC3_EPT_PAGING_WRITE_CONTROL, PROC2_ENABLE_EPT) && needs(s, PROC3_GUEST_PAGING_VERIFICATION, PROC2_ENABLE_EPT);
}

/* The addresses of an area of so many bytes have no bit beyond the width. */
static bool area_within(const struct model_state *s, u64 address, u64 bytes)
{
	return !(address & above_width(s)) && !((address + bytes - 1) & above_width(s));
}

bool holds_ipiv(const struct model_state *s)
{
	const u64 table = v(s, M_PID_POINTER_TABLE_ADDRESS);

	return !on(s, PROC3_IPI_VIRTUALIZATION) ||
	       (on(s, PROC_USE_TPR_SHADOW) && !(table & 7) && area_within(s, table, 8 * v(s, M_LAST_PID_POINTER_INDEX) + 8));
}

bool holds_timer_save(const struct model_state *s)
{
	return needs(s, EXITCTL_SAVE_VMX_PREEMPTION_TIMER_VALUE, PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
}

/* The areas of MSRs: nothing is looked at with a count of 0. */
static bool list_aligned(const struct model_state *s, enum model_field address, enum model_field count)
{
	return !v(s, count) || !(v(s, address) & 15);
}

static bool list_within(const struct model_state *s, enum model_field address, enum model_field count)
{
	return !v(s, count) || !(v(s, address) & above_width(s));
}

static bool list_end_within(const struct model_state *s, enum model_field address, enum model_field count)
{
	return !v(s, count) || v(s, address) & above_width(s) || area_within(s, v(s, address) & ~15ull, 16 * v(s, count));
}

#define AREA(name, field)										\
bool holds_##name##_align(const struct model_state *s) { return list_aligned(s, M_##field##_ADDRESS, M_##field##_COUNT); } \
bool holds_##name##_paw(const struct model_state *s) { return list_within(s, M_##field##_ADDRESS, M_##field##_COUNT); } \
bool holds_##name##_end(const struct model_state *s) { return list_end_within(s, M_##field##_ADDRESS, M_##field##_COUNT); }
AREA(msrstore, VM_EXIT_MSR_STORE)
AREA(exitload, VM_EXIT_MSR_LOAD)
AREA(entryload, VM_ENTRY_MSR_LOAD)
#undef AREA

/* The model's processor is never in SMM. */
bool holds_smm(const struct model_state *s)
{
	return !on(s, ENTRYCTL_ENTRY_TO_SMM) && !on(s, ENTRYCTL_DEACTIVATE_DUAL_MONITOR_TREATMENT);
}

bool holds_smm_both(const struct model_state *s)
{
	return !on(s, ENTRYCTL_ENTRY_TO_SMM) || !on(s, ENTRYCTL_DEACTIVATE_DUAL_MONITOR_TREATMENT);
}
