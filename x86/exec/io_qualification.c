/* SPDX-License-Identifier: BSD-2-Clause */
/* What an exit due to an I/O instruction reports (SDM Vol. 3C, "Exit Qualification for I/O Instructions"). */
#include "io.h"

/* The forms with the port in the instruction, and prefixes that change nothing: the bytes decide. */
static u8 code[8];

static void run_bytes(const u8 *bytes, u32 length)
{
	for (u32 i = 0; i < length; i++)
		code[i] = bytes[i];
	code[length] = 0xc3;		/* RET */
	guest_run((void (*)(void))code);
}

static const struct {
	u8 bytes[2];
	u8 length;			/* of the instruction; the port is its last byte */
	u32 qualification;
	const char *text;
} immediate_forms[] = {
	{ { 0xe4 }, 2, IO_IN | IO_SIZE_1, "IN AL, imm8" },
	{ { 0x66, 0xe5 }, 3, IO_IN | IO_SIZE_2, "IN AX, imm8" },
	{ { 0xe5 }, 2, IO_IN | IO_SIZE_4, "IN EAX, imm8" },
	{ { 0xe6 }, 2, IO_OUT | IO_SIZE_1, "OUT imm8, AL" },
	{ { 0x66, 0xe7 }, 3, IO_OUT | IO_SIZE_2, "OUT imm8, AX" },
	{ { 0xe7 }, 2, IO_OUT | IO_SIZE_4, "OUT imm8, EAX" },
};

static void run_immediate(u32 form, u8 port)
{
	u8 bytes[3] = { immediate_forms[form].bytes[0], immediate_forms[form].bytes[1] };

	bytes[immediate_forms[form].length - 1] = port;
	guest.regs.rdx = 0xffff8000 | (u8)~port;	/* not the port */
	run_bytes(bytes, immediate_forms[form].length);
}

/* Every form, immediate ones last, exits; then look at some bits of the qualification. */
static void check_qualification(u64 mask)
{
	vmcs_set_controls(PROC_UNCONDITIONAL_IO_EXITING);
	io_trap_page_faults();
	guest.regs.rcx = 3;
	for (u32 f = 0; f < IO_FORMS; f++)
		for (u32 i = 0; i < HARMLESS_PORTS; i++) {
			const u16 port = io_harmless_ports[i];

			CASE("%s, port %#x", io_forms[f].text, port);
			io_run(&io_forms[f], port);
			expect_exit(EXIT_IO);
			expect_bits(guest.outcome.qualification, mask, io_forms[f].qualification | IO_PORT(port));
		}
	for (u32 f = 0; f < ARRAY_SIZE(immediate_forms); f++)
		for (u32 i = 0; i < HARMLESS_PORTS; i++) {
			const u16 port = io_harmless_ports[i];

			CASE("%s, port %#x", immediate_forms[f].text, port);
			run_immediate(f, port);
			expect_exit(EXIT_IO);
			expect_bits(guest.outcome.qualification, mask,
				    immediate_forms[f].qualification | IO_IMMEDIATE | IO_PORT(port));
		}
}

TEST("exit.io.qual_size", "qualification bits 2:0 of an I/O exit are 0, 1 or 3 for an access of 1, 2 or 4 bytes",
     NEEDS(PROC_UNCONDITIONAL_IO_EXITING))
{
	static const u8 rex_w_in[] = { 0x48, 0xed };	/* REX.W makes no access of 8 bytes */
	static const u8 rex_w_in_byte[] = { 0x48, 0xec };

	check_qualification(7);
	guest.regs.rdx = 0x84;
	CASE("IN EAX, DX with REX.W");
	run_bytes(rex_w_in, sizeof(rex_w_in));
	expect_exit(EXIT_IO, .qualification = IO_IN | IO_SIZE_4 | IO_PORT(0x84), .instruction_length = 2);
	CASE("IN AL, DX with REX.W");
	run_bytes(rex_w_in_byte, sizeof(rex_w_in_byte));
	expect_exit(EXIT_IO, .qualification = IO_IN | IO_SIZE_1 | IO_PORT(0x84), .instruction_length = 2);
}

TEST("exit.io.qual_dir", "qualification bit 3 of an I/O exit is 1 for IN and INS, 0 for OUT and OUTS",
     NEEDS(PROC_UNCONDITIONAL_IO_EXITING))
{
	check_qualification(BIT(3));
}

TEST("exit.io.qual_string_rep", "qualification bit 4 of an I/O exit is 1 for INS and OUTS, bit 5 for a REP prefix",
     NEEDS(PROC_UNCONDITIONAL_IO_EXITING))
{
	check_qualification(BIT(4) | BIT(5));
}

TEST("exit.io.qual_imm", "qualification bit 6 of an I/O exit is 1 for a port in the instruction, 0 for one in DX",
     NEEDS(PROC_UNCONDITIONAL_IO_EXITING))
{
	check_qualification(BIT(6));
	for (u32 f = 0; f < ARRAY_SIZE(immediate_forms); f++)
		WALK_OVER(port, 0, 0x100) {
			/* Not where OUT might harm: see io.c. */
			if (!(immediate_forms[f].qualification & IO_IN) && port != 0x80 && port != 0xed)
				continue;
			CASE("%s, port %#x", immediate_forms[f].text, port);
			run_immediate(f, port);
			expect_exit(EXIT_IO,
				    .qualification = immediate_forms[f].qualification | IO_IMMEDIATE | IO_PORT(port),
				    .instruction_length = immediate_forms[f].length, .rip = (u64)code);
		}
}

TEST("exit.io.qual_port", "qualification bits 31:16 of an I/O exit are the port; bits 15:7 and 63:32 are 0",
     NEEDS(PROC_UNCONDITIONAL_IO_EXITING))
{
	check_qualification(~0x7full);
	for (u32 f = 0; f < IO_FORMS; f++)
		WALK_OVER(i, 0, TELLING_PORTS) {
			const struct io_form *form = &io_forms[f];
			const u16 port = io_telling_port(i);

			if (!(form->qualification & (IO_IN | IO_STRING)))
				continue;
			CASE("%s, port %#x, RDX beyond 16 bits", form->text, port);
			guest.regs.rdx = 0xfedcba9876540000 | port;
			guest_run(form->function);
			expect_io_exit(form, port);
		}
}
