/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/cr4.h"
#include "x86/page.h"

/* The value in RDI, the old one in RSI; returns what CR4 is in between. */
asm(".pushsection .text\n"
    "cr4_change:\n"
    "	mov %rdi, %cr4\n"
    "	mov %cr4, %rax\n"
    "	mov %rsi, %cr4\n"
    "	ret\n"
    ".popsection");
extern const u8 cr4_change[];

#define HIGH_HALF (~0ull << 47)		/* canonical with 4 levels of tables and with 5 */

struct fault cr4_try(u64 value, u64 *seen)
{
	u64 (*const change)(u64 to, u64 back) = (u64 (*)(u64, u64))(HIGH_HALF | (u64)cr4_change);
	const u64 cr3 = read_cr3(), cr4 = read_cr4(), pages = page_mark();

	write_cr3(page_tables_that_repeat());
	const struct fault fault = TRY(*seen = change(value, cr4));
	if (fault.raised)
		*seen = read_cr4();
	write_cr4(cr4);
	write_cr3(cr3);
	page_release(pages);
	return fault;
}
