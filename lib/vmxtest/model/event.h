/* SPDX-License-Identifier: BSD-2-Clause */
/* The event that a VM entry injects, as the rules look at it. */
#pragma once

#include "vmx/decode.h"
#include "vmxtest/model/look.h"

static inline u64 event(const struct model_state *s) { return v(s, M_VM_ENTRY_INTERRUPTION_INFORMATION); }
static inline u64 event_vector(const struct model_state *s) { return event(s) & 0xff; }

static inline bool injects(const struct model_state *s, u32 type)
{
	return event(s) & INTERRUPTION_VALID && (event(s) & INTERRUPTION_TYPE_MASK) == type;
}
