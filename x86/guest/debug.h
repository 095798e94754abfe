/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "guest.h"

#define LABEL(name) extern const u8 name[]

enum { DR6_BD = BIT(13), DR6_BS = BIT(14), DR6_BT = BIT(15), DR7_GD = BIT(13), DR7_FIXED = BIT(10) };

/* What is 1 in DR6 whatever happens; bits 11 (BLD), 12 and 16 (RTM) depend on features. */
#define DR6_EVENTS 0xe00full
#define DR6_ONES (0xffff0ff0ull & ~(BIT(11) | BIT(16)))
