/* SPDX-License-Identifier: BSD-2-Clause */
/* Is this a real machine, which a test may stop or harm, or one that somebody can start again at no cost? */
#pragma once

#include "libc/types.h"

/*
 * Does the machine say that it is emulated? By the command line (machine=emulated or machine=real, which goes before
 * all else), or by the signature in CPUID leaf 40000000H of a hypervisor whose machines are never real ones.
 * Nothing said: no.
 */
bool machine_is_emulated(void);

/* What the command line says. */
void machine_say(bool emulated);
