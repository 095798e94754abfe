/* SPDX-License-Identifier: BSD-2-Clause */
/* A screen that the way in tells of: nobody looks for one. */
#pragma once

#include "libc/types.h"

enum screen_kind { SCREEN_NONE, SCREEN_TEXT, SCREEN_PIXELS };

struct screen {
	u64 address;
	u32 kind;			/* enum screen_kind */
	u32 width, height;		/* characters (two bytes each: code, colours) or pixels */
	u32 pitch;			/* bytes from a line to the next */
	u32 depth;			/* bits of a pixel: 15, 16, 24 or 32 */
	u32 red, green, blue;		/* the lowest bit of each colour in a pixel */
};

/* What the way in says; the last one that is of use counts. */
void screen_is(const struct screen *screen);
