/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exceptions as values.
 *
 *	struct fault fault = TRY(wrmsr(IA32_VMX_BASIC, 0));
 *
 * runs the statements; an exception in them ends them and comes back as a value.
 * TRY nests. Local variables that the statements change, and that are read after
 * a fault, must be volatile, as with setjmp.
 */
#pragma once

#include "libc/types.h"
#include "x86/processor.h"

/* What the processor pushed, and the general registers under it. */
struct exception_frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	u64 vector, error_code;
	u64 rip, cs, rflags, rsp, ss;
};

struct fault {
	bool raised;
	u8 vector;
	u32 error_code;		/* 0 for a vector that pushes none */
	u64 cr2;		/* for a page fault, else 0 */
	const char *thrown;	/* not an exception of the processor: throw()'s message */
	struct exception_frame frame;
};

struct recovery {
	u64 rbx, rbp, r12, r13, r14, r15, rsp, rip;	/* as recovery.S has them */
	struct recovery *outer;
	struct fault fault;
};

/* Returns 0 first; 1 when a fault came back. Always used through TRY. */
int recovery_begin(struct recovery *recovery) __attribute__((returns_twice));
void recovery_end(struct recovery *recovery);

#define TRY(...)					\
({							\
	struct recovery recovery_;			\
							\
	if (!recovery_begin(&recovery_)) {		\
		__VA_ARGS__;				\
		recovery_end(&recovery_);		\
	}						\
	recovery_.fault;				\
})

/* End the innermost TRY with a message, as if by an exception. */
void throw(const char *message) __attribute__((noreturn));

/*
 * The recovery in force on this processor. A guest has its own: whoever enters
 * one sets the guest's before and restores the host's after.
 */
struct recovery *recovery_current(void);
void recovery_set(struct recovery *recovery);

/* "#GP(0x18)", "#PF(0x2) at 0x1000", "no fault" or the thrown message. */
void fault_format(char *to, size_t size, const struct fault *fault);

/* "#GP", "NMI" or "vector 77"; the text is valid until the next call. */
const char *vector_name(unsigned int vector);
