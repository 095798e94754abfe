/* SPDX-License-Identifier: BSD-2-Clause */
/* Software interrupts that are injected into a virtual-8086 guest (SDM Vol. 3C, "Event Injection"; Vol. 3B, VME). */
#include "inject.h"

#include "libc/string.h"

enum { VECTOR = 0x55, SEGMENT = 0x1000, HANDLER = 0x100, INTERRUPTED = 0x40, STACK = 0x800, LENGTH = 2 };
enum { GDT_CODE = 0x08, GDT_DATA = 0x10, GDT_TSS = 0x18, TSS_SS0 = 8, TSS_ESP0 = 4, TSS_MAP_BASE = 0x66 };
enum { REDIRECTION_BYTES = 32, TSS_BYTES = 0x68, VIF = BIT(19) };

static u8 *segment_page, *tss32, *stack32;
static u32 *ivt;

/* Either handler says by CPUID's exit that it was reached. */
asm(".pushsection .text\n"
    "handler32: cpuid\n"
    "	.popsection");
extern const u8 handler32[];

/* 32-bit paging: all as in the host, but linear 0 and the segment are RAM of the virtual-8086 code's own. */
static void prepare_paging(void)
{
	u32 *directory = (u32 *)vmcs_read(GUEST_CR3), *low = page_alloc();

	for (u32 i = 0; i < 1024; i++) {
		directory[i] = i << 22 | PAGE_LARGE | PAGE_WRITE | PAGE_PRESENT;
		low[i] = i << 12 | PAGE_WRITE | PAGE_PRESENT;
	}
	directory[0] = physical_address(low) | PAGE_USER | PAGE_WRITE | PAGE_PRESENT;
	ivt = page_alloc();
	segment_page = page_alloc();
	low[0] = physical_address(ivt) | PAGE_USER | PAGE_WRITE | PAGE_PRESENT;
	low[SEGMENT >> 8] = physical_address(segment_page) | PAGE_USER | PAGE_WRITE | PAGE_PRESENT;
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_PSE);
}

/* A TSS with a redirection bitmap in front of its I/O map, a GDT, and an IDT with one gate of DPL 3. */
static void prepare_tables(void)
{
	u64 *gdt32 = page_alloc(), *idt32 = page_alloc();

	tss32 = page_alloc();
	stack32 = (u8 *)page_alloc() + PAGE_SIZE;
	*(u32 *)(tss32 + TSS_ESP0) = physical_address(stack32);
	*(u16 *)(tss32 + TSS_SS0) = GDT_DATA;
	*(u16 *)(tss32 + TSS_MAP_BASE) = TSS_BYTES + REDIRECTION_BYTES;
	gdt32[GDT_CODE / 8] = 0x00cf9b000000ffff;
	gdt32[GDT_DATA / 8] = 0x00cf93000000ffff;
	idt32[VECTOR] = ((u64)handler32 & 0xffff) | GDT_CODE << 16 | 0xeeull << 40 | ((u64)handler32 >> 16 & 0xffff) << 48;
	vmcs_write(GUEST_GDTR_BASE, physical_address(gdt32));
	vmcs_write(GUEST_IDTR_BASE, physical_address(idt32));
	vmcs_write(GUEST_TR_SELECTOR, GDT_TSS);
	vmcs_write(GUEST_TR_BASE, physical_address(tss32));
	vmcs_write(GUEST_TR_LIMIT, 0xfff);
}

static void inject_into_v86(u64 cr4, u64 rflags, bool redirection_bit)
{
	static const u8 cpuid_instruction[] = { 0x0f, 0xa2 };

	vmcs_reset();
	guest_baseline();
	entry_guest_v86();
	prepare_paging();
	prepare_tables();
	memcpy(segment_page + HANDLER, cpuid_instruction, sizeof(cpuid_instruction));
	ivt[VECTOR] = SEGMENT << 16 | HANDLER;
	if (redirection_bit)
		tss32[TSS_BYTES + VECTOR / 8] |= 1 << VECTOR % 8;
	for (enum segment_register r = SEG_ES; r <= SEG_GS; r++) {
		vmcs_write(segment_selector(r), SEGMENT);
		vmcs_write(segment_base(r), SEGMENT << 4);
	}
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | cr4);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_VM | rflags);
	vmcs_write(GUEST_RIP, INTERRUPTED);
	vmcs_write(GUEST_RSP, STACK);
	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INJECT(SOFTWARE_INTERRUPT, VECTOR));
	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, LENGTH);
	guest_enter();
}

/* Out of virtual-8086 mode, with the nine words of such an interrupt on the stack of CPL 0. */
static void expect_through_idt(u64 rflags)
{
	const u32 *frame = (const u32 *)(stack32 - 9 * 4);

	expect_exit(EXIT_CPUID, .rip = (u64)handler32);
	expect_bits(vmcs_read(GUEST_RFLAGS), RFLAGS_VM, 0);
	expect_eq(vmcs_read(GUEST_CS_SELECTOR), GDT_CODE);
	expect_eq(vmcs_read(GUEST_RSP), (u64)frame);
	expect_eq(frame[0], INTERRUPTED + LENGTH);
	expect_eq(frame[1] & 0xffff, SEGMENT);
	expect_bits(frame[2], RFLAGS_VM | RFLAGS_IOPL | RFLAGS_IF, RFLAGS_VM | rflags);
	expect_eq(frame[3], STACK);
	expect_eq(frame[4] & 0xffff, SEGMENT);
}

/* Still in virtual-8086 mode, with three words on its stack. */
static void expect_through_ivt(u64 pushed, u64 flag_cleared)
{
	const u16 *stack = (const u16 *)(segment_page + STACK);

	expect_exit(EXIT_CPUID, .rip = HANDLER);
	expect_bits(vmcs_read(GUEST_RFLAGS), RFLAGS_VM | flag_cleared, RFLAGS_VM);
	expect_eq(vmcs_read(GUEST_CS_SELECTOR), SEGMENT);
	expect_eq(vmcs_read(GUEST_RSP), STACK - 6);
	expect_bits(stack[-1], RFLAGS_IOPL | RFLAGS_IF, pushed);
	expect_eq(stack[-2], SEGMENT);
	expect_eq(stack[-3], INTERRUPTED + LENGTH);
}

static void expect_no_redirection(u64 iopl)
{
	const u64 rflags = iopl << 12 | RFLAGS_IF;

	CASE("CR4.VME 0, IOPL %u", iopl);
	inject_into_v86(0, rflags, false);
	expect_through_idt(rflags);
	CASE("CR4.VME 1, IOPL %u, redirection bit 1", iopl);
	inject_into_v86(CR4_VME, rflags, true);
	expect_through_idt(rflags);
}

TEST("inject.swint_v86_iopl", "a software interrupt into virtual-8086 mode goes through the IDT with IOPL < 3 too",
     NEEDS(FEATURE_VME))
{
	for (u64 iopl = 0; iopl < 3; iopl++)
		expect_no_redirection(iopl);
}

TEST("inject.swint_v86", "a software interrupt into virtual-8086 mode goes by the redirection bitmap with CR4.VME",
     NEEDS(FEATURE_VME))
{
	expect_no_redirection(3);
	CASE("CR4.VME 1, IOPL 3, redirection bit 0");
	inject_into_v86(CR4_VME, RFLAGS_IOPL | RFLAGS_IF, false);
	expect_through_ivt(RFLAGS_IOPL | RFLAGS_IF, RFLAGS_IF);
	for (u64 iopl = 0; iopl < 3; iopl++) {
		CASE("CR4.VME 1, IOPL %u, redirection bit 0, VIF 1", iopl);
		inject_into_v86(CR4_VME, iopl << 12 | VIF, false);
		expect_through_ivt(RFLAGS_IOPL | RFLAGS_IF, VIF);
		CASE("CR4.VME 1, IOPL %u, redirection bit 0, VIF 0, IF 1", iopl);
		inject_into_v86(CR4_VME, iopl << 12 | RFLAGS_IF, false);
		expect_through_ivt(RFLAGS_IOPL, VIF);
	}
}
