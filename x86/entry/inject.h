/* SPDX-License-Identifier: BSD-2-Clause */
/* Injecting an event and seeing it arrive: what the tests of entry.inject and entry.after share. */
#pragma once

#include "vmxtest/entry_guest.h"
#include "vmxtest/events.h"
#include "x86/apic.h"
#include "x86/interrupt.h"
#include "x86/selectors.h"

#define INJECT(type, vector) (u32)(INTERRUPTION_VALID | INTERRUPTION_TYPE_##type | (vector))

/* Where guest_run begins: the instruction that an injected event interrupts. */
extern const u8 guest_start[];

/* The last event that arrived through the guest's IDT, as seen in its handler. */
struct arrival {
	u32 count;
	struct exception_frame frame;
	u64 rflags;		/* in the handler */
};
extern volatile struct arrival arrival;

/* Note the arrival; go on at guest_start, whatever RIP was pushed. */
void note_arrival(struct exception_frame *frame);

/* The same, and call the host (RAX = IN_HANDLER) before going on. */
void note_arrival_and_call_host(struct exception_frame *frame);
enum { IN_HANDLER = 0x1234 };

/* Let note_arrival have the vector, write the injection fields, and run a guest that does nothing else. */
void inject(u32 information, u32 error_code, u32 length);

/* The event has arrived once, with this vector and return address, and the guest went on to its end. */
#define expect_arrival(vector, rip)	check_arrival(HERE, vector, rip)
void check_arrival(const char *file, u32 line, u32 vector, u64 rip);

void guest_does_nothing(void);

/* CPL of the guest at the next entry, 64-bit mode; for CPL 3 user_pages_on() must be on if it is to run. */
void set_guest_cpl(u32 cpl);
