/* SPDX-License-Identifier: BSD-2-Clause */
/* The I/O instructions, each as a guest function, and what their exit must say. */
#pragma once

#include "vmxtest/vmxtest.h"

/* Exit qualification (SDM Vol. 3C, "Exit Qualification for I/O Instructions"). */
enum {
	IO_SIZE_1 = 0, IO_SIZE_2 = 1, IO_SIZE_4 = 3,
	IO_OUT = 0, IO_IN = BIT(3), IO_STRING = BIT(4), IO_REP = BIT(5), IO_IMMEDIATE = BIT(6),
};
#define IO_PORT(port) ((u64)(u16)(port) << 16)

enum { PORTS = 0x10000 };

struct io_form {
	void (*function)(void);	/* the instruction is IO_FORM_OFFSET bytes into it */
	u32 qualification;	/* all but the port */
	u8 length;		/* of the instruction, in bytes */
	const char *text;
};
enum { IO_FORM_OFFSET = 3 };

/*
 * The forms with the port in DX: IN and OUT first, then the string forms, which
 * take RDI from guest.regs.rbx (guest_run needs RDI for itself).
 */
enum { IO_PLAIN_FORMS = 6, IO_STRING_FORMS = 12, IO_FORMS = IO_PLAIN_FORMS + IO_STRING_FORMS };
extern const struct io_form io_forms[IO_FORMS];
extern const struct io_form *const io_form_inb, *const io_form_outb, *const io_form_outsb;

/* How many bytes, and so ports, the form accesses. */
static inline u32 io_width(const struct io_form *form)
{
	return (form->qualification & 7) + 1;
}

/* Run a form at a port, from its instruction on: all but DX is in guest.regs. */
void io_run(const struct io_form *form, u16 port);

/* The same instruction once more at another port, after an exit that left RIP at it. */
void io_again(u16 port);

/* The last entry exited because of this form at this port. */
#define expect_io_exit(form, port)							\
	expect_exit(EXIT_IO, .qualification = (form)->qualification | IO_PORT(port),	\
		    .instruction_length = (form)->length,				\
		    .rip = (u64)(form)->function + IO_FORM_OFFSET)

/*
 * How to see that an I/O instruction does not exit, at ports whose access might
 * change the machine: OUTS reads memory before it writes to the port, so with an
 * unmapped source it ends in a page fault, which exits too (io_trap_page_faults),
 * and nothing reaches the port. An exit due to the instruction comes before the fault.
 */
void io_trap_page_faults(void);
#define IO_UNMAPPED PAGE_WINDOW

/* The last entry got through to the operand of its OUTS. */
#define expect_io_reached_operand()							\
	expect_exit(EXIT_EXCEPTION_OR_NMI, .qualification = IO_UNMAPPED,		\
		    .interruption = INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE |	\
				    INTERRUPTION_ERROR_CODE | VECTOR_PF)

/* Ports that IN and OUT reach without changing anything: POST codes, spare DMA page registers. */
enum { HARMLESS_PORTS = 6 };
extern const u16 io_harmless_ports[HARMLESS_PORTS];

/* Ports of one bit, those that lack one, and the ends. */
enum { TELLING_PORTS = 34 };
u16 io_telling_port(u32 i);
