/* SPDX-License-Identifier: BSD-2-Clause */
/* Segment registers of a guest in virtual-8086 mode ("Checks on Guest Segment Registers"). */
#include "vmxtest/entry_guest.h"

#include "libc/string.h"

static void prepare(void)
{
	entry_stop_guest_at_once();
	entry_guest_v86();
	entry_guest_keep();
}

TEST("entry.guest.v86.base", "in virtual-8086 mode each base is the selector times 16")
{
	prepare();
	for (enum segment_register r = SEG_ES; r <= SEG_GS; r++) {
		const u64 selector = vmcs_read(segment_selector(r));

		for (u32 bit = 0; bit < 64; bit++) {
			CASE("%s base %#lx, selector %#x", segment_names[r], selector << 4 ^ BIT(bit), selector);
			vmcs_write(segment_base(r), selector << 4 ^ BIT(bit));
			expect_guest_state(false);
		}
		for (u32 bit = 0; bit < 16; bit++) {
			CASE("%s selector with bit %u flipped, base of the old and of the new one", segment_names[r], bit);
			vmcs_write(segment_selector(r), selector ^ BIT(bit));
			vmcs_write(segment_base(r), selector << 4);
			expect_guest_state(false);
			vmcs_write(segment_base(r), (selector ^ BIT(bit)) << 4);
			expect_guest_state(true);
		}
		vmcs_write(segment_selector(r), selector);
		vmcs_write(segment_base(r), selector << 4);
	}
	CASE("as prepared");
	expect_guest_state(true);
}

TEST("entry.guest.v86.limit", "in virtual-8086 mode each limit is FFFFH")
{
	prepare();
	for (enum segment_register r = SEG_ES; r <= SEG_GS; r++) {
		for (u32 bit = 0; bit < 32; bit++)
			entry_try_segment(r, RIGHTS_V86, 0xffff ^ BIT(bit), false);
		entry_try_segment(r, RIGHTS_V86, 0xffffffff, false);
		entry_try_segment(r, RIGHTS_V86, 0, false);
		entry_try_segment(r, RIGHTS_V86, 0xffff, true);
	}
}

/* An unusable segment is no exception. */
TEST("entry.guest.v86.ar", "in virtual-8086 mode all access rights are F3H")
{
	static const u32 others[] = { 0, 0x93, 0x9b, 0xf7, 0xfb, 0xc0f3, 0x10093, 0x10000 };

	prepare();
	for (enum segment_register r = SEG_ES; r <= SEG_GS; r++) {
		for (u32 bit = 0; bit < 32; bit++)
			entry_try_segment(r, RIGHTS_V86 ^ BIT(bit), 0xffff, false);
		for (size_t i = 0; i < ARRAY_SIZE(others); i++)
			entry_try_segment(r, others[i], 0xffff, false);
		entry_try_segment(r, RIGHTS_V86, 0xffff, true);
	}
	if (!has(PROC2_UNRESTRICTED_GUEST))
		return;
	entry_unrestricted_guest();
	for (enum segment_register r = SEG_ES; r <= SEG_GS; r++) {
		for (u32 bit = 0; bit < 32; bit++)
			entry_try_segment(r, RIGHTS_V86 ^ BIT(bit), 0xffff, false);
		entry_try_segment(r, RIGHTS_V86, 0xffff, true);
	}
}

/* Loads a segment with no descriptor behind it, reads through it, and tells what it sees by CPUID's exit. */
asm(".pushsection .text\n"
    ".code16\n"
    "v86_code: mov $0x2345, %ax\n"
    "	mov %ax, %ds\n"
    "	movw 0x10, %bx\n"
    "	mov %cs, %cx\n"
    "	pushf\n"
    "	pop %dx\n"
    "v86_exit: cpuid\n"
    ".code64\n"
    "v86_end:\n"
    "	.popsection");
extern const u8 v86_code[], v86_exit[], v86_end[];

enum { V86_CS = 0x1000, V86_SS = 0x1800, V86_DS = 0x2345 };

/* 32-bit paging: the linear page leads to a new page, which CPL 3 may write. */
static u8 *map32(u32 *directory, u32 linear)
{
	u8 *page = page_alloc();

	if (!directory[linear >> 22])
		directory[linear >> 22] = physical_address(page_alloc()) | PAGE_PRESENT | PAGE_WRITE | PAGE_USER;
	((u32 *)(u64)(directory[linear >> 22] & ~0xfffu))[linear >> 12 & 0x3ff] =
		physical_address(page) | PAGE_PRESENT | PAGE_WRITE | PAGE_USER;
	return page;
}

TEST("entry.guest.v86.enter", "a guest enters and executes in virtual-8086 mode")
{
	const enum segment_register others[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	u32 *directory;

	entry_guest_v86();
	directory = (u32 *)vmcs_read(GUEST_CR3);
	memcpy(map32(directory, V86_CS << 4), v86_code, v86_end - v86_code);
	map32(directory, V86_SS << 4);
	*(u16 *)(map32(directory, (V86_DS << 4) & ~0xfff) + (V86_DS << 4 & 0xfff) + 0x10) = 0xbead;

	vmcs_write(GUEST_CS_SELECTOR, V86_CS);
	vmcs_write(GUEST_CS_BASE, V86_CS << 4);
	vmcs_write(GUEST_SS_SELECTOR, V86_SS);
	vmcs_write(GUEST_SS_BASE, V86_SS << 4);
	vmcs_write(GUEST_RIP, 0);
	vmcs_write(GUEST_RSP, 0x100);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_VM | RFLAGS_IOPL);
	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);
	guest_enter();

	expect_exit(EXIT_CPUID, .rip = v86_exit - v86_code, .instruction_length = 2);
	expect_eq(guest.regs.rbx & 0xffff, 0xbead);
	expect_eq(guest.regs.rcx & 0xffff, V86_CS);
	expect_bits(guest.regs.rdx, 0xffff, RFLAGS_FIXED | RFLAGS_IOPL);
	expect_bits(vmcs_read(GUEST_RFLAGS), RFLAGS_VM | RFLAGS_IOPL | RFLAGS_FIXED, RFLAGS_VM | RFLAGS_IOPL | RFLAGS_FIXED);
	expect_eq(vmcs_read(GUEST_DS_SELECTOR), V86_DS);
	expect_eq(vmcs_read(GUEST_DS_BASE), V86_DS << 4);
	expect_eq(vmcs_read(GUEST_CS_SELECTOR), V86_CS);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		CASE("%s", segment_names[others[i]]);
		expect_eq(vmcs_read(segment_limit(others[i])), 0xffff);
		expect_eq(vmcs_read(segment_rights(others[i])), RIGHTS_V86);
	}
}
