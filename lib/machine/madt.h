/* SPDX-License-Identifier: BSD-2-Clause */
/* The processors that the firmware lists (Advanced Configuration and Power Interface Specification, "MADT"). */
#pragma once

#include "libc/types.h"

/*
 * The APIC IDs of the processors that are enabled, in the table's order, each once: of its entries "Processor Local APIC"
 * and "Processor Local x2APIC". How many of them are in ids[]; more than `most` are left out. A processor that can only
 * be enabled later is none.
 */
unsigned int madt_processors(const void *madt, u32 *ids, unsigned int most);

/* Does a processor have that ID or may it get it later, enabled or not? */
bool madt_has_id(const void *madt, u32 id);
