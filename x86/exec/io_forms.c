/* SPDX-License-Identifier: BSD-2-Clause */
#include "io.h"

#define FORM(name, instruction) GUEST_ASM(name, "mov %rbx, %rdi\n\t" instruction "\n\tret")

FORM(io_in_byte, "in %dx, %al");
FORM(io_in_word, "in %dx, %ax");
FORM(io_in_long, "in %dx, %eax");
FORM(io_out_byte, "out %al, %dx");
FORM(io_out_word, "out %ax, %dx");
FORM(io_out_long, "out %eax, %dx");
FORM(io_ins_byte, "insb");
FORM(io_ins_word, "insw");
FORM(io_ins_long, "insl");
FORM(io_outs_byte, "outsb");
FORM(io_outs_word, "outsw");
FORM(io_outs_long, "outsl");
FORM(io_rep_ins_byte, "rep insb");
FORM(io_rep_ins_word, "rep insw");
FORM(io_rep_ins_long, "rep insl");
FORM(io_rep_outs_byte, "rep outsb");
FORM(io_rep_outs_word, "rep outsw");
FORM(io_rep_outs_long, "rep outsl");

const struct io_form io_forms[IO_FORMS] = {
	{ io_in_byte,	    IO_IN | IO_SIZE_1, 1, "IN AL, DX" },
	{ io_in_word,	    IO_IN | IO_SIZE_2, 2, "IN AX, DX" },
	{ io_in_long,	    IO_IN | IO_SIZE_4, 1, "IN EAX, DX" },
	{ io_out_byte,	    IO_OUT | IO_SIZE_1, 1, "OUT DX, AL" },
	{ io_out_word,	    IO_OUT | IO_SIZE_2, 2, "OUT DX, AX" },
	{ io_out_long,	    IO_OUT | IO_SIZE_4, 1, "OUT DX, EAX" },
	{ io_ins_byte,	    IO_IN | IO_STRING | IO_SIZE_1, 1, "INSB" },
	{ io_ins_word,	    IO_IN | IO_STRING | IO_SIZE_2, 2, "INSW" },
	{ io_ins_long,	    IO_IN | IO_STRING | IO_SIZE_4, 1, "INSD" },
	{ io_outs_byte,	    IO_OUT | IO_STRING | IO_SIZE_1, 1, "OUTSB" },
	{ io_outs_word,	    IO_OUT | IO_STRING | IO_SIZE_2, 2, "OUTSW" },
	{ io_outs_long,	    IO_OUT | IO_STRING | IO_SIZE_4, 1, "OUTSD" },
	{ io_rep_ins_byte,  IO_IN | IO_STRING | IO_REP | IO_SIZE_1, 2, "REP INSB" },
	{ io_rep_ins_word,  IO_IN | IO_STRING | IO_REP | IO_SIZE_2, 3, "REP INSW" },
	{ io_rep_ins_long,  IO_IN | IO_STRING | IO_REP | IO_SIZE_4, 2, "REP INSD" },
	{ io_rep_outs_byte, IO_OUT | IO_STRING | IO_REP | IO_SIZE_1, 2, "REP OUTSB" },
	{ io_rep_outs_word, IO_OUT | IO_STRING | IO_REP | IO_SIZE_2, 3, "REP OUTSW" },
	{ io_rep_outs_long, IO_OUT | IO_STRING | IO_REP | IO_SIZE_4, 2, "REP OUTSD" },
};

const struct io_form *const io_form_inb = &io_forms[0];
const struct io_form *const io_form_outb = &io_forms[3];
const struct io_form *const io_form_outsb = &io_forms[9];

const u16 io_harmless_ports[HARMLESS_PORTS] = { 0x80, 0x84, 0x85, 0x86, 0x88, 0xed };

u16 io_telling_port(u32 i)
{
	return i < 16 ? 1 << i : i < 32 ? ~(1 << (i - 16)) : i == 32 ? 0 : 0xffff;
}

void io_run(const struct io_form *form, u16 port)
{
	guest.regs.rdx = port;
	guest_run(form->function);
}

void io_again(u16 port)
{
	guest.regs.rdx = port;
	guest_resume();
}

void io_trap_page_faults(void)
{
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_PF));
	guest.regs.rsi = guest.regs.rbx = IO_UNMAPPED;
}
