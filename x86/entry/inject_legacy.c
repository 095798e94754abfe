/* SPDX-License-Identifier: BSD-2-Clause */
/* Injection into guests that are not in IA-32e mode. */
#include "inject.h"
#include "vmx/ept.h"

#include "libc/string.h"

enum { GDT_CODE = 0x08, GDT_DATA = 0x10, GDT_TSS = 0x18, GDT_OTHER_TSS = 0x20, TSS32_LIMIT = 0x67 };

static u64 tss_descriptor(u64 base)
{
	return TSS32_LIMIT | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
}

/* Identity paging with 4-MByte pages, a GDT with two TSSs, and an IDT that holds one gate. */
static void prepare_task_gate(u8 vector)
{
	u64 *gdt32 = page_alloc(), *idt32 = page_alloc();
	u32 *directory;

	entry_guest_32bit();
	directory = (u32 *)vmcs_read(GUEST_CR3);
	for (u32 i = 0; i < 1024; i++)
		directory[i] = i << 22 | PAGE_LARGE | PAGE_WRITE | PAGE_PRESENT;
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_PSE);

	gdt32[GDT_CODE / 8] = 0x00cf9b000000ffff;
	gdt32[GDT_DATA / 8] = 0x00cf93000000ffff;
	gdt32[GDT_TSS / 8] = tss_descriptor(physical_address(page_alloc()));
	gdt32[GDT_OTHER_TSS / 8] = tss_descriptor(physical_address(page_alloc()));
	idt32[vector] = 0x85ull << 40 | GDT_OTHER_TSS << 16;
	vmcs_write(GUEST_GDTR_BASE, physical_address(gdt32));
	vmcs_write(GUEST_IDTR_BASE, physical_address(idt32));
	vmcs_write(GUEST_IDTR_LIMIT, 256 * 8 - 1);
	vmcs_write(GUEST_TR_SELECTOR, GDT_TSS);
	vmcs_write(GUEST_TR_LIMIT, TSS32_LIMIT);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
}

static void expect_task_switch(u32 event)
{
	enum { SOURCE_TASK_GATE = 3u << 30 };

	vmcs_reset();
	guest_baseline();
	entry_stop_guest_at_once();	/* should nothing be injected */
	prepare_task_gate(event & 0xff);
	CASE("interruption information %#x", event);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, event);
	vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, 0x5a);
	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, 2);
	guest_enter();
	expect_exit(EXIT_TASK_SWITCH, .qualification = (u32)SOURCE_TASK_GATE | GDT_OTHER_TSS);
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), ~(u64)INTERRUPTION_NMI_UNBLOCKING, event);
	if (event & INTERRUPTION_ERROR_CODE)
		expect_eq(vmcs_read(IDT_VECTORING_ERROR_CODE), 0x5a);
}

TEST("inject.task_gate", "injection through a task gate exits with reason 9, source 3, and the event")
{
	static const u32 events[] = {
		INJECT(EXTERNAL, 0x21), INJECT(NMI, VECTOR_NMI), INJECT(HARDWARE, VECTOR_UD),
		INJECT(HARDWARE, VECTOR_GP) | INTERRUPTION_ERROR_CODE, INJECT(SOFTWARE_INTERRUPT, 0x80),
		INJECT(SOFTWARE_EXCEPTION, VECTOR_BP),
	};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		expect_task_switch(events[i]);
	nmi_unblock();
}

TEST("inject.task_gate.int1", "so does an injected INT1")
{
	expect_task_switch(INJECT(PRIVILEGED, VECTOR_DB));
}

/* A 32-bit handler that is one VMCALL, through a 32-bit interrupt gate. */
static void prepare_interrupt_gate(u8 vector)
{
	static const u8 vmcall_instruction[] = { 0x0f, 0x01, 0xc1 };
	u8 *handler = page_alloc();
	const u64 offset = physical_address(handler);

	prepare_task_gate(vector);
	memcpy(handler, vmcall_instruction, sizeof(vmcall_instruction));
	((u64 *)vmcs_read(GUEST_IDTR_BASE))[vector] = (offset & 0xffff) | GDT_CODE << 16 | 0x8eull << 40 | (offset >> 16) << 48;
}

TEST("inject.stack_size", "injection into a 32-bit guest pushes by SP or by ESP, as SS.B says")
{
	enum { VECTOR = VECTOR_UD, STACK_AT = 0x800, HIGH = 0x30000 };

	for (u32 big = 0; big < 2; big++) {
		u8 *stack;

		CASE("SS.B = %u", big);
		vmcs_reset();
		guest_baseline();
		prepare_interrupt_gate(VECTOR);
		stack = page_alloc_many(1 + HIGH / PAGE_SIZE);
		vmcs_write(GUEST_SS_SELECTOR, GDT_DATA);
		vmcs_write(GUEST_SS_BASE, physical_address(stack));
		vmcs_write(GUEST_SS_LIMIT, HIGH | (PAGE_SIZE - 1));
		vmcs_write(GUEST_SS_ACCESS_RIGHTS, 0x93 | (big ? RIGHTS_DB : 0));
		vmcs_write(GUEST_RSP, HIGH + STACK_AT);
		vmcs_write(GUEST_RIP, 0x12345);
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INJECT(HARDWARE, VECTOR));
		guest_enter();
		expect_exit(EXIT_VMCALL);
		expect_eq(vmcs_read(GUEST_RSP), HIGH + STACK_AT - 12);

		const u32 *const frame = (const u32 *)(stack + (big ? HIGH : 0) + STACK_AT - 12);

		expect_eq(frame[0], 0x12345);
		expect_eq(frame[1] & 0xffff, SELECTOR_CODE64);
		expect_eq(frame[2], RFLAGS_FIXED | RFLAGS_IF);
	}
}

/* Real-address mode: IVT at 0, code and stack in the segment of 64 KBytes at 10000H, which EPT gives RAM of its own. */
enum { SEGMENT = 0x1000, HANDLER = 0x100, STACK = 0x800, INTERRUPTED = 0x40 };

static u8 *prepare_real_mode(u32 **ivt)
{
	static const u8 vmcall_instruction[] = { 0x0f, 0x01, 0xc1 };
	u8 *segment = page_alloc();

	entry_guest_real();
	*ivt = page_alloc();
	ept_map(0, physical_address(*ivt), EPT_RWX | EPT_WB);
	ept_map(SEGMENT << 4, physical_address(segment), EPT_RWX | EPT_WB);
	memcpy(segment + HANDLER, vmcall_instruction, sizeof(vmcall_instruction));
	vmcs_write(GUEST_IDTR_BASE, 0);
	vmcs_write(GUEST_IDTR_LIMIT, 0x3ff);
	vmcs_write(GUEST_RIP, INTERRUPTED);
	vmcs_write(GUEST_RSP, STACK);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	return segment;
}

TEST("inject.real_mode_ivt", "injection with CR0.PE = 0 goes through the interrupt vector table",
     NEEDS(PROC2_UNRESTRICTED_GUEST))
{
	static const u32 events[] = {
		INJECT(EXTERNAL, 0x21), INJECT(EXTERNAL, 0xff), INJECT(NMI, VECTOR_NMI), INJECT(HARDWARE, VECTOR_UD),
		INJECT(HARDWARE, VECTOR_GP), INJECT(SOFTWARE_INTERRUPT, 0x80), INJECT(SOFTWARE_EXCEPTION, VECTOR_BP),
	};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		const bool software = (events[i] & INTERRUPTION_TYPE_MASK) >= INTERRUPTION_TYPE_SOFTWARE_INTERRUPT;
		const u16 *stack;
		u32 *ivt;

		vmcs_reset();
		guest_baseline();
		stack = (const u16 *)(prepare_real_mode(&ivt) + STACK);
		ivt[events[i] & 0xff] = SEGMENT << 16 | HANDLER;
		CASE("interruption information %#x", events[i]);
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, events[i]);
		vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, 2);
		guest_enter();
		expect_exit(EXIT_VMCALL, .rip = HANDLER);
		expect_eq(vmcs_read(GUEST_RSP), STACK - 6);
		expect_eq(stack[-1], RFLAGS_FIXED | RFLAGS_IF);
		expect_eq(stack[-2], SEGMENT);
		expect_eq(stack[-3], INTERRUPTED + (software ? 2 : 0));
		expect_bits(vmcs_read(GUEST_RFLAGS), RFLAGS_IF | RFLAGS_TF, 0);
	}
	nmi_unblock();
}

/* Not injected, but pending: delivered in the same place, behind the entry and before an instruction. */
TEST("after.pdbg.real_mode", "a pending debug exception is delivered in real-address mode with all that it pushes",
     NEEDS(PROC2_UNRESTRICTED_GUEST))
{
	const u64 dr6 = read_dr6();
	u32 *ivt;
	const u16 *const stack = (const u16 *)(prepare_real_mode(&ivt) + STACK);

	ivt[VECTOR_DB] = SEGMENT << 16 | HANDLER;
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, BIT(12) | BIT(0));
	guest_enter();
	write_dr6(dr6);
	expect_exit(EXIT_VMCALL, .rip = HANDLER);
	expect_eq(vmcs_read(GUEST_RSP), STACK - 6);
	expect_eq(stack[-1], RFLAGS_FIXED | RFLAGS_IF);
	expect_eq(stack[-2], SEGMENT);
	expect_eq(stack[-3], INTERRUPTED);
}
