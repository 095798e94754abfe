/* SPDX-License-Identifier: BSD-2-Clause */
/* What a processor promises to any kernel, on the subjects that VMX touches: the words of image `guest`. */
#pragma once

#include "tap/plain.h"
#include "tap/reserved.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/interrupt.h"
#include "x86/page.h"
#include "x86/tables.h"
#include "x86/time.h"
#include "x86/user.h"
#include "x86/wait.h"

/* A test that is a row of a table: the function gets the row. */
#define ROW(id, title, function, row, ...) \
	TAP_ROW(plain_fixture, id, title, .run = function, .data = row, ##__VA_ARGS__)

/*
 * A function in assembly, where the exact instructions matter; RET follows. Labels
 * in it are the image's: extern const u8 label[] gives the test their addresses.
 */
#define CODE(name, text)							\
	asm(".pushsection .text\n.globl " #name "\n" #name ":\n" text "\nret\n.popsection"); \
	void name(void)

/* 32-bit code for run_at(); it comes back through the gate of CPL 3. */
#define CODE32(name, text)							\
	asm(".pushsection .text\n.code32\n.globl " #name "\n" #name ":\n" text "\nint $0x80\n.code64\n.popsection"); \
	extern const u8 name[]

/* Run it at CPL 0 or 3. */
#define run_code32(name)	run_at(name, SELECTOR_CODE32, SELECTOR_DATA, 0)
#define user_run_code32(name)	run_at(name, SELECTOR_USER_CODE32, SELECTOR_USER_DATA, 0)

/* Error-code bits of a page fault. */
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16, PF_PK = 32 };

#define WINDOW_PAGE ((volatile u64 *)PAGE_WINDOW)

/* An address that is not canonical, whatever the width. */
#define NOT_CANONICAL 0x8000000000000000ull

/* #GP(0), and the register as it was. */
#define expect_cr_refused(n, value)			\
do {							\
	const u64 before_ = read_cr##n();		\
	const struct fault fault_ = TRY(write_cr##n(value)); \
							\
	expect_fault(fault_, VECTOR_GP, 0);		\
	if (!expect_eq(read_cr##n(), before_))		\
		write_cr##n(before_);			\
} while (0)

#define expect_msr_refused(msr, value)			\
do {							\
	const u64 before_ = rdmsr(msr);			\
	const struct fault fault_ = TRY(wrmsr(msr, value)); \
							\
	expect_fault(fault_, VECTOR_GP, 0);		\
	if (!expect_eq(rdmsr(msr), before_))		\
		wrmsr(msr, before_);			\
} while (0)

/* The same for bits that are reserved today; see tap/reserved.h for taken. */
#define expect_msr_reserved(msr, bits, taken)		\
do {							\
	const u64 before_ = rdmsr(msr);			\
	const struct fault fault_ = TRY(wrmsr(msr, before_ | (bits))); \
	const u64 now_ = rdmsr(msr);			\
							\
	if (now_ != before_)				\
		wrmsr(msr, before_);			\
	if (fault_.raised || !reserved_bits_taken(bits, now_, taken)) { \
		expect_fault(fault_, VECTOR_GP, 0);	\
		expect_eq(now_, before_);		\
	}						\
} while (0)

/* A window page that leads to a fresh page, with these flags; the page. */
static inline void *map_window(u64 flags)
{
	void *page = page_alloc();

	page_map(PAGE_WINDOW, physical_address(page), flags);
	invlpg(WINDOW_PAGE);
	return page;
}
