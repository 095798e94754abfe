/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmxtest/vmxtest.h"

/* Read or write an MSR that may not be there; value may be NULL. The fault, or none. */
struct fault try_rdmsr(u32 msr, u64 *value);
struct fault try_wrmsr(u32 msr, u64 value);
