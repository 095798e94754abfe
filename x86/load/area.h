/* SPDX-License-Identifier: BSD-2-Clause */
/* The VM-entry MSR-load area (SDM Vol. 3C, "VM-Entry Controls for MSRs", "Loading MSRs"). */
#pragma once

#include "load.h"

#include "vmx/msr_list.h"

/* At least 512 entries are allowed everywhere (IA32_VMX_MISC[27:25]). */
enum { AREA_ENTRIES = 512 };

/* The area of the test: room for AREA_ENTRIES from the start of a page. Set its length by area_use. */
struct msr_entry *area_alloc(void);
void area_use(const struct msr_entry *area, u32 count);

/* An MSR that nothing here needs; test its old value by msrs_keep and msrs_put_back. */
#define HARMLESS_MSR ((u32)IA32_KERNEL_GS_BASE)

/* Fill entries first to last - 1 with loads of the harmless MSR; entry i gets harmless_value(i). */
void area_fill(struct msr_entry *area, u32 first, u32 last);
u64 harmless_value(u32 i);

/*
 * The bad entry, at several places in a list of good ones, makes VM entry fail with its number; those before it are
 * loaded, those behind it not, and the host goes on.
 */
void expect_entry_fails(struct msr_entry *area, struct msr_entry bad);

/* The same, only as the first entry, for many values. Also: the list without it is good. */
void expect_first_entry_fails(struct msr_entry *area, struct msr_entry bad);
