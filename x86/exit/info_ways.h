/* SPDX-License-Identifier: BSD-2-Clause */
/* One way to each exit that is not an instruction's own, and to the two failures of VM entry. */
#pragma once

#include "vmxtest/vmxtest.h"

enum { WAY_NEEDS = 4 };

struct way {
	const char *name;
	u32 reason;			/* without bit 31 */
	u32 needs[WAY_NEEDS];
	void (*prepare)(void);		/* from the baseline; and what it changes of the host */
	struct outcome (*run)(void);
	void (*clean)(void);		/* NULL: there is nothing to put back */
	u64 qualification;		/* NOT_LOOKED_AT: its own tests look at it */
	u64 interruption;		/* interruption information but bit 12; 0: not valid */
	u64 idt_vectoring;		/* the same */
	bool entry_failure;
	bool apart;			/* has a test of its own for all that the others look at */
};

extern const struct way ways[];
extern const size_t way_count;

#define FOR_EACH_WAY(way)								\
	for (const struct way *way = ways; way < ways + way_count; way++)		\
		if (!way_exists(way) || way->apart) { } else
bool way_exists(const struct way *way);

/* From a fresh VMCS: prepare, call poison if it is not NULL, run, clean. Afterwards the VMCS is the way's. */
void way_run(const struct way *way, void (*poison)(void));

/* The last entry came to the way's reason, alone in its field. */
#define expect_way(way) check_way(HERE, way)
bool check_way(const char *file, u32 line, const struct way *way);
