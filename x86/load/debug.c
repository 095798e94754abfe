/* SPDX-License-Identifier: BSD-2-Clause */
/* "Loading Guest Control Registers, Debug Registers, and MSRs": debug registers and IA32_DEBUGCTL; RFLAGS.RF. */
#include "load.h"

/* DR6 bits that software may choose: B0-B3, BD, BS, BT. */
#define DR6_FREE	0xe00fu
#define DR7_FIXED	0x400u
#define DR7_ALWAYS_0	(BIT(12) | BIT(14) | BIT(15))
#define DR7_GD		BIT(13)
#define DR7_L0		BIT(0)
#define DR7_L1		BIT(2)

CODE(read_drs, "mov %dr0, %rax; mov %dr1, %rbx; mov %dr2, %rcx; mov %dr3, %rdx; mov %dr6, %rsi; mov %dr7, %rdi");

static void put_back_drs(void)
{
	write_dr7(DR7_FIXED);
	write_dr0(0);
	write_dr1(0);
	write_dr2(0);
	write_dr3(0);
	write_dr6(0xffff0ff0);
}

static void try_drs(u64 address, u64 dr6)
{
	CASE("DR0 = %#lx, DR6 = %#lx", address, dr6);
	write_dr0(address);
	write_dr1(~address);
	write_dr2(address ^ 0xff);
	write_dr3(~address ^ 0xff00);
	write_dr6(dr6);
	run_code(read_drs);
	expect_code_ran();
	expect_eq(guest.regs.rax, address);
	expect_eq(guest.regs.rbx, ~address);
	expect_eq(guest.regs.rcx, address ^ 0xff);
	expect_eq(guest.regs.rdx, ~address ^ 0xff00);
	expect_eq(guest.regs.rsi, dr6);
}

TEST("entry.load.dr0_3_6_not_loaded", "DR0 to DR3 and DR6 are not switched by VM entry: the guest reads the host's")
{
	for (u32 load = 0; load < 2; load++) {
		start_in(MODE_64BIT);
		if (load)
			vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
		WALK_OVER(n, 0, CANONICAL_VALUES) {
			const u32 bit = BIT(n / 2 % 16);

			try_drs(canonical_value(n), 0xffff0ff0 | ((n & 1 ? ~bit : bit) & DR6_FREE));
		}
	}
	put_back_drs();
}

GUEST_ASM(guest_with_breakpoints, "nop\n load_breakpoint_0: nop\n nop\n load_breakpoint_1: nop\n ret");
extern const u8 load_breakpoint_0[], load_breakpoint_1[];

static void try_dr7(u64 field)
{
	CASE("DR7 field %#lx", field);
	vmcs_write(GUEST_DR7, field);
	run_code(read_drs);
	expect_code_ran();
	/* Bit 11 is RTM's where there is that; bit 12 has a test of its own. */
	expect_bits(guest.regs.rdi, ~(BIT(11) | BIT(12)), (field & ~DR7_ALWAYS_0) | DR7_FIXED);
}

TEST("entry.load.dr7", "\"load debug controls\" loads DR7, with bits 14 and 15 as 0 and bit 10 as 1")
{
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	/* With DE each type of breakpoint is defined; nothing here touches these addresses. */
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_DE);
	write_dr0(low_page());
	write_dr1(low_page());
	write_dr2(low_page());
	write_dr3(low_page());
	try_dr7(0);
	for (u32 bit = 0; bit < 32; bit++) {
		if (BIT(bit) & DR7_GD)
			continue;
		try_dr7(BIT(bit));
		try_dr7((u32)~(BIT(bit) | DR7_GD));
	}
	/* VM entry does not take what the host had. */
	write_dr7(DR7_FIXED | 0xa0a);
	try_dr7(0x55);

	CASE("DR7.GD: MOV from a debug register raises #DB");
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_DB));
	vmcs_write(GUEST_DR7, DR7_GD);
	run_code(read_drs);
	expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)read_drs.start, .qualification = BIT(13));

	for (u32 i = 0; i < 2; i++) {
		const u8 *const breakpoint = i ? load_breakpoint_1 : load_breakpoint_0;

		CASE("an instruction breakpoint in DR%u", i);
		write_dr0(physical_address(load_breakpoint_0));
		write_dr1(physical_address(load_breakpoint_1));
		vmcs_write(GUEST_DR7, i ? DR7_L1 : DR7_L0);
		guest_run(guest_with_breakpoints);
		expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)breakpoint, .qualification = BIT(i));
	}
	CASE("no breakpoint");
	vmcs_write(GUEST_DR7, 0);
	guest_run(guest_with_breakpoints);
	expect_guest_done();
	put_back_drs();
}

TEST("entry.load.dr7_bit12", "\"load debug controls\" loads bit 12 of DR7 as 0, whatever the field has")
{
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	for (u32 bit = 0; bit < 16; bit++) {
		CASE("DR7 field bits 12 and %u", bit);
		if (BIT(bit) & DR7_GD)
			continue;
		vmcs_write(GUEST_DR7, BIT(12) | BIT(bit));
		run_code(read_drs);
		expect_code_ran();
		expect_bits(guest.regs.rdi, BIT(12), 0);
	}
}

/*
 * Bits of IA32_DEBUGCTL that do nothing by themselves, as far as the processor has them: LBR, BTF, both FREEZE bits.
 * WRMSR may take a bit and not keep it, where a hypervisor has no LBRs for its guest.
 */
static u64 debugctl_bits(void)
{
	static const u64 candidates[] = { BIT(0), BIT(1), BIT(11), BIT(12) };
	u64 bits = 0;

	if (TRY(rdmsr(IA32_DEBUGCTL)).raised)
		return 0;
	for (u32 i = 0; i < ARRAY_SIZE(candidates); i++)
		if (!TRY(wrmsr(IA32_DEBUGCTL, candidates[i])).raised)
			bits |= rdmsr(IA32_DEBUGCTL) & candidates[i];
	wrmsr(IA32_DEBUGCTL, 0);
	return bits;
}

TEST("entry.load.debugctl", "\"load debug controls\" loads IA32_DEBUGCTL from its field",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	const u64 bits = debugctl_bits();

	if (!bits)
		skip("needs a bit of IA32_DEBUGCTL that can be set, which this processor does not have");
	vmcs_use_msr_bitmap();
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	for (u32 bit = 0; bit < 16; bit++) {
		if (bits && !(bits & BIT(bit)))
			continue;
		for (u32 i = 0; i < 3; i++) {
			const u64 value = i == 0 ? BIT(bit) : i == 1 ? bits & ~BIT(bit) : 0;

			CASE("IA32_DEBUGCTL field %#lx", value);
			wrmsr(IA32_DEBUGCTL, bits & ~value);
			vmcs_write(GUEST_IA32_DEBUGCTL, value);
			expect_eq(guest_reads_msr(IA32_DEBUGCTL), value);
		}
	}
	wrmsr(IA32_DEBUGCTL, 0);
}

TEST("entry.load.dr7_off", "without \"load debug controls\" DR7 and IA32_DEBUGCTL stay as the host has them",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	const u64 debugctl = debugctl_bits();

	need_flexible(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	vmcs_use_msr_bitmap();
	vmcs_clear_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	write_cr4(read_cr4() | CR4_DE);
	vmcs_write(GUEST_CR4, read_cr4());
	vmcs_write(HOST_CR4, read_cr4());
	write_dr0(low_page());
	write_dr1(low_page());
	write_dr2(low_page());
	write_dr3(low_page());
	for (u32 bit = 0; bit < 32; bit++) {
		const u64 host = (BIT(bit) & ~(DR7_GD | DR7_ALWAYS_0 | BIT(11))) | DR7_FIXED;

		CASE("DR7 = %#lx before VM entry", host);
		vmcs_write(GUEST_DR7, ~host & ~DR7_GD & 0xffffffff);
		write_dr7(host);
		run_code(read_drs);
		expect_code_ran();
		expect_eq(guest.regs.rdi, host);

		CASE("DR7 = %#lx before VM entry, \"load debug controls\" 1", host);
		vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
		write_dr7(host);
		run_code(read_drs);
		expect_code_ran();
		expect_bits(guest.regs.rdi, ~(BIT(11) | BIT(12)), (~host & ~(DR7_GD | DR7_ALWAYS_0) & 0xffffffff) | DR7_FIXED);
		vmcs_clear_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
		if (!(BIT(bit) & debugctl))
			continue;
		CASE("IA32_DEBUGCTL = %#lx before VM entry", BIT(bit));
		vmcs_write(GUEST_IA32_DEBUGCTL, debugctl & ~BIT(bit));
		wrmsr(IA32_DEBUGCTL, BIT(bit));
		expect_eq(guest_reads_msr(IA32_DEBUGCTL), BIT(bit));
	}
	put_back_drs();
	if (debugctl)
		wrmsr(IA32_DEBUGCTL, 0);
	write_cr4(read_cr4() & ~(u64)CR4_DE);
}

GUEST_ASM(guest_begins_at_breakpoint, "load_first: nop\n load_second: nop\n vmcall");
extern const u8 load_first[], load_second[];

TEST("entry.load.rflags_rf", "RFLAGS.RF loaded as 1 suppresses an instruction breakpoint on the first guest instruction")
{
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_DB));
	write_dr0(physical_address(load_first));
	write_dr1(physical_address(load_second));

	/* A hypervisor below this one that maps the page late has then done it. */
	CASE("no breakpoint");
	guest_run_at(load_first);
	expect_exit(EXIT_VMCALL);
	for (u32 second = 0; second < 2; second++) {
		vmcs_write(GUEST_DR7, DR7_L0 | (second ? DR7_L1 : 0));

		CASE("RF = 0, a breakpoint on the second instruction: %u", second);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
		guest_run_at(load_first);
		expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)load_first, .qualification = BIT(0));

		CASE("RF = 1, a breakpoint on the second instruction: %u", second);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_RF);
		guest_run_at(load_first);
		/* The first instruction has cleared RF. */
		if (second)
			expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)load_second, .qualification = BIT(1));
		else
			expect_exit(EXIT_VMCALL);
	}
	put_back_drs();
}
