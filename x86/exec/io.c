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

		WALK_OVER(i, 0, TELLING_PORTS) {
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

/* Clear, or set, the bits of all ports that a form accesses; it must not wrap. */
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

		for (u32 i = 0; i < TELLING_PORTS && !(form->qualification & IO_IN); i++) {
			const u16 port = io_telling_port(i);

			if (port + io_width(form) > PORTS)
				continue;
			CASE("%s, port %#x", form->text, port);
			change_bits(bitmaps, form, port, false);
			io_run(form, port);
			expect_io_reached_operand();
			change_bits(bitmaps, form, port, true);
		}
	}
}

/* An OUTS to the port in R8, which must not exit, and an IN from the port in DX. */
GUEST_ASM(guest_uses_two_ports,
	  "xchg %r8d, %edx\n\t"
	  "outsb\n\t"
	  "xchg %r8d, %edx\n"
	  "in_alone: in %dx, %al\n\t"
	  "mov $0x600d600d, %eax; vmcall");	/* GUEST_DONE */
extern const u8 in_alone[];

static void skip_outs(struct exception_frame *frame)
{
	frame->rip += 1;
}

TEST("exec.iobitmap.every_port",
     "with one bit of the I/O bitmaps set, that port exits, out of all 65,536, and no other",
     NEEDS(PROC_USE_IO_BITMAPS))
{
	u8 *bitmaps = vmcs_use_io_bitmaps();

	interrupt_handle(VECTOR_PF, skip_outs);
	guest.regs.rsi = IO_UNMAPPED;
	WALK_OVER(port, 0, PORTS) {
		/* One that differs in one bit, another one for each port; now and then in all. */
		const u16 other = port ^ (port % 17 == 16 ? 0xffff : 1 << port % 17);

		CASE("IN from port %#x behind OUTS to port %#x", port, other);
		bitmap_set(bitmaps, port);
		guest.regs.rdx = port;
		guest.regs.r8 = other;
		guest_run_at(port % 8 ? in_alone : (const u8 *)guest_uses_two_ports);
		expect_exit(EXIT_IO, .qualification = IO_IN | IO_PORT(port), .rip = (u64)in_alone);
		bitmap_clear(bitmaps, port);
	}
}

TEST("exec.iobitmap.a_b_select", "ports up to 7FFFH use I/O bitmap A, those from 8000H on use B, by their low 15 bits",
     NEEDS(PROC_USE_IO_BITMAPS))
{
	const struct io_form *outs = io_form_outsb;
	u8 *b = page_alloc(), *unused = page_alloc(), *a = page_alloc();

	memset(unused, 0xff, PAGE_SIZE);
	vmcs_set_controls(PROC_USE_IO_BITMAPS);
	vmcs_write(IO_BITMAP_A_ADDRESS, physical_address(a));
	vmcs_write(IO_BITMAP_B_ADDRESS, physical_address(b));
	io_trap_page_faults();
	WALK_OVER(i, 0, TELLING_PORTS) {
		const u16 port = io_telling_port(i), low_bits = port & 0x7fff;

		for (u32 set_b = 0; set_b < 2; set_b++) {
			u8 *bitmap = set_b ? b : a;

			CASE("port %#x, its bit set in bitmap %s", port, set_b ? "B" : "A");
			bitmap_set(bitmap, low_bits);
			io_run(outs, port);
			if (set_b == (port >= 0x8000))
				expect_io_exit(outs, port);
			else
				expect_io_reached_operand();
			bitmap_clear(bitmap, low_bits);
		}
	}
}

TEST("exec.iobitmap.live_update", "a bit that the host changes in memory counts from the next VM entry on",
     NEEDS(PROC_USE_IO_BITMAPS))
{
	const struct io_form *outs = io_form_outsb;
	u8 *bitmaps = vmcs_use_io_bitmaps();

	io_trap_page_faults();
	io_run(outs, 0);
	WALK_OVER(i, 0, TELLING_PORTS) {
		const u16 port = io_telling_port(i);

		CASE("port %#x", port);
		for (u32 again = 0; again < 2; again++) {
			bitmap_set(bitmaps, port);
			io_again(port);
			expect_io_exit(outs, port);
			bitmap_clear(bitmaps, port);
			io_again(port);
			expect_io_reached_operand();
		}
	}
}
