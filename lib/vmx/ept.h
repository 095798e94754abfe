/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Extended page tables for the suite's guest (SDM Vol. 3C, "The Extended Page Table Mechanism").
 *
 *	vmcs_use_ept();					guest-physical = host-physical below 4 GiB
 *	*ept_entry(address, 1) &= ~(u64)EPT_WRITE;	change the entry of one page; larger ones are split
 *	ept_flush();
 *
 * All tables are page_alloc's: gone after the test.
 */
#pragma once

#include "vmx/vmcs.h"
#include "x86/page.h"

enum {
	EPT_READ = BIT(0), EPT_WRITE = BIT(1), EPT_EXECUTE = BIT(2), EPT_RWX = 7,
	EPT_UC = 0 << 3, EPT_WC = 1 << 3, EPT_WT = 4 << 3, EPT_WP = 5 << 3, EPT_WB = 6 << 3, EPT_TYPE_MASK = 7 << 3,
	EPT_TYPE_SHIFT = 3,
	EPT_IGNORE_PAT = BIT(6), EPT_LARGE = BIT(7), EPT_ACCESSED = BIT(8), EPT_DIRTY = BIT(9),
};

enum { EPTP_ACCESSED_DIRTY = BIT(6) };

/* The kinds of access that paging tells apart. */
enum access_kind { READ, WRITE, FETCH, ACCESSES };

/* INVEPT and INVVPID types. */
enum { INVEPT_SINGLE_CONTEXT = 1, INVEPT_ALL_CONTEXT = 2 };
enum {
	INVVPID_INDIVIDUAL_ADDRESS = 0, INVVPID_SINGLE_CONTEXT = 1, INVVPID_ALL_CONTEXT = 2,
	INVVPID_SINGLE_CONTEXT_RETAINING_GLOBALS = 3,
};

/* Exit qualification of an EPT violation. */
enum {
	EPT_VIOLATION_READ = BIT(0), EPT_VIOLATION_WRITE = BIT(1), EPT_VIOLATION_FETCH = BIT(2),
	EPT_VIOLATION_PERMISSIONS_SHIFT = 3,	/* bits 5:3: R, W, X of the entries used, ANDed */
	EPT_VIOLATION_LINEAR_VALID = BIT(7),
	EPT_VIOLATION_FINAL = BIT(8),		/* 0: a guest paging-structure entry */
};
/* The bits that every processor defines: 6, 9-11 and 13-16 depend on controls and capabilities. */
#define EPT_VIOLATION_DEFINED (~0x1fe40ull | BIT(7) | BIT(8) | BIT(12))

/*
 * "Enable EPT" with an identity map of the first 4 GiB, RWX, each page of the memory type that it has without EPT
 * (x86/mtrr.h). 2-MByte pages where there are such, and memory of one type. Accessed and dirty flags are off.
 */
void vmcs_use_ept(void);

/* The EPTP for a PML4 table: 4 levels, write-back if the processor may, A/D flags off. */
u64 ept_pointer(const u64 *pml4);

/* The PML4 table that the EPTP field points to. */
u64 *ept_root(void);

/*
 * The entry of a guest-physical address at a level (1: PTE ... 4: PML4E) of the EPT in use. Tables that
 * are missing above (the entry is 0) are made, RWX; larger pages above are split. It does not flush.
 */
u64 *ept_entry(u64 guest_physical, unsigned int level);

/* Map one 4-KByte page: flags are the permissions and the memory type. It does not flush. */
void ept_map(u64 guest_physical, u64 host_physical, u64 flags);

/* INVEPT for the EPT in use (by single context, or all where there is no such type). */
void ept_flush(void);

/* INVVPID of everything: no translation of an earlier test is left under any VPID. */
void vpid_flush_all(void);
