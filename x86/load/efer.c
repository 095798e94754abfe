/* SPDX-License-Identifier: BSD-2-Clause */
/* IA32_EFER: loaded from its field, or only LMA and LME from "IA-32e mode guest". */
#include "load.h"

/* Bits that neither mode of the guest decides. */
static const u64 settings[] = { 0, EFER_SCE, EFER_NXE, EFER_SCE | EFER_NXE };

static u64 home;		/* the host's, without them */

static u64 lma_lme(enum guest_mode mode)
{
	return mode == MODE_64BIT || mode == MODE_COMPATIBILITY ? EFER_LMA | EFER_LME : 0;
}

static void keep_efer(void)
{
	msrs_keep((u32)IA32_EFER);
	home = rdmsr(IA32_EFER) & ~(u64)(EFER_SCE | EFER_NXE);
}

static bool can_read_msr(enum guest_mode mode)
{
	return mode != MODE_VIRTUAL_8086;	/* #GP there */
}

/* In each mode, with each setting in the host and in the field. */
static void for_each_setting(void (*try)(enum guest_mode mode, u64 host, u64 field))
{
	keep_efer();
	FOR_EACH_MODE(mode) {
		if (!can_read_msr(mode))
			continue;
		start_in(mode);
		vmcs_use_msr_bitmap();
		for (u32 h = 0; h < ARRAY_SIZE(settings); h++)
			for (u32 f = 0; f < ARRAY_SIZE(settings); f++) {
				CASE("%s, before VM entry %#lx, field %#lx", guest_mode_names[mode], settings[h],
				     settings[f]);
				wrmsr(IA32_EFER, home | settings[h]);
				try(mode, settings[h], settings[f]);
			}
	}
	msrs_put_back();
}

static void try_load(enum guest_mode mode, u64 host, u64 field)
{
	const u64 value = lma_lme(mode) | field;

	(void)host;
	vmcs_set_controls(ENTRYCTL_LOAD_IA32_EFER);
	vmcs_write(GUEST_IA32_EFER, value);
	expect_eq(guest_reads_msr(IA32_EFER), value);
	if (mode >= MODE_REAL) {
		/* With CR0.PG = 0 LME is free. */
		vmcs_write(GUEST_IA32_EFER, value | EFER_LME);
		expect_eq(guest_reads_msr(IA32_EFER), value | EFER_LME);
	}
}

GUEST_ASM(guest_syscall, "syscall; ret");
GUEST_ASM(syscall_lands, "vmcall");

/* SYSCALL is there with SCE, and bit 63 of a PTE is reserved without NXE. */
static volatile u64 window_value;
static struct fault window_fault;
static void guest_reads_window(void)
{
	window_fault = TRY(window_value = *(volatile u64 *)PAGE_WINDOW);
}

static void check_effects(void)
{
	u64 *page = page_alloc();

	msrs_keep((u32)IA32_EFER, (u32)IA32_STAR, (u32)IA32_LSTAR, (u32)IA32_FMASK);
	wrmsr(IA32_STAR, (u64)SELECTOR_CODE64 << 32);
	wrmsr(IA32_LSTAR, physical_address(syscall_lands));
	*page = 0x6789;
	page_map(PAGE_WINDOW, physical_address(page), PAGE_PRESENT | PAGE_NX);
	start_in(MODE_64BIT);
	vmcs_set_controls(ENTRYCTL_LOAD_IA32_EFER);
	for (u32 i = 0; i < ARRAY_SIZE(settings); i++) {
		/* The host has the opposite. */
		wrmsr(IA32_EFER, home | settings[3 - i]);
		vmcs_write(GUEST_IA32_EFER, home | settings[i]);
		CASE("SYSCALL with IA32_EFER %#lx", settings[i]);
		guest_run(guest_syscall);
		if (settings[i] & EFER_SCE)
			expect_exit(EXIT_VMCALL, .rip = (u64)syscall_lands);
		else
			expect_guest_fault(VECTOR_UD, 0);
		vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE64);
		vmcs_write(GUEST_CS_SELECTOR, SELECTOR_CODE64);
		vmcs_write(GUEST_SS_ACCESS_RIGHTS, RIGHTS_DATA32);
		vmcs_write(GUEST_SS_SELECTOR, SELECTOR_DATA);

		wrmsr(IA32_EFER, home | settings[3 - i]);
		vmcs_write(GUEST_IA32_EFER, home | settings[i]);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
		CASE("bit 63 of a PTE with IA32_EFER %#lx", settings[i]);
		guest_run(guest_reads_window);
		expect_guest_done();
		if (settings[i] & EFER_NXE)
			expect_no_fault(window_fault);
		else
			expect_fault(window_fault, VECTOR_PF, 0x9);	/* reserved bit, present */
	}
	msrs_put_back();
}

TEST("entry.load.efer_load", "\"load IA32_EFER\" loads IA32_EFER from the guest field",
     NEEDS(ENTRYCTL_LOAD_IA32_EFER, PROC_USE_MSR_BITMAPS, FEATURE_SYSCALL, FEATURE_NX))
{
	for_each_setting(try_load);
	check_effects();
}

static u64 efer_without_load(enum guest_mode mode, u64 field)
{
	if (has(ENTRYCTL_LOAD_IA32_EFER))
		vmcs_write(GUEST_IA32_EFER, (lma_lme(mode) ^ (EFER_LMA | EFER_LME)) | field);
	return guest_reads_msr(IA32_EFER);
}

static void try_no_load(enum guest_mode mode, u64 host, u64 field)
{
	/* LME without paging has a test of its own. */
	expect_bits(efer_without_load(mode, field), ~(mode >= MODE_REAL ? EFER_LME : 0ull), lma_lme(mode) | host);
}

TEST("entry.load.efer_noload",
     "without \"load IA32_EFER\" LMA is \"IA-32e mode guest\", LME too if CR0.PG = 1, and nothing else changes",
     NEEDS(PROC_USE_MSR_BITMAPS, FEATURE_SYSCALL, FEATURE_NX))
{
	for_each_setting(try_no_load);
}

static void try_no_load_unpaged(enum guest_mode mode, u64 host, u64 field)
{
	(void)host;
	if (mode >= MODE_REAL)
		expect_bits(efer_without_load(mode, field), EFER_LME, EFER_LME);	/* the host's */
}

TEST("entry.load.efer_lme_unpaged", "without \"load IA32_EFER\" LME stays as it is if CR0.PG = 0",
     NEEDS(PROC2_UNRESTRICTED_GUEST, PROC_USE_MSR_BITMAPS, FEATURE_SYSCALL, FEATURE_NX))
{
	for_each_setting(try_no_load_unpaged);
}
