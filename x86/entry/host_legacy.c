/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks that only a host outside IA-32e mode can see. Each attempt leaves VMX
 * operation, becomes a 32-bit host with PAE paging, enters VMX operation there,
 * tries VMLAUNCH, and comes back. Guest RFLAGS is 0, so that a VMCS that passes the
 * checks ends in entry failure 33, which loads a 32-bit host state.
 */
#include "vmxtest/entry.h"
#include "x86/selectors.h"

struct legacy {
	u64 vmxon_region, vmcs_region;
	u32 pae_cr3, vmxon_flags, launch_flags, error, reason;
};

extern struct legacy legacy;
extern const u8 legacy_exit_point[];
void legacy_enter(void);

struct legacy legacy;

static u64 *pae_tables(void)
{
	u64 *pdpt = page_alloc();
	const u64 long_pdpt = *page_entry(0, 4) & PAGE_ADDRESS_MASK;

	/* The page directories of 4-level paging will do; of their pointers PAE paging wants other bits 0. */
	for (u32 i = 0; i < 4; i++)
		pdpt[i] = (((u64 *)long_pdpt)[i] & PAGE_ADDRESS_MASK) | PAGE_PRESENT;
	return pdpt;
}

/* The baseline for a host and a guest of 32 bits. */
static void make_legacy_vmcs(void)
{
	legacy.pae_cr3 = physical_address(pae_tables());
	vmcs_clear_controls(EXITCTL_HOST_ADDRESS_SPACE_SIZE, ENTRYCTL_IA32E_MODE_GUEST);
	vmcs_write(HOST_CR3, legacy.pae_cr3);
	vmcs_write(HOST_CS_SELECTOR, SELECTOR_CODE32);
	vmcs_write(HOST_RIP, (u64)legacy_exit_point);
	vmcs_write(GUEST_RFLAGS, 0);
}

static struct outcome legacy_attempt(void)
{
	legacy.vmxon_region = physical_address(&vmxon_region);
	legacy.vmcs_region = physical_address(&vmcs_region);
	legacy.vmxon_flags = legacy.launch_flags = legacy.reason = 0;
	require_outcome(vmclear(&legacy.vmcs_region, NULL), SUCCEED);
	require_outcome(vmxoff(NULL), SUCCEED);
	legacy_enter();
	vmx_on();
	require_outcome(vmptrld(&legacy.vmcs_region, NULL), SUCCEED);

	if (legacy.vmxon_flags & (RFLAGS_CF | RFLAGS_ZF))
		throw("VMXON outside IA-32e mode does not succeed");
	if (legacy.launch_flags & RFLAGS_CF)
		return FAIL_INVALID;
	if (legacy.launch_flags)
		return FAIL_VALID(legacy.error);
	return entry_of_illegal_guest(ENTRY_FAILS(legacy.reason & 0x7fffffff, 0));
}

TEST("entry.host.hass.lma0_ctl1",
     "outside IA-32e mode \"host address-space size\" and \"IA-32e mode guest\" are 0: else error 7 or 8")
{
	make_legacy_vmcs();
	CASE("neither");
	expect_outcome(legacy_attempt(), ACCEPTED);
	CASE("IA-32e mode guest");
	vmcs_set_controls(ENTRYCTL_IA32E_MODE_GUEST);
	expect_refused_7_or_8(legacy_attempt());
	CASE("both");
	vmcs_set_controls(EXITCTL_HOST_ADDRESS_SPACE_SIZE);
	expect_refused_7_or_8(legacy_attempt());
	CASE("host address-space size");
	vmcs_clear_controls(ENTRYCTL_IA32E_MODE_GUEST);
	expect_refused_7_or_8(legacy_attempt());
	CASE("neither, again");
	vmcs_clear_controls(EXITCTL_HOST_ADDRESS_SPACE_SIZE);
	expect_outcome(legacy_attempt(), ACCEPTED);
}

static void try_field(enum vmcs_field field, u64 value, bool valid)
{
	CASE("%s = %#lx", field_find(field)->name, value);
	vmcs_write(field, value);
	expect_outcome(legacy_attempt(), valid ? ACCEPTED : FAIL_VALID(VMERR_ENTRY_INVALID_HOST_STATE));
}

TEST("entry.host.sel.ss_zero_32", "the host SS selector is not 0 for a 32-bit host; those of FS and GS may be")
{
	vmcs_write(HOST_SS_SELECTOR, 0);
	CASE("HOST_SS_SELECTOR = 0 for a 64-bit host");
	expect_outcome(entry_attempt(true), ACCEPTED);
	vmcs_write(HOST_SS_SELECTOR, SELECTOR_DATA);

	make_legacy_vmcs();
	try_field(HOST_SS_SELECTOR, 0, false);
	try_field(HOST_SS_SELECTOR, SELECTOR_DATA, true);
	/* The way back uses DS and ES. */
	try_field(HOST_FS_SELECTOR, 0, true);
	try_field(HOST_GS_SELECTOR, 0, true);
}

TEST("entry.host.hass.pcide", "with \"host address-space size\" 0 host CR4.PCIDE is 0", NEEDS(FEATURE_PCID))
{
	const u64 cr4 = vmcs_read(HOST_CR4);

	make_legacy_vmcs();
	try_field(HOST_CR4, cr4 | CR4_PCIDE, false);
	try_field(HOST_CR4, cr4, true);
}

TEST("entry.host.hass.rip32", "with \"host address-space size\" 0 bits 63:32 of host RIP are 0")
{
	make_legacy_vmcs();
	for (u32 bit = 32; bit < 64; bit++)
		try_field(HOST_RIP, (u64)legacy_exit_point | BIT(bit), false);
	try_field(HOST_RIP, (u64)legacy_exit_point, true);
}
