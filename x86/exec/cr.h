/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of control-register accesses share. */
#pragma once

#include "vmxtest/vmxtest.h"

/* Exit qualification for control-register accesses (SDM Vol. 3C, "Basic VM-Exit Information"). */
enum cr_access { MOV_TO_CR = 0 << 4, MOV_FROM_CR = 1 << 4, CLTS = 2 << 4, LMSW = 3 << 4, LMSW_MEMORY = LMSW | 1 << 6 };
#define CR_ACCESS(cr, access, gpr)	((u64)((cr) | (access) | (gpr) << 8))
#define LMSW_SOURCE(source)		((u64)(u16)(source) << 16)

/* Registers in the order of their encoding. */
enum { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8 };

/* Bit patterns for a mask or a shadow: none, all, each bit, all but each bit, and some mixed. */
static inline u64 cr_pattern(u32 n)
{
	static const u64 special[] = { 0, ~0ull, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa, 0x0f1e2d3c4b5a6978 };

	return n < 64 ? BIT(n) : n < 128 ? ~BIT(n - 64) : special[n - 128];
}
#define CR_PATTERNS 133
