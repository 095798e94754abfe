/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmxtest/vmxtest.h"

/* No current VMCS: VMCLEAR the one that is. */
void vmcs_drop(void);

/* Any bit that makes the address of a VMXON or VMCS region invalid. */
bool address_bit_unaligned(u32 bit);
bool address_bit_beyond_width(u32 bit);

/* All arithmetic flags, as a VMX instruction that succeeds or fails leaves them. */
#define FLAGS_SUCCEED		0
#define FLAGS_FAIL_INVALID	RFLAGS_CF
#define FLAGS_FAIL_VALID	RFLAGS_ZF
