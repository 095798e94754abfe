/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/interrupt.h"
#include "x86/page.h"
#include "x86/selectors.h"
#include "x86/user.h"

#define LARGE_PAGE 0x200000ull

extern u64 boot_pd[2048];
extern u8 image_end[];

static u8 user_stack[4096] ALIGNED(16);
static bool on;

static void set_user(bool user)
{
	for (u64 page = 0; page * LARGE_PAGE < (u64)image_end; page++)
		boot_pd[page] = (boot_pd[page] & ~(u64)PAGE_USER) | (user ? PAGE_USER : 0);
	write_cr3(read_cr3());
	on = user;
}

void user_pages_on(void)
{
	set_user(true);
}

void user_pages_off(void)
{
	if (on)
		set_user(false);
}

/* At CPL 3: call the function in RDI, then come back through the gate of VECTOR_USER_RETURN. */
asm(".pushsection .text\n"
    "user_start: call *%rdi\n"
    "	int $0x80\n"
    "	.popsection");
extern const u8 user_start[];

static void enter(const void *code, u64 cs, u64 ss, u64 rflags, void (*function)(void))
{
	asm volatile("mov %w[ss], %%ds; mov %w[ss], %%es\n\t"
		     "pushq %[ss]; pushq %[rsp]; pushq %[rflags]; pushq %[cs]; pushq %[rip]; iretq"
		     : : [ss] "r"(ss), [rsp] "r"(user_stack + sizeof(user_stack)), [rflags] "r"(rflags | RFLAGS_FIXED),
			 [cs] "r"(cs), [rip] "r"(code), "D"(function) : "memory");
	__builtin_unreachable();
}

static struct fault run(const void *code, u16 cs, u16 ss, u64 rflags, void (*function)(void))
{
	struct fault fault = TRY(enter(code, cs, ss, rflags, function));

	/* What the code had there, or null: an IRET to a lower privilege clears what that may not use. */
	asm volatile("mov %0, %%ds; mov %0, %%es" : : "r"(SELECTOR_DATA));
	if (fault.vector == VECTOR_USER_RETURN)
		fault = (struct fault){ .raised = false };
	return fault;
}

struct fault run_at(const void *code, u16 cs, u16 ss, u64 rflags)
{
	return run(code, cs, ss, rflags, NULL);
}

struct fault user_run_flags(void (*function)(void), u64 rflags)
{
	return run(user_start, SELECTOR_USER_CODE64, SELECTOR_USER_DATA, rflags, function);
}

struct fault user_run(void (*function)(void))
{
	return user_run_flags(function, 0);
}
