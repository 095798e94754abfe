/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the machine's interrupts come from: two 8259s, I/O APICs, an HPET. The suite uses none of them, and firmware,
 * loader or an earlier kernel may have left any of them on.
 */
#pragma once

#include "libc/types.h"

/*
 * Mask every input of both 8259s and of every I/O APIC, and turn the interrupts of the HPET's timers off (its counter goes
 * on). The I/O APICs are those of ACPI's MADT; without one, that of a PC at FEC00000H, if what is there reads like one.
 */
void interrupt_sources_off(void);
