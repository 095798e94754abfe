/* SPDX-License-Identifier: BSD-2-Clause */
/* What the EFI application (wrap/efi.c) tells the image, in memory that the image may use again when it has read it. */
#pragma once

#include "libc/types.h"
#include "machine/screen.h"

enum { HANDOVER_MOST_RANGES = 512, HANDOVER_COMMAND_LINE = 2048 };

struct handover {
	u64 root;			/* of ACPI; 0: the firmware names none */
	struct screen screen;
	u32 range_count;
	struct handover_range {
		u64 start, end;
	} ranges[HANDOVER_MOST_RANGES];	/* RAM that is nobody's when boot services have ended */
	char command_line[HANDOVER_COMMAND_LINE];
};
