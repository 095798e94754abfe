/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC of the calling processor, in xAPIC or x2APIC mode (SDM Vol. 3A, "APIC"). */
#pragma once

#include "libc/types.h"

/* Register offsets in xAPIC mode; the x2APIC MSR is 800H + offset / 16. */
enum apic_register {
	APIC_ID = 0x20, APIC_VERSION = 0x30, APIC_TPR = 0x80, APIC_PPR = 0xa0, APIC_EOI = 0xb0, APIC_LDR = 0xd0,
	APIC_DFR = 0xe0, APIC_SVR = 0xf0, APIC_ISR = 0x100, APIC_TMR = 0x180, APIC_IRR = 0x200, APIC_ESR = 0x280, APIC_LVT_CMCI = 0x2f0,
	APIC_ICR = 0x300, APIC_ICR_HIGH = 0x310, APIC_LVT_TIMER = 0x320, APIC_LVT_THERMAL = 0x330,
	APIC_LVT_PMI = 0x340, APIC_LVT_LINT0 = 0x350, APIC_LVT_LINT1 = 0x360, APIC_LVT_ERROR = 0x370,
	APIC_TIMER_INITIAL = 0x380, APIC_TIMER_CURRENT = 0x390, APIC_TIMER_DIVIDE = 0x3e0, APIC_SELF_IPI = 0x3f0,
};

enum {
	APIC_DELIVERY_FIXED = 0 << 8, APIC_DELIVERY_NMI = 4 << 8, APIC_DELIVERY_INIT = 5 << 8,
	APIC_DELIVERY_SIPI = 6 << 8, APIC_ICR_PENDING = 1 << 12, APIC_ICR_ASSERT = 1 << 14,
	APIC_ICR_SELF = 1 << 18, APIC_ICR_ALL_OTHERS = 3 << 18,
	APIC_SVR_ENABLE = 1 << 8, APIC_LVT_MASKED = 1 << 16,
	APIC_TIMER_DIVIDE_BY_1 = 11,
};

#define APIC_SPURIOUS_VECTOR 0xef
#define APIC_LAST_XAPIC_ID 254		/* 255 is all of them */

/* Enable the APIC; mask all local interrupts that there are, stop the timer, no errors, TPR 0. */
void apic_init(void);

bool apic_is_x2apic(void);

/*
 * Switch the calling processor to x2APIC mode. For the library: all processors are in the same mode, so it is done before
 * others are started, and they follow.
 */
void apic_enable_x2apic(void);

u32 apic_id(void);
u32 apic_read(enum apic_register reg);
void apic_write(enum apic_register reg, u32 value);
void apic_eoi(void);

/* Is the vector's bit set in ISR (being serviced) or IRR (requested)? */
bool apic_in_service(u8 vector);
bool apic_requested(u8 vector);

/* Is any interrupt in service or requested? */
bool apic_is_busy(void);

/* Send: delivery mode and vector, to an APIC id, to itself, or to all but itself; waits until sent. */
void apic_send_ipi(u32 to_apic_id, u32 delivery);
void apic_send_ipi_self(u32 delivery);
void apic_send_ipi_others(u32 delivery);
