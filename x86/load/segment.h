/* SPDX-License-Identifier: BSD-2-Clause */
/* Segments as the guest finds them: code that goes through each, and the faults that it takes. */
#pragma once

#include "load.h"
#include "vmxtest/entry_guest.h"

/* Modes whose segments have base and limit, with 32-bit code; real mode has too, with 16-bit code. */
#define FOR_EACH_SEGMENTED_MODE(mode) FOR_EACH_MODE(mode) if (mode == MODE_64BIT || mode == MODE_VIRTUAL_8086) { } else

/* The baseline with a guest of this mode, whose exceptions all exit. */
void start_segments(enum guest_mode mode);

/* Run the code with EIP as CS base wants it: CS base is subtracted. */
struct outcome run_based_code(struct code code);

/*
 * MOV of 4 bytes through a segment register (SEG_ES to SEG_GS) at an offset, in 32-bit or 16-bit code: EAX from
 * memory, or ECX to memory.
 */
struct outcome read_through(enum segment_register r, u32 offset);
struct outcome write_through(enum segment_register r, u32 offset, u32 value);

void set_segment(enum segment_register r, u64 base, u32 limit, u32 rights);

/* The last run ended in this exception, with error code 0 where there are error codes. */
#define expect_exception(vector) check_exception(HERE, vector)
bool check_exception(const char *file, u32 line, u8 vector);

/* #SS for SS, #GP for the others. */
static inline u8 segment_vector(enum segment_register r)
{
	return r == SEG_SS ? VECTOR_SS : VECTOR_GP;
}
