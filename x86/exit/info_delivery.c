/* SPDX-License-Identifier: BSD-2-Clause */
#include "info_delivery.h"
#include "x86/cpu.h"
#include "x86/selectors.h"
#include "x86/tables.h"
#include "x86/time.h"

#include "libc/string.h"

GUEST_ASM(delivery_handler, "vmcall");

struct delivery_pages delivery;
static u64 apic_page;

/* Code that raises one event at a label, without a stack. */
#define EVENT_CODE(name, text) \
	asm(".pushsection .text; .globl event_" #name "; event_" #name ": " text "; vmcall; .popsection"); \
	extern const u8 event_##name[]

EVENT_CODE(de, "div %ecx");
EVENT_CODE(ud, "ud2");
EVENT_CODE(np, "mov %ecx, %es");
EVENT_CODE(ss, "mov %ecx, %ss");
EVENT_CODE(gp, "mov %edx, %es");
EVENT_CODE(pf, "mov %al, (%rbx)");
EVENT_CODE(bp, "int3");
EVENT_CODE(int1, ".byte 0xf1");
EVENT_CODE(int_n, "int $0x61");
EVENT_CODE(int_n_prefixed, ".byte 0x66, 0x2e, 0xcd, 0x61");
EVENT_CODE(int_3, ".byte 0xcd, 3");
EVENT_CODE(nothing, "nop");
/* An NMI to itself, by an IPI: RBX is the APIC's page, or 0 in x2APIC mode. RSI is for how many ticks to wait for it. */
EVENT_CODE(nmi, "test %rbx, %rbx; jz 1f; mov %edx, 0x310(%rbx); mov %eax, 0x300(%rbx); jmp 2f; 1: wrmsr\n"
		"2: rdtsc; shl $32, %rdx; or %rdx, %rax; mov %rax, %rdi\n"
		"3: rdtsc; shl $32, %rdx; or %rdx, %rax; sub %rdi, %rax; cmp %rsi, %rax; jb 3b");

#define HARD INTERRUPTION_TYPE_HARDWARE
#define HARD_CODE (INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE)
#define SOFT INTERRUPTION_TYPE_SOFTWARE_INTERRUPT
#define SOFT_EXCEPTION INTERRUPTION_TYPE_SOFTWARE_EXCEPTION
#define PRIVILEGED INTERRUPTION_TYPE_PRIVILEGED

#define RAISED(name_, type_, vector_, code_, length_, label, ...) \
	{ .name = name_, .type = type_, .vector = vector_, .error_code = code_, .length = length_,	\
	  .rip = event_##label, ##__VA_ARGS__ }
#define INJECTED(name_, type_, vector_, code_, length_) \
	{ .name = "injected " name_, .type = type_, .vector = vector_, .error_code = code_, .length = length_, \
	  .rip = event_nothing, .injected = true }

const struct event events[] = {
	RAISED("#DE", HARD, VECTOR_DE, 0, 0, de),
	RAISED("#UD", HARD, VECTOR_UD, 0, 0, ud),
	RAISED("#NP", HARD_CODE, VECTOR_NP, SELECTOR_SPARE, 0, np, .needs_gdt = true),
	RAISED("#SS", HARD_CODE, VECTOR_SS, SELECTOR_SPARE, 0, ss, .needs_gdt = true),
	RAISED("#GP", HARD_CODE, VECTOR_GP, 0xfff8, 0, gp),
	RAISED("#PF", HARD_CODE, VECTOR_PF, 2, 0, pf),
	RAISED("INT3", SOFT_EXCEPTION, VECTOR_BP, 0, 1, bp),
	RAISED("INT1", PRIVILEGED, VECTOR_DB, 0, 1, int1),
	RAISED("INT 61H", SOFT, EVENT_VECTOR, 0, 2, int_n),
	RAISED("INT 61H with two prefixes", SOFT, EVENT_VECTOR, 0, 4, int_n_prefixed),
	RAISED("INT 3 of two bytes", SOFT, VECTOR_BP, 0, 2, int_3),
	RAISED("external interrupt", INTERRUPTION_TYPE_EXTERNAL, EVENT_VECTOR, 0, 0, nothing, .sent = true),
	{ .name = "NMI", .type = INTERRUPTION_TYPE_NMI, .vector = VECTOR_NMI, .sent = true },
	INJECTED("external interrupt", INTERRUPTION_TYPE_EXTERNAL, 0xa5, 0, 0),
	INJECTED("NMI", INTERRUPTION_TYPE_NMI, VECTOR_NMI, 0, 0),
	INJECTED("#DE", HARD, VECTOR_DE, 0, 0),
	INJECTED("#DB", HARD, VECTOR_DB, 0, 0),
	INJECTED("#BR", HARD, VECTOR_BR, 0, 0),
	INJECTED("#NM", HARD, VECTOR_NM, 0, 0),
	INJECTED("#MF", HARD, VECTOR_MF, 0, 0),
	INJECTED("#XM", HARD, VECTOR_XM, 0, 0),
	INJECTED("#DF", HARD_CODE, VECTOR_DF, 0, 0),
	INJECTED("#TS", HARD_CODE, VECTOR_TS, EVENT_ERROR_CODE, 0),
	INJECTED("#NP", HARD_CODE, VECTOR_NP, EVENT_ERROR_CODE, 0),
	INJECTED("#SS", HARD_CODE, VECTOR_SS, EVENT_ERROR_CODE, 0),
	INJECTED("#GP", HARD_CODE, VECTOR_GP, EVENT_ERROR_CODE, 0),
	INJECTED("#PF", HARD_CODE, VECTOR_PF, EVENT_ERROR_CODE, 0),
	INJECTED("#AC", HARD_CODE, VECTOR_AC, 0, 0),
	INJECTED("INT n", SOFT, 0xc3, 0, 5),
	INJECTED("INT1", PRIVILEGED, VECTOR_DB, 0, 3),
	INJECTED("INT3", SOFT_EXCEPTION, VECTOR_BP, 0, 7),
	INJECTED("INTO", SOFT_EXCEPTION, VECTOR_OF, 0, 15),
};

const size_t event_count = ARRAY_SIZE(events);

const char *const strike_names[STRIKES] = {
	"nothing", "EPT violation of the IDT", "EPT misconfiguration of the IDT", "EPT violation of the stack",
	"EPT violation of the interrupt stack", "EPT violation of the TSS", "EPT violation of the GDT",
	"page fault of the IDT", "page fault of the stack", "gate not present", "IDT limit",
	"IDT in the APIC-access page", "stack in the APIC-access page",
};

static bool by_ept(enum strike_kind strike)
{
	return strike >= STRIKE_IDT && strike <= STRIKE_GDT;
}

static bool by_apic(enum strike_kind strike)
{
	return strike == STRIKE_IDT_APIC || strike == STRIKE_STACK_APIC;
}

/* The exception that strikes, where it is one. */
static u32 strike_vector(enum strike_kind strike)
{
	return strike == STRIKE_GATE_NOT_PRESENT ? VECTOR_NP : strike == STRIKE_IDT_LIMIT ? VECTOR_GP : VECTOR_PF;
}

bool strike_applies(enum strike_kind strike, const struct event *event)
{
	const bool by_exception = !by_ept(strike) && !by_apic(strike) && strike != STRIKE_NONE;

	if (by_ept(strike) && !has(PROC2_ENABLE_EPT))
		return false;
	if (by_apic(strike) && !has(PROC2_VIRTUALIZE_APIC_ACCESSES))
		return false;
	if (strike == STRIKE_GDT && event->needs_gdt)
		return false;
	/* The real event would exit itself, by the bit of the strike; an injected one never does. */
	if (by_exception && !event->injected && event->vector == strike_vector(strike) && event->type & HARD_CODE)
		return false;
	/* An IDT that ends before vector 0 is no limit. */
	return strike != STRIKE_IDT_LIMIT || event->vector;
}

void delivery_begin(void)
{
	const u64 *const gdt_limit = &gdt[GDT_ENTRIES];
	struct tss *tss;

	delivery = (struct delivery_pages){
		.idt = physical_address(page_alloc()), .gdt = physical_address(page_alloc()),
		.tss = physical_address(page_alloc()), .stack = physical_address(page_alloc()),
		.interrupt_stack = physical_address(page_alloc()),
	};
	memcpy((void *)delivery.gdt, gdt, (const u8 *)gdt_limit - (const u8 *)gdt);
	memcpy((void *)delivery.tss, &this_cpu()->tss, sizeof(struct tss));
	((u64 *)delivery.gdt)[SELECTOR_SPARE / 8] = 0x00cf13000000ffff;		/* a data segment, not present */
	tss = (struct tss *)delivery.tss;
	tss->ist[6] = delivery.interrupt_stack + PAGE_SIZE;
	/* Where an event arrives that nothing struck: an exit, too. */
	for (u32 vector = 0; vector < 256; vector++)
		((struct gate *)delivery.idt)[vector] = gate_to(delivery_handler, 0, 0);
	vmcs_write(GUEST_GDTR_BASE, delivery.gdt);
	vmcs_write(GUEST_TR_BASE, delivery.tss);
	/* Interrupts and NMIs go to the guest. */
	vmcs_clear_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	guest.apic_timer_watchdog = false;
	if (has(PROC_USE_MSR_BITMAPS))
		vmcs_use_msr_bitmap();
	if (has(PROC2_ENABLE_EPT)) {
		vmcs_use_ept();
		for (const u64 *page = (u64 *)&delivery; page < (u64 *)(&delivery + 1); page++)
			*ept_entry(*page, 1) |= EPT_RWX;		/* a leaf of its own for each */
	}
	if (has(PROC2_VIRTUALIZE_APIC_ACCESSES)) {
		apic_page = physical_address(vmcs_use_apic_access_page());
		page_map(PAGE_WINDOW, apic_page, PAGE_PRESENT | PAGE_WRITE);
	}
}

static void set_ept_permissions(u64 page, u64 permissions)
{
	u64 *const entry = ept_entry(page, 1);

	*entry = (*entry & ~(u64)EPT_RWX) | permissions;
	ept_flush();
}

static u64 struck_page(enum strike_kind strike)
{
	return strike == STRIKE_STACK ? delivery.stack : strike == STRIKE_INTERRUPT_STACK ? delivery.interrupt_stack :
	       strike == STRIKE_TSS ? delivery.tss : strike == STRIKE_GDT ? delivery.gdt : delivery.idt;
}

static u64 permissions_left(enum strike_kind strike)
{
	return strike == STRIKE_STACK || strike == STRIKE_INTERRUPT_STACK ? EPT_READ | EPT_EXECUTE :
	       strike == STRIKE_IDT_MISCONFIGURED ? EPT_WRITE : 0;
}

static void prepare_strike(const struct event *event, enum strike_kind strike)
{
	struct gate *const gate = (struct gate *)delivery.idt + event->vector;

	vmcs_write(GUEST_IDTR_BASE, delivery.idt);
	vmcs_write(GUEST_IDTR_LIMIT, 0xfff);
	vmcs_write(EXCEPTION_BITMAP, 0);
	if (has(PROC2_VIRTUALIZE_APIC_ACCESSES))
		vmcs_clear_controls(PROC2_VIRTUALIZE_APIC_ACCESSES);
	if (has(PROC2_ENABLE_EPT))
		vmcs_clear_controls(PROC2_ENABLE_EPT);
	gate->type |= 0x80;
	gate->ist = strike == STRIKE_INTERRUPT_STACK || strike == STRIKE_TSS ? 7 : 0;
	if (by_ept(strike)) {
		vmcs_set_controls(PROC2_ENABLE_EPT);
		set_ept_permissions(struck_page(strike), permissions_left(strike));
	}
	if (by_apic(strike))
		vmcs_set_controls(PROC2_VIRTUALIZE_APIC_ACCESSES);
	if (strike == STRIKE_IDT_APIC)
		vmcs_write(GUEST_IDTR_BASE, PAGE_WINDOW);
	if (strike == STRIKE_IDT_PAGE_FAULT)
		vmcs_write(GUEST_IDTR_BASE, EVENT_NOWHERE + PAGE_SIZE);
	if (strike == STRIKE_IDT_LIMIT)
		vmcs_write(GUEST_IDTR_LIMIT, event->vector * sizeof(struct gate) - 1);
	if (strike == STRIKE_GATE_NOT_PRESENT)
		gate->type &= ~0x80;
	if (!by_ept(strike) && !by_apic(strike) && strike != STRIKE_NONE)
		vmcs_write(EXCEPTION_BITMAP, BIT(strike_vector(strike)));
}

static u64 stack_pointer(enum strike_kind strike)
{
	return strike == STRIKE_STACK_APIC ? PAGE_WINDOW + 0x800 :
	       strike == STRIKE_STACK_PAGE_FAULT ? EVENT_NOWHERE + 0x800 : delivery.stack + 0x800;
}

static void prepare_event(const struct event *event)
{
	const bool interrupt = (event->type & INTERRUPTION_TYPE_MASK) == INTERRUPTION_TYPE_EXTERNAL;

	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | (interrupt ? RFLAGS_IF : 0));
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	vmcs_write(GUEST_RIP, (u64)(event->rip ? event->rip : event_nmi));
	guest.regs.rax = APIC_DELIVERY_NMI | APIC_ICR_ASSERT;
	guest.regs.rbx = EVENT_NOWHERE;
	guest.regs.rcx = SELECTOR_SPARE;
	guest.regs.rdx = 0xfffb;		/* RPL is not part of the error code */
	if (event->injected) {
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INTERRUPTION_VALID | event->type | event->vector);
		vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, event->error_code);
		vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, event->length);
	} else if (event->sent && interrupt) {
		require_pend(event->vector);
	} else if (event->sent) {
		guest.regs.rbx = apic_is_x2apic() ? 0 : rdmsr(IA32_APIC_BASE) & PAGE_ADDRESS_MASK;
		guest.regs.rcx = 0x800 + APIC_ICR / 16;
		guest.regs.rdx = apic_is_x2apic() ? apic_id() : apic_id() << 24;
		guest.regs.rsi = WAIT_MS * tsc_per_ms();
	}
	if (event->vector == VECTOR_DE)
		guest.regs.rcx = 0;
}

void delivery_prepare(const struct event *event, enum strike_kind strike)
{
	prepare_strike(event, strike);
	prepare_event(event);
	vmcs_write(GUEST_RSP, stack_pointer(strike));
}

/* End the interrupt that the guest was to take; one that it did not take must not wait for the next test. */
static void end_interrupt(u8 vector)
{
	if (apic_in_service(vector))
		apic_eoi();
	if (apic_requested(vector))
		take_pending(vector);
}

void delivery_clean(const struct event *event)
{
	if (event->sent && event->vector >= 32)
		end_interrupt(event->vector);
	if (has(PROC2_ENABLE_EPT))
		for (const u64 *page = (u64 *)&delivery; page < (u64 *)(&delivery + 1); page++)
			*ept_entry(*page, 1) |= EPT_RWX;
	nmi_unblock();
}

void deliver(const struct event *event, enum strike_kind strike)
{
	delivery_prepare(event, strike);
	guest_enter();
	delivery_clean(event);
}

static bool check_violation(const char *file, u32 line, const struct event *event, enum strike_kind strike)
{
	const u64 left = permissions_left(strike);
	const u64 page = struck_page(strike);
	const bool write = left & EPT_READ;
	u64 mask = ~0xfffull, address = page;

	/* Which bytes of the gate, the TSS and the stack come first, the processor chooses. */
	if (strike == STRIKE_IDT) {
		mask = ~0xfull;
		address = page + event->vector * sizeof(struct gate);
	}
	return check_bits(file, line, "guest-physical address", vmcs_read(GUEST_PHYSICAL_ADDRESS), mask, address) &&
	       check_bits(file, line, "guest-linear address", vmcs_read(GUEST_LINEAR_ADDRESS), mask, address) &&
	       check_bits(file, line, "exit qualification", vmcs_read(EXIT_QUALIFICATION),
			  EPT_VIOLATION_DEFINED & ~BIT(12),
			  (write ? EPT_VIOLATION_WRITE : EPT_VIOLATION_READ) | left << EPT_VIOLATION_PERMISSIONS_SHIFT |
			  EPT_VIOLATION_LINEAR_VALID | EPT_VIOLATION_FINAL);
}

/* The error code of an exception that names the gate: EXT is 1 but for INT n, INT3 and INTO. INT1's is left open. */
static u32 gate_error_code(const struct event *event)
{
	const u32 type = event->type & INTERRUPTION_TYPE_MASK;

	return event->vector << 3 | 2 | (type != SOFT && type != SOFT_EXCEPTION);
}

static bool check_exception(const char *file, u32 line, const struct event *event, enum strike_kind strike)
{
	const bool privileged = (event->type & INTERRUPTION_TYPE_MASK) == PRIVILEGED;
	const bool page_fault = strike_vector(strike) == VECTOR_PF;
	const u32 error_code = page_fault ? (strike == STRIKE_STACK_PAGE_FAULT ? 2 : 0) : gate_error_code(event);

	return check_bits(file, line, "interruption information", vmcs_read(EXIT_INTERRUPTION_INFORMATION),
			  ~(u64)INTERRUPTION_NMI_UNBLOCKING, INTERRUPTION_VALID | HARD_CODE | strike_vector(strike)) &&
	       check_bits(file, line, "interruption error code", vmcs_read(EXIT_INTERRUPTION_ERROR_CODE),
			  privileged && !page_fault ? ~1ull : ~0ull, error_code) &&
	       check_bits(file, line, "exit qualification", vmcs_read(EXIT_QUALIFICATION), ~0xfffull,
			  !page_fault ? 0 : strike == STRIKE_STACK_PAGE_FAULT ? EVENT_NOWHERE :
			  EVENT_NOWHERE + PAGE_SIZE);
}

bool check_strike(const char *file, u32 line, const struct event *event, enum strike_kind strike)
{
	const u32 reason = by_apic(strike) ? EXIT_APIC_ACCESS : !by_ept(strike) ? EXIT_EXCEPTION_OR_NMI :
			   strike == STRIKE_IDT_MISCONFIGURED ? EXIT_EPT_MISCONFIGURATION : EXIT_EPT_VIOLATION;

	if (!check_outcome(file, line, "VM exit", guest.outcome, EXITS(reason)))
		return false;
	/* The event has not begun: RSP is as it was, RIP is the event's. */
	check_equal(file, line, "guest RSP", vmcs_read(GUEST_RSP), stack_pointer(strike));
	if (event->rip)
		check_equal(file, line, "guest RIP", vmcs_read(GUEST_RIP), (u64)event->rip);
	if (reason == EXIT_EPT_VIOLATION)
		return check_violation(file, line, event, strike);
	if (reason == EXIT_EXCEPTION_OR_NMI)
		return check_exception(file, line, event, strike);
	if (reason == EXIT_APIC_ACCESS)
		return check_bits(file, line, "access type", vmcs_read(EXIT_QUALIFICATION) >> 12, ~0ull, 3);
	return check_bits(file, line, "guest-physical address", vmcs_read(GUEST_PHYSICAL_ADDRESS), ~0xfull,
			  delivery.idt + event->vector * sizeof(struct gate));
}

bool check_idt_vectoring(const char *file, u32 line, u64 information)
{
	return check_bits(file, line, "IDT-vectoring information", vmcs_read(IDT_VECTORING_INFORMATION),
			  information ? ~BIT(12) : INTERRUPTION_VALID, information);
}
