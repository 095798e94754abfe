/* SPDX-License-Identifier: BSD-2-Clause */
/* The indices of MSRs, by the manual's names (msrs.def). */
#pragma once

enum {
#define MSR(name, index, text) name = (int)(index),
#include "x86/msrs.def"
};
