/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Use TPR shadow": MOV to and from CR8 and the TPR threshold (SDM Vol. 3C, "Virtualizing CR8-Based TPR
 * Accesses", "TPR Virtualization").
 */
#include "vmxtest/vmxtest.h"
#include "x86/apic.h"

#include "libc/string.h"

static volatile u32 *vtpr;

GUEST_ASM(guest_writes_cr8, "mov %rax, %cr8\n guest_behind_cr8_write: ret");
extern const u8 guest_behind_cr8_write[];

GUEST_ASM(guest_reads_cr8, "mov %cr8, %rax\n vmcall");

static void use_tpr_shadow(u32 threshold)
{
	vtpr = (u32 *)(vmcs_use_tpr_shadow(threshold) + APIC_TPR);
}

/* Enter with an old VTPR whose class is not below the threshold (entry.ctl.tprthr.vtpr); the guest sets a new one. */
static void run_write_of_cr8(u32 threshold, u32 old_vtpr, u64 cr8)
{
	vmcs_write(TPR_THRESHOLD, threshold);
	*vtpr = old_vtpr;
	guest.regs.rax = cr8;
	guest_run(guest_writes_cr8);
}

TEST("apic.tprshadow.below_threshold", "MOV to CR8 below the TPR threshold exits behind the instruction",
     NEEDS(PROC_USE_TPR_SHADOW))
{
	use_tpr_shadow(0);
	for (u32 threshold = 1; threshold < 16; threshold++)
		for (u32 class = 0; class < threshold; class++) {
			CASE("threshold %u, CR8 = %u", threshold, class);
			run_write_of_cr8(threshold, class & 1 ? 0xff : threshold << 4, class);
			expect_exit(EXIT_TPR_BELOW_THRESHOLD, .qualification = 0, .rip = (u64)guest_behind_cr8_write);
			expect_eq(*vtpr, class << 4);
			expect_eq(read_cr8(), 0);

			/* The write is complete: with a threshold that lets it in, the guest goes on. */
			vmcs_write(TPR_THRESHOLD, class);
			guest_resume();
			expect_guest_done();
		}
}

TEST("apic.tprshadow.not_below", "MOV to CR8 at or above the TPR threshold does not exit",
     NEEDS(PROC_USE_TPR_SHADOW))
{
	use_tpr_shadow(0);
	for (u32 threshold = 0; threshold < 16; threshold++)
		for (u32 class = threshold; class < 16; class++) {
			CASE("threshold %u, CR8 = %u", threshold, class);
			run_write_of_cr8(threshold, class & 1 ? 0xff : threshold << 4, class);
			expect_guest_done();
			expect_eq(*vtpr, class << 4);
		}
}

TEST("apic.tprshadow.threshold_zero", "With TPR threshold 0 no MOV to CR8 exits", NEEDS(PROC_USE_TPR_SHADOW))
{
	use_tpr_shadow(0);
	for (u32 from = 0; from < 16; from++)
		for (u32 to = 0; to < 16; to++) {
			CASE("CR8 from %u to %u", from, to);
			run_write_of_cr8(0, from << 4 | 0xf, to);
			expect_guest_done();
			expect_eq(*vtpr, to << 4);
		}
}

TEST("apic.tprshadow.cr8_read", "MOV from CR8 returns VTPR[7:4] and nothing else", NEEDS(PROC_USE_TPR_SHADOW))
{
	use_tpr_shadow(0);
	WALK_OVER(low, 0, 0x100) {
		const u32 value = ((low * 0x01010101 ^ 0xa5c35a00) & ~0xffu) | low;

		CASE("VTPR %#x", value);
		*vtpr = value;
		guest.regs.rax = ~0ull;
		guest_run(guest_reads_cr8);
		expect_exit(EXIT_VMCALL);
		expect_eq(guest.regs.rax, low >> 4);
		expect_eq(*vtpr, value);
	}
}

TEST("apic.tprshadow.cr8_write", "MOV to CR8 sets VTPR[7:4], clears the rest of VTPR, leaves the TPR alone",
     NEEDS(PROC_USE_TPR_SHADOW))
{
	const u8 *page;

	use_tpr_shadow(0);
	page = (const u8 *)vtpr - APIC_TPR;
	memset((void *)page, 0xa5, PAGE_SIZE);
	write_cr8(5);
	for (u32 class = 0; class < 16; class++)
		for (u32 bit = 0; bit < 32; bit++) {
			CASE("CR8 = %u, VTPR was %#x", class, BIT(bit));
			run_write_of_cr8(0, BIT(bit), class);
			expect_guest_done();
			expect_eq(*vtpr, class << 4);
			expect_eq(vtpr[-1], 0xa5a5a5a5);
			expect_eq(vtpr[1], 0xa5a5a5a5);
			expect_eq(read_cr8(), 5);
			expect_eq(apic_read(APIC_TPR), 0x50);
		}
	write_cr8(0);
	expect_filled(page, 0, APIC_TPR, 0xa5);
	expect_filled(page, APIC_TPR + 4, PAGE_SIZE, 0xa5);
}

TEST("apic.tprshadow.cr8_gp", "MOV to CR8 with any of bits 63:4 set raises #GP(0)", NEEDS(PROC_USE_TPR_SHADOW))
{
	use_tpr_shadow(15);
	for (u32 bit = 4; bit < 64; bit++) {
		CASE("CR8 bit %u", bit);
		run_write_of_cr8(15, 0xf3, BIT(bit) | 3);
		expect_guest_fault(VECTOR_GP, 0);
		expect_eq(guest.fault.frame.rip, (u64)guest_writes_cr8);
		expect_eq(*vtpr, 0xf3);
	}
	for (u32 class = 0; class < 16; class++) {
		CASE("CR8 = %u", class);
		run_write_of_cr8(0, 0xff, class);
		expect_guest_done();
		expect_eq(*vtpr, class << 4);
	}
}

TEST("apic.tprshadow.off_cr8", "Without TPR shadow and CR8 exits CR8 is the processor's own TPR",
     NEEDS(PROC_USE_TPR_SHADOW))
{
	use_tpr_shadow(15);
	vmcs_clear_controls(PROC_USE_TPR_SHADOW);
	for (u32 class = 0; class < 16; class++) {
		CASE("CR8 = %u", class);
		run_write_of_cr8(15, 0x5a5a5a5a, class);
		expect_guest_done();
		expect_eq(*vtpr, 0x5a5a5a5a);
		expect_eq(read_cr8(), class);
		expect_eq(apic_read(APIC_TPR), class << 4);

		write_cr8(15 - class);
		guest_run(guest_reads_cr8);
		expect_exit(EXIT_VMCALL);
		expect_eq(guest.regs.rax, 15 - class);
	}
	write_cr8(0);
}

TEST("apic.cr8_exit_priority", "CR8-load and CR8-store exiting come before the TPR shadow",
     NEEDS(PROC_USE_TPR_SHADOW, PROC_CR8_LOAD_EXITING, PROC_CR8_STORE_EXITING))
{
	enum { CR8 = 8, MOV_FROM_CR = 1 << 4 };

	use_tpr_shadow(8);
	vmcs_set_controls(PROC_CR8_LOAD_EXITING);
	for (u32 class = 0; class < 16; class++) {
		CASE("CR8 = %u", class);
		run_write_of_cr8(8, 0xb7, class);
		expect_exit(EXIT_CR_ACCESS, .qualification = CR8, .instruction_length = 4,
			    .rip = (u64)guest_writes_cr8);
		expect_eq(*vtpr, 0xb7);
	}
	guest_run(guest_reads_cr8);
	expect_exit(EXIT_VMCALL);
	expect_eq(guest.regs.rax, 0xb);

	vmcs_clear_controls(PROC_CR8_LOAD_EXITING);
	vmcs_set_controls(PROC_CR8_STORE_EXITING);
	guest.regs.rax = 0x1234;
	guest_run(guest_reads_cr8);
	expect_exit(EXIT_CR_ACCESS, .qualification = MOV_FROM_CR | CR8, .instruction_length = 4,
		    .rip = (u64)guest_reads_cr8);
	expect_eq(guest.regs.rax, 0x1234);
	run_write_of_cr8(8, 0xb7, 9);
	expect_guest_done();
	expect_eq(*vtpr, 0x90);
}
