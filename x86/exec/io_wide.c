/* SPDX-License-Identifier: BSD-2-Clause */
/* Accesses of 2 and 4 bytes, and the controls that decide on all ports at once. */
#include "io.h"

#include "libc/string.h"

static bool is_wide(const struct io_form *form)
{
	return io_width(form) > 1;
}

/* Safe to let through: OUTS, which ends in a page fault (io_trap_page_faults). */
static bool is_outs(const struct io_form *form)
{
	return (form->qualification & (IO_STRING | IO_IN)) == IO_STRING;
}

/* OUT is the one that might harm if a broken processor let it through. */
static bool is_plain_out(const struct io_form *form)
{
	return !(form->qualification & (IO_STRING | IO_IN));
}

/* Each of the accessed ports alone makes the access exit; the ports on both sides do not. */
static void check_each_byte(u8 *bitmaps, const struct io_form *form, u16 port)
{
	for (u32 i = 0; i < io_width(form); i++) {
		CASE("%s at port %#x, only the bit of port %#x set", form->text, port, port + i);
		bitmap_set(bitmaps, port + i);
		io_run(form, port);
		expect_io_exit(form, port);
		bitmap_clear(bitmaps, port + i);
	}
	if (!is_outs(form))
		return;
	CASE("%s at port %#x, all bits set but those of its ports", form->text, port);
	memset(bitmaps, 0xff, PORTS / 8);
	for (u32 i = 0; i < io_width(form); i++)
		bitmap_clear(bitmaps, port + i);
	io_run(form, port);
	expect_io_reached_operand();
	memset(bitmaps, 0, PORTS / 8);
}

TEST("exec.iobitmap.multibyte", "an access of 2 or 4 bytes exits if the bit of any of its ports is 1, and of no other",
     NEEDS(PROC_USE_IO_BITMAPS))
{
	/* All alignments, within and across bytes of the bitmap, in A and B. */
	static const u16 first[] = { 0x1010, 0x2ff8, 0x77f8, 0x9f08, 0xfff0 };
	u8 *bitmaps = vmcs_use_io_bitmaps();

	u32 turn = 0;

	io_trap_page_faults();
	guest.regs.rcx = 1;
	for (u32 f = 0; f < IO_FORMS; f++)
		for (u32 i = 0; i < ARRAY_SIZE(first) && is_wide(&io_forms[f]); i++)
			for (u32 n = 0; n < (is_outs(&io_forms[f]) ? 12 : 5); n++)
				if (walk_takes_nth(&turn, 4))
					check_each_byte(bitmaps, &io_forms[f], first[i] + n);
}

TEST("exec.iobitmap.cross_7fff_8000", "an access across 7FFFH and 8000H uses the end of bitmap A and the start of B",
     NEEDS(PROC_USE_IO_BITMAPS))
{
	/* B is not behind A, and what is behind A is all ones, or all zeros. */
	u8 *b = page_alloc(), *a = page_alloc(), *behind = page_alloc();

	vmcs_set_controls(PROC_USE_IO_BITMAPS);
	vmcs_write(IO_BITMAP_A_ADDRESS, physical_address(a));
	vmcs_write(IO_BITMAP_B_ADDRESS, physical_address(b));
	io_trap_page_faults();
	guest.regs.rcx = 1;
	for (u32 f = 0; f < IO_FORMS; f++) {
		const struct io_form *form = &io_forms[f];
		const u32 width = io_width(form);

		for (u16 port = 0x8000 - (width - 1); port < 0x8000; port++) {
			for (u32 i = 0; i < width; i++) {
				const u16 bit = port + i;

				CASE("%s at port %#x, only the bit of port %#x set", form->text, port, bit);
				memset(behind, 0, PAGE_SIZE);
				bitmap_set(bit < 0x8000 ? a : b, bit & 0x7fff);
				io_run(form, port);
				expect_io_exit(form, port);
				bitmap_clear(bit < 0x8000 ? a : b, bit & 0x7fff);
			}
			if (!is_outs(form))
				continue;
			CASE("%s at port %#x, all bits set but those of its ports", form->text, port);
			memset(a, 0xff, PAGE_SIZE);
			memset(b, 0xff, PAGE_SIZE);
			memset(behind, 0xff, PAGE_SIZE);
			for (u32 i = 0; i < width; i++)
				bitmap_clear(port + i < 0x8000 ? a : b, (port + i) & 0x7fff);
			io_run(form, port);
			expect_io_reached_operand();
			memset(a, 0, PAGE_SIZE);
			memset(b, 0, PAGE_SIZE);
		}
	}
}

TEST("exec.iobitmap.wrap_ffff", "an access that goes beyond port FFFFH exits, whatever the I/O bitmaps hold",
     NEEDS(PROC_USE_IO_BITMAPS))
{
	u8 *bitmaps = vmcs_use_io_bitmaps();

	io_trap_page_faults();
	guest.regs.rcx = 1;
	for (u32 f = 0; f < IO_FORMS; f++) {
		const struct io_form *form = &io_forms[f];

		for (u32 port = PORTS - 6; port < PORTS; port++)
			for (u32 set = 0; set < 2; set++) {
				CASE("%s at port %#x, all bits %u", form->text, port, set);
				memset(bitmaps, set ? 0xff : 0, PORTS / 8);
				if (!set && port + io_width(form) <= PORTS && !is_outs(form))
					continue;
				io_run(form, port);
				if (set || port + io_width(form) > PORTS)
					expect_io_exit(form, port);
				else
					expect_io_reached_operand();
			}
	}
}

/* Every form at every telling port exits. */
static void check_all_exit(void)
{
	io_trap_page_faults();
	guest.regs.rax = 2;
	guest.regs.rcx = 1;
	for (u32 f = 0; f < IO_FORMS; f++)
		WALK_OVER(i, 0, TELLING_PORTS) {
			const struct io_form *form = &io_forms[f];
			/* OUT, lest it be done by a broken processor, to other ports. */
			const u16 port =
				is_plain_out(form) ? io_harmless_ports[i % HARMLESS_PORTS] : io_telling_port(i);

			CASE("%s, port %#x", form->text, port);
			io_run(form, port);
			expect_io_exit(form, port);
		}
}

/* No form exits: OUTS at every telling port, IN and OUT where they do no harm. */
static void check_none_exits(void)
{
	for (u32 f = 0; f < IO_PLAIN_FORMS; f++)
		for (u32 i = 0; i < HARMLESS_PORTS; i++) {
			CASE("%s, port %#x", io_forms[f].text, io_harmless_ports[i]);
			io_run(&io_forms[f], io_harmless_ports[i]);
			expect_guest_done();
		}
	io_trap_page_faults();
	guest.regs.rcx = 1;
	for (u32 f = 0; f < IO_FORMS; f++)
		for (u32 i = 0; i < TELLING_PORTS && is_outs(&io_forms[f]); i++) {
			const u16 port = io_telling_port(i);

			if (port + io_width(&io_forms[f]) > PORTS)
				continue;
			CASE("%s, port %#x", io_forms[f].text, port);
			io_run(&io_forms[f], port);
			expect_io_reached_operand();
		}
}

TEST("exec.io.uncond_on", "without I/O bitmaps \"unconditional I/O exiting\" makes every I/O instruction exit",
     NEEDS(PROC_UNCONDITIONAL_IO_EXITING))
{
	if (has(PROC_USE_IO_BITMAPS)) {		/* bitmaps that would let everything pass are not used */
		vmcs_use_io_bitmaps();
		vmcs_clear_controls(PROC_USE_IO_BITMAPS);
	}
	vmcs_set_controls(PROC_UNCONDITIONAL_IO_EXITING);
	check_all_exit();
}

TEST("exec.io.uncond_ignored", "with I/O bitmaps \"unconditional I/O exiting\" plays no part",
     NEEDS(PROC_UNCONDITIONAL_IO_EXITING, PROC_USE_IO_BITMAPS))
{
	u8 *bitmaps = vmcs_use_io_bitmaps();

	vmcs_set_controls(PROC_UNCONDITIONAL_IO_EXITING);
	check_none_exits();
	memset(bitmaps, 0xff, PORTS / 8);
	check_all_exit();
}

TEST("exec.io.both_off", "without I/O bitmaps and \"unconditional I/O exiting\" no I/O instruction exits")
{
	if (has(PROC_USE_IO_BITMAPS)) {		/* nor are bitmaps used that would let nothing pass */
		memset(vmcs_use_io_bitmaps(), 0xff, PORTS / 8);
		vmcs_clear_controls(PROC_USE_IO_BITMAPS);
	}
	check_none_exits();
}
