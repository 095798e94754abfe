/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests for the checks on guest state (SDM Vol. 3C, "Checks on the Guest State Area"): legal ones of every
 * mode to start from, and a probe that says whether VM entry takes the guest state as it is.
 */
#pragma once

#include "vmxtest/entry.h"

/* The eight segment registers in the order of their fields, and those fields. */
enum segment_register { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEGMENT_REGISTERS };
extern const char *const segment_names[SEGMENT_REGISTERS];

static inline enum vmcs_field segment_selector(enum segment_register r) { return GUEST_ES_SELECTOR + 2 * r; }
static inline enum vmcs_field segment_limit(enum segment_register r) { return GUEST_ES_LIMIT + 2 * r; }
static inline enum vmcs_field segment_rights(enum segment_register r) { return GUEST_ES_ACCESS_RIGHTS + 2 * r; }
static inline enum vmcs_field segment_base(enum segment_register r) { return GUEST_ES_BASE + 2 * r; }

/*
 * Make the guest of the baseline (64-bit mode, CPL 0) another one that is legal too. Its paging structures are
 * not made: it must be stopped before its first instruction (entry_stop_guest_at_once, which goes first).
 */
void entry_guest_compatibility(void);	/* IA-32e mode, CS.L = 0 */
void entry_guest_32bit(void);		/* protected mode, 32-bit paging */
void entry_guest_pae(void);		/* the same with PAE paging: four PDPTEs that are not present */
void entry_guest_v86(void);		/* virtual-8086 mode */
void entry_guest_real(void);		/* CR0.PE = CR0.PG = 0; sets "unrestricted guest" */

/* "Unrestricted guest", and the EPT that it needs: one that maps nothing. */
void entry_unrestricted_guest(void);

/* LDTR usable, as LLDT would load it. */
void entry_guest_ldtr(void);

/* Remember the guest-state area and what an exit changes besides: VM-entry controls and injection. */
void entry_guest_keep(void);

/* Remember nothing: for a walk that writes all that an exit may change, and is in a hurry. */
void entry_guest_forget(void);

/* If the last entry ended in an exit, which saved the guest's state, write what was remembered. */
void entry_guest_put_back(void);

/*
 * Try to enter; expect that the guest state is legal or not (reason 33 with this qualification). If the guest
 * ran, what entry_guest_keep remembered is put back: a case sets all that it varies.
 */
#define expect_guest_state(legal)	check_guest_state(HERE, legal, 0)
#define expect_guest_state_q(legal, qualification) check_guest_state(HERE, legal, qualification)
bool check_guest_state(const char *file, u32 line, bool legal, u64 qualification);

/* The guest state is illegal by a bit that is reserved today: as above, but taken it is a note on an unknown processor. */
#define expect_reserved_refused() check_reserved_refused(HERE)
bool check_reserved_refused(const char *file, u32 line);

/*
 * Try rights and limit of a segment register. A processor may drop reserved bits of the rights on VMWRITE: then there
 * is nothing to try, and the result is false.
 */
bool entry_try_segment(enum segment_register r, u32 rights, u32 limit, bool legal);

/* Canonical addresses at both ends of both halves: what goes with NONCANONICAL. */
bool entry_canonical(u32 index, u64 *value);
#define CANONICAL_ENDS COMPUTED(entry_canonical)

/*
 * For guests that hold an event or wait for one: injection, pending debug exceptions, blocking, HLT. In this activity
 * state the guest exits at once: by the VMX-preemption timer, which ends HLT too, or by what comes before that, a #DB or
 * the #GP of an event's delivery, as the guest's IDT is empty; behind MOV SS at its first instruction, if the processor
 * lets that one go first. Without the timer, in shutdown (an entry to it resets many a machine) and in wait-for-SIPI
 * (which only another processor ends), it is entry_fail_after_guest_state.
 */
void entry_stop_guest_in(u32 activity);

/*
 * Where no guest may run at all: a VM-entry MSR-load area that fails, so that a guest state that passes its checks ends
 * in entry failure 34, and that is what expect_guest_state looks for. It needs a target that checks the guest state
 * first, which entry.order.guest_before_msr is a test of.
 */
void entry_fail_after_guest_state(void);
