/* SPDX-License-Identifier: BSD-2-Clause */
/* An exception during the delivery of an exception. */
#include "guest.h"

#include "libc/string.h"

CODE(raises_gp, "mov $0xfff0, %eax; mov %eax, %fs");
CODE(raises_pf, "mov $0x8000100000, %rax; mov (%rax), %rax");
CODE(raises_de, "xor %ecx, %ecx; div %ecx");

/* The exception that comes of it if this vector's gate is not present. */
static struct fault without_gate(u8 vector, void (*function)(void))
{
	idt[vector].type &= 0x7f;
	const struct fault fault = TRY(function());
	idt[vector].type |= 0x80;
	return fault;
}

TEST("guest.exc.df_contributory", "a contributory exception during another one makes #DF(0)")
{
	struct fault fault = without_gate(VECTOR_GP, raises_gp);

	expect_fault(fault, VECTOR_DF, 0);
	fault = without_gate(VECTOR_DE, raises_de);
	expect_fault(fault, VECTOR_DF, 0);
}

TEST("guest.exc.df_page_fault", "a contributory exception during a page fault makes #DF(0)")
{
	const struct fault fault = without_gate(VECTOR_PF, raises_pf);

	expect_fault(fault, VECTOR_DF, 0);
}

/* Run with an IDT whose gates below (or from) `vector` are in a page that is not present. */
static struct fault with_split_idt(u8 vector, bool below, void (*function)(void))
{
	u8 *pages = page_alloc_many(2);
	const u64 offset = 0x1000 - vector * 16;

	memcpy(pages + offset, idt, sizeof(idt));
	page_map(PAGE_WINDOW, physical_address(pages), below ? 0 : PAGE_PRESENT | PAGE_WRITE);
	page_map(PAGE_WINDOW + 0x1000, physical_address(pages + 0x1000), below ? PAGE_PRESENT | PAGE_WRITE : 0);
	write_cr3(read_cr3());
	write_idtr((struct table_register){ sizeof(idt) - 1, PAGE_WINDOW + offset });
	const struct fault fault = TRY(function());
	write_idtr(tables_idtr());
	return fault;
}

TEST("guest.exc.serial_page_fault", "a page fault during a contributory exception is delivered for itself")
{
	const struct fault fault = with_split_idt(VECTOR_PF, true, raises_gp);

	expect_fault(fault, VECTOR_PF, 0);
	expect_eq(fault.cr2, PAGE_WINDOW + 0x1000 - (VECTOR_PF - VECTOR_GP) * 16);
}

TEST("guest.exc.df_two_page_faults", "a page fault during a page fault makes #DF(0)")
{
	/* CR2 tells the two. */
	const struct fault fault = with_split_idt(VECTOR_PF, false, raises_pf);

	expect_fault(fault, VECTOR_DF, 0);
	expect_eq(read_cr2() & ~0xfffull, PAGE_WINDOW + 0x1000);
}
