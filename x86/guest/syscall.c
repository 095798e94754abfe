/* SPDX-License-Identifier: BSD-2-Clause */
/* SYSCALL, SYSRET, SYSENTER, SYSEXIT. */
#include "guest.h"

#define LABEL(name) extern const u8 name[]

/* Intel's SYSENTER works in IA-32e mode; AMD's does not. */
static void need_sysenter(void)
{
	if (!has_feature(FEATURE_SEP))
		skip("needs CPUID.01H:EDX[11] (SEP)");
	if (cpuid(0, 0).ebx == 0x68747541)	/* "Auth" */
		skip("SYSENTER is not AMD's in IA-32e mode");
}

u64 landed[8];	/* RSP, RFLAGS, CS, SS, RCX, R11 */

/* Where SYSCALL and SYSENTER lead; back through the gate that every CPL may call. */
asm(".pushsection .text\n"
    "landing:\n"
    "	mov %rsp, landed(%rip)\n"
    "	lea call_stack_top(%rip), %rsp\n"
    "	pushfq\n"
    "	pop landed + 8(%rip)\n"
    "	mov %cs, %eax; mov %rax, landed + 16(%rip)\n"
    "	mov %ss, %eax; mov %rax, landed + 24(%rip)\n"
    "	mov %rcx, landed + 32(%rip)\n"
    "	mov %r11, landed + 40(%rip)\n"
    "	int $0x80\n"
    ".popsection\n"
    ".pushsection .bss; .balign 16; .skip 512; call_stack_top: .popsection");
LABEL(landing);

CODE(user_syscall, "mov $0x1111, %ecx; stc; std; mov %rsp, user_rsp(%rip); at_syscall: syscall; behind_syscall:");
LABEL(behind_syscall); LABEL(at_syscall);
u64 user_rsp;

struct syscall_msrs {
	u64 efer, star, lstar, fmask;
};

static struct syscall_msrs syscall_on(u64 fmask)
{
	const struct syscall_msrs before = { rdmsr(IA32_EFER), rdmsr(IA32_STAR), rdmsr(IA32_LSTAR), rdmsr(IA32_FMASK) };

	wrmsr(IA32_EFER, before.efer | EFER_SCE);
	wrmsr(IA32_STAR, (u64)(SELECTOR_USER_CODE32 & ~3) << 48 | (u64)SELECTOR_CODE64 << 32);
	wrmsr(IA32_LSTAR, (u64)landing);
	wrmsr(IA32_FMASK, fmask);
	return before;
}

static void syscall_restore(struct syscall_msrs before)
{
	wrmsr(IA32_EFER, before.efer);
	wrmsr(IA32_STAR, before.star);
	wrmsr(IA32_LSTAR, before.lstar);
	wrmsr(IA32_FMASK, before.fmask);
}

TEST("guest.syscall.entry", "SYSCALL from CPL 3: RIP from IA32_LSTAR, CS and SS from IA32_STAR, RSP left alone",
     NEEDS(FEATURE_SYSCALL))
{
	user_pages_on();
	const struct syscall_msrs before = syscall_on(RFLAGS_DF);
	const struct fault fault = user_run(user_syscall);
	syscall_restore(before);
	expect_no_fault(fault);
	expect_eq(landed[0], user_rsp);
	expect_eq(landed[2], SELECTOR_CODE64);
	expect_eq(landed[3], SELECTOR_CODE64 + 8);
}

TEST("guest.syscall.saved", "SYSCALL saves RIP in RCX and RFLAGS in R11",
     NEEDS(FEATURE_SYSCALL))
{
	user_pages_on();
	const struct syscall_msrs before = syscall_on(RFLAGS_DF);
	const struct fault fault = user_run_flags(user_syscall, RFLAGS_IOPL);
	syscall_restore(before);
	expect_no_fault(fault);
	expect_eq(landed[4], (u64)behind_syscall);
	expect_bits(landed[5], RFLAGS_CF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_IF | RFLAGS_FIXED,
		    RFLAGS_CF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_FIXED);
}

TEST("guest.syscall.mask", "SYSCALL clears the flags of IA32_FMASK and no others",
     NEEDS(FEATURE_SYSCALL))
{
	static const u64 flags[] = { RFLAGS_CF, RFLAGS_DF, RFLAGS_IOPL, RFLAGS_AC, RFLAGS_NT };

	user_pages_on();
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		const u64 all = RFLAGS_CF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_AC | RFLAGS_NT;
		const struct syscall_msrs before = syscall_on(flags[i]);
		const struct fault fault = user_run_flags(user_syscall, RFLAGS_IOPL | RFLAGS_AC | RFLAGS_NT);

		syscall_restore(before);
		CASE("mask %#lx", flags[i]);
		expect_no_fault(fault);
		expect_bits(landed[1], all | RFLAGS_FIXED, (all & ~flags[i]) | RFLAGS_FIXED);
	}
}

TEST("guest.syscall.sce", "with EFER.SCE=0, SYSCALL raises #UD at CPL 3 and 0, SYSRET at CPL 0")
{
	user_pages_on();
	struct fault fault = user_run(user_syscall);
	expect_fault(fault, VECTOR_UD, 0);
	expect_eq(fault.frame.rip, (u64)at_syscall);
	fault = TRY(asm volatile("syscall" : : : "rcx", "r11", "memory"));
	expect_fault(fault, VECTOR_UD, 0);
	fault = TRY(asm volatile("sysretq" : : : "memory"));
	expect_fault(fault, VECTOR_UD, 0);
}

CODE(sysret_target, "sysret_ud: ud2");
CODE32(sysret_target32, "sysret_ud32: ud2");
LABEL(sysret_ud); LABEL(sysret_ud32);

static struct fault try_sysret(bool wide, u64 rip, u64 rflags)
{
	const struct syscall_msrs before = syscall_on(0);
	const struct fault fault = TRY(if (wide)
					       asm volatile("mov %1, %%r11; sysretq" : : "c"(rip), "r"(rflags)
							: "r11", "memory");
				       else
					       asm volatile("mov %1, %%r11; sysretl" : : "c"(rip), "r"(rflags)
							: "r11", "memory"));

	syscall_restore(before);
	asm volatile("mov %0, %%ds; mov %0, %%es" : : "r"(SELECTOR_DATA));
	return fault;
}

TEST("guest.sysret.to64", "SYSRETQ leads to 64-bit code at CPL 3: RIP from RCX, RFLAGS from R11, CS and SS from "
     "IA32_STAR",
     NEEDS(FEATURE_SYSCALL))
{
	user_pages_on();
	const struct fault fault = try_sysret(true, (u64)sysret_target, RFLAGS_FIXED | RFLAGS_CF | RFLAGS_DF);
	expect_fault(fault, VECTOR_UD, 0);
	expect_eq(fault.frame.rip, (u64)sysret_ud);
	expect_eq(fault.frame.cs, SELECTOR_USER_CODE64);
	expect_eq(fault.frame.ss, SELECTOR_USER_DATA);
	expect_bits(fault.frame.rflags, RFLAGS_ARITHMETIC | RFLAGS_DF | RFLAGS_FIXED, RFLAGS_CF | RFLAGS_DF |
			RFLAGS_FIXED);
}

TEST("guest.sysret.to32", "SYSRET without REX.W leads to compatibility mode at CPL 3",
     NEEDS(FEATURE_SYSCALL))
{
	user_pages_on();
	const struct fault fault = try_sysret(false, 0xffffffff00000000 | (u64)sysret_ud32, RFLAGS_FIXED);
	expect_fault(fault, VECTOR_UD, 0);
	expect_eq(fault.frame.rip, (u64)sysret_ud32);
	expect_eq(fault.frame.cs, SELECTOR_USER_CODE32);
	expect_eq(fault.frame.ss, SELECTOR_USER_DATA);
}

TEST("guest.sysret.canonical", "SYSRETQ with an RCX that is not canonical raises #GP(0) at CPL 0",
     NEEDS(FEATURE_SYSCALL))
{
	const struct fault fault = try_sysret(true, NOT_CANONICAL, RFLAGS_FIXED);

	expect_fault(fault, VECTOR_GP, 0);
	expect_eq(fault.frame.cs, SELECTOR_CODE64);
}

/* ---- SYSENTER and SYSEXIT */

static u8 enter_stack[512] ALIGNED(16);

struct sysenter_msrs {
	u64 cs, rsp, rip;
};

static struct sysenter_msrs sysenter_set(u64 cs)
{
	const struct sysenter_msrs before = {
		rdmsr(IA32_SYSENTER_CS), rdmsr(IA32_SYSENTER_ESP), rdmsr(IA32_SYSENTER_EIP),
	};

	wrmsr(IA32_SYSENTER_CS, cs);
	wrmsr(IA32_SYSENTER_ESP, (u64)enter_stack + 256);
	wrmsr(IA32_SYSENTER_EIP, (u64)landing);
	return before;
}

static void sysenter_restore(struct sysenter_msrs before)
{
	wrmsr(IA32_SYSENTER_CS, before.cs);
	wrmsr(IA32_SYSENTER_ESP, before.rsp);
	wrmsr(IA32_SYSENTER_EIP, before.rip);
}

CODE(user_sysenter, "at_sysenter: sysenter");
LABEL(at_sysenter);

TEST("guest.sysenter.entry", "SYSENTER leads to CPL 0: CS, SS, RIP and RSP from its MSRs, with IF=0")
{
	need_sysenter();
	user_pages_on();
	const struct sysenter_msrs before = sysenter_set(SELECTOR_CODE64);
	const struct fault fault = user_run_flags(user_sysenter, RFLAGS_IF | RFLAGS_AC);
	sysenter_restore(before);
	interrupts_off();
	expect_no_fault(fault);
	expect_eq(landed[0], (u64)enter_stack + 256);
	expect_eq(landed[2], SELECTOR_CODE64);
	expect_eq(landed[3], SELECTOR_CODE64 + 8);
	expect_bits(landed[1], RFLAGS_IF | RFLAGS_AC | RFLAGS_VM, RFLAGS_AC);
}

TEST("guest.sysenter.null", "SYSENTER raises #GP(0) if IA32_SYSENTER_CS[15:2] is 0")
{
	need_sysenter();
	user_pages_on();
	for (u64 cs = 0; cs < 4; cs++) {
		const struct sysenter_msrs before = sysenter_set(cs);
		const struct fault fault = user_run(user_sysenter);

		sysenter_restore(before);
		CASE("IA32_SYSENTER_CS %u", cs);
		expect_fault(fault, VECTOR_GP, 0);
		expect_eq(fault.frame.rip, (u64)at_sysenter);
	}
}

/* SYSEXIT with REX.W: CS is IA32_SYSENTER_CS + 32, here the user's. */
static struct fault try_sysexit64(u64 rip, u64 rsp)
{
	const struct sysenter_msrs before = sysenter_set(SELECTOR_USER_CODE64 - 3 - 32);
	const struct fault fault = TRY(asm volatile(".byte 0x48, 0x0f, 0x35" : : "d"(rip), "c"(rsp) : "memory"));

	sysenter_restore(before);
	return fault;
}

TEST("guest.sysexit.to64", "SYSEXIT with REX.W leads to 64-bit code at CPL 3: RIP from RDX, RSP from RCX")
{
	need_sysenter();
	user_pages_on();
	const struct fault fault = try_sysexit64((u64)sysret_target, (u64)enter_stack + 128);
	expect_fault(fault, VECTOR_UD, 0);
	expect_eq(fault.frame.rip, (u64)sysret_ud);
	expect_eq(fault.frame.rsp, (u64)enter_stack + 128);
	expect_eq(fault.frame.cs & 3, 3);
}

TEST("guest.sysexit.to32", "SYSEXIT without REX.W leads to compatibility mode at CPL 3, with 32 bits of RDX and RCX")
{
	need_sysenter();
	user_pages_on();
	gdt[SELECTOR_SPARE / 8] = gdt[SELECTOR_USER_CODE32 / 8];
	gdt[SELECTOR_SPARE / 8 + 1] = gdt[SELECTOR_USER_DATA / 8];
	const struct sysenter_msrs before = sysenter_set(SELECTOR_SPARE - 16);
	const struct fault fault = TRY(asm volatile("sysexitl" : : "d"(0x1200000000 | (u64)sysret_ud32),
						    "c"(0x3400000000 | ((u64)enter_stack + 64)) : "memory"));
	sysenter_restore(before);
	gdt[SELECTOR_SPARE / 8] = gdt[SELECTOR_SPARE / 8 + 1] = 0;
	expect_fault(fault, VECTOR_UD, 0);
	expect_eq(fault.frame.rip, (u64)sysret_ud32);
	expect_eq(fault.frame.rsp, (u64)enter_stack + 64);
	expect_eq(fault.frame.cs, SELECTOR_SPARE | 3);
	expect_eq(fault.frame.ss, (SELECTOR_SPARE + 8) | 3);
}

TEST("guest.sysexit.refused", "SYSEXIT raises #GP(0) if IA32_SYSENTER_CS[15:2] is 0, and if RDX or RCX is not "
     "canonical")
{
	need_sysenter();
	const struct sysenter_msrs before = sysenter_set(3);
	struct fault fault = TRY(asm volatile("sysexitl" : : "d"(sysret_target), "c"(enter_stack) : "memory"));
	sysenter_restore(before);
	expect_fault(fault, VECTOR_GP, 0);
	fault = try_sysexit64(NOT_CANONICAL, (u64)enter_stack);
	expect_fault(fault, VECTOR_GP, 0);
	expect_eq(fault.frame.cs, SELECTOR_CODE64);
	fault = try_sysexit64((u64)sysret_target, NOT_CANONICAL);
	expect_fault(fault, VECTOR_GP, 0);
}
