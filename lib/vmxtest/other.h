/* SPDX-License-Identifier: BSD-2-Clause */
/* A processor other than the one that booted as a host of its own guests. */
#pragma once

#include "vmx/vmcs.h"

/*
 * Start body() on processor n, in VMX operation, the baseline current in a VMCS of that processor's own. Meanwhile no
 * guest runs here: `guest` is the one for all processors.
 */
void vmx_other_start(unsigned int n, void (*body)(void));

/* The region of that VMCS: a VMX abort leaves its indicator there. It lasts as long as the test. */
const struct vmcs_region *vmx_other_region(void);

/*
 * Wait for the end of body() and of VMX operation there; an INIT that VMXOFF sets free may come instead, and an exception or
 * a failed require...() in body() is one of the caller's. Processor n has then got an INIT: what a target keeps of that
 * guest, such as blocked events, is no other test's business.
 */
void vmx_other_end(unsigned int n);
