/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Task switches of a 32-bit guest, which always exit: their instruction's length and the event behind them
 * (SDM Vol. 3C, "Basic VM-Exit Information"; "Information About VM Exits That Occur During Event Delivery").
 */
#include "vmx/modes.h"
#include "vmxtest/vmxtest.h"
#include "x86/apic.h"
#include "x86/interrupt.h"
#include "x86/selectors.h"
#include "x86/tables.h"
#include "x86/wait.h"

#include "libc/string.h"

/* Exit qualification: the TSS, and what led to it. */
enum { SOURCE_CALL = 0, SOURCE_IRET = 1, SOURCE_JMP = 2, SOURCE_GATE = 3 };
#define TASK_SWITCH(source) ((u64)(source) << 30 | OTHER_TSS)

/* The guest's GDT: the other task's TSS, and a task gate for it. */
enum { OTHER_TSS = SELECTOR_SPARE, TASK_GATE = SELECTOR_TSS(1) };
#define TASK_GATE_DESCRIPTOR (0x0000850000000000ull | OTHER_TSS << 16)

static u8 other_tss[104] ALIGNED(8), own_tss[104] ALIGNED(8);
static u64 task_gdt[GDT_ENTRIES] ALIGNED(8), task_idt[256] ALIGNED(8);

/* An available 32-bit TSS, or a busy one: what IRET returns to. */
static void set_other_tss(bool busy)
{
	const u64 base = physical_address(other_tss);

	task_gdt[OTHER_TSS / 8] = (sizeof(other_tss) - 1) | (base & 0xffffff) << 16 | (busy ? 0x8bull : 0x89ull) << 40 |
				  (base >> 24) << 56;
}

static void task_begin(void)
{
	guest_set_pae();
	memcpy(task_gdt, gdt, sizeof(task_gdt));
	task_gdt[TASK_GATE / 8] = TASK_GATE_DESCRIPTOR;
	task_gdt[TASK_GATE / 8 + 1] = 0;
	set_other_tss(false);
	for (u32 vector = 0; vector < 256; vector++)
		task_idt[vector] = TASK_GATE_DESCRIPTOR;
	memset(own_tss, 0, sizeof(own_tss));
	own_tss[0] = OTHER_TSS;			/* the link to the previous task */
	vmcs_write(GUEST_GDTR_BASE, physical_address(task_gdt));
	vmcs_write(GUEST_IDTR_BASE, physical_address(task_idt));
	vmcs_write(GUEST_IDTR_LIMIT, sizeof(task_idt) - 1);
	vmcs_write(GUEST_TR_BASE, physical_address(own_tss));
	vmcs_write(GUEST_TR_LIMIT, sizeof(own_tss) - 1);
	vmcs_clear_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	guest.apic_timer_watchdog = false;
}

static u8 code[20];

static void run_code(const u8 *bytes, u32 length, u32 prefixes)
{
	memset(code, 0x2e, sizeof(code));
	memcpy(code + prefixes, bytes, length);
	guest.regs.rbx = OTHER_TSS;
	guest.regs.rcx = 0;
	guest_run_at(code);
}

struct task_switch {
	const char *text;
	u8 bytes[8];
	u8 length;
	u32 source;
};

/* Behind 0 prefixes up to as many as an instruction may have. */
static void check_lengths(const struct task_switch *by)
{
	/* Far pointers in memory behind EAX: to the TSS, and to the gate. */
	static const u8 pointers[] = { 0, 0, 0, 0, OTHER_TSS, 0, 0, 0, 0, 0, 0, 0, TASK_GATE, 0 };
	const bool iret = by->source == SOURCE_IRET;

	for (u32 prefixes = 0; prefixes + by->length <= 15; prefixes++) {
		CASE("%s behind %u prefixes", by->text, prefixes);
		set_other_tss(iret);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_OF | (iret ? RFLAGS_NT : 0));
		guest.regs.rax = physical_address(pointers);
		run_code(by->bytes, by->length, prefixes);
		expect_exit(EXIT_TASK_SWITCH, .qualification = TASK_SWITCH(by->source),
			    .instruction_length = prefixes + by->length, .rip = (u64)code);
	}
}

TEST("info.ilen.task",
     "A task switch by CALL, JMP or IRET, or by a software interrupt, gives the instruction's length")
{
	static const struct task_switch switches[] = {
		{ "CALL to a TSS", { 0x9a, 0, 0, 0, 0, OTHER_TSS, 0 }, 7, SOURCE_CALL },
		{ "CALL to a task gate", { 0x9a, 0, 0, 0, 0, TASK_GATE, 0 }, 7, SOURCE_CALL },
		{ "16-bit CALL to a TSS", { 0x66, 0x9a, 0, 0, OTHER_TSS, 0 }, 6, SOURCE_CALL },
		{ "CALL by a pointer", { 0xff, 0x18 }, 2, SOURCE_CALL },
		{ "CALL by a pointer to the gate", { 0xff, 0x58, 8 }, 3, SOURCE_CALL },
		{ "JMP to a TSS", { 0xea, 0, 0, 0, 0, OTHER_TSS, 0 }, 7, SOURCE_JMP },
		{ "JMP to a task gate", { 0xea, 0, 0, 0, 0, TASK_GATE, 0 }, 7, SOURCE_JMP },
		{ "JMP by a pointer", { 0xff, 0x28 }, 2, SOURCE_JMP },
		{ "JMP by a pointer to the gate", { 0xff, 0x68, 8 }, 3, SOURCE_JMP },
		{ "IRET", { 0xcf }, 1, SOURCE_IRET },
		{ "16-bit IRET", { 0x66, 0xcf }, 2, SOURCE_IRET },
		{ "INT3", { 0xcc }, 1, SOURCE_GATE },
		{ "INTO", { 0xce }, 1, SOURCE_GATE },
		{ "INT 61H", { 0xcd, 0x61 }, 2, SOURCE_GATE },
	};

	task_begin();
	for (size_t i = 0; i < ARRAY_SIZE(switches); i++)
		check_lengths(&switches[i]);
}

struct task_event {
	const char *text;
	u8 bytes[3];
	u8 length;
	u32 type;		/* and bit 11 */
	u8 vector;
	u32 error_code;
};

static void expect_task_event(const struct task_event *event)
{
	const u32 type = event->type & INTERRUPTION_TYPE_MASK;

	if (!expect_exit(EXIT_TASK_SWITCH, .qualification = TASK_SWITCH(SOURCE_GATE), .rip = (u64)code))
		return;
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), ~BIT(12), INTERRUPTION_VALID | event->type | event->vector);
	if (event->type & INTERRUPTION_ERROR_CODE)
		expect_eq(vmcs_read(IDT_VECTORING_ERROR_CODE), event->error_code);
	if (type >= INTERRUPTION_TYPE_SOFTWARE_INTERRUPT)
		expect_eq(vmcs_read(EXIT_INSTRUCTION_LENGTH), event->length);
}

static void check_raised(const struct task_event *event)
{
	CASE("%s", event->text);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_OF);
	guest.regs.rax = 0xfffb;		/* RPL is not part of the error code */
	run_code(event->bytes, event->length, 0);
	expect_task_event(event);
}

static void check_injected(const struct task_event *event)
{
	CASE("injected %s", event->text);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INTERRUPTION_VALID | event->type | event->vector);
	vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, event->error_code);
	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, event->length);
	run_code((const u8[]){ 0x90 }, 1, 0);
	expect_task_event(event);
	nmi_unblock();
}

TEST("info.idtv.task",
     "A task gate in the IDT exits with the event in IDT-vectoring information; CALL and JMP with none")
{
	static const struct task_event events[] = {
		{ "#UD", { 0x0f, 0x0b }, 2, INTERRUPTION_TYPE_HARDWARE, VECTOR_UD, 0 },
		{ "#DE", { 0xf7, 0xf1 }, 2, INTERRUPTION_TYPE_HARDWARE, VECTOR_DE, 0 },
		{ "#GP", { 0x8e, 0xc0 }, 2, INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE, VECTOR_GP, 0xfff8 },
		{ "INT3", { 0xcc }, 1, INTERRUPTION_TYPE_SOFTWARE_EXCEPTION, VECTOR_BP, 0 },
		{ "INTO", { 0xce }, 1, INTERRUPTION_TYPE_SOFTWARE_EXCEPTION, VECTOR_OF, 0 },
		{ "INT 61H", { 0xcd, 0x61 }, 2, INTERRUPTION_TYPE_SOFTWARE_INTERRUPT, 0x61, 0 },
	};
	static const struct task_event injected[] = {
		{ "interrupt", { 0 }, 0, INTERRUPTION_TYPE_EXTERNAL, 0xa5, 0 },
		{ "NMI", { 0 }, 0, INTERRUPTION_TYPE_NMI, VECTOR_NMI, 0 },
		{ "#UD", { 0 }, 0, INTERRUPTION_TYPE_HARDWARE, VECTOR_UD, 0 },
		{ "#NP", { 0 }, 0, INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE, VECTOR_NP, 0x5678 },
		{ "INT n", { 0 }, 9, INTERRUPTION_TYPE_SOFTWARE_INTERRUPT, 0xc3, 0 },
		{ "INT3", { 0 }, 15, INTERRUPTION_TYPE_SOFTWARE_EXCEPTION, VECTOR_BP, 0 },
	};
	static const struct task_event interrupt = {
		"external interrupt", { 0x90 }, 1, INTERRUPTION_TYPE_EXTERNAL, 0x61, 0
	};

	task_begin();
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		check_raised(&events[i]);
	for (size_t i = 0; i < ARRAY_SIZE(injected); i++)
		check_injected(&injected[i]);

	CASE("external interrupt");
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	require_pend(interrupt.vector);
	run_code(interrupt.bytes, interrupt.length, 0);
	expect_task_event(&interrupt);
	apic_eoi();

	/* No event: an instruction. */
	CASE("JMP to a TSS");
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	run_code((const u8[]){ 0xea, 0, 0, 0, 0, OTHER_TSS, 0 }, 7, 0);
	expect_exit(EXIT_TASK_SWITCH, .qualification = TASK_SWITCH(SOURCE_JMP));
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);
}

TEST("info.idtv.task_int1", "INT1 through a task gate exits with vector 1, type 5 and the length of the instruction")
{
	static const struct task_switch by = { "INT1", { 0xf1 }, 1, SOURCE_GATE };
	static const struct task_event raised = { "INT1", { 0xf1 }, 1, INTERRUPTION_TYPE_PRIVILEGED, VECTOR_DB, 0 };
	static const struct task_event injected = { "INT1", { 0 }, 4, INTERRUPTION_TYPE_PRIVILEGED, VECTOR_DB, 0 };

	task_begin();
	check_lengths(&by);
	check_raised(&raised);
	check_injected(&injected);
}
