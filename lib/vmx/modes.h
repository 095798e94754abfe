/* SPDX-License-Identifier: BSD-2-Clause */
/* Other modes for a guest than the baseline's 64-bit mode at CPL 0: call before it runs. */
#pragma once

#include "vmx/vmcs.h"

/* CPL 3 (user_pages_on is included). An exception in the guest leads to CPL 0 as in any guest. */
void guest_set_cpl3(void);

/* Back to CPL 0, 64-bit mode. */
void guest_set_cpl0(void);

/* CPL 0 or 3 in 64-bit mode at the next entry, whatever the last guest has left of CS and SS; no pages are changed. */
void guest_set_cpl(u32 cpl);

/* Compatibility mode: 32-bit code, whose linear addresses are those of its assembly (.code32); see guest_run_at. */
void guest_set_compatibility(void);

/*
 * Protected mode outside of IA-32e mode: 32-bit code at CPL 0 (see guest_run_at), PAE paging with an identity map of
 * 4 GiB, whose four PDPTEs are returned; flat segments. The IDT is a 64-bit one: a test that delivers an event
 * brings its own.
 */
u64 *guest_set_pae(void);

/*
 * Virtual-8086 mode at 32-bit PAE paging, an identity map of 4 GiB; segments all
 * selector:0. No exception can be delivered (the IDT is a 64-bit one).
 */
void guest_set_virtual_8086(u16 selector);
