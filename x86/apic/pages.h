/* SPDX-License-Identifier: BSD-2-Clause */
/* The two pages of APIC virtualization, and a guest's accesses to them of every width. */
#pragma once

#include "vmxtest/vmxtest.h"
#include "x86/apic.h"

/* Where the guest sees the APIC-access page, and the virtual-APIC page. */
#define GUEST_APIC	PAGE_WINDOW
#define GUEST_VIRTUAL	(PAGE_WINDOW + PAGE_SIZE)

/* What APIC-access exits report in bits 15:12. */
enum {
	ACCESS_READ = 0 << 12, ACCESS_WRITE = 1 << 12, ACCESS_FETCH = 2 << 12, ACCESS_EVENT_DELIVERY = 3 << 12,
	ACCESS_GUEST_PHYSICAL_EVENT = 10 << 12, ACCESS_GUEST_PHYSICAL = 15 << 12,
};

/* The pages as the host has them: plain memory. */
extern u8 *access_page, *virtual_page;

/* "Virtualize APIC accesses" with all bytes of the page 5AH, so that what does not come from it is seen. */
void use_access_page(void);

/* "Use TPR shadow" with threshold 0; byte at offset i of the page is i * 7 + i / 256 * 13 (mod 256). */
void use_virtual_page(void);
void fill_virtual_page(void);
#define expect_virtual_page_filled() check_virtual_page(HERE)	/* as fill_virtual_page left it */
bool check_virtual_page(const char *file, u32 line);
void refill_register(u32 offset);	/* one register, as fill_virtual_page does */
#define expect_access_page_untouched() check_access_page(HERE)
bool check_access_page(const char *file, u32 line);

/* A 32-bit register of the virtual-APIC page. */
static inline volatile u32 *virtual_register(u32 offset)
{
	return (volatile u32 *)(virtual_page + offset);
}

struct access {
	u32 width;			/* in bytes */
	u64 mask;			/* of the value */
	void (*read)(void);		/* the function is the one instruction, and RET */
	void (*write)(void);
	const u8 *behind_read, *behind_write;
};

extern const struct access accesses[4];	/* 1, 2, 4 and 8 bytes */
#define ACCESS_32 (&accesses[2])

/* Run a guest that does the one access. The value read is in guest.regs.rcx, over ones. */
struct outcome guest_read_at(const struct access *access, u64 address);
struct outcome guest_write_at(const struct access *access, u64 address, u64 value);
