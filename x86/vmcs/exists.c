/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which fields exist: those whose control may be 1, whatever the control is set to
 * ("VMREAD", "VMWRITE", "Field Encoding in VMCS").
 */
#include "vmxtest/vmxtest.h"

struct existence {
	const u32 *fields;
	u32 field_count;
	const u32 *gates;	/* any of these makes the fields exist; ends with 0 */
};

static bool any_of(const u32 *tokens)
{
	for (; *tokens; tokens++)
		if (has(*tokens))
			return true;
	return false;
}

static void check_existence(u32 encoding, bool exists, const char *when)
{
	const struct outcome expected = exists ? SUCCEED : FAIL_VALID(VMERR_UNSUPPORTED_COMPONENT);
	const struct outcome to_read_only =
		has(CAP_MISC_VMWRITE_ANY_FIELD) ? SUCCEED : FAIL_VALID(VMERR_VMWRITE_READ_ONLY);
	const bool read_only = field_type(encoding) == FIELD_READ_ONLY;
	u64 value = 0x5a5a5a5a5a5a5a5a;

	CASE("encoding %#x, %s", encoding, when);
	CASE_FIELD(encoding);
	expect_outcome(vmread(encoding, &value, NULL), expected);
	if (!exists)
		expect_eq(value, 0x5a5a5a5a5a5a5a5a);
	expect_outcome(vmwrite(encoding, exists ? value : 0, NULL), exists && read_only ? to_read_only : expected);
}

static void check_fields(const struct existence *row, const char *when)
{
	const bool exists = any_of(row->gates);

	for (u32 i = 0; i < row->field_count; i++) {
		check_existence(row->fields[i], exists, when);
		if (field_width(row->fields[i]) == FIELD_64)
			check_existence(row->fields[i] | 1, exists, when);
	}
}

static bool is_control(u32 token)
{
	return (token & 0xff000000) == (CONTROL_TOKEN(PIN, 0) & 0xff000000);
}

static void run_existence(const void *data)
{
	const struct existence *row = data;

	check_fields(row, "the controls 0");
	for (const u32 *gate = row->gates; *gate; gate++)
		if (is_control(*gate) && has(*gate))
			vmcs_set_controls(*gate);
	check_fields(row, "the controls 1");
}

#define FIELDS(...) .fields = (const u32[]){ __VA_ARGS__ },					\
	.field_count = sizeof((const u32[]){ __VA_ARGS__ }) / sizeof(u32)
#define GATES(...) .gates = (const u32[]){ __VA_ARGS__, 0 }
#define EXISTS(id, name, fields_, gates_)							\
	TAP_ROW(vmx_fixture, "vmcs.exists." id, name ": in the VMCS exactly where the processor supports it",	\
		.run = run_existence, .data = &(const struct existence){ fields_, gates_ })

EXISTS("vpid", "VPID", FIELDS(VPID), GATES(PROC2_ENABLE_VPID));
EXISTS("pinv", "posted-interrupt notification vector",
       FIELDS(POSTED_INTERRUPT_NOTIFICATION_VECTOR), GATES(PIN_PROCESS_POSTED_INTERRUPTS));
EXISTS("eptp_index", "EPTP index", FIELDS(EPTP_INDEX), GATES(PROC2_EPT_VIOLATION_VE));
EXISTS("hlat_prefix", "HLAT prefix size", FIELDS(HLAT_PREFIX_SIZE), GATES(PROC3_ENABLE_HLAT));
EXISTS("last_pid_index", "last PID-pointer index",
       FIELDS(LAST_PID_POINTER_INDEX), GATES(PROC3_IPI_VIRTUALIZATION));
EXISTS("guest_intr_status", "guest interrupt status",
       FIELDS(GUEST_INTERRUPT_STATUS), GATES(PROC2_VIRTUAL_INTERRUPT_DELIVERY));
EXISTS("pml_index", "PML index", FIELDS(PML_INDEX), GATES(PROC2_ENABLE_PML));
EXISTS("guest_uinv", "guest UINV", FIELDS(GUEST_UINV), GATES(EXITCTL_CLEAR_UINV, ENTRYCTL_LOAD_UINV));
EXISTS("msr_bitmap", "MSR-bitmap address", FIELDS(MSR_BITMAP_ADDRESS), GATES(PROC_USE_MSR_BITMAPS));
EXISTS("pml_address", "PML address", FIELDS(PML_ADDRESS), GATES(PROC2_ENABLE_PML));
EXISTS("virtual_apic", "virtual-APIC address", FIELDS(VIRTUAL_APIC_ADDRESS), GATES(PROC_USE_TPR_SHADOW));
EXISTS("apic_access", "APIC-access address",
       FIELDS(APIC_ACCESS_ADDRESS), GATES(PROC2_VIRTUALIZE_APIC_ACCESSES));
EXISTS("pid_address", "posted-interrupt descriptor address",
       FIELDS(POSTED_INTERRUPT_DESCRIPTOR_ADDRESS), GATES(PIN_PROCESS_POSTED_INTERRUPTS));
EXISTS("vmfunc_ctls", "VM-function controls", FIELDS(VM_FUNCTION_CONTROLS), GATES(PROC2_ENABLE_VM_FUNCTIONS));
EXISTS("eptp", "EPT pointer", FIELDS(EPT_POINTER), GATES(PROC2_ENABLE_EPT));
EXISTS("eoi_bitmaps", "EOI-exit bitmaps 0-3",
       FIELDS(EOI_EXIT_BITMAP_0, EOI_EXIT_BITMAP_1, EOI_EXIT_BITMAP_2, EOI_EXIT_BITMAP_3),
       GATES(PROC2_VIRTUAL_INTERRUPT_DELIVERY));
EXISTS("eptp_list", "EPTP-list address", FIELDS(EPTP_LIST_ADDRESS), GATES(CAP_VMFUNC_EPTP_SWITCHING));
EXISTS("vmread_bitmap", "VMREAD-bitmap and VMWRITE-bitmap addresses",
       FIELDS(VMREAD_BITMAP_ADDRESS, VMWRITE_BITMAP_ADDRESS), GATES(PROC2_VMCS_SHADOWING));
EXISTS("ve_info", "virtualization-exception information address",
       FIELDS(VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS), GATES(PROC2_EPT_VIOLATION_VE));
EXISTS("xss_bitmap", "XSS-exiting bitmap", FIELDS(XSS_EXITING_BITMAP), GATES(PROC2_ENABLE_XSAVES_XRSTORS));
EXISTS("encls_bitmap", "ENCLS-exiting bitmap", FIELDS(ENCLS_EXITING_BITMAP), GATES(PROC2_ENABLE_ENCLS_EXITING));
EXISTS("spptp", "sub-page-permission-table pointer",
       FIELDS(SUB_PAGE_PERMISSION_TABLE_POINTER), GATES(PROC2_SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT));
EXISTS("tsc_multiplier", "TSC multiplier", FIELDS(TSC_MULTIPLIER), GATES(PROC2_USE_TSC_SCALING));
EXISTS("tertiary", "tertiary processor-based controls",
       FIELDS(TERTIARY_PROC_CONTROLS), GATES(PROC_ACTIVATE_TERTIARY_CONTROLS));
EXISTS("enclv_bitmap", "ENCLV-exiting bitmap", FIELDS(ENCLV_EXITING_BITMAP), GATES(PROC2_ENABLE_ENCLV_EXITING));
EXISTS("pconfig_bitmap", "PCONFIG-exiting bitmap", FIELDS(PCONFIG_EXITING_BITMAP), GATES(PROC2_ENABLE_PCONFIG));
EXISTS("hlatp", "HLAT pointer", FIELDS(HLAT_POINTER), GATES(PROC3_ENABLE_HLAT));
EXISTS("pid_table", "PID-pointer table address",
       FIELDS(PID_POINTER_TABLE_ADDRESS), GATES(PROC3_IPI_VIRTUALIZATION));
EXISTS("exit_ctls2", "secondary VM-exit controls",
       FIELDS(SECONDARY_VM_EXIT_CONTROLS), GATES(EXITCTL_ACTIVATE_SECONDARY_CONTROLS));
EXISTS("spec_ctrl_mask", "IA32_SPEC_CTRL mask and shadow",
       FIELDS(IA32_SPEC_CTRL_MASK, IA32_SPEC_CTRL_SHADOW), GATES(PROC3_VIRTUALIZE_IA32_SPEC_CTRL));
EXISTS("gpa", "guest-physical address", FIELDS(GUEST_PHYSICAL_ADDRESS), GATES(PROC2_ENABLE_EPT));
EXISTS("guest_pat", "guest IA32_PAT",
       FIELDS(GUEST_IA32_PAT), GATES(ENTRYCTL_LOAD_IA32_PAT, EXITCTL_SAVE_IA32_PAT));
EXISTS("guest_efer", "guest IA32_EFER",
       FIELDS(GUEST_IA32_EFER), GATES(ENTRYCTL_LOAD_IA32_EFER, EXITCTL_SAVE_IA32_EFER));
EXISTS("guest_pgc", "guest IA32_PERF_GLOBAL_CTRL",
       FIELDS(GUEST_IA32_PERF_GLOBAL_CTRL), GATES(ENTRYCTL_LOAD_IA32_PERF_GLOBAL_CTRL));
EXISTS("guest_pdpte", "guest PDPTE0-3",
       FIELDS(GUEST_PDPTE0, GUEST_PDPTE1, GUEST_PDPTE2, GUEST_PDPTE3), GATES(PROC2_ENABLE_EPT));
EXISTS("guest_bndcfgs", "guest IA32_BNDCFGS",
       FIELDS(GUEST_IA32_BNDCFGS), GATES(ENTRYCTL_LOAD_IA32_BNDCFGS, EXITCTL_CLEAR_IA32_BNDCFGS));
EXISTS("guest_rtit", "guest IA32_RTIT_CTL",
       FIELDS(GUEST_IA32_RTIT_CTL), GATES(ENTRYCTL_LOAD_IA32_RTIT_CTL, EXITCTL_CLEAR_IA32_RTIT_CTL));
EXISTS("guest_lbr", "guest IA32_LBR_CTL",
       FIELDS(GUEST_IA32_LBR_CTL), GATES(ENTRYCTL_LOAD_GUEST_IA32_LBR_CTL, EXITCTL_CLEAR_IA32_LBR_CTL));
EXISTS("guest_pkrs", "guest IA32_PKRS", FIELDS(GUEST_IA32_PKRS), GATES(ENTRYCTL_LOAD_PKRS));
EXISTS("host_pat", "host IA32_PAT", FIELDS(HOST_IA32_PAT), GATES(EXITCTL_LOAD_IA32_PAT));
EXISTS("host_efer", "host IA32_EFER", FIELDS(HOST_IA32_EFER), GATES(EXITCTL_LOAD_IA32_EFER));
EXISTS("host_pgc", "host IA32_PERF_GLOBAL_CTRL",
       FIELDS(HOST_IA32_PERF_GLOBAL_CTRL), GATES(EXITCTL_LOAD_IA32_PERF_GLOBAL_CTRL));
EXISTS("host_pkrs", "host IA32_PKRS", FIELDS(HOST_IA32_PKRS), GATES(EXITCTL_LOAD_PKRS));
EXISTS("tpr_threshold", "TPR threshold", FIELDS(TPR_THRESHOLD), GATES(PROC_USE_TPR_SHADOW));
EXISTS("secondary", "secondary processor-based controls",
       FIELDS(SECONDARY_PROC_CONTROLS), GATES(PROC_ACTIVATE_SECONDARY_CONTROLS));
EXISTS("ple", "PLE_Gap and PLE_Window", FIELDS(PLE_GAP, PLE_WINDOW), GATES(PROC2_PAUSE_LOOP_EXITING));
EXISTS("instr_timeout", "instruction-timeout control",
       FIELDS(INSTRUCTION_TIMEOUT_CONTROL), GATES(PROC2_INSTRUCTION_TIMEOUT));
EXISTS("preempt_timer", "VMX-preemption timer value",
       FIELDS(VMX_PREEMPTION_TIMER_VALUE), GATES(PIN_ACTIVATE_VMX_PREEMPTION_TIMER));
EXISTS("guest_cet", "guest IA32_S_CET, SSP and IA32_INTERRUPT_SSP_TABLE_ADDR",
       FIELDS(GUEST_IA32_S_CET, GUEST_SSP, GUEST_IA32_INTERRUPT_SSP_TABLE_ADDR),
       GATES(ENTRYCTL_LOAD_CET_STATE));
EXISTS("host_cet", "host IA32_S_CET, SSP and IA32_INTERRUPT_SSP_TABLE_ADDR",
       FIELDS(HOST_IA32_S_CET, HOST_SSP, HOST_IA32_INTERRUPT_SSP_TABLE_ADDR),
       GATES(EXITCTL_LOAD_CET_STATE));

/* The first four have their encodings without a condition: those beyond the number that is supported may be there. */
TEST("vmcs.exists.cr3_targets", "CR3-target value n exists where IA32_VMX_MISC[24:16] is above n")
{
	u64 value;

	for (u32 n = 0; n < 8; n++) {
		if (n < vmx_capabilities()->cr3_targets)
			check_existence(CR3_TARGET_VALUE0 + 2 * n, true, "any count");
		else if (vmread(CR3_TARGET_VALUE0 + 2 * n, &value, NULL).kind == OUTCOME_SUCCEED)
			note("CR3-target value %u exists, and the processor supports %u", n, vmx_capabilities()->cr3_targets);
		else
			check_existence(CR3_TARGET_VALUE0 + 2 * n, false, "any count");
	}
}
