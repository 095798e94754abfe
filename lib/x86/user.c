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

static void enter_user(void (*function)(void))
{
	asm volatile("pushq %[ss]; pushq %[rsp]; pushq $2; pushq %[cs]; pushq %[rip]; iretq"
		     : : [ss] "i"(SELECTOR_USER_DATA), [rsp] "r"(user_stack + sizeof(user_stack)),
			 [cs] "i"(SELECTOR_USER_CODE64), [rip] "r"(user_start), "D"(function) : "memory");
	__builtin_unreachable();
}

struct fault user_run(void (*function)(void))
{
	struct fault fault = TRY(enter_user(function));

	/* IRET to CPL 3 made DS and ES null: their DPL is 0. */
	asm volatile("mov %0, %%ds; mov %0, %%es" : : "r"(SELECTOR_DATA));
	if (fault.vector == VECTOR_USER_RETURN)
		fault = (struct fault){ .raised = false };
	return fault;
}
