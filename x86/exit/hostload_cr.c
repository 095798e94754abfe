/* SPDX-License-Identifier: BSD-2-Clause */
/* "Loading Host Control Registers, Debug Registers, MSRs": the registers. */
#include "hostload.h"

#include "machine/memory.h"
#include "x86/cr4.h"

/* CR0 bits that an exit leaves as they are, beside those fixed in VMX operation: ET, 15:6, 17, 28:19, NW, CD. */
#define CR0_KEPT 0x7ffaffd0ull

/* Loadable bits that a guest may have otherwise than the host. */
enum {
	CR0_FREE = CR0_MP | CR0_TS | CR0_WP | CR0_AM,
	CR4_FREE = CR4_TSD | CR4_DE | CR4_MCE | CR4_PCE,
};

static bool cr0_allowed(u64 value)
{
	const struct vmx_capabilities *cap = vmx_capabilities();

	return !(~value & cap->cr0_fixed0) && !(value & ~cap->cr0_fixed1);
}

static void expect_cr0_loaded(u64 guest_cr0)
{
	const u64 home = read_cr0();

	vmcs_write(GUEST_CR0, guest_cr0);
	for (u32 bit = 0; bit < 32; bit++) {
		const u64 host = home ^ BIT(bit);

		if (!cr0_allowed(host | CR0_NW | CR0_CD) || !cr0_allowed(host & ~(CR0_NW | CR0_CD)))
			continue;
		CASE("guest CR0 %#lx, host CR0 %#lx", guest_cr0, host);
		vmcs_write(HOST_CR0, host);
		guest_run(guest_ends);
		expect_guest_done();
		expect_eq(exit_probe.cr0, (host & ~CR0_KEPT) | (home & CR0_KEPT));
	}
	vmcs_write(HOST_CR0, home);
}

static void expect_cr4_loaded(u64 guest_cr4)
{
	const u64 home = read_cr4();

	vmcs_write(GUEST_CR4, guest_cr4);
	for (u32 bit = 0; bit < 64; bit++) {
		const u64 host = home ^ BIT(bit);

		if (host & ~vmx_capabilities()->cr4_fixed1 || ~host & vmx_capabilities()->cr4_fixed0)
			continue;
		if (!(BIT(bit) & CR4_HARMLESS))
			continue;
		CASE("guest CR4 %#lx, host CR4 %#lx", guest_cr4, host);
		vmcs_write(HOST_CR4, host);
		guest_run(guest_ends);
		expect_guest_done();
		expect_eq(exit_probe.cr4, host);
	}
	vmcs_write(HOST_CR4, home);
}

/* The page with host's PML4 copied into it is the page table at the exit. */
static void expect_cr3_loaded(u64 cr3)
{
	u64 *pml4 = (u64 *)(cr3 & PAGE_ADDRESS_MASK);

	CASE("host CR3 %#lx", cr3);
	for (u32 i = 0; i < 512; i++)
		pml4[i] = ((u64 *)read_cr3())[i];
	vmcs_write(HOST_CR3, cr3);
	guest_run(guest_ends);
	expect_guest_done();
	expect_eq(exit_probe.cr3, cr3);
	expect_eq(vmcs_read(GUEST_CR3), read_cr3());
}

TEST("hostload.cr", "CR0, CR3 and CR4 come from the host fields, but the bits of CR0 that an exit does not change")
{
	const u64 pages = (u64)page_alloc_many(16);

	exit_probe_on();
	expect_cr0_loaded(read_cr0());
	expect_cr0_loaded(read_cr0() ^ CR0_FREE);
	vmcs_write(GUEST_CR0, read_cr0());
	expect_cr4_loaded(read_cr4());
	expect_cr4_loaded(read_cr4() ^ (CR4_FREE & vmx_capabilities()->cr4_fixed1));
	vmcs_write(GUEST_CR4, read_cr4());

	for (u32 i = 0; i < 16; i++)
		expect_cr3_loaded(pages + i * PAGE_SIZE);
	/* Address bits far apart, as far as there is RAM; then PWT and PCD. */
	for (u64 bit = BIT(16); bit < MEMORY_LIMIT; bit <<= 1) {
		const void *const page = page_alloc_within(bit, 2 * bit, 1, PAGE_SIZE);

		if (page)
			expect_cr3_loaded(physical_address(page));
	}
	expect_cr3_loaded(pages | BIT(3));
	expect_cr3_loaded(pages | BIT(4));
	if (!has(FEATURE_PCID))
		return;
	vmcs_write(HOST_CR4, read_cr4() | CR4_PCIDE);
	for (u32 bit = 0; bit < 12; bit++)
		expect_cr3_loaded(pages | BIT(bit));
}

static u64 guest_value;

static void guest_writes_cr0(void)
{
	write_cr0(guest_value);
}

TEST("hostload.cr0_cd_nw", "CR0.CD and CR0.NW are the host's as the guest set them, whatever host CR0 says")
{
	static const u64 settings[] = { CR0_CD, CR0_CD | CR0_NW, 0, CR0_NW };
	const u64 home = read_cr0(), both = CR0_CD | CR0_NW;

	exit_probe_on();
	for (u32 g = 0; g < 3; g++)		/* NW without CD cannot be set */
		for (u32 h = 0; h < ARRAY_SIZE(settings) && (!settings[g] || may(MAY_TURN_CACHES_OFF)); h++) {
			CASE("guest %#x, host %#x", settings[g], settings[h]);
			guest_value = (home & ~both) | settings[g];
			vmcs_write(GUEST_CR0, home);
			vmcs_write(HOST_CR0, (home & ~both) | settings[h]);
			guest_run(guest_writes_cr0);
			expect_guest_done();
			expect_eq(exit_probe.cr0, guest_value);
		}
}

TEST("hostload.cr4_pae_fixed", "a 64-bit host has CR4.PAE = 1 after the exit of a guest with 32-bit paging")
{
	const u64 home = read_cr4();

	exit_probe_on();
	guest_run_mode(MODE_32BIT);
	expect_guest_done();
	expect_bits(vmcs_read(GUEST_CR4), CR4_PAE, 0);
	expect_eq(exit_probe.cr4, home);

	CASE("PCIDE and PAE at once");
	if (!has(FEATURE_PCID))
		return;
	start_over();
	vmcs_write(HOST_CR4, home | CR4_PCIDE);
	guest_run_mode(MODE_32BIT);
	expect_guest_done();
	expect_eq(exit_probe.cr4, home | CR4_PCIDE);
}

TEST("hostload.cr4_la57", "CR4.LA57 changes with the exit of a guest with 5-level paging", NEEDS(FEATURE_LA57))
{
	u64 *pml5 = page_alloc();

	exit_probe_on();
	pml5[0] = read_cr3() | PAGE_PRESENT | PAGE_WRITE | PAGE_USER;
	vmcs_write(GUEST_CR3, physical_address(pml5));
	vmcs_write(GUEST_CR4, read_cr4() | CR4_LA57);
	guest_run(guest_ends);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_CR4), read_cr4() | CR4_LA57);
	expect_bits(exit_probe.cr4, CR4_LA57, 0);
}

static void guest_writes_dr7(void)
{
	write_dr7(guest_value);
}

/* DR7 bits that may be 1, each by itself: enables of breakpoints at DR0-DR3, GD, R/W and LEN. */
#define DR7_BITS 0xffff23ffull

TEST("hostload.dr7", "DR7 is 400H after the exit, whatever the guest's is and was")
{
	exit_probe_on();
	for (u32 bit = 0; bit < 32; bit++) {
		if (!(DR7_BITS & BIT(bit)))
			continue;
		CASE("guest DR7 bit %u", bit);
		vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
		vmcs_write(GUEST_DR7, 0x400 | BIT(bit));
		guest_run(guest_ends);
		expect_guest_done();
		expect_eq(exit_probe.dr7, 0x400);

		guest_value = 0x400 | BIT(bit);
		vmcs_write(GUEST_DR7, 0x400);
		guest_run(guest_writes_dr7);
		expect_guest_done();
		expect_eq(exit_probe.dr7, 0x400);
	}

	CASE("\"save debug controls\" 0");
	if (!control_value_allowed(WORD_EXITCTL, vmcs_read(VM_EXIT_CONTROLS) & ~control_bit(EXITCTL_SAVE_DEBUG_CONTROLS)))
		return;
	vmcs_clear_controls(EXITCTL_SAVE_DEBUG_CONTROLS);
	guest_value = 0xffff07ff;
	guest_run(guest_writes_dr7);
	expect_guest_done();
	expect_eq(exit_probe.dr7, 0x400);
}

TEST("hostload.debugctl", "IA32_DEBUGCTL is 0 after the exit")
{
	static const u64 values[] = { BIT(0), BIT(1), BIT(0) | BIT(1) };	/* LBR, BTF */

	exit_probe_on();
	if (!exit_probe_has_msr(IA32_DEBUGCTL))
		skip("needs IA32_DEBUGCTL, which this processor does not have");
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	for (u32 i = 0; i < ARRAY_SIZE(values); i++) {
		CASE("guest IA32_DEBUGCTL %#x", values[i]);
		vmcs_write(GUEST_IA32_DEBUGCTL, values[i]);
		guest_run(guest_ends);
		expect_guest_done();
		expect_eq(exit_probe_msr(IA32_DEBUGCTL), 0);
	}
}

static u64 guest_dr[4], guest_dr6;

static void guest_writes_dr0_3_6(void)
{
	write_dr0(guest_dr[0]);
	write_dr1(guest_dr[1]);
	write_dr2(guest_dr[2]);
	write_dr3(guest_dr[3]);
	write_dr6(guest_dr6);
}

TEST("hostload.dr0_3_6", "DR0 to DR3 and DR6 are the guest's after the exit")
{
	const u64 dr6_ones = 0xffff0ff0, dr6_free = 0xe00f;	/* BS, BD, BT, B3-B0 */

	exit_probe_on();
	for (u32 bit = 0; bit < 64; bit++) {
		CASE("bit %u", bit);
		for (u32 i = 0; i < 4; i++)
			guest_dr[i] = BIT((bit + 17 * i) % 64);
		guest_dr6 = dr6_ones | (BIT(bit) & dr6_free);
		guest_run(guest_writes_dr0_3_6);
		expect_guest_done();
		expect_eq(exit_probe.dr0, guest_dr[0]);
		expect_eq(exit_probe.dr1, guest_dr[1]);
		expect_eq(exit_probe.dr2, guest_dr[2]);
		expect_eq(exit_probe.dr3, guest_dr[3]);
		expect_eq(exit_probe.dr6, guest_dr6);
	}
}
