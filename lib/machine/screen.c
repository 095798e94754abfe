/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/screen.h"

static struct screen here;

void screen_is(const struct screen *screen)
{
	if (screen->kind != SCREEN_NONE)
		here = *screen;
}
