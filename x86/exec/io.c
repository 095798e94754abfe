/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The I/O bitmaps (SDM Vol. 3C, "I/O-Bitmap Addresses"; "Instructions That Cause
 * VM Exits Conditionally": IN, INS, OUT, OUTS).
 */
#include "io.h"

#include "libc/string.h"
#include "x86/interrupt.h"

/*
 * Where OUT might harm if a broken processor let it through. AL holds 2 in these
 * tests: that does not reset (92H, CF9H), nor mask the A20 line (92H), and is no
 * harmful command of the keyboard controller.
 */
static bool out_is_dangerous(u16 port)
{
	static const struct {
		u16 first, last;
	} ports[] = {
		{ 0x0000, 0x000f },	/* DMA */
		{ 0x0020, 0x0021 },	/* interrupt controllers */
		{ 0x00a0, 0x00a1 },
		{ 0x00b2, 0x00b3 },	/* APM: raises an SMI */
		{ 0x00c0, 0x00df },	/* DMA */
		{ 0x00e9, 0x00e9 },	/* Bochs' console */
		{ 0x00f4, 0x00f4 },	/* isa-debug-exit: ends QEMU, whatever the value */
		{ 0x0170, 0x0177 },	/* ATA commands */
		{ 0x01f0, 0x01f7 },
		{ 0x03f8, 0x03ff },	/* COM1: the report goes through it */
		{ 0x0400, 0x0403 },	/* Bochs' BIOS: panic */
		{ 0x0500, 0x0503 },	/* the same of the VGA BIOS */
		{ 0x0604, 0x0605 },	/* ACPI power-off of QEMU */
		{ 0x0cf8, 0x0cff },	/* PCI configuration, reset */
		{ 0x8900, 0x8900 },	/* Bochs' shutdown */
		{ 0xb004, 0xb005 },	/* ACPI power-off, older */
	};

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
		if (port + 3u >= ports[i].first && port <= ports[i].last)
			return true;
	return false;
}

static bool is_plain_out(const struct io_form *form)
{
	return !(form->qualification & (IO_IN | IO_STRING));
}

TEST("exec.iobitmap.set_exits", "a port whose bit in the I/O bitmaps is 1 exits, for IN, OUT, INS and OUTS",
     NEEDS(PROC_USE_IO_BITMAPS))
{
	u8 *bitmaps = vmcs_use_io_bitmaps();

	io_trap_page_faults();
	guest.regs.rax = 2;
	guest.regs.rcx = 1;
	for (u32 f = 0; f < IO_FORMS; f++) {
		const struct io_form *form = &io_forms[f];

		for (u32 i = 0; i < TELLING_PORTS; i++) {
			const u16 port = io_telling_port(i);

			if (is_plain_out(form) && out_is_dangerous(port))
				continue;
			CASE("%s, port %#x", form->text, port);
			bitmap_set(bitmaps, port);
			io_run(form, port);
			expect_io_exit(form, port);
			bitmap_clear(bitmaps, port);
		}
	}
}

/* Clear, or set, the bits of all ports that a form accesses; one that wraps is not ours to ask. */
static void change_bits(u8 *bitmaps, const struct io_form *form, u16 port, bool set)
{
	for (u32 i = 0; i < io_width(form); i++)
		(set ? bitmap_set : bitmap_clear)(bitmaps, port + i);
}

GUEST_ASM(guest_in_to_rbp, "in %dx, %al; mov %rax, %rbp; ret");

/* OUT reaches the port and IN brings its value: the mask register of the interrupt controller, if there is one. */
static void check_that_data_pass(void)
{
	enum { MASK_REGISTER = 0x21 };
	const u8 before = inb(MASK_REGISTER);

	outb(MASK_REGISTER, 0x5a);
	if (inb(MASK_REGISTER) == 0x5a) {
		guest.regs.rax = 0xa7;
		io_run(io_form_outb, MASK_REGISTER);
		expect_guest_done();
		expect_eq(inb(MASK_REGISTER), 0xa7);
		guest.regs.rax = 0;
		guest.regs.rdx = MASK_REGISTER;
		guest_run(guest_in_to_rbp);
		expect_guest_done();
		expect_eq(guest.regs.rbp, 0xa7);
	}
	outb(MASK_REGISTER, before);
}

TEST("exec.iobitmap.clear_passes", "a port whose bit in the I/O bitmaps is 0 is accessed without an exit",
     NEEDS(PROC_USE_IO_BITMAPS))
{
	u8 *bitmaps = vmcs_use_io_bitmaps();

	check_that_data_pass();
	memset(bitmaps, 0xff, PORTS / 8);
	for (u32 f = 0; f < IO_PLAIN_FORMS; f++) {
		const struct io_form *form = &io_forms[f];

		for (u32 i = 0; i < HARMLESS_PORTS; i++) {
			const u16 port = io_harmless_ports[i];

			CASE("%s, port %#x", form->text, port);
			change_bits(bitmaps, form, port, false);
			io_run(form, port);
			expect_guest_done();
			change_bits(bitmaps, form, port, true);
			io_run(form, port);
			expect_io_exit(form, port);
		}
	}
	/* Other ports by OUTS, which never gets to them. */
	io_trap_page_faults();
	guest.regs.rcx = 1;
	for (u32 f = IO_PLAIN_FORMS; f < IO_FORMS; f++) {
		const struct io_form *form = &io_forms[f];

		for (u32 i = 0; i < TELLING_PORTS; i++) {
			const u16 port = io_telling_port(i);

			if (form->qualification & IO_IN || port + io_width(form) > PORTS)
				continue;
			CASE("%s, port %#x", form->text, port);
			change_bits(bitmaps, form, port, false);
			io_run(form, port);
			expect_io_reached_operand();
			change_bits(bitmaps, form, port, true);
		}
	}
}
