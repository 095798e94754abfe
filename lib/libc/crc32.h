/* SPDX-License-Identifier: BSD-2-Clause */
/* The checksum of gzip, zip and Ethernet (polynomial EDB88320H, reflected), so that others can compute it. */
#pragma once

#include "libc/types.h"

/* Go on from the checksum of what was before; 0 at the beginning. */
u32 crc32(u32 before, const void *bytes, size_t count);
