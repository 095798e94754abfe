/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a page fault leaves the instruction. */
#include "window.h"

TEST("guest.pf.straddle", "a write across pages, of which the second faults, writes nothing and gives that "
     "page's address")
{
	u8 *page = map_window(PAGE_PRESENT | PAGE_WRITE);

	for (u64 size = 1; size < 8; size++) {
		volatile u64 *address = (volatile u64 *)(PAGE_WINDOW + 0x1000 - size);

		CASE("%u bytes in the first page", size);
		struct fault fault = TRY(*address = ~0ull);
		expect_fault(fault, VECTOR_PF, PF_W);
		expect_eq(fault.cr2, PAGE_WINDOW + 0x1000);
		expect_eq(*(u64 *)(page + 0xff8), 0);
		fault = TRY((void)*address);
		expect_fault(fault, VECTOR_PF, 0);
		expect_eq(fault.cr2, PAGE_WINDOW + 0x1000);
	}
}

static u64 late_page;

static void maps_late(struct exception_frame *frame)
{
	(void)frame;
	page_map(read_cr2() & ~0xfffull, late_page, PAGE_PRESENT | PAGE_WRITE);
	interrupt_count[VECTOR_PF]++;
}

TEST("guest.pf.restart", "the instruction that faulted runs again, with all registers as before")
{
	u64 *page = page_alloc(), value = 0x1122334455667788, old = 0;

	page_entry(PAGE_WINDOW, 1);
	late_page = physical_address(page);
	interrupt_handle(VECTOR_PF, maps_late);
	asm volatile("xchg %0, (%1)" : "+r"(value) : "r"(PAGE_WINDOW) : "memory");
	expect_eq(value, 0);
	asm volatile("pushq (%1); popq %0" : "=r"(old) : "r"(PAGE_WINDOW) : "memory");
	expect_eq(old, 0x1122334455667788);
	expect_eq(page[0], 0x1122334455667788);
	expect_eq(interrupt_count[VECTOR_PF], 1);
}

TEST("guest.pf.rep", "a REP STOS that faults leaves RCX and RDI where it stands, and goes on from there")
{
	u8 *page = map_window(PAGE_PRESENT | PAGE_WRITE);
	u64 rcx, rdi;
	const struct fault fault = TRY(asm volatile("rep stosb" : : "a"(0x5a), "c"(100ull), "D"(PAGE_WINDOW + 0xfc0)
						    : "memory"));

	expect_fault(fault, VECTOR_PF, PF_W);
	expect_eq(fault.cr2, PAGE_WINDOW + 0x1000);
	expect_eq(fault.frame.rdi, PAGE_WINDOW + 0x1000);
	expect_eq(fault.frame.rcx, 100 - 0x40);
	expect_eq(page[0xfbf], 0);
	expect_eq(page[0xfc0], 0x5a);
	expect_eq(page[0xfff], 0x5a);

	late_page = physical_address(page_alloc());
	interrupt_handle(VECTOR_PF, maps_late);
	asm volatile("rep stosb" : "=c"(rcx), "=D"(rdi) : "a"(0xa5), "c"(100ull), "D"(PAGE_WINDOW + 0xfc0) : "memory");
	expect_eq(rcx, 0);
	expect_eq(rdi, PAGE_WINDOW + 0xfc0 + 100);
	expect_eq(((u8 *)late_page)[99 - 0x40], 0xa5);
	expect_eq(((u8 *)late_page)[100 - 0x40], 0);
}

static u64 rsp_before, rsp_faulted;

static void notes_rsp(struct exception_frame *frame)
{
	rsp_faulted = frame->rsp;
	maps_late(frame);
}

TEST("guest.pf.push", "a PUSH whose write faults leaves RSP as it was, and runs again")
{
	u64 rsp_after;

	/* The exception's own frame must not go below the same RSP. */
	idt[VECTOR_PF].ist = 1;
	page_entry(PAGE_WINDOW, 1);
	late_page = physical_address(page_alloc());
	interrupt_handle(VECTOR_PF, notes_rsp);
	asm volatile("mov %%rsp, %0\n\t"
		     "mov %2, %%rsp\n\t"
		     "pushq $0x77\n\t"
		     "mov %%rsp, %1\n\t"
		     "mov %0, %%rsp"
		     : "=&r"(rsp_before), "=&r"(rsp_after) : "r"(PAGE_WINDOW + 0x800) : "memory");
	idt[VECTOR_PF].ist = 0;
	expect_eq(rsp_faulted, PAGE_WINDOW + 0x800);
	expect_eq(rsp_after, PAGE_WINDOW + 0x7f8);
	expect_eq(*(u64 *)(late_page + 0x7f8), 0x77);
}
