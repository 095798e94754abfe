/* SPDX-License-Identifier: BSD-2-Clause */
/* A screen of characters: VGA's text mode or a frame buffer, which the way in tells of. Nobody looks for one. */
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

/*
 * The word screen=: "auto", which is what the way in says; "text", VGA's text mode of 80 columns and 25 rows, whatever it says; "none".
 * False: there is no such word.
 */
bool screen_by(const char *word, size_t length);

/* Clear it and use it from now on. False: there is none, or none that can be used. */
bool screen_begin(void);

/* How many characters it has; 0 before it is used. */
u32 screen_columns(void);
u32 screen_rows(void);

/* Write a row from its first column; what is behind the text becomes blank. What is there already is not written again. */
enum colour { COLOUR_DIM, COLOUR_PLAIN, COLOUR_BRIGHT, COLOUR_GREEN, COLOUR_RED };
void screen_row(u32 row, const char *text, enum colour colour);
