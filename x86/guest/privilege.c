/* SPDX-License-Identifier: BSD-2-Clause */
/* What CPL 3 may not do. */
#include "guest.h"

#define PRIVILEGED(name, text) \
	static void user_##name(void) { asm volatile(text : : "a"(0), "c"(0), "d"(0) : "memory"); }
PRIVILEGED(hlt, "hlt")
PRIVILEGED(cli, "cli")
PRIVILEGED(sti, "sti")
PRIVILEGED(read_cr0, "mov %%cr0, %%rax")
PRIVILEGED(write_cr3, "mov %%rax, %%cr3")
PRIVILEGED(read_cr8, "mov %%cr8, %%rax")
PRIVILEGED(read_dr7, "mov %%dr7, %%rax")
PRIVILEGED(write_dr0, "mov %%rax, %%dr0")
PRIVILEGED(lgdt, "lgdt (%%rsp)")
PRIVILEGED(lidt, "lidt (%%rsp)")
PRIVILEGED(ltr, "ltr %%ax")
PRIVILEGED(lldt, "lldt %%ax")
PRIVILEGED(rdmsr, "rdmsr")
PRIVILEGED(wrmsr, "wrmsr")
PRIVILEGED(invlpg, "invlpg (%%rsp)")
PRIVILEGED(invd, "invd")
PRIVILEGED(wbinvd, "wbinvd")
PRIVILEGED(swapgs, "swapgs")
PRIVILEGED(sysret, "sysretq")
PRIVILEGED(in, "in %%dx, %%al")
PRIVILEGED(clts, "clts")
PRIVILEGED(lmsw, "lmsw %%ax")

TEST("guest.cpl3.privileged", "privileged instructions raise #GP at CPL 3")
{
	static const struct {
		const char *name;
		void (*execute)(void);
	} instructions[] = {
		{ "HLT", user_hlt }, { "CLI", user_cli }, { "STI", user_sti }, { "MOV from CR0", user_read_cr0 },
		{ "MOV to CR3", user_write_cr3 }, { "MOV from CR8", user_read_cr8 }, { "MOV from DR7", user_read_dr7 },
		{ "MOV to DR0", user_write_dr0 }, { "LGDT", user_lgdt }, { "LIDT", user_lidt }, { "LTR", user_ltr },
		{ "LLDT", user_lldt }, { "RDMSR", user_rdmsr }, { "WRMSR", user_wrmsr }, { "INVLPG", user_invlpg },
		{ "INVD", user_invd }, { "WBINVD", user_wbinvd }, { "SWAPGS", user_swapgs }, { "IN", user_in },
		{ "CLTS", user_clts }, { "LMSW", user_lmsw },
	};

	user_pages_on();
	for (size_t i = 0; i < ARRAY_SIZE(instructions); i++) {
		CASE("%s", instructions[i].name);
		const struct fault fault = user_run(instructions[i].execute);
		expect_fault(fault, VECTOR_GP, 0);
		expect_eq(fault.frame.cs & 3, 3);
	}
}

TEST("guest.cpl3.sysret", "SYSRET at CPL 3 raises #GP",
     NEEDS(FEATURE_SYSCALL))
{
	const u64 efer = rdmsr(IA32_EFER);

	user_pages_on();
	wrmsr(IA32_EFER, efer | EFER_SCE);
	const struct fault fault = user_run(user_sysret);
	wrmsr(IA32_EFER, efer);
	expect_fault(fault, VECTOR_GP, 0);
}

TEST("guest.cpl3.cli_iopl", "at CPL 3, CLI and STI succeed if IOPL is 3, and raise #GP if it is below")
{
	static void (*const instructions[])(void) = { user_cli, user_sti };

	user_pages_on();
	for (u64 iopl = 0; iopl < 4; iopl++) {
		for (size_t i = 0; i < ARRAY_SIZE(instructions); i++) {
			const struct fault fault = user_run_flags(instructions[i], iopl << 12);

			interrupts_off();	/* STI's */
			CASE("instruction %u, IOPL %u", i, iopl);
			if (iopl == 3)
				expect_no_fault(fault);
			else
				expect_fault(fault, VECTOR_GP, 0);
		}
	}
}

static volatile u64 popped;

static void user_popf(void)
{
	asm volatile("pushfq; pop %%rax; xor $0x3200, %%rax; push %%rax; popfq; pushfq; pop %0" : "=m"(popped) :
			: "rax", "cc");
}

static void user_iret(void)
{
	asm volatile("mov %%rsp, %%rbx; mov %%ss, %%eax; push %%rax; push %%rbx\n\t"
		     "pushfq; xorq $0x3200, (%%rsp); mov %%cs, %%eax; push %%rax; lea 1f(%%rip), %%rax; push %%rax\n\t"
		     "iretq\n"
		     "1: pushfq; pop %0" : "=m"(popped) : : "rax", "rbx", "cc", "memory");
}

/* What user code made of IF and IOPL, which it tried to change all. */
static void check_if_and_iopl(void (*user_code)(void))
{
	user_pages_on();
	for (u64 iopl = 0; iopl < 4; iopl++) {
		const struct fault fault = user_run_flags(user_code, iopl << 12);

		interrupts_off();
		CASE("IOPL %u", iopl);
		expect_no_fault(fault);
		expect_eq(popped & (RFLAGS_IF | RFLAGS_IOPL), iopl << 12 | (iopl == 3 ? RFLAGS_IF : 0));
	}
}

TEST("guest.cpl3.popf", "at CPL 3, POPF changes IF only if IOPL is 3, IOPL never, and raises nothing")
{
	check_if_and_iopl(user_popf);
}

TEST("guest.cpl3.iret", "at CPL 3, IRETQ changes IF only if IOPL is 3, IOPL never, and raises nothing")
{
	check_if_and_iopl(user_iret);
}
