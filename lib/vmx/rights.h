/* SPDX-License-Identifier: BSD-2-Clause */
/* Access rights of a segment, as a field of the VMCS has them (SDM Vol. 3C, 24.4.1 "Guest Register State"). */
#pragma once

#include "libc/types.h"

enum {
	RIGHTS_S = BIT(4), RIGHTS_DPL = 3 << 5, RIGHTS_P = BIT(7), RIGHTS_L = BIT(13), RIGHTS_DB = BIT(14),
	RIGHTS_G = BIT(15), RIGHTS_NOT_USABLE = BIT(16),

	/* Types with S and P: code and data that are accessed, of a segment without G. */
	RIGHTS_CODE16 = 0x9b, RIGHTS_DATA16 = 0x93, RIGHTS_V86 = RIGHTS_DATA16 | RIGHTS_DPL,
	RIGHTS_LDT = 0x82, RIGHTS_TSS32 = 0x8b, RIGHTS_TSS16 = 0x83,	/* busy ones, which alone may be in TR */

	/* Flat ones. */
	RIGHTS_CODE64 = RIGHTS_CODE16 | RIGHTS_L | RIGHTS_G, RIGHTS_CODE32 = RIGHTS_CODE16 | RIGHTS_DB | RIGHTS_G,
	RIGHTS_DATA32 = RIGHTS_DATA16 | RIGHTS_DB | RIGHTS_G,
};
