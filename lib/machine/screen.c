/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/screen.h"

#include "libc/string.h"
#include "x86/page.h"

enum {
	MOST_COLUMNS = 160, MOST_ROWS = 64,
	GLYPH_COLUMNS = 5, GLYPH_ROWS = 8,
	CELL_WIDTH = 8, CELL_HEIGHT = 2 * GLYPH_ROWS,	/* pixels: each row of a character twice */
	LEAST_WIDTH = 960,				/* pixels of a screen for each that one of a cell is large */
};

static const u8 font[][GLYPH_ROWS] = {
#define GLYPH(character, ...) [character - ' '] = { __VA_ARGS__ },
#include "machine/font.def"
};

static const struct {
	u8 attribute;			/* of text mode */
	u8 red, green, blue;
} colours[] = {
	[COLOUR_DIM] = { 0x08, 0x90, 0x90, 0x90 }, [COLOUR_PLAIN] = { 0x07, 0xd0, 0xd0, 0xd0 },
	[COLOUR_BRIGHT] = { 0x0f, 0xff, 0xff, 0xff }, [COLOUR_GREEN] = { 0x0a, 0x60, 0xff, 0x60 },
	[COLOUR_RED] = { 0x0c, 0xff, 0x60, 0x60 },
};

static struct screen here;
static u32 columns, rows, scale;
static volatile u8 *memory;
static struct cell {
	u8 character, colour;
} shown[MOST_ROWS][MOST_COLUMNS];

void screen_is(const struct screen *screen)
{
	if (screen->kind != SCREEN_NONE)
		here = *screen;
}

bool screen_by(const char *word, size_t length)
{
	static const struct screen text = { .kind = SCREEN_TEXT, .address = 0xb8000, .width = 80, .height = 25, .pitch = 160 };

	if (length != 4 || (memcmp(word, "auto", 4) && memcmp(word, "text", 4) && memcmp(word, "none", 4)))
		return false;
	if (!memcmp(word, "text", 4))
		here = text;
	if (!memcmp(word, "none", 4))
		here.kind = SCREEN_NONE;
	return true;
}

static u32 pixel_of(const u8 colour[3])
{
	if (here.depth >= 24)
		return (u32)colour[0] << here.red | (u32)colour[1] << here.green | (u32)colour[2] << here.blue;

	const u32 green = here.depth == 16 ? colour[1] >> 2 : colour[1] >> 3;

	return (u32)(colour[0] >> 3) << here.red | green << here.green | (u32)(colour[2] >> 3) << here.blue;
}

static void put_pixel(u32 x, u32 y, u32 pixel)
{
	volatile u8 *const at = memory + (u64)y * here.pitch + (u64)x * ((here.depth + 7) / 8);

	if (here.depth == 32) {
		*(volatile u32 *)at = pixel;
	} else if (here.depth < 24) {
		*(volatile u16 *)at = pixel;
	} else {
		at[0] = pixel;
		at[1] = pixel >> 8;
		at[2] = pixel >> 16;
	}
}

static void draw(u32 row, u32 column, struct cell cell)
{
	const u8 colour[3] = { colours[cell.colour].red, colours[cell.colour].green, colours[cell.colour].blue };
	const u32 pixel = pixel_of(colour), left = column * CELL_WIDTH * scale, top = row * CELL_HEIGHT * scale;

	for (u32 y = 0; y < CELL_HEIGHT * scale; y++) {
		const u32 bits = font[cell.character - ' '][y / scale / 2] << (CELL_WIDTH - GLYPH_COLUMNS - 1);

		for (u32 x = 0; x < CELL_WIDTH * scale; x++)
			put_pixel(left + x, top + y, bits >> (CELL_WIDTH - 1 - x / scale) & 1 ? pixel : 0);
	}
}

static void put(u32 row, u32 column, struct cell cell)
{
	struct cell *const old = &shown[row][column];

	if (old->character == cell.character && (old->colour == cell.colour || cell.character == ' '))
		return;
	*old = cell;
	if (here.kind == SCREEN_PIXELS)
		draw(row, column, cell);
	else
		*(volatile u16 *)(memory + (u64)row * here.pitch + 2 * column) = colours[cell.colour].attribute << 8 | cell.character;
}

static bool can_be_used(void)
{
	const bool depth = here.depth == 15 || here.depth == 16 || here.depth == 24 || here.depth == 32;
	const u64 least = here.kind == SCREEN_TEXT ? 2ull * here.width : (u64)here.width * ((here.depth + 7) / 8);

	return here.kind != SCREEN_NONE && here.width && here.height && here.pitch >= least && (here.kind == SCREEN_TEXT || depth);
}

bool screen_begin(void)
{
	if (!can_be_used())
		return false;
	memory = page_reach(here.address, (u64)here.pitch * here.height);
	if (!memory)
		return false;
	scale = here.width / LEAST_WIDTH ? here.width / LEAST_WIDTH : 1;
	columns = here.kind == SCREEN_TEXT ? here.width : here.width / (CELL_WIDTH * scale);
	rows = here.kind == SCREEN_TEXT ? here.height : here.height / (CELL_HEIGHT * scale);
	columns = columns < MOST_COLUMNS ? columns : MOST_COLUMNS;
	rows = rows < MOST_ROWS ? rows : MOST_ROWS;
	if (here.kind == SCREEN_PIXELS)
		for (u64 i = 0; i < (u64)here.pitch * here.height; i += 4)
			*(volatile u32 *)(memory + i) = 0;
	for (u32 row = 0; row < rows; row++)		/* of whatever was there */
		screen_row(row, "", COLOUR_PLAIN);
	return true;
}

u32 screen_columns(void)
{
	return columns;
}

u32 screen_rows(void)
{
	return rows;
}

void screen_row(u32 row, const char *text, enum colour colour)
{
	for (u32 column = 0; row < rows && column < columns; column++) {
		const u8 character = *text;

		if (*text)
			text++;
		put(row, column, (struct cell){ character > ' ' && character < 0x7f ? character : ' ', colour });
	}
}
