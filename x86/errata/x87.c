/* SPDX-License-Identifier: BSD-2-Clause */
/* x87 stores whose result is inexact, under EPT: what they store, and what they leave where the store cannot be done. */
#include "errata.h"

enum { FSW_PE = BIT(5), FSW_ES = BIT(7), PI_SINGLE = 0x40490fdb };

/* Pi is exact in ST(0) and not in memory: with the exception unmasked it is stored, and #MF comes where the x87 waits. */
GUEST_ASM(guest_stores_pi, "fninit\n fldpi\n fnclex\n pushq %rdx\n fldcw (%rsp)\n add $8, %rsp\n"
	  "errata_fst: fstps (%rbx)\n fnstsw %ax\n movzwl %ax, %ecx\n errata_fwait: fwait\n ret");
extern const u8 errata_fst[], errata_fwait[];

enum { ALL_MASKED = 0x37f, PRECISION_UNMASKED = 0x35f };

static void run_store(u64 address, u16 control_word)
{
	guest.regs.rbx = address;
	guest.regs.rdx = control_word;
	guest_run(guest_stores_pi);
}

static u16 status_and_reset(void)
{
	u16 status;

	asm volatile("fnstsw %0\n\t fnclex\n\t fninit" : "=a"(status));
	return status;
}

/* The store is done, and the exception waits for FWAIT. */
static void expect_stored_then_mf(const u32 *stored)
{
	expect_guest_fault(VECTOR_MF, 0);
	expect_eq(guest.fault.frame.rip, (u64)errata_fwait);
	expect_bits(guest.fault.frame.rcx, FSW_PE | FSW_ES, FSW_PE | FSW_ES);
	expect_eq(*stored, PI_SINGLE);
	status_and_reset();
}

static void use_flags_of_ept(const void *page)
{
	vmcs_write(EPT_POINTER, vmcs_read(EPT_POINTER) | EPTP_ACCESSED_DIRTY);
	*ept_entry(physical_address(page), 1) &= ~(u64)(EPT_ACCESSED | EPT_DIRTY);
	ept_flush();
}

TEST("errata.x87_store", "an x87 store under EPT that is inexact stores, and #MF comes behind it", NEEDS(PROC2_ENABLE_EPT))
{
	for (u32 flags = 0; flags < 2 && (!flags || has(CAP_EPT_ACCESSED_AND_DIRTY_FLAGS)); flags++) {
		u32 *const page = page_alloc();

		vmcs_use_ept();
		CASE("masked, accessed and dirty flags %u", flags);
		run_store(physical_address(page), ALL_MASKED);
		expect_guest_done();
		expect_eq(*page, PI_SINGLE);
		expect_bits(status_and_reset(), FSW_ES, 0);

		CASE("unmasked, accessed and dirty flags %u", flags);
		*page = 0;
		if (flags)
			use_flags_of_ept(page);
		run_store(physical_address(page), PRECISION_UNMASKED);
		expect_stored_then_mf(page);
		if (flags)
			expect_bits(*ept_entry(physical_address(page), 1), EPT_ACCESSED | EPT_DIRTY, EPT_ACCESSED | EPT_DIRTY);
	}
}

TEST("errata.x87_store_violation", "an x87 store that ends in an EPT violation leaves PE and ES as they were", NEEDS(PROC2_ENABLE_EPT))
{
	u32 *const page = page_alloc();
	u16 status;

	vmcs_use_ept();
	*ept_entry(physical_address(page), 1) = 0;
	ept_flush();
	run_store(physical_address(page), PRECISION_UNMASKED);
	asm volatile("fnstsw %0" : "=a"(status));
	require_exit(EXIT_EPT_VIOLATION, .physical = physical_address(page), .rip = (u64)errata_fst);
	expect_bits(status, FSW_PE | FSW_ES, 0);

	ept_map(physical_address(page), physical_address(page), EPT_RWX | EPT_WB);
	ept_flush();
	guest_resume();
	expect_stored_then_mf(page);
}

TEST("errata.x87_store_fault", "an x87 store in a guest that ends in a page fault leaves PE and ES as they were")
{
	page_entry(PAGE_WINDOW, 1);
	run_store(PAGE_WINDOW, PRECISION_UNMASKED);
	expect_guest_fault(VECTOR_PF, 2);
	expect_eq(guest.fault.frame.rip, (u64)errata_fst);
	expect_bits(status_and_reset(), FSW_PE | FSW_ES, 0);
	CASE("the same where the page is");
	run_store(PAGE_WINDOW, PRECISION_UNMASKED);
	status_and_reset();

	u32 *const page = probe_page(0);

	run_store(PAGE_WINDOW, PRECISION_UNMASKED);
	expect_stored_then_mf(page);
}
