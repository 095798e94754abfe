/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Use TPR shadow": MOV to and from CR8 and the TPR threshold (SDM Vol. 3C, "Virtualizing CR8-Based TPR
 * Accesses", "TPR Virtualization").
 */
#include "vmxtest/vmxtest.h"
#include "x86/apic.h"

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
