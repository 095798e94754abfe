/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptors of the test's own, in the spare slots of the GDT. */
#pragma once

#include "guest.h"

/* Access byte: present, S, type. */
enum {
	DATA = 0x93, CODE_R = 0x9b,
	DPL3 = 3 << 5, PRESENT = 0x80, LDT = 0x82, TSS_AVAILABLE = 0x89, TSS_BUSY = 0x8b, CALL_GATE = 0x8c,
};

/* A flat segment with this access byte; L, D and G (bits 55:52) as given. */
static inline u64 flat(u8 access, u8 flags)
{
	return 0x000f00000000ffff | (u64)access << 40 | (u64)flags << 52;
}

enum { FLAGS_D = 0xc };

static inline void set_spare(u64 low, u64 high)
{
	gdt[SELECTOR_SPARE / 8] = low;
	gdt[SELECTOR_SPARE / 8 + 1] = high;
}

static inline struct fault load_fs(u16 selector)
{
	const struct fault fault = TRY(asm volatile("mov %w0, %%fs" : : "r"((u64)selector) : "memory"));

	asm volatile("mov %w0, %%fs" : : "r"(0));
	return fault;
}

struct far_pointer {
	u32 offset;
	u16 selector;
} __attribute__((packed));
