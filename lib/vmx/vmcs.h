/* SPDX-License-Identifier: BSD-2-Clause */
/* VMX operation and the current VMCS. */
#pragma once

#include "vmx/controls.h"
#include "vmx/fields.h"
#include "vmx/instructions.h"
#include "vmx/rights.h"

/* A VMCS or VMXON region (SDM Vol. 3C, "Format of the VMCS Region"). */
struct vmcs_region {
	u32 revision;		/* bit 31: shadow-VMCS indicator */
	u32 abort_indicator;
	u8 data[PAGE_SIZE - 8];
} ALIGNED(4096);

/*
 * May VMX operation be entered here? Locks IA32_FEATURE_CONTROL with VMX allowed
 * if nobody has locked it. If not, the reason.
 */
bool vmx_usable(char *reason, size_t size);

/* What VMXON did while IA32_FEATURE_CONTROL was unlocked; OUTCOME_NONE: it never was. */
extern struct outcome vmxon_while_unlocked;

/* Enter VMX operation with the suite's own VMXON region, and leave it. Throw on failure. */
void vmx_on(void);
void vmx_off(void);

/* The same with another VMXON region: on another processor, each of which needs its own. */
void vmx_on_with(struct vmcs_region *own);
extern struct vmcs_region vmxon_region, vmcs_region;

/* A fresh region, with the processor's revision identifier (a page of page_alloc's). */
struct vmcs_region *vmcs_region_alloc(void);

/* VMCLEAR and VMPTRLD of the suite's own VMCS: current, and its launch state clear. */
void vmcs_reset(void);

/* The current-VMCS pointer: all ones if there is none. */
u64 vmcs_current(void);

/* Read or write a field of the current VMCS; a VMfail or fault throws, naming the field. */
u64 vmcs_read(enum vmcs_field field);
void vmcs_write(enum vmcs_field field, u64 value);

/* Which of the last few fields that vmcs_read() read had this value: for a check that names what it has found. */
bool vmcs_last_read(u64 value, u32 *encoding);

/*
 * Set or clear controls, any words mixed: vmcs_set_controls(PROC_HLT_EXITING,
 * PROC2_ENABLE_VPID). Setting one of a secondary word activates that word.
 */
#define vmcs_set_controls(...) vmcs_change_controls((const u32[]){ __VA_ARGS__, 0 }, true)
#define vmcs_clear_controls(...) vmcs_change_controls((const u32[]){ __VA_ARGS__, 0 }, false)
void vmcs_change_controls(const u32 *controls, bool set);
