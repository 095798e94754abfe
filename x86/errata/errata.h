/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Probes of published errata (spec/errata.tsv) that no test of a rule would notice. Each is a test of what the processor
 * promises in the very situation that the erratum is about: it fails where the erratum is present.
 */
#pragma once

#include "tap/probe.h"
#include "vmx/ept.h"
#include "vmxtest/vmxtest.h"
#include "x86/selectors.h"

void guest_does_nothing(void);

/* A page of the window, present and writable, and the page that it leads to. */
enum { PAGES = 4 };
void *probe_page(u32 n);
static inline u64 probe_linear(u32 n)
{
	return PAGE_WINDOW + n * (u64)PAGE_SIZE;
}

/*
 * Two ways to an EPT violation of the guest's access to page n of the window, which is what errata are about: the page is not
 * there for the EPT; or the page-table page is read-only for it, and the access has to set a flag in it. Prepared from the
 * page being mapped and accessed by neither.
 */
enum violation_way { BY_THE_PAGE, BY_A_FLAG, VIOLATION_WAYS };
extern const char *const violation_ways[VIOLATION_WAYS];
void probe_violation(enum violation_way way, u32 n, const void *page);
void probe_no_violation(u32 n, const void *page);

/*
 * The guest has ended in an EPT violation. Where it went on instead, though it had to set a flag that it may not: that
 * is ept.viol.guest_ad_update's to say, and here nothing can be told.
 */
#define expect_probe_violation(way) check_probe_violation(HERE, way)
bool check_probe_violation(const char *file, u32 line, enum violation_way way);
