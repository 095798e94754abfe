/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests of "Loading Guest State" share. A guest here says itself what VM entry
 * has loaded: by registers that it reads, memory that it reaches, faults that it takes.
 */
#pragma once

#include "vmx/modes.h"
#include "vmxtest/low.h"
#include "vmxtest/vmxtest.h"
#include "x86/cpu.h"
#include "x86/selectors.h"

/* A guest that ends at once. */
static inline void guest_ends(void)
{
}

/*
 * Code for guests of every mode, which run it without a stack: CODE(name, "text") in assembly of 64 bits, whose
 * bytes mean what they should in each mode that it is used for. A VMCALL behind it ends the guest.
 */
#define CODE(name, text)							\
	asm(".pushsection .text\n" #name "_: " text "\n vmcall\n" #name "_end_: .popsection"); \
	extern const u8 name##_[], name##_end_[];				\
	static const struct code name = { name##_, name##_end_ }

struct code {
	const u8 *start, *end;
};

enum guest_mode {
	MODE_64BIT, MODE_COMPATIBILITY, MODE_PAE, MODE_32BIT, MODE_VIRTUAL_8086, MODE_REAL, MODE_UNPAGED, GUEST_MODES
};
extern const char *const guest_mode_names[GUEST_MODES];

/* Can the processor have a guest of this mode? */
bool guest_mode_exists(enum guest_mode mode);

#define FOR_EACH_MODE(mode) \
	for (enum guest_mode mode = 0; mode < GUEST_MODES; mode++) if (!guest_mode_exists(mode)) { } else

/* The baseline again, but with a guest of this mode. */
void start_in(enum guest_mode mode);

/* Will the guest be in real-address or virtual-8086 mode? */
bool guest_is_16bit(void);

/* Run the code in the mode that the VMCS has, with the registers as in guest.regs; it is put to low_page() for 16-bit modes. */
struct outcome run_code(struct code code);

/* The guest came to the VMCALL behind the code. */
#define expect_code_ran()	expect_exit(EXIT_VMCALL)

/* MSRs that a test changes: remember them, and write them back. Those that do not exist are passed over. */
#define msrs_keep(...)	msrs_keep_list((const u32[]){ __VA_ARGS__, 0 })
void msrs_keep_list(const u32 *msrs);
void msrs_put_back(void);

/* An MSR as the guest reads it (RDMSR must not exit); CPL 0. */
u64 guest_reads_msr(u32 msr);

/* Canonical addresses, each bit 0 and 1 in both halves: value 0 to CANONICAL_VALUES - 1. */
enum { CANONICAL_VALUES = 4 * 48 };
u64 canonical_value(u32 n);

/* Memory types in turn for the bytes of IA32_PAT that nothing uses; bytes 0, 2 and 3 stay WB, UC-, UC. */
enum { PAT_VALUES = 12 };
u64 pat_value(u32 n);

/* A control that is 1 in the TRUE capability MSR cannot be switched off: skip. */
void need_flexible(u32 control);
