/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Port I/O: forms, widths and permission. The ports are those of any PC that do no
 * harm: the scratch register of COM1, the masks of the interrupt controllers, the
 * diagnostic port, and some where nothing is.
 */
#include "guest.h"

#include "libc/string.h"
#include "machine/ports.h"

enum { SCRATCH = 0x3ff, MASK_1 = 0x21, MASK_2 = 0xa1, DIAGNOSTIC = 0x80 };

/* In the midst of ports where nothing is, at a multiple of 8. */
static u16 nothing(void)
{
	const u16 first = ports_free();

	if (!first)
		skip("needs %u I/O ports in a row where nothing is", PORTS_FREE);
	return first + PORTS_FREE / 2;
}

/* COM1 may be missing, or without the register. */
static bool has_scratch(void)
{
	outb(SCRATCH, 0x5a);
	if (inb(SCRATCH) != 0x5a)
		return false;
	outb(SCRATCH, 0xa5);
	return inb(SCRATCH) == 0xa5;
}

static void need_scratch(void)
{
	if (!has_scratch())
		skip("needs a scratch register at port 3FFH");
}

TEST("guest.io.dx", "OUT DX, AL and IN AL, DX carry each value of a byte")
{
	need_scratch();
	for (u32 value = 0; value < 256; value++) {
		u8 read;

		asm volatile("out %%al, %%dx" : : "a"(value), "d"(0xffff0000 | SCRATCH));	/* DX alone counts */
		asm volatile("in %%dx, %%al" : "=a"(read) : "d"(0xffff0000 | SCRATCH));
		expect_eq(read, value);
	}
}

TEST("guest.io.immediate", "OUT and IN with an immediate port reach that port")
{
	const u8 mask_1 = inb(MASK_1), mask_2 = inb(MASK_2);
	u8 read_1, read_2;

	asm volatile("outb %0, $0x21" : : "a"((u8)0x5f));
	asm volatile("outb %0, $0xa1" : : "a"((u8)0xf5));
	asm volatile("inb $0x21, %0" : "=a"(read_1));
	asm volatile("inb $0xa1, %0" : "=a"(read_2));
	outb(MASK_1, mask_1);
	outb(MASK_2, mask_2);
	if (mask_1 == 0xff && mask_2 == 0xff && read_1 == 0xff && read_2 == 0xff)
		skip("needs interrupt controllers at ports 21H and A1H");
	expect_eq(read_1, 0x5f);
	expect_eq(read_2, 0xf5);
}

TEST("guest.io.in_merge", "IN changes AL, AX, or all of RAX with bits 63:32 cleared")
{
	u64 byte = 0x1122334455667788, word = 0x1122334455667788, dword = 0x1122334455667788;
	const u16 free = nothing();

	need_scratch();
	outb(SCRATCH, 0x3c);
	asm volatile("in %%dx, %%al" : "+a"(byte) : "d"(SCRATCH));
	asm volatile("in %%dx, %%ax" : "+a"(word) : "d"(free));
	asm volatile("in %%dx, %%eax" : "+a"(dword) : "d"(free));
	expect_eq(byte, 0x112233445566773c);
	expect_eq(word >> 16, 0x112233445566);
	expect_eq(dword >> 32, 0);
}

TEST("guest.io.flags", "IN and OUT change no flag and no other register")
{
	u64 flags, rcx = 0x1234567890abcdef, rdx = 0xfedcba0987650000 | DIAGNOSTIC;

	asm volatile("stc; std; out %%al, %%dx; in %%dx, %%al; pushfq; cld; pop %0" : "=r"(flags), "+c"(rcx), "+d"(rdx)
		     : "a"(0) : "memory", "cc");
	expect_bits(flags, RFLAGS_CF | RFLAGS_DF, RFLAGS_CF | RFLAGS_DF);
	expect_eq(rcx, 0x1234567890abcdef);
	expect_eq(rdx, 0xfedcba0987650000 | DIAGNOSTIC);
}

/* ---- string forms */

struct string_io {
	u64 rcx, rsi, rdi;
};

#define STRING_IO(name, text)								\
static struct string_io name(u16 port, u64 count, const volatile void *address)		\
{											\
	struct string_io after = { count, (u64)address, (u64)address };			\
											\
	asm volatile(text "; cld" : "+c"(after.rcx), "+S"(after.rsi), "+D"(after.rdi) : "d"(port) : "memory", "cc"); \
	return after;									\
}
STRING_IO(outs_byte, "outsb")
STRING_IO(ins_byte, "insb")
STRING_IO(rep_outsb, "rep outsb")
STRING_IO(rep_outsw, "rep outsw")
STRING_IO(rep_outsd, "rep outsl")
STRING_IO(rep_insb, "rep insb")
STRING_IO(rep_insw, "rep insw")
STRING_IO(rep_insd, "rep insl")
STRING_IO(std_outsb, "std; rep outsb")
STRING_IO(std_insb, "std; rep insb")
STRING_IO(std_insd, "std; rep insl")

TEST("guest.io.outs", "OUTSB writes the byte at RSI and moves RSI alone")
{
	static const u8 bytes[2] = { 0x69, 0x96 };

	need_scratch();
	const struct string_io after = outs_byte(SCRATCH, 7, &bytes[1]);
	expect_eq(inb(SCRATCH), 0x96);
	expect_eq(after.rsi, (u64)&bytes[1] + 1);
	expect_eq(after.rcx, 7);
	expect_eq(after.rdi, (u64)&bytes[1]);
}

TEST("guest.io.ins", "INSB stores a byte at RDI and moves RDI alone")
{
	u8 bytes[3] = { 1, 2, 3 };

	need_scratch();
	outb(SCRATCH, 0xe7);
	const struct string_io after = ins_byte(SCRATCH, 7, &bytes[1]);
	expect_eq(bytes[0], 1);
	expect_eq(bytes[1], 0xe7);
	expect_eq(bytes[2], 3);
	expect_eq(after.rdi, (u64)&bytes[1] + 1);
	expect_eq(after.rcx, 7);
	expect_eq(after.rsi, (u64)&bytes[1]);
}

TEST("guest.io.rep_outs", "REP OUTS counts RCX down to 0, and RSI up by each width")
{
	static u8 bytes[64];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = 0x40 + i;
	need_scratch();
	const u16 free = nothing();
	struct string_io after = rep_outsb(SCRATCH, 9, bytes);
	expect_eq(inb(SCRATCH), 0x48);
	expect_eq(after.rcx, 0);
	expect_eq(after.rsi, (u64)bytes + 9);
	after = rep_outsw(free, 9, bytes);
	expect_eq(after.rcx, 0);
	expect_eq(after.rsi, (u64)bytes + 18);
	after = rep_outsd(free, 9, bytes);
	expect_eq(after.rcx, 0);
	expect_eq(after.rsi, (u64)bytes + 36);
}

TEST("guest.io.rep_ins", "REP INS stores RCX units of its width, and no byte beside them")
{
	static struct string_io (*const forms[])(u16, u64, const volatile void *) = { rep_insb, rep_insw, rep_insd };
	static u8 bytes[64];
	const u16 free = nothing();

	need_scratch();
	for (u64 width = 1, i = 0; i < ARRAY_SIZE(forms); i++, width *= 2) {
		memset(bytes, 0x11, sizeof(bytes));
		outb(SCRATCH, 0x77);
		const struct string_io after = forms[i](i ? free : SCRATCH, 7, bytes + 8);

		CASE("width %u", width);
		expect_eq(after.rcx, 0);
		expect_eq(after.rdi, (u64)bytes + 8 + 7 * width);
		expect_eq(bytes[7], 0x11);
		expect_eq(bytes[8 + 7 * width], 0x11);
		for (size_t at = 8; i == 0 && at < 15; at++)
			expect_eq(bytes[at], 0x77);
	}
}

TEST("guest.io.rep_zero", "REP INS and REP OUTS with RCX=0 do nothing")
{
	u8 byte = 0x33;

	need_scratch();
	outb(SCRATCH, 0x44);
	struct string_io after = rep_outsb(SCRATCH, 0, &byte);
	expect_eq(inb(SCRATCH), 0x44);
	expect_eq(after.rsi, (u64)&byte);
	after = rep_insb(SCRATCH, 0, &byte);
	expect_eq(byte, 0x33);
	expect_eq(after.rdi, (u64)&byte);
	/* Nor is the address looked at. */
	const struct fault fault = TRY(rep_insb(SCRATCH, 0, (void *)PAGE_WINDOW));
	expect_no_fault(fault);
}

TEST("guest.io.direction", "with DF=1, INS and OUTS go down")
{
	u8 bytes[16] = { 0x10, 0x11, 0x12, 0x13, 0x14, 0x15 };

	need_scratch();
	struct string_io after = std_outsb(SCRATCH, 4, &bytes[5]);
	expect_eq(inb(SCRATCH), 0x12);
	expect_eq(after.rsi, (u64)&bytes[1]);
	after = std_insb(SCRATCH, 2, &bytes[5]);
	expect_eq(bytes[3], 0x13);
	expect_eq(bytes[4], 0x12);
	expect_eq(bytes[5], 0x12);
	expect_eq(after.rdi, (u64)&bytes[3]);
	after = std_insd(nothing(), 2, &bytes[12]);
	expect_eq(after.rdi, (u64)&bytes[4]);
}

TEST("guest.io.address_size", "with a 32-bit address size, INS and OUTS use ESI, EDI and ECX")
{
	static u8 bytes[4] = { 0x21, 0x22, 0x23, 0x24 };
	u64 rcx = 0xffffffff00000003, rsi = 0xffffffff00000000 | (u64)bytes;

	need_scratch();
	asm volatile("addr32 rep outsb" : "+c"(rcx), "+S"(rsi) : "d"(SCRATCH) : "memory", "cc");
	expect_eq(inb(SCRATCH), 0x23);
	expect_eq((u32)rcx, 0);
	expect_eq((u32)rsi, (u32)(u64)bytes + 3);
}

TEST("guest.io.segment", "OUTS obeys a segment override")
{
	static const u8 bytes[2] = { 0x71, 0x72 };
	const u64 base = rdmsr(IA32_FS_BASE);

	need_scratch();
	wrmsr(IA32_FS_BASE, 1);
	asm volatile("fs outsb" : : "S"(bytes), "d"(SCRATCH) : "memory", "cc");
	wrmsr(IA32_FS_BASE, base);
	expect_eq(inb(SCRATCH), 0x72);
}

TEST("guest.io.ins_fault", "a REP INS into a page that is not present stops there, with RCX and RDI of that point")
{
	u8 *page = map_window(PAGE_PRESENT | PAGE_WRITE);

	need_scratch();
	outb(SCRATCH, 0x66);
	const struct fault fault = TRY(rep_insb(SCRATCH, 5, (void *)(PAGE_WINDOW + 0xffe)));
	expect_fault(fault, VECTOR_PF, PF_W);
	expect_eq(fault.cr2, PAGE_WINDOW + 0x1000);
	expect_eq(fault.frame.rcx, 3);
	expect_eq(fault.frame.rdi, PAGE_WINDOW + 0x1000);
	expect_eq(page[0xffe], 0x66);
	expect_eq(page[0xfff], 0x66);
}

TEST("guest.io.outs_fault", "an OUTS from a page that is not present writes nothing to the port")
{
	need_scratch();
	outb(SCRATCH, 0x55);
	const struct fault fault = TRY(outs_byte(SCRATCH, 1, (void *)PAGE_WINDOW));
	expect_fault(fault, VECTOR_PF, 0);
	expect_eq(fault.frame.rsi, PAGE_WINDOW);
	expect_eq(inb(SCRATCH), 0x55);
}

/* ---- permission at CPL 3 */

static u16 port;
static u8 buffer[16];
static void user_inb(void) { inb(port); }
static void user_inw(void) { inw(port); }
static void user_inl(void) { inl(port); }
static void user_outb(void) { outb(port, 0); }
static void user_insb(void) { ins_byte(port, 1, buffer); }
static void user_outsb(void) { outs_byte(port, 1, buffer); }

/* A TSS with a bitmap of all ports, and the 0FFH behind it. */
static struct {
	struct tss tss;
	u8 bitmap[8193];
} __attribute__((packed)) io_tss ALIGNED(16);

/* Make it the current one, with a limit, and all ports forbidden. */
static void load_io_tss(u32 limit)
{
	const u64 base = (u64)&io_tss;

	io_tss.tss = this_cpu()->tss;
	io_tss.tss.iomap_base = sizeof(io_tss.tss);
	memset(io_tss.bitmap, 0xff, sizeof(io_tss.bitmap));
	gdt[SELECTOR_SPARE / 8] = (limit & 0xffff) | (base & 0xffffff) << 16 | 0x89ull << 40 |
			(base >> 24 & 0xff) << 56;
	gdt[SELECTOR_SPARE / 8 + 1] = base >> 32;
	asm volatile("ltr %w0" : : "r"(SELECTOR_SPARE) : "memory");
	user_pages_on();
}

static void unload_io_tss(void)
{
	gdt[SELECTOR_SPARE / 8] = gdt[SELECTOR_SPARE / 8 + 1] = 0;
	cpu_load_tables(this_cpu());
}

static void allow(u16 n, bool allowed)
{
	io_tss.bitmap[n / 8] = (io_tss.bitmap[n / 8] & ~(1 << n % 8)) | !allowed << n % 8;
}

#define FULL_LIMIT (sizeof(io_tss) - 1)

TEST("guest.io.iopl", "at CPL 3, IN and OUT succeed if IOPL is 3, and raise #GP below if there is no bitmap")
{
	static void (*const forms[])(void) = { user_inb, user_inw, user_inl, user_outb, user_insb, user_outsb };

	port = nothing();
	user_pages_on();
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		for (u64 iopl = 0; iopl < 4; iopl++) {
			const struct fault fault = user_run_flags(forms[i], iopl << 12);

			CASE("instruction %u, IOPL %u", i, iopl);
			if (iopl == 3)
				expect_no_fault(fault);
			else
				expect_fault(fault, VECTOR_GP, 0);
		}
	}
}

TEST("guest.io.bitmap", "at CPL 3, a port succeeds if its bit of the I/O permission bitmap is 0")
{
	const u16 free = nothing();

	load_io_tss(FULL_LIMIT);
	for (u32 n = 0; n < 8; n++) {
		allow(free + n, true);
		for (u32 at = 0; at < 8; at++) {
			port = free + at;
			const struct fault fault = user_run(user_inb);

			CASE("port %u allowed, port %u read", n, at);
			if (at == n)
				expect_no_fault(fault);
			else
				expect_fault(fault, VECTOR_GP, 0);
		}
		allow(free + n, false);
	}
	unload_io_tss();
}

TEST("guest.io.bitmap_forms", "OUT, INS and OUTS obey the bitmap as IN does")
{
	static void (*const forms[])(void) = { user_outb, user_insb, user_outsb };

	port = nothing() + 3;
	load_io_tss(FULL_LIMIT);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		CASE("instruction %u", i);
		struct fault fault = user_run(forms[i]);
		expect_fault(fault, VECTOR_GP, 0);
		allow(port, true);
		fault = user_run(forms[i]);
		allow(port, false);
		expect_no_fault(fault);
	}
	unload_io_tss();
}

TEST("guest.io.bitmap_all", "each of the 65,536 ports has its bit")
{
	load_io_tss(FULL_LIMIT);
	for (u32 n = 0; n < 0x10000; n += n < 0x400 || n >= 0xfff0 ? 1 : 61) {
		port = n;
		const struct fault fault = user_run(user_inb);

		CASE("port %#x", n);
		expect_fault(fault, VECTOR_GP, 0);
	}
	unload_io_tss();
}

TEST("guest.io.bitmap_width", "a 16-bit or 32-bit access needs the bits of all its ports")
{
	const u16 free = nothing();

	load_io_tss(FULL_LIMIT);
	for (u32 first = 4; first < 8; first++) {	/* 5-7: across a byte of the bitmap */
		for (u32 width = 2; width <= 4; width += 2) {
			void (*const read)(void) = width == 2 ? user_inw : user_inl;

			for (u32 n = 0; n < width; n++)
				allow(free + first + n, true);
			port = free + first;
			CASE("port %u, width %u", first, width);
			struct fault fault = user_run(read);
			expect_no_fault(fault);
			for (u32 n = 0; n < width; n++) {
				allow(free + first + n, false);
				fault = user_run(read);
				CASE("port %u, width %u, forbidden byte %u", first, width, n);
				expect_fault(fault, VECTOR_GP, 0);
				allow(free + first + n, true);
			}
			for (u32 n = 0; n < width; n++)
				allow(free + first + n, false);
		}
	}
	unload_io_tss();
}

TEST("guest.io.bitmap_limit", "a port whose bit is beyond the limit of the TSS raises #GP")
{
	const u16 free = nothing();

	/* The byte of the ports before this one is the last but one within the limit. */
	load_io_tss(sizeof(struct tss) + free / 8);
	memset(io_tss.bitmap, 0, sizeof(io_tss.bitmap));
	port = free - 1;
	struct fault fault = user_run(user_inb);
	expect_no_fault(fault);
	port = free + 8;
	fault = user_run(user_inb);
	expect_fault(fault, VECTOR_GP, 0);
	unload_io_tss();
}

TEST("guest.io.bitmap_base", "the bitmap begins at the TSS's I/O map base; one beyond the limit is no bitmap")
{
	const u16 free = nothing();

	load_io_tss(FULL_LIMIT);
	memset(io_tss.bitmap, 0, sizeof(io_tss.bitmap));
	io_tss.bitmap[0] = 0xff;
	io_tss.tss.iomap_base = sizeof(struct tss) + 0x1000 - free / 8;
	io_tss.bitmap[0x1000] = 1;
	port = free;
	struct fault fault = user_run(user_inb);
	expect_fault(fault, VECTOR_GP, 0);
	port = free + 1;
	fault = user_run(user_inb);
	expect_no_fault(fault);
	io_tss.tss.iomap_base = FULL_LIMIT + 1;
	fault = user_run(user_inb);
	expect_fault(fault, VECTOR_GP, 0);
	unload_io_tss();
}

TEST("guest.io.bitmap_cpl0", "CPL 0 does not look at the bitmap")
{
	const u16 free = nothing();

	load_io_tss(FULL_LIMIT);
	const struct fault fault = TRY(inb(free); outb(free, 0));
	expect_no_fault(fault);
	port = free;
	const struct fault user = user_run(user_inb);
	expect_fault(user, VECTOR_GP, 0);
	unload_io_tss();
}
