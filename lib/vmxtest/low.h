/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory that code in real-address or virtual-8086 mode reaches by a segment of its own. */
#pragma once

#include "libc/types.h"

/*
 * The address of a page below 64 KiB that nothing else uses, always the same one; its paragraph is this >> 4. A test is
 * a SKIP where the machine has no RAM there that is free.
 */
u64 low_page(void);
