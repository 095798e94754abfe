/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registers that VM entry or VM exit load, and states of guest and host that
 * differ from what the processor holds in each of them: so that a test sees what was
 * loaded, and what was not.
 */
#pragma once

#include "vmxtest/entry.h"

enum { REGISTERS = 40 };

struct registers {
	u64 value[REGISTERS];
};

struct registers registers_read(void);

/* Compare with the registers as they are; each register that differs is a failed check. */
#define expect_registers(before)	check_registers(HERE, &(before))
void check_registers(const char *file, u32 line, const struct registers *before);

/* A legal guest state, and a legal host state, that differ from the registers in all that can be seen. */
void guest_state_make_different(void);
void host_state_make_different(void);

/* Each register that a VM exit loads from the host-state area, or sets to a fixed value, has that value. */
#define expect_host_loaded()		check_host_loaded(HERE)
void check_host_loaded(const char *file, u32 line);

/* Write the host-state area for the registers as they were, and load it by an entry failure. */
void host_state_put_back(void);
