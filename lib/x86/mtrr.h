/* SPDX-License-Identifier: BSD-2-Clause */
/* The memory type of physical memory (SDM Vol. 3A, "Memory Type Range Registers (MTRRs)"). */
#pragma once

#include "libc/types.h"

enum memory_type { MEMORY_UC = 0, MEMORY_WC = 1, MEMORY_WT = 4, MEMORY_WP = 5, MEMORY_WB = 6 };

/*
 * The type at an address below 4 GiB, and where the run of memory of that type ends (4 GiB at the most; whole 4-KByte
 * pages). As the MTRRs say, which do not count for a guest with EPT: the EPT entries have to. Where they are disabled the
 * manual makes all memory uncacheable, which is how a reset leaves them and a ROM finds them; then RAM of the machine's map
 * is write-back, as firmwares make it, and the rest, where devices are, uncacheable.
 */
enum memory_type memory_type_at(u64 physical, u64 *end);
