/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses that several controls have looked at, with all of these controls 1 at once. */
#include "control.h"

static const struct {
	enum control control;
	enum vmcs_field address;
	u64 bad;		/* a bit that must be 0 */
} addresses[] = {
	{ PROC_USE_IO_BITMAPS, IO_BITMAP_A_ADDRESS, BIT(0) },
	{ PROC_USE_IO_BITMAPS, IO_BITMAP_B_ADDRESS, BIT(11) },
	{ PROC_USE_MSR_BITMAPS, MSR_BITMAP_ADDRESS, BIT(0) },
	{ PROC_USE_TPR_SHADOW, VIRTUAL_APIC_ADDRESS, BIT(11) },
	{ PROC2_VIRTUALIZE_APIC_ACCESSES, APIC_ACCESS_ADDRESS, BIT(0) },
	{ PROC2_ENABLE_EPT, EPT_POINTER, BIT(11) },
	{ PROC2_ENABLE_PML, PML_ADDRESS, BIT(0) },
	{ PROC2_VMCS_SHADOWING, VMREAD_BITMAP_ADDRESS, BIT(11) },
	{ PROC2_VMCS_SHADOWING, VMWRITE_BITMAP_ADDRESS, BIT(0) },
	{ PROC2_EPT_VIOLATION_VE, VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS, BIT(11) },
};

TEST("entry.ctl.together", "an address is looked at whatever other controls are 1 as well", NEEDS(PROC_USE_IO_BITMAPS))
{
	control_fields_make_valid();
	for (u32 i = 0; i < ARRAY_SIZE(addresses); i++)
		if (has(addresses[i].control))
			vmcs_set_controls(addresses[i].control);
	CASE("all addresses good");
	expect_outcome(entry_attempt(true), ACCEPTED);

	for (u32 i = 0; i < ARRAY_SIZE(addresses); i++) {
		const enum vmcs_field field = addresses[i].address;

		if (!has(addresses[i].control))
			continue;
		vmcs_write(field, vmcs_read(field) ^ addresses[i].bad);
		CASE("%s = %#lx", field_find(field)->text, vmcs_read(field));
		expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
		vmcs_write(field, vmcs_read(field) ^ addresses[i].bad);
	}
	CASE("all addresses good again");
	expect_outcome(entry_attempt(true), ACCEPTED);
}
