/* SPDX-License-Identifier: BSD-2-Clause */
/* String instructions that fault half way: what they have done by then, and what the registers say ("Basic Architecture", REP). */
#include "guest.h"

#include "libc/string.h"

enum { ELEMENTS = 24, BEFORE = 7 };

/* By (RSI), by (RDI); STORES: what is at (RDI) afterwards is known; COMPARES: it is read alone. */
enum { READS = 1, WRITES = 2, STORES = 4, COMPARES = 8 };

/* RSI and RDI are set, RCX = ELEMENTS, RAX = 5A5A5A5A5A5A5A5AH, DX = 80H. */
static const struct string {
	const char *text;
	void (*run)(void);
	u32 size, accesses;
} *now;

#define STRING(name, text)	CODE(string_##name, text)

STRING(movsb, "rep movsb");
STRING(movsw, "rep movsw");
STRING(movsl, "rep movsl");
STRING(movsq, "rep movsq");
STRING(stosb, "rep stosb");
STRING(stosw, "rep stosw");
STRING(stosl, "rep stosl");
STRING(stosq, "rep stosq");
STRING(insb, "rep insb");
STRING(insw, "rep insw");
STRING(insl, "rep insl");
STRING(outsb, "rep outsb");
STRING(outsw, "rep outsw");
STRING(outsl, "rep outsl");
STRING(lodsb, "rep lodsb");
STRING(lodsq, "rep lodsq");
STRING(cmpsb, "repe cmpsb");
STRING(cmpsq, "repe cmpsq");
STRING(scasb, "repe scasb");
STRING(scasq, "repe scasq");

static const struct string strings[] = {
	{ "REP MOVSB", string_movsb, 1, READS | WRITES | STORES }, { "REP MOVSW", string_movsw, 2, READS | WRITES | STORES },
	{ "REP MOVSD", string_movsl, 4, READS | WRITES | STORES }, { "REP MOVSQ", string_movsq, 8, READS | WRITES | STORES },
	{ "REP STOSB", string_stosb, 1, WRITES | STORES }, { "REP STOSW", string_stosw, 2, WRITES | STORES },
	{ "REP STOSD", string_stosl, 4, WRITES | STORES }, { "REP STOSQ", string_stosq, 8, WRITES | STORES },
	{ "REP INSB", string_insb, 1, WRITES }, { "REP INSW", string_insw, 2, WRITES }, { "REP INSD", string_insl, 4, WRITES },
	{ "REP OUTSB", string_outsb, 1, READS }, { "REP OUTSW", string_outsw, 2, READS }, { "REP OUTSD", string_outsl, 4, READS },
	{ "REP LODSB", string_lodsb, 1, READS }, { "REP LODSQ", string_lodsq, 8, READS },
	{ "REPE CMPSB", string_cmpsb, 1, READS | WRITES | COMPARES }, { "REPE CMPSQ", string_cmpsq, 8, READS | WRITES | COMPARES },
	{ "REPE SCASB", string_scasb, 1, WRITES | COMPARES }, { "REPE SCASQ", string_scasq, 8, WRITES | COMPARES },
};

static struct fault run_string(u64 rsi, u64 rdi, bool down)
{
	return TRY(
		asm volatile("test %4, %4; jz 1f; std; 1: call *%3; cld"
			     : "+S"(rsi), "+D"(rdi) : "c"((u64)ELEMENTS), "r"(now->run), "r"((u64)down),
			     "a"(0x5a5a5a5a5a5a5a5a), "d"(0x80) : "memory", "cc")
	);
}

/* One operand is in the window, where the next page (or the one before) is not there; the other is far from any border. */
static void check_half_way(bool down, u32 faulting)
{
	const u64 base = PAGE_WINDOW + PAGE_SIZE;	/* alone: neither page beside it is there */
	u8 *page = page_alloc(), *other = page_alloc();
	const u64 step = down ? -(u64)now->size : now->size;
	const u64 edge = down ? base - now->size : base + PAGE_SIZE;
	const u64 start = edge - BEFORE * step;
	const u64 far = (u64)other + 2048;

	CASE("%s, DF = %u, by its %s", now->text, down, faulting == READS ? "source" : "destination");
	memset(other, 0x5a, PAGE_SIZE);
	memset(page, now->accesses & COMPARES || faulting == READS ? 0x5a : 0, PAGE_SIZE);
	page_map(base, physical_address(page), PAGE_PRESENT | PAGE_WRITE);
	const struct fault fault = run_string(faulting == READS ? start : far, faulting == WRITES ? start : far, down);

	expect_fault(fault, VECTOR_PF, faulting == WRITES && !(now->accesses & COMPARES) ? PF_W : 0);
	expect_eq(fault.cr2, edge);
	expect_eq(fault.frame.rip, (u64)now->run);
	expect_eq(fault.frame.rcx, ELEMENTS - BEFORE);
	if (now->accesses & READS)
		expect_eq(fault.frame.rsi, (faulting == READS ? start : far) + BEFORE * step);
	else
		expect_eq(fault.frame.rsi, far);
	if (now->accesses & WRITES)
		expect_eq(fault.frame.rdi, (faulting == WRITES ? start : far) + BEFORE * step);
	else
		expect_eq(fault.frame.rdi, far);
	expect_bits(fault.frame.rflags, RFLAGS_DF, down ? RFLAGS_DF : 0);
	if (faulting == READS || now->accesses & COMPARES)
		return;
	/* What is done is done, and no more. */
	expect_eq(page[down ? BEFORE * now->size : PAGE_SIZE - BEFORE * now->size - 1], 0);
	if (now->accesses & STORES)
		expect_filled(page, down ? 0 : PAGE_SIZE - BEFORE * now->size, down ? BEFORE * now->size : PAGE_SIZE, 0x5a);
}

static void check_all(bool down)
{
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		now = &strings[i];
		if (now->accesses & READS)
			check_half_way(down, READS);
		if (now->accesses & WRITES)
			check_half_way(down, WRITES);
		page_window_reset();
	}
}

TEST("guest.string.fault", "a REP string instruction that faults has done the elements before: RCX, RSI and RDI say which is next")
{
	check_all(false);
}

TEST("guest.string.fault_down", "with DF=1 it has done them downwards")
{
	check_all(true);
}

TEST("guest.string.none", "with RCX=0 a REP string instruction accesses nothing and changes no register")
{
	page_entry(PAGE_WINDOW, 1);
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		u64 rsi = PAGE_WINDOW, rdi = PAGE_WINDOW, rcx = 0;

		CASE("%s", strings[i].text);
		const struct fault fault = TRY(
			asm volatile("call *%3" : "+S"(rsi), "+D"(rdi), "+c"(rcx) : "r"(strings[i].run),
				     "a"(0x5a5a5a5a5a5a5a5a), "d"(0x80) : "memory", "cc"));
		expect_no_fault(fault);
		expect_eq(rsi, PAGE_WINDOW);
		expect_eq(rdi, PAGE_WINDOW);
		expect_eq(rcx, 0);
	}
}
