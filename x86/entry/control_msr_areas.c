/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The three MSR areas ("VM-Exit Control Fields", "VM-Entry Control Fields"). An entry
 * failure processes the VM-exit MSR-load area, so a test of that one has an invalid
 * host state where its area is no real one: error 8 then says that no control was
 * found wrong.
 */
#include "control.h"

/* What the VM-exit MSR-load area of a test may hold: an MSR that nothing here uses, as it is. */
static void fill_area(u64 *area)
{
	for (u32 i = 0; i < PAGE_SIZE / 16; i++) {
		area[2 * i] = IA32_SYSENTER_CS;
		area[2 * i + 1] = rdmsr(IA32_SYSENTER_CS);
	}
}

static void use_area(enum vmcs_field address, enum vmcs_field count)
{
	u64 *area = page_alloc();

	fill_area(area);
	vmcs_write(address, physical_address(area));
	vmcs_write(count, 1);
}

#define USE_AREA(name) static void use_##name(void) { use_area(VM_##name##_ADDRESS, VM_##name##_COUNT); }
USE_AREA(EXIT_MSR_STORE)
USE_AREA(EXIT_MSR_LOAD)
USE_AREA(ENTRY_MSR_LOAD)

/*
 * An area that VM entry accepts may be at no memory. That no MSR is loaded from it, as the guest state is invalid, is
 * the subject of entry.order.guest_before_msr; a hypervisor that leaves RFLAGS to the processor below it may get that
 * wrong, but looks at the link pointer itself.
 */
static void use_ENTRY_MSR_LOAD_with_no_guest(void)
{
	use_ENTRY_MSR_LOAD();
	vmcs_write(VMCS_LINK_POINTER, 1);
}

ENTRY_CHECK("entry.ctl.exit.msrstore.align", "the VM-exit MSR-store address is 16-byte aligned", ALWAYS,
	    FIELDS(VM_EXIT_MSR_STORE_ADDRESS), .prepare = use_EXIT_MSR_STORE,
	    .bad = FLIPPED_BITS(0xf), .refused = INVALID_CONTROLS, .good = FLIPPED_BITS(0xff0));

ENTRY_CHECK("entry.ctl.exit.msrload.align", "the VM-exit MSR-load address is 16-byte aligned", ALWAYS,
	    FIELDS(VM_EXIT_MSR_LOAD_ADDRESS), .prepare = use_EXIT_MSR_LOAD,
	    .bad = FLIPPED_BITS(0xf), .refused = INVALID_CONTROLS, .good = FLIPPED_BITS(0xff0));

ENTRY_CHECK("entry.ctl.entry.msrload.align", "the VM-entry MSR-load address is 16-byte aligned", ALWAYS,
	    FIELDS(VM_ENTRY_MSR_LOAD_ADDRESS), .prepare = use_ENTRY_MSR_LOAD,
	    .bad = FLIPPED_BITS(0xf), .refused = INVALID_CONTROLS, .good = FLIPPED_BITS(0xff0));

ENTRY_CHECK("entry.ctl.exit.msrstore.paw", "the VM-exit MSR-store address is within the physical-address width",
	    ALWAYS, FIELDS(VM_EXIT_MSR_STORE_ADDRESS), .prepare = use_EXIT_MSR_STORE,
	    .bad = ABOVE_PHYSICAL_WIDTH, .refused = INVALID_CONTROLS, .good = WITHIN_PHYSICAL_WIDTH(~0xfull));

ENTRY_CHECK("entry.ctl.exit.msrload.paw", "the VM-exit MSR-load address is within the physical-address width",
	    ALWAYS, FIELDS(VM_EXIT_MSR_LOAD_ADDRESS), .prepare = use_EXIT_MSR_LOAD,
	    .bad = ABOVE_PHYSICAL_WIDTH, .refused = INVALID_CONTROLS);

ENTRY_CHECK("entry.ctl.entry.msrload.paw", "the VM-entry MSR-load address is within the physical-address width",
	    ALWAYS, FIELDS(VM_ENTRY_MSR_LOAD_ADDRESS), .prepare = use_ENTRY_MSR_LOAD_with_no_guest,
	    .bad = ABOVE_PHYSICAL_WIDTH, .refused = INVALID_CONTROLS, .good = WITHIN_PHYSICAL_WIDTH(~0xfull));

/* Also a list whose last byte would be a low address again: 64 bits are not enough to add its length. */
static void expect_too_high(enum vmcs_field address, u32 count, u64 end)
{
	CASE("%u entries, the last one behind the last byte", count);
	vmcs_write(address, end - 16 * count + 16);
	expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));

	CASE("%u entries from the last 16 bytes below 2^64", count);
	vmcs_write(address, -16ull);
	expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
}

/* Lists no longer than every processor takes (512 entries: IA32_VMX_MISC[27:25] = 0). */
static void check_last_byte(enum vmcs_field address, enum vmcs_field count, struct outcome accepted)
{
	static const u32 counts[] = { 1, 2, 3, 64, 255, 256, 511, 512 };
	const u64 end = 1ull << (has(CAP_BASIC_32BIT_PHYSICAL_ADDRESSES) ? 32 : physical_address_width());

	for (u32 i = 0; i < ARRAY_SIZE(counts); i++) {
		vmcs_write(count, counts[i]);
		CASE("%u entries that end with the last byte", counts[i]);
		vmcs_write(address, end - 16 * counts[i]);
		expect_outcome(entry_attempt(true), accepted);
		expect_too_high(address, counts[i], end);
	}
}

TEST("entry.ctl.exit.msrstore.last_byte", "the VM-exit MSR-store area ends within the physical-address width")
{
	check_last_byte(VM_EXIT_MSR_STORE_ADDRESS, VM_EXIT_MSR_STORE_COUNT, ACCEPTED);
}

TEST("entry.ctl.entry.msrload.last_byte", "the VM-entry MSR-load area ends within the physical-address width")
{
	use_ENTRY_MSR_LOAD_with_no_guest();
	check_last_byte(VM_ENTRY_MSR_LOAD_ADDRESS, VM_ENTRY_MSR_LOAD_COUNT, ACCEPTED);
}

TEST("entry.ctl.exit.msrload.last_byte", "the VM-exit MSR-load area ends within the physical-address width")
{
	const u64 end = 1ull << (has(CAP_BASIC_32BIT_PHYSICAL_ADDRESSES) ? 32 : physical_address_width());

	for (u32 count = 1; count <= 512; count *= 2) {
		vmcs_write(VM_EXIT_MSR_LOAD_COUNT, count);
		expect_too_high(VM_EXIT_MSR_LOAD_ADDRESS, count, end);

		CASE("%u entries that end with the last byte", count);
		vmcs_write(VM_EXIT_MSR_LOAD_ADDRESS, end - 16 * count);
		vmcs_write(HOST_TR_SELECTOR, 0);
		expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_HOST_STATE));
		vmcs_write(HOST_TR_SELECTOR, read_tr());
	}
}

ENTRY_CHECK("entry.ctl.exit.msr_zero_count", "the address of an MSR area with count 0 is not looked at", ALWAYS,
	    FIELDS(VM_EXIT_MSR_STORE_ADDRESS, VM_EXIT_MSR_LOAD_ADDRESS, VM_ENTRY_MSR_LOAD_ADDRESS),
	    .good = ANYTHING);
