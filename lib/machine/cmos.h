/* SPDX-License-Identifier: BSD-2-Clause */
/* The battery-backed RAM of the real-time clock, where firmwares of PCs leave the size of the memory. */
#pragma once

#include "libc/types.h"

/* The RAM by the CMOS, told to machine/memory.h; by trying a little of it where the CMOS says nothing believable. */
void cmos_tell_memory(void);
