/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The words of a VMX test. Each TEST starts in VMX operation with the baseline
 * VMCS (vmx/guest.h) current and clear; whatever it changes in the VMCS is gone
 * behind it, and host state that it changes it must put back.
 */
#pragma once

#include "tap/tap.h"
#include "vmx/bitmaps.h"
#include "vmx/decode.h"
#include "vmx/guest.h"
#include "vmx/vmcs.h"
#include "x86/page.h"
#include "x86/processor.h"

#define TEST(id, title, ...) TAP_TEST(vmx_fixture, id, title, ##__VA_ARGS__)

extern const struct fixture vmx_fixture;

/*
 * A guest in assembly, where the exact instructions matter: GUEST_ASM(name, "text")
 * defines it as a function for guest_run. It is called, so it ends in "ret"; labels
 * in it are the image's: extern const u8 label[] gives the test their addresses.
 */
#define GUEST_ASM(name, text)							\
	asm(".pushsection .text\n.globl " #name "\n" #name ":\n" text "\n.popsection"); \
	void name(void)

/* What an exit must report; what is not named is not looked at. */
struct expected_exit {
	u64 qualification;
	u64 instruction_length;
	u64 interruption;		/* exit-interruption information, all 32 bits */
	u64 interruption_error;
	u64 idt_vectoring;
	u64 linear, physical;		/* guest-linear and guest-physical address */
	u64 rip;			/* saved guest RIP */
	u64 instruction_information;
};
#define NOT_LOOKED_AT 0x5eb1d0ff5eb1d0ffull

/*
 * The last entry ended in an exit with this basic reason and these details:
 * expect_exit(EXIT_IO, .qualification = 0x..., .instruction_length = 1).
 */
#define expect_exit(reason, ...)							\
({											\
	_Pragma("GCC diagnostic push")							\
	_Pragma("GCC diagnostic ignored \"-Woverride-init\"")				\
	const struct expected_exit expected_ = {					\
		.qualification = NOT_LOOKED_AT, .instruction_length = NOT_LOOKED_AT,	\
		.interruption = NOT_LOOKED_AT, .interruption_error = NOT_LOOKED_AT,	\
		.idt_vectoring = NOT_LOOKED_AT, .linear = NOT_LOOKED_AT,		\
		.physical = NOT_LOOKED_AT, .rip = NOT_LOOKED_AT,			\
		.instruction_information = NOT_LOOKED_AT, ##__VA_ARGS__			\
	};										\
	_Pragma("GCC diagnostic pop")							\
	check_exit(HERE, reason, &expected_);						\
})
#define require_exit(reason, ...) check_required(expect_exit(reason, ##__VA_ARGS__))

/* The last entry ran the guest's function to its end. */
#define expect_guest_done()		check_guest_done(HERE)
#define require_guest_done()		check_required(check_guest_done(HERE))

/* The guest's function ended in this exception, which went through the guest's own IDT. */
#define expect_guest_fault(vector, error_code)	check_guest_fault(HERE, vector, error_code)

/* An outcome of an instruction or an entry: expect_outcome(vmxoff(NULL), SUCCEED). */
#define expect_outcome(actual, expected)	check_outcome(HERE, #actual, actual, expected)
#define require_outcome(actual, expected)	check_required(check_outcome(HERE, #actual, actual, expected))

/* An instruction ends in VMfailValid, with whatever error number. */
#define expect_fail_valid(actual)	check_fail_valid(HERE, #actual, actual)

bool check_exit(const char *file, u32 line, u32 reason, const struct expected_exit *expected);
bool check_guest_done(const char *file, u32 line);
bool check_guest_fault(const char *file, u32 line, u8 vector, u32 error_code);
bool check_outcome(const char *file, u32 line, const char *text, struct outcome actual, struct outcome expected);
bool check_fail_valid(const char *file, u32 line, const char *text, struct outcome actual);
