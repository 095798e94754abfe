/* SPDX-License-Identifier: BSD-2-Clause */
/* The VM-entry MSR-load area, as the model knows it. */
#pragma once

#include "vmxtest/model/model.h"

/* How many entries are looked at; 0 where the address is not that of the model's list. */
u32 model_list_length(const struct model_state *s);

/* The first entry, from 1, that fails by one of the rules that are violated; 0: none. */
u32 model_list_failing(const struct model_state *s, const struct model_set *violated);

/* Does any of them fail? */
bool model_list_fails(const struct model_state *s);
