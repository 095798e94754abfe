/* SPDX-License-Identifier: BSD-2-Clause */
/* Who gets an interrupt or an exception on its way through the IDT. */
#pragma once

#include "x86/fault.h"

typedef void (*interrupt_handler)(struct exception_frame *frame);

/*
 * Call the handler for a vector, on any processor; NULL: none. With no handler,
 * an exception ends the TRY that it struck in, an NMI or an external interrupt too.
 * A handler of an external interrupt sends its own EOI (apic_eoi).
 */
void interrupt_handle(u8 vector, interrupt_handler handler);

/* Remove all handlers. */
void interrupt_handlers_reset(void);

/* A handler that counts: interrupt_count[vector] += 1, and EOI for vectors from 32. */
void interrupt_counter(struct exception_frame *frame);
extern volatile u32 interrupt_count[256];

/* An IRET to the next instruction: it ends the blocking of NMIs, and one that is pending comes now. */
void nmi_unblock(void);

/* The one gate that CPL 3 may call (user_run's way back). */
#define VECTOR_USER_RETURN 0x80

/* The 256 entry points, 16 bytes apart: what the IDT's gates point at. */
extern const u8 interrupt_entries[];
#define INTERRUPT_ENTRY_SIZE 16
