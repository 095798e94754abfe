/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events on their way through a guest's IDT, and what may strike them there: a guest with an IDT, a GDT, a TSS and
 * stacks of its own, one page each, so that each can be taken away.
 */
#pragma once

#include "vmx/ept.h"
#include "vmxtest/events.h"

struct delivery_pages {
	u64 idt, gdt, tss, stack, interrupt_stack;	/* identity-mapped; stacks grow down from the page's end */
};
extern struct delivery_pages delivery;

/* Vectors of the events here, and an address that nothing maps: what #PF is about. */
enum { EVENT_VECTOR = 0x61, EVENT_ERROR_CODE = 0x6b58 };
#define EVENT_NOWHERE (PAGE_WINDOW + 0x7000)

struct event {
	const char *name;
	u32 type;			/* of the interruption information, with bit 11 */
	u8 vector;
	u32 error_code;
	u8 length;			/* of the instruction, for types 4 to 6 */
	const u8 *rip;			/* saved RIP; NULL: anywhere */
	bool injected;			/* by VM entry; else code at rip raises it, */
	bool sent;			/* or the APIC */
	bool needs_gdt;			/* the code reads the GDT */
};

extern const struct event events[];
extern const size_t event_count;

/* Is it INT1, or injected as if it were? */
static inline bool event_is_int1(const struct event *event)
{
	return (event->type & INTERRUPTION_TYPE_MASK) == INTERRUPTION_TYPE_PRIVILEGED;
}

#define FOR_EACH_EVENT(event) for (const struct event *event = events; event < events + event_count; event++)

enum strike_kind {
	STRIKE_NONE,				/* all is there */
	STRIKE_IDT, STRIKE_IDT_MISCONFIGURED, STRIKE_STACK, STRIKE_INTERRUPT_STACK, STRIKE_TSS,	/* by EPT */
	STRIKE_GDT,
	STRIKE_IDT_PAGE_FAULT, STRIKE_STACK_PAGE_FAULT, STRIKE_GATE_NOT_PRESENT, STRIKE_IDT_LIMIT,	/* exceptions */
	STRIKE_IDT_APIC, STRIKE_STACK_APIC,	/* the APIC-access page */
	STRIKES,
};
extern const char *const strike_names[STRIKES];

/* Does the processor have what it takes, and does the event not run into it itself? */
bool strike_applies(enum strike_kind strike, const struct event *event);

/* Once per test: the pages, with copies of the host's GDT and TSS. All gates lead to one VMCALL. */
void delivery_begin(void);

/* Let the event strike. What was changed for it is put back. */
void deliver(const struct event *event, enum strike_kind strike);

/* The exit is the strike's; what it reports of the strike itself (not of the event) is right. */
#define expect_strike(event, strike) check_strike(HERE, event, strike)
bool check_strike(const char *file, u32 line, const struct event *event, enum strike_kind strike);

/* IDT-vectoring information, all but its undefined bit 12; 0 stands for "not valid". */
#define expect_idt_vectoring(information) check_idt_vectoring(HERE, information)
bool check_idt_vectoring(const char *file, u32 line, u64 information);

/* The pieces of deliver(), for tests with events of their own. */
void delivery_prepare(const struct event *event, enum strike_kind strike);
void delivery_clean(const struct event *event);
void delivery_handler(void);
