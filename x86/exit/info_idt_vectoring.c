/* SPDX-License-Identifier: BSD-2-Clause */
/* IDT-vectoring information (SDM Vol. 3C, "Information About VM Exits That Occur During Event Delivery"). */
#include "info_delivery.h"

#include "libc/string.h"
#include "vmx/bitmaps.h"
#include "x86/selectors.h"
#include "x86/tables.h"

static u64 information_of(const struct event *event)
{
	return INTERRUPTION_VALID | event->type | event->vector;
}

static struct gate *gate_of(u8 vector)
{
	return (struct gate *)delivery.idt + vector;
}

/* Every event with everything that may strike it. */
#define FOR_EACH_STRIKE(event, strike)									\
	for (enum strike_kind strike = STRIKE_IDT; strike < STRIKES; strike++)				\
		if (!strike_applies(strike, event)) { } else

/* INT1 has tests of its own: a hypervisor that looks at #DB has to know it from that. */
#define FOR_EACH_OTHER_EVENT(event)		\
	FOR_EACH_EVENT(event)			\
		if (event_is_int1(event)) { } else

static void check_information(const struct event *event)
{
	FOR_EACH_STRIKE(event, strike) {
		CASE("%s, %s", event->name, strike_names[strike]);
		deliver(event, strike);
		expect_strike(event, strike);
		expect_idt_vectoring(information_of(event));
	}
}

TEST("info.idtv.valid", "An exit during the delivery of an event has its vector and type in IDT-vectoring information")
{
	delivery_begin();
	FOR_EACH_OTHER_EVENT(event)
		check_information(event);
}

/*
 * The event's gate is not present, and what that raises is struck in its turn by a stack that may not be written:
 * what was on its way then is the second event.
 */
static void check_second_event(const struct event *event, u8 second, u32 error_code)
{
	const struct gate saved = *gate_of(second);

	CASE("%s, then vector %u", event->name, second);
	delivery_prepare(event, STRIKE_INTERRUPT_STACK);
	gate_of(event->vector)->type &= ~0x80;
	gate_of(second)->ist = 7;
	guest_enter();
	delivery_clean(event);
	*gate_of(second) = saved;
	expect_exit(EXIT_EPT_VIOLATION);
	expect_idt_vectoring(INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE | second);
	expect_eq(vmcs_read(IDT_VECTORING_ERROR_CODE), error_code);
}

static void check_second_events(const struct event *event)
{
	const u32 type = event->type & INTERRUPTION_TYPE_MASK;
	const bool contributory = type == INTERRUPTION_TYPE_HARDWARE &&
				  (event->vector == VECTOR_DE ||
				   (event->vector >= VECTOR_TS && event->vector <= VECTOR_PF));

	if (event->vector == VECTOR_DF || event->vector == VECTOR_NP)
		return;
	if (contributory)
		check_second_event(event, VECTOR_DF, 0);
	else
		check_second_event(event, VECTOR_NP, event->vector << 3 | 2 |
				   (type != INTERRUPTION_TYPE_SOFTWARE_INTERRUPT &&
				    type != INTERRUPTION_TYPE_SOFTWARE_EXCEPTION));
}

TEST("info.idtv.errcode", "Bit 11 and the IDT-vectoring error code are those of the exception on its way")
{
	delivery_begin();
	FOR_EACH_OTHER_EVENT(event) {
		FOR_EACH_STRIKE(event, strike) {
			CASE("%s, %s", event->name, strike_names[strike]);
			deliver(event, strike);
			expect_strike(event, strike);
			expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_ERROR_CODE,
				    event->type & INTERRUPTION_ERROR_CODE);
			if (event->type & INTERRUPTION_ERROR_CODE)
				expect_eq(vmcs_read(IDT_VECTORING_ERROR_CODE), event->error_code);
		}
		if (has(PROC2_ENABLE_EPT))
			check_second_events(event);
		/* Each bit that an injected error code may have. */
		for (u32 bit = 0, turn = 0; event->injected && event->error_code && bit < 15; bit++) {
			struct event other = *event;

			if (!walk_takes_nth(&turn, 5))
				continue;

			other.error_code = BIT(bit);
			CASE("%s, error code %#x", event->name, other.error_code);
			deliver(&other, STRIKE_IDT_LIMIT);
			expect_strike(&other, STRIKE_IDT_LIMIT);
			expect_idt_vectoring(information_of(&other));
			expect_eq(vmcs_read(IDT_VECTORING_ERROR_CODE), other.error_code);
		}
	}
}

static u8 software_code[18];

/* Deliver the software interrupt or exception that is in software_code. */
/*
 * The manual's list of uses of the length names faults, task switches and APIC accesses; the sentence before it has
 * all exits "during the delivery of a software interrupt or software exception", EPT's among them.
 */
static void check_software(const struct event *event, u32 length, enum strike_kind strike)
{
	delivery_prepare(event, strike);
	vmcs_write(GUEST_RIP, (u64)software_code);
	guest_enter();
	delivery_clean(event);
	expect_strike(event, strike);
	expect_idt_vectoring(information_of(event));
	expect_eq(vmcs_read(EXIT_INSTRUCTION_LENGTH), length);
}

/* Such an instruction behind 0 to 13 prefixes: every length up to 15. */
static void check_lengths(const u8 *instruction, u32 length, const struct event *event, enum strike_kind strike)
{
	for (u32 prefixes = 0, turn = 0; prefixes + length <= 15; prefixes++) {
		if (!walk_takes_nth(&turn, 5))
			continue;
		CASE("%s behind %u prefixes, %s", event->name, prefixes, strike_names[strike]);
		memset(software_code, 0x2e, sizeof(software_code));
		memcpy(software_code + prefixes, instruction, length);
		check_software(event, prefixes + length, strike);
	}
}

static const struct event software_events[] = {
	{ .name = "INT3", .type = INTERRUPTION_TYPE_SOFTWARE_EXCEPTION, .vector = VECTOR_BP, .rip = software_code },
	{ .name = "INT1", .type = INTERRUPTION_TYPE_PRIVILEGED, .vector = VECTOR_DB, .rip = software_code },
	{ .name = "INTO", .type = INTERRUPTION_TYPE_SOFTWARE_EXCEPTION, .vector = VECTOR_OF, .rip = software_code },
};

static const enum strike_kind strikes[] = { STRIKE_IDT, STRIKE_STACK, STRIKE_IDT_PAGE_FAULT, STRIKE_IDT_LIMIT,
					    STRIKE_GATE_NOT_PRESENT, STRIKE_IDT_APIC };

/* Injected, the length is VM entry's, whatever the code at RIP is. */
static void check_injected_lengths(const struct event *event)
{
	for (u32 length = 1, turn = 0; length <= 15; length++) {
		struct event other = *event;

		if (!walk_takes_nth(&turn, 5))
			continue;

		other.length = length;
		FOR_EACH_STRIKE(event, strike) {
			CASE("%s, length %u, %s", event->name, length, strike_names[strike]);
			deliver(&other, strike);
			expect_strike(&other, strike);
			expect_idt_vectoring(information_of(&other));
			expect_eq(vmcs_read(EXIT_INSTRUCTION_LENGTH), length);
		}
	}
}

TEST("info.idtv.swint", "INT n, INT3 and INTO on their way have their type, and the length of the instruction")
{
	struct event int_n = { .name = "INT n", .type = INTERRUPTION_TYPE_SOFTWARE_INTERRUPT, .rip = software_code };
	u8 bytes[2] = { 0xcd, 0 };

	delivery_begin();
	for (size_t i = 0; i < ARRAY_SIZE(strikes); i++) {
		WALK_OVER(n, 0, 256) {
			int_n.vector = n;
			if (!strike_applies(strikes[i], &int_n))
				continue;
			CASE("INT %#x, %s", n, strike_names[strikes[i]]);
			software_code[0] = 0xcd;
			software_code[1] = n;
			check_software(&int_n, 2, strikes[i]);
		}
		if (!strike_applies(strikes[i], &int_n))
			continue;
		bytes[1] = int_n.vector = 0x9a;
		check_lengths(bytes, 2, &int_n, strikes[i]);
		check_lengths((const u8[]){ 0xcc }, 1, &software_events[0], strikes[i]);
	}
	FOR_EACH_OTHER_EVENT(event)
		if (event->injected && event->length)
			check_injected_lengths(event);

	/* INTO, in compatibility mode with OF = 1. */
	for (size_t i = 0; i < ARRAY_SIZE(strikes); i++) {
		if (!strike_applies(strikes[i], &software_events[2]))
			continue;
		CASE("INTO, %s", strike_names[strikes[i]]);
		delivery_prepare(&software_events[2], strikes[i]);
		vmcs_write(GUEST_CS_SELECTOR, SELECTOR_CODE32);
		vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE32);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_OF);
		software_code[0] = 0x2e;
		software_code[1] = 0xce;
		guest_enter();
		delivery_clean(&software_events[2]);
		expect_strike(&software_events[2], strikes[i]);
		expect_idt_vectoring(information_of(&software_events[2]));
		expect_eq(vmcs_read(EXIT_INSTRUCTION_LENGTH), 2);
	}
}

TEST("info.idtv.int1", "INT1 on its way has vector 1, type 5, no error code, and the length of the instruction")
{
	delivery_begin();
	FOR_EACH_EVENT(event) {
		if (event_is_int1(event)) { } else
			continue;
		check_information(event);
		if (event->injected)
			check_injected_lengths(event);
	}
	for (size_t i = 0; i < ARRAY_SIZE(strikes); i++)
		if (strike_applies(strikes[i], &software_events[1]))
			check_lengths((const u8[]){ 0xf1 }, 1, &software_events[1], strikes[i]);
}

TEST("info.idtv.extint_ept", "An EPT violation of an interrupt's gate or stack shows type 0 and the vector",
     NEEDS(PROC2_ENABLE_EPT))
{
	static const enum strike_kind strikes[] = { STRIKE_IDT, STRIKE_STACK, STRIKE_INTERRUPT_STACK };
	struct event event = { .name = "external interrupt", .sent = true };

	delivery_begin();
	/* The library has three above for itself. */
	WALK_OVER(vector, 32, 0xee)
		for (size_t i = 0; i < ARRAY_SIZE(strikes); i++) {
			CASE("vector %#x, %s", vector, strike_names[strikes[i]]);
			event.vector = vector;
			event.rip = software_code;		/* the guest gets nowhere */
			deliver(&event, strikes[i]);
			expect_strike(&event, strikes[i]);
			expect_idt_vectoring(INTERRUPTION_VALID | vector);
			expect_not_requested(vector);
		}
}

/* The virtual APIC requests the vector, and its delivery is struck. */
static void check_virtual_interrupt(u8 *virtual_apic, u8 vector, enum strike_kind strike)
{
	const struct event event = { .name = "virtual interrupt", .vector = vector, .rip = software_code };

	CASE("vector %#x, %s", vector, strike_names[strike]);
	delivery_prepare(&event, strike);
	vmcs_set_controls(PROC2_VIRTUAL_INTERRUPT_DELIVERY);
	memset(virtual_apic, 0, PAGE_SIZE);
	*(u32 *)(virtual_apic + APIC_IRR + vector / 32 * 16) = 1u << vector % 32;
	vmcs_write(GUEST_INTERRUPT_STATUS, vector);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	guest_enter();
	vmcs_clear_controls(PROC2_VIRTUAL_INTERRUPT_DELIVERY);
	delivery_clean(&event);
	expect_strike(&event, strike);
	expect_idt_vectoring(INTERRUPTION_VALID | INTERRUPTION_TYPE_EXTERNAL | vector);
}

TEST("info.idtv.virtual_interrupt", "An exit during the delivery of a virtual interrupt shows type 0 and its vector",
     NEEDS(PROC2_VIRTUAL_INTERRUPT_DELIVERY, PROC_USE_TPR_SHADOW))
{
	const struct event any = { .name = "virtual interrupt", .vector = EVENT_VECTOR };
	u8 *virtual_apic;

	delivery_begin();
	virtual_apic = vmcs_use_tpr_shadow(0);
	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	for (enum strike_kind strike = STRIKE_IDT; strike < STRIKES; strike++)
		if (strike_applies(strike, &any))
			check_virtual_interrupt(virtual_apic, EVENT_VECTOR, strike);
	WALK_OVER(vector, 32, 256)
		check_virtual_interrupt(virtual_apic, vector, STRIKE_IDT_PAGE_FAULT);
}

/* Not during the delivery of an event: every exit here has bit 31 of the IDT-vectoring information 0. */

static bool is_interrupt(const struct event *event)
{
	return (event->type & INTERRUPTION_TYPE_MASK) == INTERRUPTION_TYPE_EXTERNAL;
}

static bool can_exit(const struct event *event)
{
	if (is_interrupt(event))
		return has(PIN_EXTERNAL_INTERRUPT_EXITING) && has(EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT);
	return !event->sent || has(PIN_NMI_EXITING);
}

/* The event itself exits, by the exception bitmap or its control. */
static void check_direct_exit(const struct event *event)
{
	const bool interrupt = is_interrupt(event);

	delivery_prepare(event, STRIKE_NONE);
	vmcs_write(EXCEPTION_BITMAP, ~0u);
	if (interrupt)
		vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING, EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT);
	else if (event->sent)
		vmcs_set_controls(PIN_NMI_EXITING);
	guest_enter();
	vmcs_clear_controls(PIN_EXTERNAL_INTERRUPT_EXITING, PIN_NMI_EXITING);
	delivery_clean(event);
	expect_exit(interrupt ? EXIT_EXTERNAL_INTERRUPT : EXIT_EXCEPTION_OR_NMI);
	expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), ~(u64)INTERRUPTION_NMI_UNBLOCKING,
		    information_of(event));
	expect_idt_vectoring(0);
}

/*
 * Three ways for an exit to be the first thing in the handler: its instruction, a page fault and an EPT violation of
 * its fetch. The event is over: its frame is on the stack.
 */
enum handler_exit { BY_INSTRUCTION, BY_PAGE_FAULT, BY_EPT_VIOLATION, HANDLER_EXITS };
static const char *const handler_exits[] = { "its instruction", "a page fault", "an EPT violation" };
static u64 handler_page;			/* not executable by EPT */

static u64 handler_address(enum handler_exit way)
{
	return way == BY_INSTRUCTION ? (u64)delivery_handler : way == BY_PAGE_FAULT ? EVENT_NOWHERE + PAGE_SIZE :
	       handler_page;
}

static void run_into_handler(const struct event *event, enum handler_exit way)
{
	static const u32 reasons[] = { EXIT_VMCALL, EXIT_EXCEPTION_OR_NMI, EXIT_EPT_VIOLATION };
	const bool has_code = event->type & INTERRUPTION_ERROR_CODE;
	const struct gate saved = *gate_of(event->vector);

	CASE("%s, then %s of the handler", event->name, handler_exits[way]);
	*gate_of(event->vector) = gate_to((const void *)handler_address(way), 0, 0);
	delivery_prepare(event, STRIKE_NONE);
	if (way == BY_PAGE_FAULT) {
		/* The event may be a #PF by a write, which must not exit. */
		vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_PF));
		vmcs_write(PAGE_FAULT_ERROR_CODE_MASK, 2);
	}
	if (way == BY_EPT_VIOLATION)
		vmcs_set_controls(PROC2_ENABLE_EPT);
	guest_enter();
	delivery_clean(event);
	*gate_of(event->vector) = saved;
	vmcs_write(PAGE_FAULT_ERROR_CODE_MASK, 0);
	expect_exit(reasons[way]);
	expect_eq(vmcs_read(GUEST_RSP), delivery.stack + 0x800 - (has_code ? 48 : 40));
}

static bool handler_exit_exists(enum handler_exit way)
{
	return way != BY_EPT_VIOLATION || has(PROC2_ENABLE_EPT);
}

static void begin_with_handler_page(void)
{
	delivery_begin();
	handler_page = physical_address(page_alloc());
	if (has(PROC2_ENABLE_EPT))
		*ept_entry(handler_page, 1) &= ~(u64)EPT_EXECUTE;
}

/* The gate's page fault, or #GP, becomes a double fault, which exits, or a triple fault. */
static void check_double_fault(const struct event *event)
{
	CASE("%s, #DF exits", event->name);
	delivery_prepare(event, STRIKE_IDT_LIMIT);
	vmcs_write(GUEST_IDTR_LIMIT, 0);
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_DF));
	guest_enter();
	delivery_clean(event);
	/* #DF on #DF is a triple fault; nothing else is. */
	if (event->vector == VECTOR_DF) {
		expect_exit(EXIT_TRIPLE_FAULT, .qualification = 0);
	} else {
		expect_exit(EXIT_EXCEPTION_OR_NMI, .interruption_error = 0);
		expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), ~(u64)INTERRUPTION_NMI_UNBLOCKING,
			    INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE | VECTOR_DF);
	}
	expect_idt_vectoring(0);

	CASE("%s, triple fault", event->name);
	delivery_prepare(event, STRIKE_IDT_LIMIT);
	vmcs_write(GUEST_IDTR_LIMIT, 0);
	vmcs_write(EXCEPTION_BITMAP, 0);
	guest_enter();
	delivery_clean(event);
	expect_exit(EXIT_TRIPLE_FAULT, .qualification = 0);
	expect_idt_vectoring(0);
}

TEST("info.idtv.invalid",
     "IDT-vectoring information is not valid for events that exit themselves, #DF, triple fault, and in the handler")
{
	begin_with_handler_page();
	FOR_EACH_EVENT(event) {
		const bool software = (event->type & INTERRUPTION_TYPE_MASK) == INTERRUPTION_TYPE_SOFTWARE_INTERRUPT;

		if (!event->injected && !software && can_exit(event)) {
			CASE("%s exits", event->name);
			check_direct_exit(event);
		}
		for (enum handler_exit way = 0; way < HANDLER_EXITS; way++) {
			if (!handler_exit_exists(way))
				continue;
			run_into_handler(event, way);
			expect_idt_vectoring(0);
		}
		check_double_fault(event);
	}
}

TEST("save.rip_event_handler", "An exit that is the first thing in an event's handler saves the handler's RIP")
{
	begin_with_handler_page();
	FOR_EACH_EVENT(event) {
		for (enum handler_exit way = 0; way < HANDLER_EXITS; way++) {
			if (!handler_exit_exists(way))
				continue;
			run_into_handler(event, way);
			expect_eq(vmcs_read(GUEST_RIP), handler_address(way));
			if (way == BY_PAGE_FAULT)
				expect_eq(vmcs_read(EXIT_QUALIFICATION), handler_address(way));
			if (way == BY_EPT_VIOLATION)
				expect_eq(vmcs_read(GUEST_PHYSICAL_ADDRESS), handler_address(way));
		}
	}
}
