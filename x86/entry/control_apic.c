/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupts, NMIs and APIC virtualization ("VM-Execution Control Fields"). */
#include "control.h"
#include "x86/apic.h"

ENTRY_CONTROL_NEEDS("entry.ctl.nmi.virtual_needs_exiting", "virtual NMIs need NMI exiting",
		    PIN_VIRTUAL_NMIS, PIN_NMI_EXITING, NEEDS(PIN_VIRTUAL_NMIS, PIN_NMI_EXITING));

static void set_nmi_exiting(void)
{
	vmcs_set_controls(PIN_NMI_EXITING);
}

ENTRY_CONTROL_NEEDS("entry.ctl.nmi.window_needs_virtual", "NMI-window exiting needs virtual NMIs",
		    PROC_NMI_WINDOW_EXITING, PIN_VIRTUAL_NMIS, NEEDS(PROC_NMI_WINDOW_EXITING, PIN_VIRTUAL_NMIS),
		    .prepare = set_nmi_exiting);

PREPARE(use_tpr_shadow, PROC_USE_TPR_SHADOW)

/* VM entry reads VTPR at the virtual-APIC address, to check the threshold: only memory is tried there. */
enum { PAGES_OF_MEMORY = 16 };

static bool page_of_memory(u32 index, u64 *address)
{
	if (index >= PAGES_OF_MEMORY)
		return false;
	*address = physical_address(page_alloc());
	return true;
}

ENTRY_CHECK("entry.ctl.vapic.align", "the virtual-APIC address is 4-KByte aligned", NEEDS(PROC_USE_TPR_SHADOW),
	    FIELDS(VIRTUAL_APIC_ADDRESS), .prepare = use_tpr_shadow,
	    .bad = FLIPPED_BITS(0xfff), .refused = INVALID_CONTROLS, .good = COMPUTED(page_of_memory));

/* With APIC accesses virtualized the threshold is not checked, so that any address may be tried. */
TEST("entry.ctl.vapic.paw", "the virtual-APIC address is within the physical-address width", NEEDS(PROC_USE_TPR_SHADOW))
{
	ENTRY_VALUES(FIELDS(VIRTUAL_APIC_ADDRESS), .prepare = use_tpr_shadow, .bad = ABOVE_PHYSICAL_WIDTH,
		     .refused = INVALID_CONTROLS, .good = COMPUTED(page_of_memory));
	if (!has(PROC2_VIRTUALIZE_APIC_ACCESSES))
		return;
	vmcs_set_controls(PROC2_VIRTUALIZE_APIC_ACCESSES);
	ENTRY_VALUES(FIELDS(VIRTUAL_APIC_ADDRESS), .bad = ABOVE_PHYSICAL_WIDTH, .refused = INVALID_CONTROLS,
		     .good = WITHIN_PHYSICAL_WIDTH(~0xfffull));
}

static volatile u32 *vtpr(void)
{
	return (volatile u32 *)(vmcs_read(VIRTUAL_APIC_ADDRESS) + APIC_TPR);
}

static void use_tpr_shadow_with_highest_vtpr(void)
{
	use_tpr_shadow();
	*vtpr() = 0xff;
}

ENTRY_CHECK("entry.ctl.tprthr.reserved", "bits 31:4 of the TPR threshold are 0", NEEDS(PROC_USE_TPR_SHADOW),
	    FIELDS(TPR_THRESHOLD), .prepare = use_tpr_shadow_with_highest_vtpr,
	    .bad = FLIPPED_BITS(0xfffffff0), .refused = INVALID_CONTROLS,
	    .good = VALUES(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));

static void try_thresholds(u32 vtpr_value, bool checked)
{
	*vtpr() = vtpr_value;
	for (u32 threshold = 0; threshold < 16; threshold++) {
		const bool bad = checked && threshold > (vtpr_value >> 4 & 0xf);

		CASE("VTPR %#x, threshold %u, checked %u", vtpr_value, threshold, checked);
		vmcs_write(TPR_THRESHOLD, threshold);
		expect_outcome(entry_attempt(true), bad ? FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS) : ACCEPTED);
	}
}

TEST("entry.ctl.tprthr.vtpr", "the TPR threshold is not above VTPR[7:4], unless APIC accesses are virtualized",
     NEEDS(PROC_USE_TPR_SHADOW))
{
	use_tpr_shadow();
	for (u32 value = 0; value < 256; value += value % 16 ? 1 : 15)
		try_thresholds(value, true);
	/* Bytes 3:1 of the register play no part. */
	try_thresholds(0xffffff00, true);
	try_thresholds(0x70, true);

	if (has(PROC2_VIRTUALIZE_APIC_ACCESSES)) {
		vmcs_set_controls(PROC2_VIRTUALIZE_APIC_ACCESSES);
		try_thresholds(0x00, false);
		try_thresholds(0x70, false);
	}
	vmcs_clear_controls(PROC_USE_TPR_SHADOW);
	if (has(PROC2_VIRTUALIZE_APIC_ACCESSES))
		vmcs_clear_controls(PROC2_VIRTUALIZE_APIC_ACCESSES);
	try_thresholds(0x00, false);
}

PREPARE(use_virtual_interrupt_delivery, PROC_USE_TPR_SHADOW, PIN_EXTERNAL_INTERRUPT_EXITING,
	PROC2_VIRTUAL_INTERRUPT_DELIVERY)

ENTRY_CHECK("entry.ctl.tprthr.ignored_vid", "the TPR threshold is not looked at with virtual-interrupt delivery",
	    NEEDS(PROC2_VIRTUAL_INTERRUPT_DELIVERY), FIELDS(TPR_THRESHOLD),
	    .prepare = use_virtual_interrupt_delivery, .good = ANYTHING);

PREPARE(use_apic_accesses, PROC2_VIRTUALIZE_APIC_ACCESSES)

ENTRY_CHECK("entry.ctl.apicaccess.align", "the APIC-access address is 4-KByte aligned",
	    NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES), FIELDS(APIC_ACCESS_ADDRESS), .prepare = use_apic_accesses,
	    .bad = FLIPPED_BITS(0xfff), .refused = INVALID_CONTROLS, .good = FLIPPED_BITS(0xff000));

ENTRY_CHECK("entry.ctl.apicaccess.paw", "the APIC-access address is within the physical-address width",
	    NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES), FIELDS(APIC_ACCESS_ADDRESS), .prepare = use_apic_accesses,
	    .bad = ABOVE_PHYSICAL_WIDTH, .refused = INVALID_CONTROLS, .good = WITHIN_PHYSICAL_WIDTH(~0xfffull));

/* The controls that the rules on APIC virtualization are about; a combination is a set of them. */
static const u32 apic_controls[] = {
	PROC_USE_TPR_SHADOW, PROC2_VIRTUALIZE_APIC_ACCESSES, PROC2_VIRTUALIZE_X2APIC_MODE,
	PROC2_APIC_REGISTER_VIRTUALIZATION, PROC2_VIRTUAL_INTERRUPT_DELIVERY, PIN_EXTERNAL_INTERRUPT_EXITING,
	PIN_PROCESS_POSTED_INTERRUPTS, EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT,
};
enum {
	TPR_SHADOW = 1, APIC_ACCESSES = 2, X2APIC_MODE = 4, APIC_REGISTERS = 8, INTERRUPT_DELIVERY = 16,
	EXTERNAL_EXITING = 32, POSTED_INTERRUPTS = 64, ACKNOWLEDGE = 128,
};

static bool combination_valid(u32 set)
{
	if (!(set & TPR_SHADOW) && set & (X2APIC_MODE | APIC_REGISTERS | INTERRUPT_DELIVERY))
		return false;
	if (set & X2APIC_MODE && set & APIC_ACCESSES)
		return false;
	if (set & INTERRUPT_DELIVERY && !(set & EXTERNAL_EXITING))
		return false;
	return !(set & POSTED_INTERRUPTS) || (set & INTERRUPT_DELIVERY && set & ACKNOWLEDGE);
}

/* Put a combination into the VMCS; false: the processor does not have one of the controls. */
static bool set_combination(u32 set)
{
	for (u32 i = 0; i < ARRAY_SIZE(apic_controls); i++) {
		if (!has(apic_controls[i])) {
			if (set & 1u << i)
				return false;
			continue;
		}
		if (set & 1u << i)
			vmcs_set_controls(apic_controls[i]);
		else
			vmcs_clear_controls(apic_controls[i]);
	}
	return true;
}

static void try_combinations_with(u32 always)
{
	control_fields_make_valid();
	for (u32 set = 0; set < 256; set++) {
		if ((set & always) != always || !set_combination(set))
			continue;
		CASE("TPR shadow, APIC accesses, x2APIC, registers, delivery, ext-int, posted, acknowledge = %#x", set);
		expect_outcome(entry_attempt(true),
			       combination_valid(set) ? ACCEPTED : FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	}
}

TEST("entry.ctl.apic.needs_tprshadow",
     "x2APIC mode, APIC-register virtualization and virtual-interrupt delivery need the TPR shadow",
     NEEDS(PROC2_VIRTUALIZE_X2APIC_MODE))
{
	try_combinations_with(0);
}

TEST("entry.ctl.apic.x2apic_excl", "x2APIC mode and APIC accesses are not virtualized together",
     NEEDS(PROC2_VIRTUALIZE_X2APIC_MODE, PROC2_VIRTUALIZE_APIC_ACCESSES))
{
	try_combinations_with(TPR_SHADOW);
}

PREPARE(use_tpr_shadow_only, PROC_USE_TPR_SHADOW)

ENTRY_CONTROL_NEEDS("entry.ctl.vid.needs_extint", "virtual-interrupt delivery needs external-interrupt exiting",
		    PROC2_VIRTUAL_INTERRUPT_DELIVERY, PIN_EXTERNAL_INTERRUPT_EXITING,
		    NEEDS(PROC2_VIRTUAL_INTERRUPT_DELIVERY), .prepare = use_tpr_shadow_only);

PREPARE(all_but_delivery, PROC_USE_TPR_SHADOW, PIN_EXTERNAL_INTERRUPT_EXITING,
	EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT)
PREPARE(all_but_acknowledge, PROC_USE_TPR_SHADOW, PIN_EXTERNAL_INTERRUPT_EXITING,
	PROC2_VIRTUAL_INTERRUPT_DELIVERY)
PREPARE(use_posted_interrupts, PROC_USE_TPR_SHADOW, PIN_EXTERNAL_INTERRUPT_EXITING,
	PROC2_VIRTUAL_INTERRUPT_DELIVERY, EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT, PIN_PROCESS_POSTED_INTERRUPTS)

ENTRY_CONTROL_NEEDS("entry.ctl.posted.needs_vid", "posted interrupts need virtual-interrupt delivery",
		    PIN_PROCESS_POSTED_INTERRUPTS, PROC2_VIRTUAL_INTERRUPT_DELIVERY,
		    NEEDS(PIN_PROCESS_POSTED_INTERRUPTS), .prepare = all_but_delivery);

ENTRY_CONTROL_NEEDS("entry.ctl.posted.needs_ack", "posted interrupts need the interrupt acknowledged on exit",
		    PIN_PROCESS_POSTED_INTERRUPTS, EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT,
		    NEEDS(PIN_PROCESS_POSTED_INTERRUPTS), .prepare = all_but_acknowledge);

ENTRY_CHECK("entry.ctl.posted.vector", "bits 15:8 of the posted-interrupt notification vector are 0",
	    NEEDS(PIN_PROCESS_POSTED_INTERRUPTS), FIELDS(POSTED_INTERRUPT_NOTIFICATION_VECTOR),
	    .prepare = use_posted_interrupts, .bad = FLIPPED_BITS(0xff00), .refused = INVALID_CONTROLS,
	    .good = FLIPPED_BITS(0x00ff));

ENTRY_CHECK("entry.ctl.posted.desc_align", "the posted-interrupt descriptor is 64-byte aligned",
	    NEEDS(PIN_PROCESS_POSTED_INTERRUPTS), FIELDS(POSTED_INTERRUPT_DESCRIPTOR_ADDRESS),
	    .prepare = use_posted_interrupts, .bad = FLIPPED_BITS(0x3f), .refused = INVALID_CONTROLS,
	    .good = FLIPPED_BITS(0xfffc0));

ENTRY_CHECK("entry.ctl.posted.desc_paw", "the posted-interrupt descriptor is within the physical-address width",
	    NEEDS(PIN_PROCESS_POSTED_INTERRUPTS), FIELDS(POSTED_INTERRUPT_DESCRIPTOR_ADDRESS),
	    .prepare = use_posted_interrupts, .bad = ABOVE_PHYSICAL_WIDTH, .refused = INVALID_CONTROLS,
	    .good = WITHIN_PHYSICAL_WIDTH(~0x3full));

PREPARE(use_ipi_virtualization, PROC_USE_TPR_SHADOW, PROC3_IPI_VIRTUALIZATION)

TEST("entry.ctl.ipiv.checks", "IPI virtualization needs the TPR shadow and a PID-pointer table in range",
     NEEDS(PROC3_IPI_VIRTUALIZATION))
{
	use_ipi_virtualization();

	const u64 table = vmcs_read(PID_POINTER_TABLE_ADDRESS);
	const u64 end = 1ull << physical_address_width();
	const struct {
		u64 table, last_index;
		bool valid;
	} cases[] = {
		{ table, 0, true }, { table, 0xffff, true }, { table + 8, 0, true }, { table | 1, 0, false },
		{ table | 2, 0, false }, { table | 4, 0, false }, { table | end, 0, false },
		{ table | BIT(63), 0, false }, { end - 8, 0, true }, { end - 8, 1, false },
		{ end - 0x80000, 0xffff, true }, { end - 0x7fff8, 0xffff, false },
	};

	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		CASE("table %#lx, last index %#lx", cases[i].table, cases[i].last_index);
		vmcs_write(PID_POINTER_TABLE_ADDRESS, cases[i].table);
		vmcs_write(LAST_PID_POINTER_INDEX, cases[i].last_index);
		expect_outcome(entry_attempt(true),
			       cases[i].valid ? ACCEPTED : FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	}
	vmcs_write(PID_POINTER_TABLE_ADDRESS, table);
	vmcs_clear_controls(PROC_USE_TPR_SHADOW);
	CASE("without the TPR shadow");
	expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
}
