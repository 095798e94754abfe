/* SPDX-License-Identifier: BSD-2-Clause */
#include "control.h"

/* Fields that hold the address of a page of their own. */
static const enum vmcs_field page_fields[] = {
	IO_BITMAP_A_ADDRESS, IO_BITMAP_B_ADDRESS, MSR_BITMAP_ADDRESS, VIRTUAL_APIC_ADDRESS, APIC_ACCESS_ADDRESS,
	POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, PML_ADDRESS, EPTP_LIST_ADDRESS, VMREAD_BITMAP_ADDRESS,
	VMWRITE_BITMAP_ADDRESS, VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS, SUB_PAGE_PERMISSION_TABLE_POINTER,
	PID_POINTER_TABLE_ADDRESS, HLAT_POINTER, VM_EXIT_MSR_STORE_ADDRESS, VM_EXIT_MSR_LOAD_ADDRESS,
	VM_ENTRY_MSR_LOAD_ADDRESS,
};

static void write_if_exists(enum vmcs_field field, u64 value)
{
	if (field_exists(field_find(field)))
		vmcs_write(field, value);
}

u64 valid_eptp(u64 table)
{
	const u64 write_back = 6, uncacheable = 0, walk_length_4 = 3 << 3;

	return table | walk_length_4 | (has(CAP_EPT_MEMORY_TYPE_WB) ? write_back : uncacheable);
}

void control_fields_make_valid(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(page_fields); i++)
		write_if_exists(page_fields[i], physical_address(page_alloc()));
	write_if_exists(EPT_POINTER, valid_eptp(physical_address(page_alloc())));
	write_if_exists(VPID, 1);
	write_if_exists(POSTED_INTERRUPT_NOTIFICATION_VECTOR, 0xf2);
}
