/* SPDX-License-Identifier: BSD-2-Clause */
#include "libc/crc32.h"

#define POLYNOMIAL 0xedb88320u

u32 crc32(u32 before, const void *bytes, size_t count)
{
	const u8 *const at = bytes;
	u32 crc = ~before;

	for (size_t i = 0; i < count; i++) {
		crc ^= at[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
	}
	return ~crc;
}
