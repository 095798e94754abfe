/* SPDX-License-Identifier: BSD-2-Clause */
/* Checks on what the local APIC of this processor holds ("Interrupt Acceptance for Fixed Interrupts": IRR and ISR). */
#pragma once

#include "tap/check.h"
#include "x86/apic.h"
#include "x86/wait.h"

#define expect_requested(vector)	\
	check_that(HERE, "apic_requested(" #vector ")", apic_requested(vector), "the vector's bit in the IRR is 1")
#define expect_not_requested(vector)	\
	check_that(HERE, "!apic_requested(" #vector ")", !apic_requested(vector), "the vector's bit in the IRR is 0")
#define expect_in_service(vector)	\
	check_that(HERE, "apic_in_service(" #vector ")", apic_in_service(vector), "the vector's bit in the ISR is 1")
#define expect_not_in_service(vector)	\
	check_that(HERE, "!apic_in_service(" #vector ")", !apic_in_service(vector), "the vector's bit in the ISR is 0")
#define require_requested(vector)	\
	check_required(check_that(HERE, "apic_requested(" #vector ")", apic_requested(vector),	\
				  "the vector's bit in the IRR is 1"))

/* interrupt_pend(vector): what the processor sends to itself comes to its IRR in time. */
#define expect_pend(vector)	\
	check_that(HERE, "interrupt_pend(" #vector ")", interrupt_pend(vector),	\
		   "the interrupt that the processor sends to itself is in its IRR in time")
#define require_pend(vector)	\
	check_required(check_that(HERE, "interrupt_pend(" #vector ")", interrupt_pend(vector),	\
				  "the interrupt that the processor sends to itself is in its IRR in time"))
