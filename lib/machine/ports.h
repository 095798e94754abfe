/* SPDX-License-Identifier: BSD-2-Clause */
/* I/O ports that any write may go to: for tests whose subject is the instructions, and for an exit to the hypervisor. */
#pragma once

#include "libc/types.h"

/*
 * The first of PORTS_FREE ports in a row (a multiple of it, 1000H to 7FFFH) where nothing is: each reads as all ones, and
 * no function of PCI, no bridge and none of ACPI's fixed registers has any of them. 0: none were found.
 */
enum { PORTS_FREE = 64 };
u16 ports_free(void);

/* Write to the diagnostic port, 80H, which shows a byte on a board and exits in most virtual machines. */
void ports_write_diagnostic(void);
