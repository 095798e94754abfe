/* SPDX-License-Identifier: BSD-2-Clause */
/* CR0 and CR4 behind their guest/host mask and read shadow, by MOV (SDM Vol. 3C, "Guest/Host Masks and Read Shadows"). */
#pragma once

#include "cr.h"

struct masked_register {
	u32 number;
	enum vmcs_field guest, mask, shadow;
	void (*write)(void), (*read)(void);	/* guests: MOV from RAX, MOV to RCX */
	u64 (*own)(void);			/* this processor's */
};

void masked_set(const struct masked_register *r, u64 mask, u64 shadow);

/* The guest moves a value to the register: it must exit as such, with nothing changed. */
void masked_mov_exits(const struct masked_register *r, u64 value);

/* It must not exit, and leave this in the register. */
void masked_mov_done(const struct masked_register *r, u64 value, u64 result);

/* It must raise #GP(0), and change nothing. */
void masked_mov_refused(const struct masked_register *r, u64 value);

/* A guest that moves the register as it is to itself: for each bit, the shadow alone decides whether that exits. */
void masked_check_each_bit(const struct masked_register *r);

/* MOV from the register, which has this value: the shadow where the mask is 1, the register where it is 0. */
void masked_check_reads(const struct masked_register *r, u64 real);

/* All masked: any source that agrees with the shadow changes nothing, also one that would be refused without the mask. */
void masked_check_all_masked(const struct masked_register *r);

/* Each bit that IA32_VMX_CRn_FIXED0 and 1 do not let change: #GP(0), whether the others are masked or not. How many there were. */
u32 masked_check_refused(const struct masked_register *r, u64 fixed0, u64 fixed1);
