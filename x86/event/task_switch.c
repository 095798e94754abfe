/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Task switches always exit (SDM Vol. 3C, "Treatment of Task Switches"). Only a guest outside of IA-32e mode can
 * try one: a 32-bit guest with a GDT, an IDT and paging structures of its own.
 */
#include "event.h"
#include "x86/tables.h"

#include "libc/string.h"

enum { CODE = 0x08, DATA = 0x10, OLD_TSS = 0x18, TSS = 0x20, GATE = 0x28, TOO_SMALL = 0x30, ABSENT = 0x38 };
enum { TASK_CALL = 0, TASK_IRET = 1, TASK_JMP = 2, TASK_IDT = 3 };
enum { TYPE_TSS = 0x89, TYPE_BUSY_TSS = 0x8b, TYPE_TASK_GATE = 0x85, GDT_SIZE = 0x10000 };
enum { VECTOR_GATE = 0x20 };

#define QUALIFICATION(source, selector) ((u64)(source) << 30 | (selector))

static u64 *guest_gdt, *guest_idt;
static u32 old_tss[26], new_tss[26];

/* A descriptor of the system type at a base below 4 GiB. */
static u64 system_descriptor(u64 base, u64 limit, u64 type)
{
	return limit | (base & 0xffffff) << 16 | type << 40 | (base >> 24) << 56;
}

static u64 gate_descriptor(u64 selector, u64 type)
{
	return selector << 16 | type << 40;
}

/* The guest comes from OLD_TSS, whose link leads to TSS for IRET. */
static void prepare_tasks(void)
{
	u32 *directory = page_alloc();

	guest_gdt = page_alloc_many(GDT_SIZE / PAGE_SIZE);
	guest_idt = page_alloc();
	for (u64 i = 0; i < 1024; i++)
		directory[i] = i << 22 | PAGE_PRESENT | PAGE_WRITE | PAGE_LARGE;
	guest_gdt[CODE / 8] = 0x00cf9b000000ffff;
	guest_gdt[DATA / 8] = 0x00cf93000000ffff;
	guest_gdt[OLD_TSS / 8] = system_descriptor((u64)old_tss, 0x67, TYPE_BUSY_TSS);
	guest_gdt[TSS / 8] = system_descriptor((u64)new_tss, 0x67, TYPE_TSS);
	guest_gdt[GATE / 8] = gate_descriptor(TSS, TYPE_TASK_GATE);
	guest_gdt[TOO_SMALL / 8] = system_descriptor((u64)new_tss, 0x66, TYPE_TSS);
	guest_gdt[ABSENT / 8] = system_descriptor((u64)new_tss, 0x67, TYPE_TSS & 0x7f);

	vmcs_clear_controls(ENTRYCTL_IA32E_MODE_GUEST);
	vmcs_write(GUEST_CR3, (u64)directory);
	vmcs_write(GUEST_CR4, (read_cr4() & ~(u64)CR4_PAE) | CR4_PSE);
	vmcs_write(GUEST_GDTR_BASE, (u64)guest_gdt);
	vmcs_write(GUEST_GDTR_LIMIT, GDT_SIZE - 1);
	vmcs_write(GUEST_IDTR_BASE, (u64)guest_idt);
	vmcs_write(GUEST_IDTR_LIMIT, 256 * 8 - 1);
	vmcs_write(GUEST_CS_SELECTOR, CODE);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE32);
	vmcs_write(GUEST_TR_SELECTOR, OLD_TSS);
	vmcs_write(GUEST_TR_BASE, (u64)old_tss);
	vmcs_write(GUEST_TR_LIMIT, 0x67);
	/* No exception has a handler but by the task gates. */
	vmcs_write(EXCEPTION_BITMAP, ~0u);
}

#define GUEST_ASM32(name, text) GUEST_ASM(name, ".code32; " text "; vmcall; .code64")

static struct {
	u32 offset;
	u16 selector;
} __attribute__((packed)) far_pointer;

GUEST_ASM32(task_call, "lcall *(%ecx)");
GUEST_ASM32(task_jmp, "ljmp *(%ecx)");
GUEST_ASM32(task_call_direct, "lcall $0x20, $0x12345678");
GUEST_ASM32(task_jmp_direct, "ljmp $0x20, $0x12345678");
GUEST_ASM32(task_call_gate, "lcall $0x28, $0");
GUEST_ASM32(task_jmp_gate, "ljmp $0x28, $0");
GUEST_ASM32(task_iret, "iret");
GUEST_ASM32(task_int, "int $0x20");
GUEST_ASM32(task_int3, "int3");
GUEST_ASM32(task_ud2, "ud2");
GUEST_ASM32(task_gp, "mov %edx, %ds");
GUEST_ASM32(task_waits, "1: jmp 1b");

/* What a task switch would change must be as it was. */
static void expect_no_switch(u64 rflags)
{
	expect_eq(guest_gdt[OLD_TSS / 8] >> 40 & 0xff, TYPE_BUSY_TSS);
	expect_eq(guest_gdt[TSS / 8] >> 40 & 0xff, TYPE_TSS);
	expect_eq(vmcs_read(GUEST_TR_SELECTOR), OLD_TSS);
	expect_eq(vmcs_read(GUEST_CS_SELECTOR), CODE);
	expect_bits(vmcs_read(GUEST_RFLAGS), RFLAGS_NT, rflags & RFLAGS_NT);
	expect_bits(vmcs_read(GUEST_CR0), CR0_TS, 0);
	for (u32 i = 0; i < ARRAY_SIZE(new_tss); i++)
		expect_eq(new_tss[i], 0);
	for (u32 i = 1; i < ARRAY_SIZE(old_tss); i++)
		expect_eq(old_tss[i], 0);
}

static void enter_task(void (*function)(void), u64 rflags, u16 selector)
{
	far_pointer.selector = selector;
	far_pointer.offset = 0x9abcdef0;
	guest.regs.rcx = (u64)&far_pointer;
	guest.regs.rdx = 0xfff8;
	vmcs_write(GUEST_RFLAGS, rflags);
	vmcs_write(GUEST_RSP, (u64)(guest_stack + GUEST_STACK_SIZE));
	vmcs_write(GUEST_RIP, (u64)function);
	guest_enter();
}

static void expect_task_switch(void (*function)(void), u32 source, u16 selector, u32 length)
{
	if (!expect_exit(EXIT_TASK_SWITCH, .qualification = QUALIFICATION(source, selector), .rip = (u64)function))
		return;
	if (length)
		expect_eq(vmcs_read(EXIT_INSTRUCTION_LENGTH), length);
	expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), INTERRUPTION_VALID, 0);
}

TEST("exec.task.call_jmp", "CALL and JMP to a TSS or a task gate exit with reason 9, the selector and the source")
{
	static const struct {
		const char *name;
		void (*function)(void);
		u32 source, length;
	} cases[] = {
		{ "CALL TSS", task_call_direct, TASK_CALL, 7 },
		{ "JMP TSS", task_jmp_direct, TASK_JMP, 7 },
		{ "CALL task gate", task_call_gate, TASK_CALL, 7 },
		{ "JMP task gate", task_jmp_gate, TASK_JMP, 7 },
	};

	prepare_tasks();
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		CASE("%s", cases[i].name);
		enter_task(cases[i].function, RFLAGS_FIXED, 0);
		expect_task_switch(cases[i].function, cases[i].source, TSS, cases[i].length);
		expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);
		expect_no_switch(0);
	}

	/* Each bit of a selector. */
	for (u32 bit = 6; bit < 16; bit++) {
		guest_gdt[BIT(bit) / 8] = guest_gdt[TSS / 8];
		CASE("CALL %#x", BIT(bit));
		enter_task(task_call, RFLAGS_FIXED, BIT(bit));
		expect_task_switch(task_call, TASK_CALL, BIT(bit), 2);
		CASE("JMP %#x", BIT(bit));
		enter_task(task_jmp, RFLAGS_FIXED, BIT(bit));
		expect_task_switch(task_jmp, TASK_JMP, BIT(bit), 2);
	}
}

TEST("exec.task.iret", "IRET with NT = 1 exits with reason 9, source 1, the selector of the old task's link")
{
	prepare_tasks();
	for (u32 bit = 6; bit < 16; bit++) {
		CASE("link %#x", BIT(bit));
		guest_gdt[BIT(bit) / 8] = system_descriptor((u64)new_tss, 0x67, TYPE_BUSY_TSS);
		old_tss[0] = BIT(bit);
		enter_task(task_iret, RFLAGS_FIXED | RFLAGS_NT, 0);
		expect_task_switch(task_iret, TASK_IRET, BIT(bit), 1);
		expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);
		expect_eq(guest_gdt[BIT(bit) / 8] >> 40 & 0xff, TYPE_BUSY_TSS);
		expect_no_switch(RFLAGS_NT);
	}
	old_tss[0] = 0;
}

/* The event at a vector, through a task gate. */
static void check_idt_gate(void (*function)(void), u32 vector, u32 type, u32 length)
{
	memset(guest_idt, 0, 256 * 8);
	guest_idt[vector] = gate_descriptor(TSS, TYPE_TASK_GATE);
	vmcs_write(EXCEPTION_BITMAP, ~(u32)BIT(vector & 31));
	enter_task(function, RFLAGS_FIXED | RFLAGS_IF, 0);
	if (!expect_exit(EXIT_TASK_SWITCH, .qualification = QUALIFICATION(TASK_IDT, TSS)))
		return;
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), ~BIT(12), INTERRUPTION_VALID | type | vector);
	expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), INTERRUPTION_VALID, 0);
	if (type & INTERRUPTION_ERROR_CODE)
		expect_eq(vmcs_read(IDT_VECTORING_ERROR_CODE), 0xfff8);
	if (length)
		expect_eq(vmcs_read(EXIT_INSTRUCTION_LENGTH), length);
	if (function != task_waits)
		expect_eq(vmcs_read(GUEST_RIP), (u64)function);
	expect_no_switch(0);
}

TEST("exec.task.gate_idt", "An event through a task gate of the IDT exits with reason 9, source 3, and its vectoring")
{
	prepare_tasks();
	CASE("INT 20H");
	check_idt_gate(task_int, VECTOR_GATE, INTERRUPTION_TYPE_SOFTWARE_INTERRUPT, 2);
	CASE("INT3");
	check_idt_gate(task_int3, VECTOR_BP, INTERRUPTION_TYPE_SOFTWARE_EXCEPTION, 1);
	CASE("#UD");
	check_idt_gate(task_ud2, VECTOR_UD, INTERRUPTION_TYPE_HARDWARE, 0);
	CASE("#GP(FFF8H)");
	check_idt_gate(task_gp, VECTOR_GP, INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE, 0);

	CASE("external interrupt");
	interrupt_handle(TEST_VECTOR, interrupt_counter);
	vmcs_clear_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	guest.apic_timer_watchdog = false;
	require_pend(TEST_VECTOR);
	check_idt_gate(task_waits, TEST_VECTOR, INTERRUPTION_TYPE_EXTERNAL, 0);
	if (apic_in_service(TEST_VECTOR))
		apic_eoi();
}

/* A fault of the descriptors' checks, and no task switch. */
static void check_fault_first(void (*function)(void), u64 rflags, u16 selector, u8 vector, u32 error_code)
{
	enter_task(function, rflags, selector);
	expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)function, .interruption_error = error_code,
		    .interruption = INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE | vector);
	expect_no_switch(rflags);
}

TEST("exec.task.faults_first", "#GP, #TS and #NP of the TSS descriptor come before the exit of the task switch")
{
	prepare_tasks();
	CASE("CALL to a TSS that is busy");
	check_fault_first(task_call, RFLAGS_FIXED, OLD_TSS, VECTOR_GP, OLD_TSS);
	CASE("JMP to a TSS that is busy");
	check_fault_first(task_jmp, RFLAGS_FIXED, OLD_TSS, VECTOR_GP, OLD_TSS);
	CASE("CALL to a TSS that is not present");
	check_fault_first(task_call, RFLAGS_FIXED, ABSENT, VECTOR_NP, ABSENT);
	CASE("JMP to a TSS that is not present");
	check_fault_first(task_jmp, RFLAGS_FIXED, ABSENT, VECTOR_NP, ABSENT);
	CASE("CALL to a TSS with a limit of 66H");
	check_fault_first(task_call, RFLAGS_FIXED, TOO_SMALL, VECTOR_TS, TOO_SMALL);
	CASE("CALL beyond the GDT");
	vmcs_write(GUEST_GDTR_LIMIT, 0xfff);
	check_fault_first(task_call, RFLAGS_FIXED, 0x1000, VECTOR_GP, 0x1000);
	CASE("IRET to a TSS that is not busy");
	old_tss[0] = TSS;
	check_fault_first(task_iret, RFLAGS_FIXED | RFLAGS_NT, 0, VECTOR_TS, TSS);
	old_tss[0] = 0;
}
