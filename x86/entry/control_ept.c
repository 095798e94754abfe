/* SPDX-License-Identifier: BSD-2-Clause */
/* VPID, EPT and what builds on EPT ("VM-Execution Control Fields"). */
#include "control.h"

static void enable_vpid(void)
{
	control_fields_make_valid();
	vmcs_set_controls(PROC2_ENABLE_VPID);
}

static void try_vpid_zero_without_control(void)
{
	vmcs_clear_controls(PROC2_ENABLE_VPID);
	vmcs_write(VPID, 0);
	CASE("VPID 0, \"enable VPID\" 0");
	expect_outcome(entry_attempt(true), ACCEPTED);
}

TEST("entry.ctl.vpid.zero", "with \"enable VPID\" the VPID is not 0", NEEDS(PROC2_ENABLE_VPID))
{
	enable_vpid();
	for (u32 i = 0; i < 16; i++) {
		vmcs_write(VPID, BIT(i));
		CASE("VPID %#x", BIT(i));
		expect_outcome(entry_attempt(true), ACCEPTED);
	}
	vmcs_write(VPID, 0xffff);
	CASE("VPID %#x", 0xffff);
	expect_outcome(entry_attempt(true), ACCEPTED);
	vmcs_write(VPID, 0);
	CASE("VPID 0");
	expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	try_vpid_zero_without_control();
}

PREPARE(enable_ept, PROC2_ENABLE_EPT)

/* Each value of bits low + width - 1 : low of the EPTP, accepted if its bit of `valid` is 1. */
static void try_each_of(u32 low, u32 width, u64 valid)
{
	const u64 eptp = vmcs_read(EPT_POINTER) & ~((BIT(width) - 1) << low);

	for (u64 value = 0; value < BIT(width); value++) {
		vmcs_write(EPT_POINTER, eptp | value << low);
		CASE("EPTP %#lx", eptp | value << low);
		expect_outcome(entry_attempt(true),
			       valid & BIT(value) ? ACCEPTED : FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	}
}

TEST("entry.ctl.eptp.memtype", "EPTP[2:0] is a memory type that the processor supports", NEEDS(PROC2_ENABLE_EPT))
{
	enable_ept();
	try_each_of(0, 3, (has(CAP_EPT_MEMORY_TYPE_UC) ? BIT(0) : 0) | (has(CAP_EPT_MEMORY_TYPE_WB) ? BIT(6) : 0));
}

TEST("entry.ctl.eptp.walk", "EPTP[5:3] is a page-walk length that the processor supports, minus 1",
     NEEDS(PROC2_ENABLE_EPT))
{
	enable_ept();
	try_each_of(3, 3, (has(CAP_EPT_PAGE_WALK_LENGTH_4) ? BIT(3) : 0) |
		    (has(CAP_EPT_PAGE_WALK_LENGTH_5) ? BIT(4) : 0));
}

TEST("entry.ctl.eptp.ad", "EPTP[6] is 0 without accessed and dirty flags for EPT", NEEDS(PROC2_ENABLE_EPT))
{
	enable_ept();
	try_each_of(6, 1, BIT(0) | (has(CAP_EPT_ACCESSED_AND_DIRTY_FLAGS) ? BIT(1) : 0));
}

TEST("entry.ctl.eptp.sss", "EPTP[7] is 0 without supervisor shadow-stack control", NEEDS(PROC2_ENABLE_EPT))
{
	enable_ept();
	try_each_of(7, 1, BIT(0) | (has(CAP_EPT_SUPERVISOR_SHADOW_STACK) ? BIT(1) : 0));
}

ENTRY_CHECK("entry.ctl.eptp.reserved", "bits 11:8 of the EPTP and those beyond the physical-address width are 0",
	    NEEDS(PROC2_ENABLE_EPT), FIELDS(EPT_POINTER), .prepare = enable_ept,
	    .bad = MISALIGNED_OR_TOO_WIDE(0xf00), .reserved = true,
	    .refused = INVALID_CONTROLS, .good = WITHIN_PHYSICAL_WIDTH(~0xfffull));

ENTRY_CHECK("entry.ctl.eptp.ignored", "without \"enable EPT\" the EPTP is not looked at", NEEDS(PROC2_ENABLE_EPT),
	    FIELDS(EPT_POINTER), .good = ANYTHING);

ENTRY_CONTROL_NEEDS("entry.ctl.pml.needs_ept", "page-modification logging needs EPT",
		    PROC2_ENABLE_PML, PROC2_ENABLE_EPT, NEEDS(PROC2_ENABLE_PML, PROC2_ENABLE_EPT),
		    .prepare = control_fields_make_valid);

PREPARE(enable_pml, PROC2_ENABLE_EPT, PROC2_ENABLE_PML)

ENTRY_CHECK("entry.ctl.pml.addr", "the PML address is 4-KByte aligned and within the physical-address width",
	    NEEDS(PROC2_ENABLE_PML), FIELDS(PML_ADDRESS), .prepare = enable_pml,
	    .bad = MISALIGNED_OR_TOO_WIDE(0xfff), .refused = INVALID_CONTROLS,
	    .good = WITHIN_PHYSICAL_WIDTH(~0xfffull));

ENTRY_CONTROL_NEEDS("entry.ctl.ug.needs_ept", "unrestricted guest needs EPT",
		    PROC2_UNRESTRICTED_GUEST, PROC2_ENABLE_EPT, NEEDS(PROC2_UNRESTRICTED_GUEST, PROC2_ENABLE_EPT),
		    .prepare = control_fields_make_valid);

ENTRY_CONTROL_NEEDS("entry.ctl.mbec.needs_ept", "mode-based execute control needs EPT",
		    PROC2_MODE_BASED_EXECUTE_CONTROL_FOR_EPT, PROC2_ENABLE_EPT,
		    NEEDS(PROC2_MODE_BASED_EXECUTE_CONTROL_FOR_EPT, PROC2_ENABLE_EPT),
		    .prepare = control_fields_make_valid);

static void expect_field_checked(enum vmcs_field field, u64 bad_bits, struct outcome outcome)
{
	const u64 base = vmcs_read(field);

	for (u32 i = 0; i < 64; i++) {
		if (!(bad_bits & BIT(i)))
			continue;
		CASE("bit %u of field %#x", i, field);
		vmcs_write(field, base ^ BIT(i));
		expect_outcome(entry_attempt(true), outcome);
	}
	vmcs_write(field, base);
	CASE("field %#x = %#lx", field, base);
	expect_outcome(entry_attempt(true), ACCEPTED);
}

static u64 too_wide(void)
{
	return ~0ull << physical_address_width();
}

TEST("entry.ctl.spp.needs_ept", "sub-page write permissions need EPT and an aligned table within the width",
     NEEDS(PROC2_SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT, PROC2_ENABLE_EPT))
{
	const struct entry_dependency needs_ept = {
		.control = PROC2_SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT, .needed = PROC2_ENABLE_EPT,
		.prepare = control_fields_make_valid,
	};

	entry_dependency_run(&needs_ept);
	vmcs_set_controls(PROC2_ENABLE_EPT, PROC2_SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT);
	expect_field_checked(SUB_PAGE_PERMISSION_TABLE_POINTER, too_wide() | 0xfff,
			     FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	vmcs_clear_controls(PROC2_SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT);
	expect_field_checked(SUB_PAGE_PERMISSION_TABLE_POINTER, too_wide() | 0xfff, ACCEPTED);
}

PREPARE(enable_ve, PROC2_ENABLE_EPT, PROC2_EPT_VIOLATION_VE)

ENTRY_CHECK("entry.ctl.ve.info_addr", "the #VE information address is 4-KByte aligned and within the width",
	    NEEDS(PROC2_EPT_VIOLATION_VE, PROC2_ENABLE_EPT), FIELDS(VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS),
	    .prepare = enable_ve, .bad = MISALIGNED_OR_TOO_WIDE(0xfff), .refused = INVALID_CONTROLS,
	    .good = WITHIN_PHYSICAL_WIDTH(~0xfffull));

TEST("entry.ctl.ve.needs_ept", "EPT-violation #VE is accepted without EPT, where its address is still looked at",
     NEEDS(PROC2_EPT_VIOLATION_VE))
{
	control_fields_make_valid();
	vmcs_set_controls(PROC2_EPT_VIOLATION_VE);
	expect_field_checked(VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS, too_wide() | 0xfff,
			     FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	vmcs_clear_controls(PROC2_EPT_VIOLATION_VE);
	expect_field_checked(VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS, too_wide() | 0xfff, ACCEPTED);
}

TEST("entry.ctl.vmfunc.reserved", "only VM-function controls of IA32_VMX_VMFUNC may be 1",
     NEEDS(PROC2_ENABLE_VM_FUNCTIONS, PROC2_ENABLE_EPT))
{
	control_fields_make_valid();
	vmcs_set_controls(PROC2_ENABLE_EPT, PROC2_ENABLE_VM_FUNCTIONS);
	expect_field_checked(VM_FUNCTION_CONTROLS, ~vmx_capabilities()->vmfunc,
			     FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	expect_field_checked(VM_FUNCTION_CONTROLS, vmx_capabilities()->vmfunc & BIT(0), ACCEPTED);
}

ENTRY_CHECK("entry.ctl.vmfunc.ignored", "without \"enable VM functions\" the VM-function controls are not looked at",
	    NEEDS(PROC2_ENABLE_VM_FUNCTIONS), FIELDS(VM_FUNCTION_CONTROLS, EPTP_LIST_ADDRESS), .good = ANYTHING);

TEST("entry.ctl.vmfunc.eptp_needs_ept", "EPTP switching needs EPT",
     NEEDS(CAP_VMFUNC_EPTP_SWITCHING, PROC2_ENABLE_VM_FUNCTIONS, PROC2_ENABLE_EPT))
{
	control_fields_make_valid();
	vmcs_set_controls(PROC2_ENABLE_VM_FUNCTIONS);
	for (u32 set = 0; set < 4; set++) {
		const bool switching = set & 1, ept = set & 2;

		vmcs_write(VM_FUNCTION_CONTROLS, switching);
		if (ept)
			vmcs_set_controls(PROC2_ENABLE_EPT);
		else
			vmcs_clear_controls(PROC2_ENABLE_EPT);
		CASE("EPTP switching %u, EPT %u", switching, ept);
		expect_outcome(entry_attempt(true),
			       switching && !ept ? FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS) : ACCEPTED);
	}
}

TEST("entry.ctl.vmfunc.list_addr", "with EPTP switching the EPTP list is 4-KByte aligned and within the width",
     NEEDS(CAP_VMFUNC_EPTP_SWITCHING, PROC2_ENABLE_VM_FUNCTIONS, PROC2_ENABLE_EPT))
{
	control_fields_make_valid();
	vmcs_set_controls(PROC2_ENABLE_EPT, PROC2_ENABLE_VM_FUNCTIONS);
	vmcs_write(VM_FUNCTION_CONTROLS, BIT(0));
	expect_field_checked(EPTP_LIST_ADDRESS, too_wide() | 0xfff, FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	vmcs_write(VM_FUNCTION_CONTROLS, 0);
	expect_field_checked(EPTP_LIST_ADDRESS, too_wide() | 0xfff, ACCEPTED);
}

PREPARE(enable_hlat, PROC2_ENABLE_EPT, PROC3_ENABLE_HLAT)

TEST("entry.ctl.hlat.addr", "HLAT needs EPT, and reserved bits of the HLATP are 0", NEEDS(PROC3_ENABLE_HLAT))
{
	const struct entry_dependency needs_ept = {
		.control = PROC3_ENABLE_HLAT, .needed = PROC2_ENABLE_EPT, .prepare = control_fields_make_valid,
	};

	entry_dependency_run(&needs_ept);
	enable_hlat();
	expect_field_checked(HLAT_POINTER, too_wide() | 0xfe7, FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	expect_field_checked(HLAT_POINTER, 0x18, ACCEPTED);
}

TEST("entry.ctl.pgverify.needs_ept", "EPT paging-write control and guest-paging verification need EPT",
     NEEDS(PROC3_EPT_PAGING_WRITE_CONTROL, PROC3_GUEST_PAGING_VERIFICATION))
{
	static const u32 controls[] = { PROC3_EPT_PAGING_WRITE_CONTROL, PROC3_GUEST_PAGING_VERIFICATION };

	control_fields_make_valid();
	for (u32 i = 0; i < ARRAY_SIZE(controls); i++) {
		const struct entry_dependency needs_ept = { .control = controls[i], .needed = PROC2_ENABLE_EPT };

		entry_dependency_run(&needs_ept);
		vmcs_clear_controls(controls[i]);
	}
}
