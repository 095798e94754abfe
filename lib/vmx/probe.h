/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The processor as a VM exit leaves it. After exit_probe_on() an exit leads to the
 * probe, which stores every register before anything else runs in the host, and then
 * goes on as if the exit had gone to vmx_exit_point: host state that the exit changed
 * (control and debug registers, descriptor tables, segments, the MSRs below) is as it
 * was before, so a test may give any legal values to the host-state fields.
 *
 *	exit_probe_on();
 *	vmcs_write(HOST_GDTR_BASE, 0x123000);
 *	guest_run(guest_exits);
 *	expect_eq(exit_probe.gdtr.base, 0x123000);
 *
 * Host CR3 must lead to tables that map the image where it is linked.
 */
#pragma once

#include "vmx/guest.h"

struct exit_probe {
	struct guest_registers regs;
	u64 rsp, rip, rflags;	/* RIP: where exit_probe_start is, as seen from the entry */
	u64 cr0, cr2, cr3, cr4, cr8;
	u64 dr0, dr1, dr2, dr3, dr6, dr7;
	u16 es, cs, ss, ds, fs, gs, ldtr, tr;
	struct table_register gdtr, idtr;
	u32 entry;		/* by which of the entries it came in */
};

extern struct exit_probe exit_probe;

/* From now on, until the end of the test: HOST_RIP is the probe. */
void exit_probe_on(void);

/* Where the probe can be entered: each place EXIT_PROBE_ENTRY_SIZE bytes behind the last. */
#define EXIT_PROBE_ENTRIES	64
#define EXIT_PROBE_ENTRY_SIZE	16
extern const u8 exit_probe_entries[], exit_probe_start[];

/* What an MSR held at the exit: one of those that the probe knows and the processor has. */
u64 exit_probe_msr(u32 msr);
bool exit_probe_has_msr(u32 msr);

/*
 * Called on each exit before the host's state is put back, on a stack of its own, with
 * everything that the exit loaded: GDTR, IDTR, CS and the base of GS must be good for C.
 * NULL after exit_probe_on().
 */
extern void (*exit_probe_hook)(void);
