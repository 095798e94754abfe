/* SPDX-License-Identifier: BSD-2-Clause */
/* IN, OUT, INS, OUTS: one element an exit, so that a REP can be interrupted like any other. */
#include "vmxtest/under.h"

#include "libc/string.h"
#include "vmx/bitmaps.h"

/* Exit qualification (SDM Vol. 3C, "Exit Qualification for I/O Instructions"). */
struct io {
	u32 size;		/* bytes */
	bool in, string, rep;
	u16 port;
};

static struct io decode(u64 qualification)
{
	return (struct io){
		.size = (qualification & 7) + 1,
		.in = qualification & BIT(3),
		.string = qualification & BIT(4),
		.rep = qualification & BIT(5),
		.port = qualification >> 16,
	};
}

static u32 input(const struct io *io)
{
	return io->size == 1 ? inb(io->port) : io->size == 2 ? inw(io->port) : inl(io->port);
}

static void output(const struct io *io, u32 value)
{
	if (io->size == 1)
		outb(io->port, value);
	else if (io->size == 2)
		outw(io->port, value);
	else
		outl(io->port, value);
}

static void move_register(const struct io *io)
{
	static const u64 kept[] = { [1] = ~0xffull, [2] = ~0xffffull, [4] = 0 };

	if (io->in)
		guest.regs.rax = (guest.regs.rax & kept[io->size]) | input(io);
	else
		output(io, guest.regs.rax);
}

/* The bits of a register that the address size leaves: RCX, RSI and RDI are used and written so. */
static u64 address_mask(void)
{
	static const u64 masks[] = { 0xffff, 0xffffffff, ~0ull };
	const u32 by_mode = under_in_64bit_mode() ? 2 : vmcs_read(GUEST_CS_ACCESS_RIGHTS) & BIT(14) ? 1 : 0;

	if (vmx_capabilities()->basic & BIT(54))
		return masks[vmcs_read(EXIT_INSTRUCTION_INFORMATION) >> 7 & 3];
	return masks[under_has_prefix(0x67) ? (by_mode == 1 ? 0 : 1) : by_mode];
}

/* A 32-bit write clears bits 63:32, a 16-bit one keeps the rest. */
static void add(u64 *reg, s64 difference, u64 mask)
{
	const u64 sum = (*reg + difference) & mask;

	*reg = mask == 0xffff ? (*reg & ~mask) | sum : sum;
}

/* Move one element; false: its access to memory faults. */
static bool move_element(const struct io *io)
{
	const u64 linear = vmcs_read(GUEST_LINEAR_ADDRESS);
	const bool user = under_cpl() == 3;
	u32 value = 0;

	if (!io->in) {
		if (!under_read(linear, &value, io->size, user))
			return false;
		output(io, value);
		return true;
	}
	/* A port may change by being read: first see that the value can be stored. */
	if (!under_may_write(linear, io->size, user))
		return false;
	value = input(io);
	return under_write(linear, &value, io->size, user);
}

static void move_string(const struct io *io)
{
	const u64 mask = address_mask();
	const s64 step = vmcs_read(GUEST_RFLAGS) & RFLAGS_DF ? -(s64)io->size : io->size;

	if (io->rep && !(guest.regs.rcx & mask)) {
		under_retire();
		return;
	}
	if (!move_element(io))
		return;
	under_note_breakpoints(io->port, io->size, true, true);
	add(io->in ? &guest.regs.rdi : &guest.regs.rsi, step, mask);
	if (io->rep)
		add(&guest.regs.rcx, -1, mask);
	if (io->rep && guest.regs.rcx & mask)
		under_retire_step();
	else
		under_retire();
}

void under_io(void)
{
	const struct io io = decode(guest.outcome.qualification);

	if (io.string) {
		move_string(&io);
		return;
	}
	move_register(&io);
	under_note_breakpoints(io.port, io.size, true, true);
	under_retire();
}

/*
 * All ports exit but those through which the report goes (lib/console), which is slow enough: the serial port's data
 * and line status, and four bytes of the debug port. The other registers of the serial port are as good as any to test.
 */
void under_use_io_controls(void)
{
	static const u16 report_ports[] = { 0x3f8, 0x3fd, 0xe9, 0xea, 0xeb, 0xec };

	if (!has(PROC_USE_IO_BITMAPS)) {
		vmcs_set_controls(PROC_UNCONDITIONAL_IO_EXITING);
		return;
	}

	u8 *bitmaps = vmcs_use_io_bitmaps();

	memset(bitmaps, 0xff, 2 * PAGE_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(report_ports); i++)
		bitmap_clear(bitmaps, report_ports[i]);
}
