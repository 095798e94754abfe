/* SPDX-License-Identifier: BSD-2-Clause */
/* The pages that controls point at: made, put into the VMCS, and switched on in one call. */
#pragma once

#include "vmx/vmcs.h"

/*
 * "use I/O bitmaps" with all bits 0: bitmap A and B one behind the other, so that
 * bit p of the 8 KBytes is port p (SDM Vol. 3C, "I/O-Bitmap Addresses").
 */
u8 *vmcs_use_io_bitmaps(void);

/* "use MSR bitmaps" with all bits 0 (SDM Vol. 3C, "MSR-Bitmap Address"). */
u8 *vmcs_use_msr_bitmap(void);

enum msr_access { MSR_READ, MSR_WRITE };

/*
 * The place of an MSR's bit in the 4-KByte bitmap, in bits; MSR_NOT_IN_BITMAP for an
 * MSR outside 0-1FFFH and C0000000H-C0001FFFH, which always exits.
 */
u32 msr_bitmap_position(u32 msr, enum msr_access access);
#define MSR_NOT_IN_BITMAP 0xffffffff

/* "use TPR shadow": the virtual-APIC page, zeroed; VTPR is the u32 at APIC_TPR. */
u8 *vmcs_use_tpr_shadow(u32 threshold);

/* "virtualize APIC accesses": the APIC-access page, zeroed. Map it by a 4-KByte page: large ones may be missed. */
u8 *vmcs_use_apic_access_page(void);

/* A bit of a bitmap of bytes. */
static inline void bitmap_set(u8 *bitmap, u32 bit)
{
	bitmap[bit / 8] |= 1 << bit % 8;
}

static inline void bitmap_clear(u8 *bitmap, u32 bit)
{
	bitmap[bit / 8] &= ~(1 << bit % 8);
}
