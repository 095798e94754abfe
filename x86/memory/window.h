/* SPDX-License-Identifier: BSD-2-Clause */
/* One page that the guest sees through its page tables and the EPT, by three different addresses. */
#pragma once

#include "vmx/ept.h"
#include "vmxtest/vmxtest.h"

/* Linear, guest-physical: no index of any level is 0 or the same as another's, but the EPT's PML4 index is 0. */
#define LINEAR		(PAGE_WINDOW + 0x1122345000ull)
#define GUEST_PHYSICAL	0xa54321000ull

/* The page, host-physical: filled with RET, its first 8 bytes too, so reads give RETS. */
extern u8 *window_page;
#define RETS 0xc3c3c3c3c3c3c3c3ull

/* EPT on; LINEAR -> GUEST_PHYSICAL by a supervisor page that may all, -> window_page by RWX, write-back. */
void use_window(void);

/*
 * Write the page back to memory. Behind this it may be read and executed by any memory type. A write of another type than
 * the host's write-back has no promise: "Intel does not support this practice" (SDM Vol. 3A, "Programming the PAT").
 */
void write_back_window(void);

/* Give the window back what use_window gave it: all levels RWX, and flush. */
void restore_window(void);

/*
 * The guest reads (into guest.regs.rcx, over 0), writes (guest.regs.rcx as it is) or executes 8 bytes, or 1, at an
 * address. An instruction that exits is the first of its function.
 */
struct outcome guest_access(enum access_kind access, u64 linear);
u64 access_rip(enum access_kind access, u64 linear);
extern const char *const access_names[ACCESSES];

/* Bits 2:0 of the qualification of a violation by the access: also the permission that it needs. */
static inline u64 access_bit(enum access_kind access)
{
	return BIT(access);
}

/* The access goes through; what is read is the page's. */
#define expect_access_works(access, linear) check_access_works(HERE, access, linear)
bool check_access_works(const char *file, u32 line, enum access_kind access, u64 linear);

/*
 * The guest's access to the window ends in an EPT violation: permissions are bits 5:3 of the qualification, where the
 * linear address is LINEAR + offset, and the guest-physical one GUEST_PHYSICAL + offset.
 */
#define expect_violation(access, permissions, offset) check_violation(HERE, access, permissions, offset)
bool check_violation(const char *file, u32 line, enum access_kind access, u64 permissions, u64 offset);

/* The same for a misconfiguration. Its qualification is the business of ept.misconfig.qual. */
#define expect_misconfiguration(access, offset) check_misconfiguration(HERE, access, offset)
bool check_misconfiguration(const char *file, u32 line, enum access_kind access, u64 offset);
