/* SPDX-License-Identifier: BSD-2-Clause */
/* The lists of MSRs that VM entry loads and VM exit stores and loads. */
#pragma once

#include "libc/types.h"

/* SDM Vol. 3C, 24.7.2 "VM-Exit Controls for MSRs", table "Format of an MSR Entry". A list is aligned on 16 bytes. */
struct msr_entry {
	u32 index, reserved;
	u64 value;
};
