/* SPDX-License-Identifier: BSD-2-Clause */
/* What raises each exception, its error code, and where the saved RIP points. */
#include "guest.h"

#include "libc/string.h"

/* The fault, at this instruction. */
#define expect_fault_at(fault, vector, error_code, label)	\
do {								\
	expect_fault(fault, vector, error_code);		\
	expect_eq((fault).frame.rip, (u64)(label));		\
} while (0)

#define LABEL(name) extern const u8 name[]

CODE(divide_by_zero, "xor %ecx, %ecx; xor %edx, %edx; mov $1, %eax; at_div: div %ecx");
CODE(divide_overflow, "mov $2, %ecx; mov $2, %edx; xor %eax, %eax; at_div_overflow: div %ecx");
CODE(idiv_overflow, "mov $-1, %rcx; mov $0x8000000000000000, %rax; cqo; at_idiv: idiv %rcx");
LABEL(at_div); LABEL(at_div_overflow); LABEL(at_idiv);

TEST("guest.exc.de", "#DE: division by zero and overflow, with no register changed")
{
	struct fault fault = TRY(divide_by_zero());

	expect_fault_at(fault, VECTOR_DE, 0, at_div);
	expect_eq(fault.frame.rax, 1);
	expect_eq(fault.frame.rdx, 0);
	fault = TRY(divide_overflow());
	expect_fault_at(fault, VECTOR_DE, 0, at_div_overflow);
	expect_eq(fault.frame.rdx, 2);
	fault = TRY(idiv_overflow());
	expect_fault_at(fault, VECTOR_DE, 0, at_idiv);
}

CODE(breakpoint, "at_bp: int3; after_bp:");
CODE(breakpoint_long, ".byte 0xcd, 0x03; after_bp_long:");
LABEL(after_bp); LABEL(after_bp_long);

TEST("guest.exc.bp", "#BP: INT3 and INT 3 save the address behind them")
{
	struct fault fault = TRY(breakpoint());

	expect_fault_at(fault, VECTOR_BP, 0, after_bp);
	fault = TRY(breakpoint_long());
	expect_fault_at(fault, VECTOR_BP, 0, after_bp_long);
}

CODE32(into_overflow, "mov $0x7f, %al; add $1, %al; into; after_into:");
CODE32(into_none, "xor %eax, %eax; into");
LABEL(after_into);

TEST("guest.exc.of", "#OF: INTO with OF=1 in compatibility mode, saving the address behind it")
{
	struct fault fault = run_code32(into_overflow);

	expect_fault_at(fault, VECTOR_OF, 0, after_into);
	fault = run_code32(into_none);
	expect_no_fault(fault);
}

u32 bound_limits[2] = { 10, 20 };
CODE32(bound_inside, "mov $20, %eax; bound %eax, bound_limits");
CODE32(bound_above, "mov $21, %eax; at_bound: bound %eax, bound_limits");
CODE32(bound_below, "mov $9, %eax; at_bound_below: bound %eax, bound_limits");
LABEL(at_bound); LABEL(at_bound_below);

TEST("guest.exc.br", "#BR: BOUND outside its bound_limits in compatibility mode")
{
	struct fault fault = run_code32(bound_inside);

	expect_no_fault(fault);
	fault = run_code32(bound_above);
	expect_fault_at(fault, VECTOR_BR, 0, at_bound);
	fault = run_code32(bound_below);
	expect_fault_at(fault, VECTOR_BR, 0, at_bound_below);
}

/* Run these bytes, with a RET behind them, from a page of their own. */
static struct fault run_bytes(u8 *page, const void *bytes, size_t size)
{
	memcpy(page, bytes, size);
	page[size] = 0xc3;
	asm volatile("" : : : "memory");
	return TRY(((void (*)(void))page)());
}

TEST("guest.exc.ud", "#UD: UD2, UD1 and MOV to CS")
{
	static const u8 undefined[][3] = { { 0x0f, 0x0b, 0x90 }, { 0x0f, 0xb9, 0xc0 }, { 0x8e, 0xc8, 0x90 } };
	u8 *page = page_alloc();

	for (size_t i = 0; i < ARRAY_SIZE(undefined); i++) {
		const struct fault fault = run_bytes(page, undefined[i], 3);

		CASE("bytes %x %x %x", undefined[i][0], undefined[i][1], undefined[i][2]);
		expect_fault_at(fault, VECTOR_UD, 0, page);
	}
}

TEST("guest.exc.ud_64bit", "#UD: the instructions that 64-bit mode has not")
{
	/* PUSH and POP of segments, BCD adjustment, PUSHA, POPA, group 82H, far CALL and JMP, INTO, AAM. */
	static const u8 opcodes[] = {
		0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0x82, 0x9a, 0xce,
		0xd4, 0xea,
	};
	u8 *page = page_alloc();

	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
		const u8 bytes[8] = { opcodes[i], 0xc0, 0, 0, 0, 0, 0, 0 };
		const struct fault fault = run_bytes(page, bytes, sizeof(bytes));

		CASE("opcode %x", opcodes[i]);
		expect_fault_at(fault, VECTOR_UD, 0, page);
	}
}

TEST("guest.exc.ud_lock", "#UD: LOCK where it may not be")
{
	static const u8 locked[][5] = {
		{ 0xf0, 0x89, 0x44, 0x24, 0x80 },	/* mov %eax, -128(%rsp) */
		{ 0xf0, 0x01, 0xc0, 0x90, 0x90 },	/* add %eax, %eax */
		{ 0xf0, 0x39, 0x44, 0x24, 0x80 },	/* cmp %eax, -128(%rsp) */
		{ 0xf0, 0x90, 0x90, 0x90, 0x90 },	/* nop */
		{ 0xf0, 0x0f, 0x0b, 0x90, 0x90 },	/* ud2 */
	};
	u8 *page = page_alloc();

	for (size_t i = 0; i < ARRAY_SIZE(locked); i++) {
		const struct fault fault = run_bytes(page, locked[i], 5);

		CASE("opcode %x", locked[i][1]);
		expect_fault_at(fault, VECTOR_UD, 0, page);
	}
}

TEST("guest.exc.gp_length", "#GP(0): an instruction of more than 15 bytes")
{
	u8 *page = page_alloc(), bytes[16];

	memset(bytes, 0x66, sizeof(bytes));
	bytes[14] = 0x90;			/* 15 bytes */
	bytes[15] = 0x90;
	struct fault fault = run_bytes(page, bytes, 16);
	expect_no_fault(fault);
	bytes[14] = 0x66;			/* 16 */
	fault = run_bytes(page, bytes, 16);
	expect_fault_at(fault, VECTOR_GP, 0, page);
}

TEST("guest.exc.gp_canonical", "#GP(0): data at an address that is not canonical, on both sides of the border")
{
	const u64 border = BIT(read_cr4() & CR4_LA57 ? 56 : 47);
	static const u64 offsets[] = { 0, 0x1000, 0x7fffffffffff };

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		struct fault fault = TRY((void)*(volatile u8 *)(border + offsets[i]));
		expect_fault(fault, VECTOR_GP, 0);
		fault = TRY(*(volatile u8 *)(-border - 1 - offsets[i]) = 1);
		expect_fault(fault, VECTOR_GP, 0);
	}
	struct fault fault = TRY((void)*(volatile u8 *)(border - 1));
	expect_fault(fault, VECTOR_PF, 0);
	fault = TRY((void)*(volatile u8 *)-border);
	expect_fault(fault, VECTOR_PF, 0);
}

TEST("guest.exc.gp_straddle", "#GP(0): data across the border of the canonical addresses")
{
	const u64 border = BIT(read_cr4() & CR4_LA57 ? 56 : 47);
	const struct fault fault = TRY((void)*(volatile u64 *)(border - 4));

	expect_fault(fault, VECTOR_GP, 0);
}

TEST("guest.exc.gp_jump", "#GP(0): a jump to an address that is not canonical, at the jump")
{
	struct fault fault = TRY(asm volatile("at_jump: jmp *%0" : : "r"(NOT_CANONICAL)));
	LABEL(at_jump);

	expect_fault_at(fault, VECTOR_GP, 0, at_jump);
	fault = TRY(asm volatile("pushq %0; at_ret: ret" : : "r"(NOT_CANONICAL)));
	LABEL(at_ret);
	expect_fault_at(fault, VECTOR_GP, 0, at_ret);
}

TEST("guest.exc.ss_canonical", "#SS(0): the stack, or data by RBP or RSP, at an address that is not canonical")
{
	struct fault fault = TRY(asm volatile("mov %%rbp, %%rcx; mov %0, %%rbp; mov (%%rbp), %%rax; mov %%rcx, %%rbp"
					      : : "r"(NOT_CANONICAL) : "rax", "rcx"));

	expect_fault(fault, VECTOR_SS, 0);
	idt[VECTOR_SS].ist = 1;		/* RSP itself takes no frame */
	fault = TRY(asm volatile("mov %%rsp, %%rcx; mov %0, %%rsp; pushq $1; mov %%rcx, %%rsp"
				 : : "r"(NOT_CANONICAL) : "rcx", "memory"));
	idt[VECTOR_SS].ist = 0;
	expect_fault(fault, VECTOR_SS, 0);
	expect_eq(fault.frame.rsp, NOT_CANONICAL);
}

static u8 misaligned[32] ALIGNED(16);

#define AC_ACCESS(name, text) static void name(void) { asm volatile(text : : "r"(misaligned + 1) : "rax", "memory"); }
AC_ACCESS(ac_read_word, "movw (%0), %%ax")
AC_ACCESS(ac_read_dword, "movl (%0), %%eax")
AC_ACCESS(ac_read_qword, "movq (%0), %%rax")
AC_ACCESS(ac_write_word, "movw %%ax, (%0)")
AC_ACCESS(ac_write_qword, "movq %%rax, (%0)")
AC_ACCESS(ac_read_byte, "movb (%0), %%al")
AC_ACCESS(ac_aligned, "movq 7(%0), %%rax")
AC_ACCESS(ac_push, "push %%rbp; mov %%rsp, %%rbp; lea 9(%0), %%rsp; push %%rax; mov %%rbp, %%rsp; pop %%rbp")

TEST("guest.exc.ac", "#AC(0): a misaligned access at CPL 3 with CR0.AM=1 and RFLAGS.AC=1")
{
	static void (*const accesses[])(void) = {
		ac_read_word, ac_read_dword, ac_read_qword, ac_write_word, ac_write_qword, ac_push,
	};
	const u64 cr0 = read_cr0();

	user_pages_on();
	write_cr0(cr0 | CR0_AM);
	for (size_t i = 0; i < ARRAY_SIZE(accesses); i++) {
		const struct fault fault = user_run_flags(accesses[i], RFLAGS_AC);

		CASE("access %u", i);
		expect_fault(fault, VECTOR_AC, 0);
	}
	write_cr0(cr0);
}

TEST("guest.exc.ac_aligned", "an aligned access raises no #AC")
{
	const u64 cr0 = read_cr0();

	user_pages_on();
	write_cr0(cr0 | CR0_AM);
	struct fault fault = user_run_flags(ac_aligned, RFLAGS_AC);
	expect_no_fault(fault);
	fault = user_run_flags(ac_read_byte, RFLAGS_AC);
	expect_no_fault(fault);
	write_cr0(cr0);
}

TEST("guest.exc.ac_off", "no #AC with CR0.AM=0, with RFLAGS.AC=0, or at CPL 0")
{
	const u64 cr0 = read_cr0();

	user_pages_on();
	write_cr0(cr0 & ~(u64)CR0_AM);
	struct fault fault = user_run_flags(ac_read_dword, RFLAGS_AC);
	expect_no_fault(fault);
	write_cr0(cr0 | CR0_AM);
	fault = user_run_flags(ac_read_dword, 0);
	expect_no_fault(fault);
	write_rflags(read_rflags() | RFLAGS_AC);
	fault = TRY(ac_read_dword());
	write_rflags(read_rflags() & ~(u64)RFLAGS_AC);
	expect_no_fault(fault);
	write_cr0(cr0);
}

/* 1.0 / 0.0 with the exception unmasked; the next x87 instruction that waits raises it. */
CODE(x87_divide, "fninit; pushq $0x37b; fldcw (%rsp); add $8, %rsp; fld1; fldz; fdivrp %st, %st(1); nop;"
     "at_wait: fwait");
LABEL(at_wait);

TEST("guest.exc.mf", "#MF: an unmasked x87 exception, at the next instruction that waits, with CR0.NE=1")
{
	const struct fault fault = TRY(x87_divide());
	u16 status;

	asm volatile("fnstsw %0; fnclex; fninit" : "=a"(status));
	expect_fault_at(fault, VECTOR_MF, 0, at_wait);
	expect_eq(status & 0x84, 0x84);		/* ZE and ES */
}

static u32 mxcsr_value;

static void sse_divide(void)
{
	asm volatile("pushq $1; cvtsi2ssl (%%rsp), %%xmm0; xorps %%xmm1, %%xmm1; pop %%rax; ldmxcsr %0\n\t"
		     "at_divps: divss %%xmm1, %%xmm0" : : "m"(mxcsr_value) : "rax", "memory");
}
LABEL(at_divps);

/* Divide by 0 in SSE with the exception unmasked, with CR4.OSXMMEXCPT as wanted. */
static struct fault sse_fault(bool osxmmexcpt)
{
	const u64 cr4 = read_cr4();
	const u32 reset = 0x1f80;

	write_cr4((cr4 & ~(u64)CR4_OSXMMEXCPT) | (osxmmexcpt ? CR4_OSXMMEXCPT : 0));
	mxcsr_value = 0x1d80;			/* ZM = 0 */
	const struct fault fault = TRY(sse_divide());
	asm volatile("stmxcsr %0; ldmxcsr %1" : "=m"(mxcsr_value) : "m"(reset));
	write_cr4(cr4);
	return fault;
}

TEST("guest.exc.xm", "#XM: an unmasked SSE exception with CR4.OSXMMEXCPT=1")
{
	const struct fault fault = sse_fault(true);

	expect_fault_at(fault, VECTOR_XM, 0, at_divps);
	expect_eq(mxcsr_value & 0x3f, 4);	/* ZE */
}

TEST("guest.exc.xm_ud", "#UD: an unmasked SSE exception with CR4.OSXMMEXCPT=0")
{
	const struct fault fault = sse_fault(false);

	expect_fault_at(fault, VECTOR_UD, 0, at_divps);
}

TEST("guest.exc.ldmxcsr", "#GP(0): LDMXCSR with a reserved bit set")
{
	for (unsigned int bit = 16; bit < 32; bit++) {
		const u32 value = 0x1f80 | BIT(bit);
		const struct fault fault = TRY(asm volatile("ldmxcsr %0" : : "m"(value)));

		CASE("bit %u", bit);
		expect_fault(fault, VECTOR_GP, 0);
	}
}

TEST("guest.exc.movaps", "#GP(0): MOVAPS with an address that is not a multiple of 16")
{
	for (u64 offset = 0; offset < 16; offset++) {
		const struct fault fault = TRY(asm volatile("movaps (%0), %%xmm0" : : "r"(misaligned + offset)));

		CASE("offset %u", offset);
		if (offset)
			expect_fault(fault, VECTOR_GP, 0);
		else
			expect_no_fault(fault);
	}
}

TEST("guest.exc.selector", "a fault of a selector has the selector without its RPL as error code")
{
	/* Beyond the GDT's limit; in an LDT that is null; null in SS at CPL 0 with RPL 3. */
	static const struct {
		u16 selector;
		u32 error_code;
	} cases[] = { { 0xfff0, 0xfff0 }, { 0xfff3, 0xfff0 }, { 0x0c, 0x0c }, { 0x0f, 0x0c } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fault fault = TRY(asm volatile("mov %w0, %%fs" : : "r"((u64)cases[i].selector)));

		CASE("selector %#x", cases[i].selector);
		expect_fault(fault, VECTOR_GP, cases[i].error_code);
	}
}

TEST("guest.exc.rf", "a fault saves RF=1, INT3 and INT n save RF=0")
{
	struct fault fault = TRY(asm volatile("ud2"));

	expect_eq(fault.frame.rflags & RFLAGS_RF, RFLAGS_RF);
	fault = TRY((void)*WINDOW_PAGE);
	expect_eq(fault.frame.rflags & RFLAGS_RF, RFLAGS_RF);
	fault = TRY(breakpoint());
	expect_eq(fault.frame.rflags & RFLAGS_RF, 0);
	fault = TRY(asm volatile("int $0x77"));
	expect_fault(fault, 0x77, 0);
	expect_eq(fault.frame.rflags & RFLAGS_RF, 0);
}
