/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ending the machine. Each kind of virtual machine has its own way, and its ports may be anything else on another one: so
 * nothing is written unless the machine carries the signature of that kind, or the command line names it.
 */
#pragma once

#include "libc/types.h"

/*
 * End the machine, or stop the processor where it is of no known kind. Returns only if it is not to be ended, or does not
 * obey.
 */
void power_end(void);

/*
 * The word end=NAME: a kind, whatever the signatures say ("monitor", "qemu", "bochs", "virtualbox", "acpi-reduced"); "halt":
 * nothing is written to any port; "reset"; "poweroff": soft-off as ACPI says it. False: there is no such kind.
 */
bool power_end_by(const char *name, size_t length);

/* Reset the machine, whatever kind it is. */
void power_reset(void);
