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
 * 32-bit protected mode at CPL 0, an identity map of 4 GiB with 32-bit paging (4-MByte pages) or PAE paging, whose
 * four PDPTEs are returned; otherwise as guest_set_compatibility. The IDT is a 64-bit one: a test that delivers an
 * event brings its own.
 */
void guest_set_32bit(void);
u64 *guest_set_pae(void);

/* Real mode, segments all selector:0; sets "unrestricted guest" with an identity EPT. No interrupt can be delivered. */
void guest_set_real(u16 selector);

/*
 * Virtual-8086 mode at 32-bit PAE paging, an identity map of 4 GiB; segments all
 * selector:0. No exception can be delivered (the IDT is a 64-bit one).
 */
void guest_set_virtual_8086(u16 selector);
