/* SPDX-License-Identifier: BSD-2-Clause */
/* Virtual interrupts: what waits, what is in service, and what the guest took. */
#pragma once

#include "pages.h"
#include "x86/interrupt.h"

/*
 * Access page, virtual-APIC page (all 0), "virtual-interrupt delivery" and what it needs. Every interrupt that the
 * guest takes is recorded in taken[].
 */
void use_virtual_interrupts(void);

extern volatile u32 taken_count;
extern volatile struct taken {
	u64 vector, rip;
} taken[4];			/* the first ones */

/* No handler for those where an exception would push an error code and an interrupt does not. */
bool vector_can_be_handled(u32 vector);

/* Clear the registers, then: RVI and VIRR have this vector, nothing is in service. */
void set_pending(u32 vector);

/* Clear the registers, then: SVI and VISR have this vector, VISR one below it too (0: none), nothing is pending. */
void set_in_service(u32 vector, u32 below);

/* The 256-bit registers of the virtual-APIC page: APIC_ISR, APIC_TMR, APIC_IRR. */
void set_vector(u32 first, u32 vector);
void expect_only_vectors(u32 first, u32 one, u32 other);	/* 0: none */

/* EOI-exit bitmaps: the vector's bit, and all others the other way. */
void set_eoi_exit_bitmap(u32 vector, bool exits);

void run_and_take_interrupts(void (*function)(void));

extern const u8 guest_start[], guest_behind_cr8[], guest_behind_sti_shadow[];
void guest_does_nothing(void);
void guest_sets_cr8(void);	/* RCX */
void guest_sets_if(void);	/* STI, one more instruction, NOP, CLI */
