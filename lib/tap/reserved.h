/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reserved bits that a processor refuses by a fault. On a model that is younger than the suite (x86/model.h) one of
 * them may have got a meaning, so that it is taken: this is a note there, no failure, and as nobody knows what the
 * bit does, it is only tried on a machine that may be stopped (tap/danger.h).
 */
#pragma once

#include "libc/types.h"

/* End the test as skipped where reserved bits must not be tried. */
void need_reserved_bits(void);

/*
 * A register was written with these reserved bits, without a fault, and reads as now: may they have got a meaning? If so
 * they are added to *taken, for note_reserved_bits() behind the last one.
 */
bool reserved_bits_taken(u64 bits, u64 now, u64 *taken);
void note_reserved_bits(const char *name, u64 taken);

/*
 * The lowest address bit that is reserved in the entries of paging structures and EPT: BIT(MAXPHYADDR). Where a physical
 * address has 52 bits there is none, and the test ends as skipped.
 */
u64 need_reserved_address_bit(void);
