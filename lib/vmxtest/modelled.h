/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tests of VM entry against the model of it (vmxtest/model): with the word `modelled` each attempt to enter is given to the
 * model as well, and what the test expects of it is compared. What differs is said in a line "# model: ...".
 */
#pragma once

#include "vmx/outcome.h"
#include "vmxtest/model/model.h"

/* What the processor is; the addresses of memory are left 0. */
void modelled_processor(struct model_cpu *cpu);

/* Before an entry; checks_only: with guest RFLAGS = 0, so that nothing of the guest is looked at. */
void modelled_attempt(bool checks_only);

/* What the test expects of the last attempt; only the first check behind it is about that. */
void modelled_expect(struct outcome expected);
