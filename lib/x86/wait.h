/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting. The manual promises that an interrupt, an IPI or the work of another processor comes, and not when: whoever
 * needs that it has come waits here until it shows, and nowhere counts instructions. A wait that ends in vain is no
 * failure by itself; the check behind it is. None of these loops is anywhere else (tests/suite/test_waits.py).
 */
#pragma once

#include "libc/types.h"

/*
 * Milliseconds for what must come: far more than any of it takes, less than a guest's watchdog; and for what a processor
 * sends to itself: ten times what the slowest machine known takes, and no more, as some never take it.
 */
enum { WAIT_MS = 1000, SELF_MS = WAIT_MS / 4 };

/*
 * Wait until the condition holds, for so many milliseconds of the TSC at the most (and for a thousand looks at it at the
 * least: a virtual processor may have stood still all that time). Was it met? In the host or in a guest.
 */
#define wait_until(condition, limit_ms)		WAIT_LOOP(condition, limit_ms, wait_goes_on)

/* The same for what another processor does: lets a hypervisor with few processors run it (cpu_yield()). Host only. */
#define wait_for_other(condition, limit_ms)	WAIT_LOOP(condition, limit_ms, wait_goes_on_yielding)

#define WAIT_LOOP(condition, limit_ms, goes_on)			\
({								\
	struct wait wait_ = wait_begin(limit_ms);		\
	bool met_ = (condition);				\
								\
	while (!met_ && goes_on(&wait_))			\
		met_ = (condition);				\
	met_;							\
})

struct wait {
	u64 start, ticks;
	u32 looks;
};

struct wait wait_begin(u64 limit_ms);
bool wait_goes_on(struct wait *wait);
bool wait_goes_on_yielding(struct wait *wait);

/* Do nothing for so many ticks of the TSC, or so many microseconds of it. */
void wait_ticks(u64 ticks);
void delay_us(unsigned int us);

/*
 * A PAUSE, and a write to port 80H: it exits in most virtual machines, so that a hypervisor with more virtual processors
 * than its own may let another one run.
 */
void cpu_yield(void);

/*
 * Long enough for what has been sent to this processor to be there, where nothing shows it: 50 us, or four times as long
 * as the slowest that was seen. For what must not come, and for NMIs that are blocked.
 */
void wait_for_nothing(void);

/*
 * Send this processor an interrupt that it may not take yet (IF = 0, or by the TPR), and wait until the IRR has it. Did
 * it come? False too if it has been taken.
 */
bool interrupt_pend(u8 vector);

/* Send it one that it may take, by a handler of the caller's, and wait until it has taken one; or until it exits. */
bool interrupt_arrives(u8 vector);

/* Interrupts on for as long as wait_for_nothing() takes: what is in the IRR above the TPR is delivered. */
void let_interrupts_in(void);

/*
 * Take an interrupt that pends, and may be late, off the local APIC: how many came, 0 or 1. Its handler is none
 * afterwards.
 */
u32 take_pending(u8 vector);

/*
 * Send this processor an NMI. While NMIs are blocked nothing shows that it pends: nmi_pend() waits long enough for it.
 * nmi_arrives() waits until a handler has it; or until it exits.
 */
void nmi_pend(void);
bool nmi_arrives(void);

/* nmi_arrives(), by a handler that does nothing to speak of: how long that took is what wait_for_nothing() goes by. */
bool nmi_timed(void);

/*
 * Every 20 ms send the SIPI to a processor, which may be late to wait for one, until the condition holds. A SIPI that was
 * sent before it took its INIT may be held, and start it elsewhere: then it waits for none any more until another INIT.
 */
#define sipi_until(apic_id, vector, condition, limit_ms)					\
({												\
	bool started_ = (condition);								\
												\
	for (unsigned int rounds_ = (limit_ms) / 20; !started_ && rounds_; rounds_--) {		\
		sipi_send(apic_id, vector);							\
		started_ = wait_for_other(condition, 20);					\
	}											\
	started_;										\
})
void sipi_send(u32 apic_id, u8 vector);

/*
 * Take whatever interrupts are in service, requested or under way off the local APIC of the calling processor; call
 * `found` (NULL: nobody) with each vector and the register that had it. For the harness, between tests; all handlers of
 * interrupts are none afterwards if there was any.
 */
void interrupts_drain(void (*found)(const char *where, u8 vector));
