/* SPDX-License-Identifier: BSD-2-Clause */
/* "Checks on Host Segment and Descriptor-Table Registers", "Checks Related to Address-Space Size". */
#include "vmxtest/entry.h"

#define INVALID_HOST BY_VMFAIL(VMERR_ENTRY_INVALID_HOST_STATE)

static const enum vmcs_field selectors[] = {
	HOST_ES_SELECTOR, HOST_CS_SELECTOR, HOST_SS_SELECTOR, HOST_DS_SELECTOR, HOST_FS_SELECTOR, HOST_GS_SELECTOR,
	HOST_TR_SELECTOR,
};

static void try_selector(enum vmcs_field field, u16 value, bool valid)
{
	CASE("%s = %#x", field_find(field)->name, value);
	vmcs_write(field, value);
	expect_outcome(entry_attempt(true), valid ? ACCEPTED : FAIL_VALID(VMERR_ENTRY_INVALID_HOST_STATE));
}

/* No selector is checked against the GDT, so any of RPL 0, TI 0 will do until the register is used. */
TEST("entry.host.sel.rpl_ti", "RPL and TI of each host selector are 0; nothing else of it is looked at")
{
	for (u32 i = 0; i < ARRAY_SIZE(selectors); i++) {
		const u16 base = vmcs_read(selectors[i]);

		for (u32 low = 1; low < 8; low++)
			try_selector(selectors[i], base | low, false);
		try_selector(selectors[i], 0x1007, false);
		for (u32 bit = 3; bit < 16; bit++)
			if (base != 1u << bit)
				try_selector(selectors[i], base ^ 1u << bit, true);
		try_selector(selectors[i], 0xfff8, true);
		try_selector(selectors[i], base, true);
	}
}

TEST("entry.host.sel.cs_zero", "the host CS selector is not 0; those of SS, DS, ES, FS and GS may be")
{
	for (u32 i = 0; i < ARRAY_SIZE(selectors); i++) {
		const u16 base = vmcs_read(selectors[i]);

		if (selectors[i] == HOST_TR_SELECTOR)
			continue;
		try_selector(selectors[i], 0, selectors[i] != HOST_CS_SELECTOR);
		try_selector(selectors[i], base, true);
	}
}

TEST("entry.host.sel.tr_zero", "the host TR selector is not 0")
{
	const u16 base = vmcs_read(HOST_TR_SELECTOR);

	try_selector(HOST_TR_SELECTOR, 0, false);
	try_selector(HOST_TR_SELECTOR, base, true);
}

/*
 * Everything below 512 GiB is mapped at the top of the address space too, so that a
 * base there can be loaded and used. The entry that does it is of the image's own PML4.
 */
#define HIGH_ALIAS 0xffffff8000000000ull

static void map_high_alias(bool on)
{
	*page_entry(HIGH_ALIAS, 4) = on ? *page_entry(0, 4) : 0;
	write_cr3(read_cr3());
}

static const enum vmcs_field bases[] = {
	HOST_FS_BASE, HOST_GS_BASE, HOST_TR_BASE, HOST_GDTR_BASE, HOST_IDTR_BASE,
};

static void accepts_high_alias(enum vmcs_field field)
{
	const u64 base = vmcs_read(field);

	map_high_alias(true);
	CASE("%s in the upper half", field_find(field)->name);
	vmcs_write(field, HIGH_ALIAS | base);
	expect_outcome(entry_attempt(true), ACCEPTED);
	vmcs_write(field, base);
	expect_outcome(entry_attempt(true), ACCEPTED);
	map_high_alias(false);
}

static void refuses_noncanonical(enum vmcs_field field)
{
	const u64 base = vmcs_read(field), hole = 1ull << (linear_address_width() - 1);
	const u64 ends[] = { hole, ~hole, BIT(63), ~BIT(63), BIT(63) | (hole - 1) };

	for (u32 bit = linear_address_width() - 1; bit < 64; bit++) {
		CASE("%s with bit %u flipped", field_find(field)->name, bit);
		vmcs_write(field, base ^ BIT(bit));
		expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_HOST_STATE));
	}
	for (u32 i = 0; i < ARRAY_SIZE(ends); i++) {
		CASE("%s = %#lx", field_find(field)->name, ends[i]);
		vmcs_write(field, ends[i]);
		expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_HOST_STATE));
	}
	vmcs_write(field, base);
}

TEST("entry.host.base.canonical", "the host bases of FS, GS, TR, GDTR and IDTR are canonical")
{
	for (u32 i = 0; i < ARRAY_SIZE(bases); i++) {
		refuses_noncanonical(bases[i]);
		accepts_high_alias(bases[i]);
	}
}

TEST("entry.host.hass.rip_canonical", "with \"host address-space size\" host RIP is canonical")
{
	refuses_noncanonical(HOST_RIP);
	accepts_high_alias(HOST_RIP);
}

TEST("entry.host.hass.pae", "with \"host address-space size\" host CR4.PAE is 1")
{
	const u64 cr4 = vmcs_read(HOST_CR4);

	vmcs_write(HOST_CR4, cr4 & ~(u64)CR4_PAE);
	expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_HOST_STATE));
	vmcs_write(HOST_CR4, cr4);
	expect_outcome(entry_attempt(true), ACCEPTED);
}

TEST("entry.host.hass.lma1_ctl0", "in IA-32e mode \"host address-space size\" is 1")
{
	vmcs_clear_controls(EXITCTL_HOST_ADDRESS_SPACE_SIZE, ENTRYCTL_IA32E_MODE_GUEST);
	expect_refused_7_or_8(entry_attempt(true));
	vmcs_set_controls(EXITCTL_HOST_ADDRESS_SPACE_SIZE);
	expect_outcome(entry_attempt(true), ACCEPTED);
}

TEST("entry.host.hass.guest64_needs_host64", "an IA-32e mode guest needs \"host address-space size\"")
{
	vmcs_clear_controls(EXITCTL_HOST_ADDRESS_SPACE_SIZE);
	expect_refused_7_or_8(entry_attempt(true));
	vmcs_set_controls(EXITCTL_HOST_ADDRESS_SPACE_SIZE);
	expect_outcome(entry_attempt(true), ACCEPTED);
}

/* VMLAUNCH of an invalid guest state by code that needs no stack behind it; RSP as the host state had it. */
static struct outcome fail_with_host_rsp(u64 rsp, u64 *loaded)
{
	static u64 own_rsp, seen_rsp;
	u64 flags;

	vmcs_write(HOST_RSP, rsp);
	asm volatile("lea 1f(%%rip), %%rax\n\t"
		     "vmwrite %%rax, %[host_rip]\n\t"
		     "mov %%rsp, %[own]\n\t"
		     "vmlaunch\n\t"
		     "pushfq\n\t"
		     "pop %%rax\n\t"
		     "jmp 2f\n"
		     "1: mov %%rsp, %[seen]\n\t"
		     "mov %[own], %%rsp\n\t"
		     "xor %%eax, %%eax\n"
		     "2:"
		     : "=&a"(flags), [own] "+m"(own_rsp), [seen] "+m"(seen_rsp)
		     : [host_rip] "r"((u64)HOST_RIP) : "memory", "cc");
	*loaded = seen_rsp;
	return flags ? outcome_from_rflags(flags) :
	       entry_of_illegal_guest(ENTRY_FAILS(vmcs_read(EXIT_REASON) & 0x7fffffff, 0));
}

TEST("entry.host.rsp.unchecked", "host RSP is not looked at: any value is loaded as it is")
{
	const u64 host_rip = vmcs_read(HOST_RIP);
	u64 loaded;

	vmcs_write(GUEST_RFLAGS, 0);
	for (u32 i = 0; i < 2 * 64 + 2; i++) {
		const u64 rsp = i < 128 ? BIT(i / 2) ^ (i & 1 ? ~0ull : 0) : i == 128 ? 0 : ~0ull;

		CASE("host RSP %#lx", rsp);
		expect_outcome(fail_with_host_rsp(rsp, &loaded), ACCEPTED);
		expect_eq(loaded, rsp);
	}
	vmcs_write(HOST_RIP, host_rip);
}
