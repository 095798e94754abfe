/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest.h"

CODE(x87_instruction, "fnop");
CODE(mmx_instruction, "movq %mm0, %mm0");
CODE(sse_instruction, "movaps %xmm0, %xmm0");
CODE(wait_instruction, "fwait");

/* Run an instruction with these bits of CR0 for MP, EM and TS. */
static struct fault with_cr0(u64 bits, void (*instruction)(void))
{
	const u64 cr0 = read_cr0();
	struct fault fault;

	write_cr0((cr0 & ~(u64)(CR0_MP | CR0_EM | CR0_TS)) | bits);
	fault = TRY(instruction());
	write_cr0(cr0);
	return fault;
}

/* The bit takes both values, and no other bit changes with it. */
static void check_bit(const void *data)
{
	const u64 bit = *(const u64 *)data;
	const u64 cr0 = read_cr0();

	write_cr0(cr0 ^ bit);
	const u64 flipped_cr0 = read_cr0();
	write_cr0(cr0);
	expect_eq(flipped_cr0, cr0 ^ bit);
	expect_eq(read_cr0(), cr0);
}

#define BIT_ROW(name, bit, ...) \
	ROW("guest.cr0." name, #bit " can be written with 0 and with 1", check_bit, &(const u64){ bit }, ##__VA_ARGS__)
BIT_ROW("mp", CR0_MP);
BIT_ROW("em", CR0_EM);
BIT_ROW("ts_bit", CR0_TS);
BIT_ROW("ne", CR0_NE);
BIT_ROW("wp", CR0_WP);
BIT_ROW("am", CR0_AM);
BIT_ROW("cd", CR0_CD, NEEDS(MAY_TURN_CACHES_OFF));

TEST("guest.cr0.et", "ET is 1 and stays it")
{
	const u64 cr0 = read_cr0();

	expect_eq(cr0 & CR0_ET, CR0_ET);
	write_cr0(cr0 & ~(u64)CR0_ET);
	expect_eq(read_cr0(), cr0);
}

TEST("guest.cr0.reserved_low", "the reserved bits of 31:0 ignore writes and read as 0")
{
	const u64 cr0 = read_cr0();

	for (unsigned int bit = 6; bit < 29; bit++) {
		if (BIT(bit) & (CR0_WP | CR0_AM))
			continue;
		CASE("bit %u", bit);
		const struct fault fault = TRY(write_cr0(cr0 | BIT(bit)));
		expect_no_fault(fault);
		expect_eq(read_cr0(), cr0);
	}
}

TEST("guest.cr0.reserved_high", "CR0 refuses a 1 in each of bits 63:32")
{
	const u64 cr0 = read_cr0();

	for (unsigned int bit = 32; bit < 64; bit++) {
		CASE("bit %u", bit);
		expect_cr_refused(0, cr0 | BIT(bit));
	}
	write_cr0(cr0 ^ CR0_AM);
	expect_eq(read_cr0(), cr0 ^ CR0_AM);
	write_cr0(cr0);
}

TEST("guest.cr0.nw", "CR0 refuses NW=1 with CD=0")
{
	const u64 cr0 = read_cr0() & ~(u64)(CR0_CD | CR0_NW);
	const struct fault fault = TRY(write_cr0(cr0 | CR0_NW));
	const u64 now = read_cr0();

	write_cr0(cr0);
	expect_fault(fault, VECTOR_GP, 0);
	expect_eq(now, cr0);
}

TEST("guest.cr0.pe_pg", "CR0 refuses PE=0 with PG=1")
{
	expect_cr_refused(0, read_cr0() & ~(u64)CR0_PE);
}

/*
 * Write RDI to CR0. A processor that lets PG be cleared is in 32-bit mode then, where
 * 40H is INC EAX and no prefix: go back from there. Returns whether that was so.
 */
asm(".pushsection .text\n"
    "leave_paging:\n"
    "	mov %cr0, %rdx\n"
    "	mov %rdi, %cr0\n"
    "	xor %eax, %eax\n"
    "	.byte 0x40, 0x90\n"
    "	test %eax, %eax\n"
    "	jz 1f\n"
    ".code32\n"
    "	mov %edx, %cr0\n"
    "	ljmp $0x08, $1f\n"		/* SELECTOR_CODE64 */
    ".code64\n"
    "1:	ret\n"
    ".popsection");
u32 leave_paging(u64 cr0);

TEST("guest.cr0.pg", "CR0 refuses PG=0 in 64-bit mode")
{
	const u64 cr0 = read_cr0();
	volatile u32 left = 0;
	const struct fault fault = TRY(left = leave_paging(cr0 & ~CR0_PG));

	expect_fault(fault, VECTOR_GP, 0);
	expect_eq(left, 0);
	expect_eq(read_cr0(), cr0);
}

TEST("guest.cr0.ts", "CLTS clears TS alone; TS makes x87 instructions raise #NM")
{
	const u64 cr0 = read_cr0();
	struct fault fault;

	write_cr0(cr0 | CR0_TS);
	expect_eq(read_cr0(), cr0 | CR0_TS);
	fault = TRY(x87_instruction());
	expect_fault(fault, VECTOR_NM, 0);
	expect_eq(fault.frame.rip, (u64)x87_instruction);
	asm volatile("clts");
	expect_eq(read_cr0(), cr0 & ~(u64)CR0_TS);
	fault = TRY(x87_instruction());
	expect_no_fault(fault);
	write_cr0(cr0);
}

TEST("guest.cr0.ts_sse", "TS makes MMX and SSE instructions raise #NM")
{
	struct fault fault = with_cr0(CR0_TS, sse_instruction);

	expect_fault(fault, VECTOR_NM, 0);
	fault = with_cr0(CR0_TS, mmx_instruction);
	expect_fault(fault, VECTOR_NM, 0);
	fault = with_cr0(0, sse_instruction);
	expect_no_fault(fault);
	fault = with_cr0(0, mmx_instruction);
	expect_no_fault(fault);
}

TEST("guest.cr0.wait", "WAIT raises #NM if MP and TS are both 1, whatever EM")
{
	static const u64 mp_ts = CR0_MP | CR0_TS;

	for (u64 bits = 0; bits < 16; bits += 2) {	/* each combination of MP, EM and TS */
		const struct fault fault = with_cr0(bits, wait_instruction);

		CASE("MP, EM, TS = %#lx", bits);
		if ((bits & mp_ts) == mp_ts)
			expect_fault(fault, VECTOR_NM, 0);
		else
			expect_no_fault(fault);
	}
}

TEST("guest.cr0.em_x87", "EM makes x87 instructions raise #NM")
{
	for (u64 bits = 0; bits < 16; bits += 2) {
		const struct fault fault = with_cr0(bits, x87_instruction);

		CASE("MP, EM, TS = %#lx", bits);
		if (bits & (CR0_EM | CR0_TS))
			expect_fault(fault, VECTOR_NM, 0);
		else
			expect_no_fault(fault);
	}
}

static void check_em_ud(u64 bits)
{
	struct fault fault = with_cr0(bits, mmx_instruction);

	expect_fault(fault, VECTOR_UD, 0);
	fault = with_cr0(bits, sse_instruction);
	expect_fault(fault, VECTOR_UD, 0);
}

TEST("guest.cr0.em_sse", "EM makes MMX and SSE instructions raise #UD")
{
	check_em_ud(CR0_EM);
}

TEST("guest.cr0.em_before_ts", "with EM and TS both 1, MMX and SSE instructions raise #UD, not #NM")
{
	check_em_ud(CR0_EM | CR0_TS);
}

static void lmsw(u16 value)
{
	asm volatile("lmsw %0" : : "r"(value) : "memory");
}

TEST("guest.cr0.lmsw", "LMSW writes MP, EM and TS, and no bit above")
{
	const u64 cr0 = read_cr0();

	for (u64 bits = 0; bits < 16; bits += 2) {
		lmsw(0xfff0 | bits | CR0_PE);
		const u64 now = read_cr0();
		write_cr0(cr0);
		CASE("MP, EM, TS = %#lx", bits);
		expect_eq(now, (cr0 & ~0xeull) | bits);
	}
}

TEST("guest.cr0.lmsw_pe", "LMSW cannot clear PE")
{
	const u64 cr0 = read_cr0();

	lmsw(cr0 & 0xe);
	const u64 now = read_cr0();
	write_cr0(cr0);
	expect_eq(now, cr0);
}

TEST("guest.cr0.smsw", "SMSW stores CR0: 16 bits to memory, the register's width to a register")
{
	const u64 cr0 = read_cr0();
	u64 memory = ~0ull, wide = ~0ull, word = ~0ull;

	asm volatile("smsw %0" : "+m"(memory));
	expect_eq(memory, 0xffffffffffff0000 | (cr0 & 0xffff));
	asm volatile("smsw %q0" : "+r"(wide));
	expect_eq(wide, cr0);
	asm volatile("smsw %w0" : "+r"(word));
	expect_eq(word, 0xffffffffffff0000 | (cr0 & 0xffff));
}

/* MOV to and from CR1, CR5-CR7, CR9-CR15, by their bytes: ModRM.reg is n, REX.R its bit 3. */
TEST("guest.cr.undefined", "MOV to or from a control register that does not exist raises #UD")
{
	u8 *code = page_alloc();

	for (u8 n = 0; n < 16; n++) {
		if (BIT(n) & (BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(8)))
			continue;
		for (u8 opcode = 0x20; opcode <= 0x22; opcode += 2) {
			const u8 bytes[] = { n & 8 ? 0x44 : 0x40, 0x0f, opcode, 0xc0 | (n & 7) << 3, 0xc3 };

			for (size_t i = 0; i < sizeof(bytes); i++)
				code[i] = bytes[i];
			asm volatile("" : : : "memory");
			const struct fault fault = TRY(((void (*)(void))code)());
			CASE("CR%u, opcode 0F %x", n, opcode);
			expect_fault(fault, VECTOR_UD, 0);
			expect_eq(fault.frame.rip, (u64)code);
		}
	}
}

TEST("guest.cr2.rw", "CR2 keeps what was written until a page fault")
{
	static const u64 values[] = { 0, ~0ull, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa };

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		write_cr2(values[i]);
		expect_eq(read_cr2(), values[i]);
		const struct fault fault = TRY(asm volatile("ud2"));
		expect_fault(fault, VECTOR_UD, 0);
		expect_eq(read_cr2(), values[i]);
	}
	const struct fault fault = TRY((void)*WINDOW_PAGE);
	expect_fault(fault, VECTOR_PF, 0);
	expect_eq(read_cr2(), PAGE_WINDOW);
}

TEST("guest.cr2.gp_keeps", "an access to an address that is not canonical leaves CR2 alone")
{
	write_cr2(0x123456789abc);
	const struct fault fault = TRY((void)*(volatile u8 *)NOT_CANONICAL);
	expect_fault(fault, VECTOR_GP, 0);
	expect_eq(read_cr2(), 0x123456789abc);
}
