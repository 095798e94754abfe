/* SPDX-License-Identifier: BSD-2-Clause */
/* Segment selectors of the GDT (lib/x86/tables.c); for C and assembly. */
#pragma once

#define SELECTOR_CODE64		0x08
#define SELECTOR_DATA		0x10
#define SELECTOR_USER_CODE32	0x1b	/* in SYSRET's order: code32, data, code64 */
#define SELECTOR_USER_DATA	0x23
#define SELECTOR_USER_CODE64	0x2b
#define SELECTOR_CODE32		0x30
#define SELECTOR_CODE16		0x38
#define SELECTOR_DATA16		0x40
#define SELECTOR_SPARE		0x48	/* free for a test to fill (two slots) */
#define SELECTOR_TSS(cpu)	(0x58 + 16 * (cpu))

#define MAX_CPUS		16
