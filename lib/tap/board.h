/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a person sees who stands before the machine: the test that runs, counts, each one that is red with its line, and what stays
 * at the end. It reads what the image says (console/console.h), line by line, so it shows what a log of it has.
 */
#pragma once

#include "libc/types.h"

/* Look on from here; on the screen that the way in tells of (machine/screen.h), if there is one. */
void board_begin(void);

/* The CRC-32 of all lines with a verdict up to now, with their line ends, and how many they are. */
u32 board_checksum(u32 *lines);
