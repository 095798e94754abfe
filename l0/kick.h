/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Make the timer interrupt L0 by NMI, so that no guest can keep the processor for itself. Needs iopl(3).
 * Returns what failed, or NULL.
 */
const char *kick_start(unsigned int hz);
