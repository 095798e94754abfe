/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A dead man's switch: unless somebody calls kick_put_off() in time, NMIs interrupt whatever runs.
 *
 * Bochs (2.7 and today's) leaves external interrupts masked after a VM entry with RFLAGS.IF = 0, although
 * "external-interrupt exiting" is 1: a guest that spins with interrupts off would starve L0 for ever. An NMI
 * always exits, and on the way out L0 takes whatever else is pending. It is not sent regularly, because
 * Bochs also saves "blocking by NMI" for such an exit, which the guest then has to live with.
 */
#pragma once

enum { KICK_AFTER_MS = 40, KICK_PUT_OFF_MS = 5 };	/* of L0's time */

/* Needs iopl(3), as does the other one. Returns what failed, or NULL. */
const char *kick_start(void);

/* To be called every KICK_PUT_OFF_MS. */
void kick_put_off(void);
