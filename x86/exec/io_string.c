/* SPDX-License-Identifier: BSD-2-Clause */
/* What an exit due to INS or OUTS reports of its operand in memory. */
#include "io.h"

#include "libc/string.h"
#include "vmx/modes.h"

/* Instruction information: address size in 9:7, and for OUTS the segment in 17:15. */
enum { ADDRESS_16 = 0 << 7, ADDRESS_32 = 1 << 7, ADDRESS_64 = 2 << 7, ADDRESS_MASK = 7 << 7 };
enum { ES = 0 << 15, CS = 1 << 15, SS = 2 << 15, DS = 3 << 15, FS = 4 << 15, GS = 5 << 15, SEGMENT_MASK = 7 << 15 };

struct string_case {
	u8 bytes[6];
	u8 length;
	u64 qualification, linear;
	u32 information;
};

enum { IN = IO_IN | IO_STRING, OUT = IO_OUT | IO_STRING };

/* Index registers and bases that are told apart by every part; the port is 1234H. */
#define RDI 0xffff9234567887a0ull
#define RSI 0x00005ba987659ef0ull
#define FS_BASE 0x0000100012340000ull
#define GS_BASE 0xffffa00023450000ull
enum { LOW_RDI = 0x567887a0, ES_BASE = 0x11000000, SS_BASE = 0x12000000, DS_BASE = 0x13000000 };
#define LOW_RSI 0x87659ef0ull

/* In 64-bit mode the bases of ES and DS do not count; 67H takes 32 bits of the index register. */
static const struct string_case cases_64[] = {
	{ { 0x6c }, 1, IN | IO_SIZE_1, RDI, ADDRESS_64 },
	{ { 0x66, 0x6d }, 2, IN | IO_SIZE_2, RDI, ADDRESS_64 },
	{ { 0x6d }, 1, IN | IO_SIZE_4, RDI, ADDRESS_64 },
	{ { 0xf3, 0x6c }, 2, IN | IO_REP | IO_SIZE_1, RDI, ADDRESS_64 },
	{ { 0x67, 0x6c }, 2, IN | IO_SIZE_1, LOW_RDI, ADDRESS_32 },
	{ { 0x67, 0xf3, 0x66, 0x6d }, 4, IN | IO_REP | IO_SIZE_2, LOW_RDI, ADDRESS_32 },
	{ { 0x6e }, 1, OUT | IO_SIZE_1, RSI, ADDRESS_64 | DS },
	{ { 0x66, 0x6f }, 2, OUT | IO_SIZE_2, RSI, ADDRESS_64 | DS },
	{ { 0x6f }, 1, OUT | IO_SIZE_4, RSI, ADDRESS_64 | DS },
	{ { 0xf3, 0x6f }, 2, OUT | IO_REP | IO_SIZE_4, RSI, ADDRESS_64 | DS },
	{ { 0x67, 0x6e }, 2, OUT | IO_SIZE_1, LOW_RSI, ADDRESS_32 | DS },
	{ { 0x67, 0xf3, 0x66, 0x6f }, 4, OUT | IO_REP | IO_SIZE_2, LOW_RSI, ADDRESS_32 | DS },
	{ { 0x64, 0x6e }, 2, OUT | IO_SIZE_1, FS_BASE + RSI, ADDRESS_64 | FS },
	{ { 0x65, 0x6f }, 2, OUT | IO_SIZE_4, GS_BASE + RSI, ADDRESS_64 | GS },
	{ { 0x67, 0x64, 0x6e }, 3, OUT | IO_SIZE_1, FS_BASE + LOW_RSI, ADDRESS_32 | FS },
	{ { 0xf3, 0x65, 0x66, 0x6f }, 4, OUT | IO_REP | IO_SIZE_2, GS_BASE + RSI, ADDRESS_64 | GS },
};

/* In compatibility mode the bases count, and the sum is cut to 32 bits; 67H takes 16 bits of the index register. */
static const struct string_case cases_32[] = {
	{ { 0x6c }, 1, IN | IO_SIZE_1, ES_BASE + LOW_RDI, ADDRESS_32 },
	{ { 0x66, 0xf3, 0x6d }, 3, IN | IO_REP | IO_SIZE_2, ES_BASE + LOW_RDI, ADDRESS_32 },
	{ { 0x67, 0x6d }, 2, IN | IO_SIZE_4, ES_BASE + (LOW_RDI & 0xffff), ADDRESS_16 },
	{ { 0x6e }, 1, OUT | IO_SIZE_1, DS_BASE + LOW_RSI, ADDRESS_32 | DS },
	{ { 0x67, 0x6e }, 2, OUT | IO_SIZE_1, DS_BASE + (LOW_RSI & 0xffff), ADDRESS_16 | DS },
	{ { 0x26, 0x6e }, 2, OUT | IO_SIZE_1, ES_BASE + LOW_RSI, ADDRESS_32 | ES },
	{ { 0x2e, 0x6f }, 2, OUT | IO_SIZE_4, LOW_RSI, ADDRESS_32 | CS },
	{ { 0x36, 0x66, 0x6f }, 3, OUT | IO_SIZE_2, SS_BASE + LOW_RSI, ADDRESS_32 | SS },
	{ { 0x3e, 0xf3, 0x6e }, 3, OUT | IO_REP | IO_SIZE_1, DS_BASE + LOW_RSI, ADDRESS_32 | DS },
	{ { 0x64, 0x6e }, 2, OUT | IO_SIZE_1, (u32)(FS_BASE + LOW_RSI), ADDRESS_32 | FS },
	{ { 0x65, 0x67, 0x6f }, 3, OUT | IO_SIZE_4, (u32)(GS_BASE + (LOW_RSI & 0xffff)), ADDRESS_16 | GS },
};

/* The instruction, and GUEST_DONE: mov $0x600d600d, %eax; vmcall in both modes. */
static const u8 end[] = { 0xb8, 0x0d, 0x60, 0x0d, 0x60, 0x0f, 0x01, 0xc1 };
static u8 code[8 + sizeof(end)];

static void run(const struct string_case *row)
{
	memcpy(code, row->bytes, row->length);
	memcpy(code + row->length, end, sizeof(end));
	vmcs_set_controls(PROC_UNCONDITIONAL_IO_EXITING);
	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);	/* with this GS base there is no handling of one */
	vmcs_write(GUEST_ES_BASE, ES_BASE);
	vmcs_write(GUEST_SS_BASE, SS_BASE);
	vmcs_write(GUEST_DS_BASE, DS_BASE);
	vmcs_write(GUEST_FS_BASE, FS_BASE);
	vmcs_write(GUEST_GS_BASE, GS_BASE);
	guest.regs.rcx = 0xfedcba9800000005;
	guest.regs.rdx = 0x1234;
	guest.regs.rdi = RDI;
	guest.regs.rsi = RSI;
	guest_run_at(code);
}

static void check_linear(const struct string_case *rows, size_t count, u32 bits)
{
	const u64 register_mask = bits == 64 ? ~0ull : 0xffffffff;

	for (size_t i = 0; i < count; i++) {
		CASE("%u-bit code, row %u: bytes %#x %#x", bits, i, rows[i].bytes[0], rows[i].bytes[1]);
		run(&rows[i]);
		expect_exit(EXIT_IO, .qualification = rows[i].qualification | IO_PORT(0x1234),
			    .linear = rows[i].linear, .instruction_length = rows[i].length, .rip = (u64)code);
		/* The exit comes before the first access: nothing has moved. Bits 63:32 mean nothing to 32-bit code. */
		expect_bits(guest.regs.rdi, register_mask, RDI);
		expect_bits(guest.regs.rsi, register_mask, RSI);
		expect_bits(guest.regs.rcx, register_mask, 0xfedcba9800000005);
		expect_bits(guest.regs.rdx, register_mask, 0x1234);
	}
}

TEST("exit.io.string_linear", "an exit of INS or OUTS gives the linear address of its operand, before the first access",
     NEEDS(PROC_UNCONDITIONAL_IO_EXITING))
{
	check_linear(cases_64, ARRAY_SIZE(cases_64), 64);
	guest_set_compatibility();
	check_linear(cases_32, ARRAY_SIZE(cases_32), 32);
}

static void check_information(const struct string_case *rows, size_t count, u32 bits)
{
	for (size_t i = 0; i < count; i++) {
		const bool out = !(rows[i].qualification & IO_IN);

		CASE("%u-bit code, row %u: bytes %#x %#x", bits, i, rows[i].bytes[0], rows[i].bytes[1]);
		run(&rows[i]);
		expect_exit(EXIT_IO);
		expect_bits(vmcs_read(EXIT_INSTRUCTION_INFORMATION), ADDRESS_MASK | (out ? SEGMENT_MASK : 0),
			    rows[i].information);
	}
}

TEST("exit.io.string_info", "an exit of INS or OUTS gives the address size, one of OUTS the segment too",
     NEEDS(PROC_UNCONDITIONAL_IO_EXITING, CAP_BASIC_INS_OUTS_INFORMATION))
{
	check_information(cases_64, ARRAY_SIZE(cases_64), 64);
	guest_set_compatibility();
	check_information(cases_32, ARRAY_SIZE(cases_32), 32);
}

/* Each fault that the operand of a string instruction may raise, with the exit and without. */
static const struct {
	struct string_case row;
	enum { ES_UNUSABLE, DS_UNUSABLE, ES_LIMIT, DS_LIMIT, ALIGNMENT } fault;
	u8 vector;
	const char *text;
} faulting[] = {
	{ { { 0x6c }, 1, IN | IO_SIZE_1, 0, 0 }, ES_UNUSABLE, VECTOR_GP, "INSB, ES unusable" },
	{ { { 0x6f }, 1, OUT | IO_SIZE_4, 0, 0 }, DS_UNUSABLE, VECTOR_GP, "OUTSD, DS unusable" },
	{ { { 0x6d }, 1, IN | IO_SIZE_4, 0, 0 }, ES_LIMIT, VECTOR_GP, "INSD, beyond the limit of ES" },
	{ { { 0x6e }, 1, OUT | IO_SIZE_1, 0, 0 }, DS_LIMIT, VECTOR_GP, "OUTSB, beyond the limit of DS" },
	{ { { 0x6f }, 1, OUT | IO_SIZE_4, 0, 0 }, ALIGNMENT, VECTOR_AC, "OUTSD, misaligned" },
};

static void set_fault(u32 fault)
{
	enum { DATA_BYTES = RIGHTS_DATA16 | RIGHTS_DB };
	const bool es_limit = fault == ES_LIMIT, ds_limit = fault == DS_LIMIT;

	guest_set_compatibility();
	vmcs_write(GUEST_ES_ACCESS_RIGHTS, fault == ES_UNUSABLE ? RIGHTS_NOT_USABLE : es_limit ? DATA_BYTES : RIGHTS_DATA32);
	vmcs_write(GUEST_DS_ACCESS_RIGHTS, fault == DS_UNUSABLE ? RIGHTS_NOT_USABLE : ds_limit ? DATA_BYTES : RIGHTS_DATA32);
	vmcs_write(GUEST_ES_LIMIT, es_limit ? 0xfff : 0xffffffff);
	vmcs_write(GUEST_DS_LIMIT, ds_limit ? 0xfff : 0xffffffff);
	if (fault == ALIGNMENT) {		/* 64-bit code at CPL 3 that may use all ports */
		guest_set_cpl3();
		vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) | CR0_AM);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_AC | RFLAGS_IOPL);
	}
}

TEST("exit.prio.ins_segment", "an exit of INS or OUTS comes before the faults of its operand",
     NEEDS(PROC_UNCONDITIONAL_IO_EXITING))
{
	static u32 operand[2];

	for (size_t i = 0; i < ARRAY_SIZE(faulting); i++)
		for (u32 exiting = 0; exiting < 2; exiting++) {
			const struct string_case *row = &faulting[i].row;

			CASE("%s, to exit: %u", faulting[i].text, exiting);
			set_fault(faulting[i].fault);
			vmcs_change_controls((const u32[]){ PROC_UNCONDITIONAL_IO_EXITING, 0 }, exiting);
			memcpy(code, row->bytes, row->length);
			memcpy(code + row->length, end, sizeof(end));
			guest.regs.rdx = 0x80;
			guest.regs.rsi = guest.regs.rdi = (u64)operand + 1;
			guest_run_at(code);
			if (exiting)
				expect_exit(EXIT_IO, .qualification = row->qualification | IO_PORT(0x80),
					    .rip = (u64)code);
			else
				expect_guest_fault(faulting[i].vector, 0);
		}
}
