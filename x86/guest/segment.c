/* SPDX-License-Identifier: BSD-2-Clause */
/* Segment registers, and far transfers. */
#include "segment.h"

static struct fault load_ss(u16 selector)
{
	const struct fault fault = TRY(asm volatile("mov %w0, %%ss" : : "r"((u64)selector) : "memory"));

	asm volatile("mov %w0, %%ss" : : "r"(SELECTOR_DATA));
	return fault;
}

TEST("guest.seg.types", "FS takes readable segments alone: each of the 32 types of descriptor")
{
	for (u8 type = 0; type < 32; type++) {
		const bool readable = (type & 0x10) && (!(type & 8) || (type & 2));

		set_spare(flat(PRESENT | type, FLAGS_D), 0);
		const struct fault fault = load_fs(SELECTOR_SPARE);
		CASE("type %#x", type);
		if (readable)
			expect_no_fault(fault);
		else
			expect_fault(fault, VECTOR_GP, SELECTOR_SPARE);
	}
	set_spare(0, 0);
}

TEST("guest.seg.ss_types", "SS takes writable data segments of DPL 0 alone at CPL 0")
{
	for (u8 type = 0; type < 32; type++) {
		set_spare(flat(PRESENT | type, FLAGS_D), 0);
		const struct fault fault = load_ss(SELECTOR_SPARE);
		CASE("type %#x", type);
		if ((type & 0x1a) == 0x12)
			expect_no_fault(fault);
		else
			expect_fault(fault, VECTOR_GP, SELECTOR_SPARE);
	}
	set_spare(0, 0);
	struct fault fault = load_ss(SELECTOR_USER_DATA);
	expect_fault(fault, VECTOR_GP, SELECTOR_USER_DATA & ~3);
	fault = load_ss(SELECTOR_DATA | 3);
	expect_fault(fault, VECTOR_GP, SELECTOR_DATA);
}

TEST("guest.seg.not_present", "a segment with P=0 raises #NP with the selector in FS, and #SS in SS")
{
	set_spare(flat(DATA & ~PRESENT, FLAGS_D), 0);
	const struct fault fs = load_fs(SELECTOR_SPARE | 3), ss = load_ss(SELECTOR_SPARE);
	set_spare(0, 0);
	expect_fault(fs, VECTOR_GP, SELECTOR_SPARE);	/* RPL 3 above DPL 0 comes first */
	expect_fault(ss, VECTOR_SS, SELECTOR_SPARE);

	set_spare(flat((DATA & ~PRESENT) | DPL3, FLAGS_D), 0);
	const struct fault fs_3 = load_fs(SELECTOR_SPARE | 3);
	set_spare(0, 0);
	expect_fault(fs_3, VECTOR_NP, SELECTOR_SPARE);
}

TEST("guest.seg.privilege", "FS takes a data segment if its DPL is not below RPL and CPL")
{
	for (u16 rpl = 0; rpl < 4; rpl++) {
		for (u8 dpl = 0; dpl < 4; dpl++) {
			set_spare(flat(DATA | dpl << 5, FLAGS_D), 0);
			const struct fault fault = load_fs(SELECTOR_SPARE | rpl);
			CASE("RPL %u, DPL %u", rpl, dpl);
			if (rpl > dpl)
				expect_fault(fault, VECTOR_GP, SELECTOR_SPARE);
			else
				expect_no_fault(fault);
		}
	}
	set_spare(0, 0);
}

TEST("guest.seg.null", "null selectors go into DS, ES, FS, GS, and into SS at CPL 0 in 64-bit mode")
{
	for (u16 selector = 0; selector < 4; selector++) {
		const struct fault fault = load_fs(selector);
		CASE("selector %u", selector);
		expect_no_fault(fault);
	}
	struct fault fault = load_ss(0);
	expect_no_fault(fault);
	fault = TRY(asm volatile("mov %0, %%ds; mov %0, %%es" : : "r"(0)); (void)*(volatile u8 *)&fault);
	asm volatile("mov %0, %%ds; mov %0, %%es" : : "r"(SELECTOR_DATA));
	expect_no_fault(fault);
}

TEST("guest.seg.null_ss", "SS refuses a null selector whose RPL is not the CPL")
{
	for (u16 selector = 1; selector < 4; selector++) {
		const struct fault fault = load_ss(selector);

		CASE("selector %u", selector);
		expect_fault(fault, VECTOR_GP, 0);
	}
}

TEST("guest.seg.accessed", "the load of a segment register sets the accessed bit of the descriptor")
{
	set_spare(flat(DATA & ~1, FLAGS_D), 0);
	const struct fault fault = load_fs(SELECTOR_SPARE);
	const u64 descriptor = gdt[SELECTOR_SPARE / 8];
	set_spare(0, 0);
	expect_no_fault(fault);
	expect_eq(descriptor, flat(DATA, FLAGS_D));
}

TEST("guest.seg.base", "a load of FS loads 32 bits of base, and IA32_FS_BASE reads it")
{
	const u64 base = rdmsr(IA32_FS_BASE);

	set_spare(flat(DATA, FLAGS_D) | 0x345678ull << 16 | 0xf2ull << 56, 0);
	asm volatile("mov %w0, %%fs" : : "r"(SELECTOR_SPARE) : "memory");
	const u64 loaded = rdmsr(IA32_FS_BASE);
	asm volatile("mov %w0, %%fs" : : "r"(0));
	wrmsr(IA32_FS_BASE, base);
	set_spare(0, 0);
	expect_eq(loaded, 0xf2345678);
}

static u64 far_value = 0x600df00d600df00d;

TEST("guest.seg.fs_base", "an FS override adds all 64 bits of IA32_FS_BASE")
{
	const u64 base = rdmsr(IA32_FS_BASE);
	u64 value;

	wrmsr(IA32_FS_BASE, 0xffff812345678000);
	asm volatile("mov %%fs:(%1), %0" : "=r"(value) : "r"((u64)&far_value - 0xffff812345678000));
	wrmsr(IA32_FS_BASE, base);
	expect_eq(value, 0x600df00d600df00d);
}

TEST("guest.seg.flat64", "64-bit mode ignores base and limit of DS")
{
	u64 value;

	set_spare((u64)DATA << 40 | 0x123456ull << 16, 0);	/* limit 0, base 123456H */
	asm volatile("mov %w1, %%ds; mov (%2), %0; mov %w3, %%ds"
		     : "=&r"(value) : "r"(SELECTOR_SPARE), "r"(&far_value), "r"(SELECTOR_DATA) : "memory");
	set_spare(0, 0);
	expect_eq(value, 0x600df00d600df00d);
}

CODE32(reads_beyond, "mov $0x48, %eax; mov %eax, %ds; movb 0xfff, %al; at_beyond: movb 0x1000, %al");
extern const u8 at_beyond[];

TEST("guest.seg.limit32", "compatibility mode checks the limit: #GP(0) beyond it")
{
	set_spare((u64)DATA << 40 | 0xfff | 0x4ull << 52 | 0x100000ull << 16, 0);
	const struct fault fault = run_code32(reads_beyond);
	set_spare(0, 0);
	expect_fault(fault, VECTOR_GP, 0);
	expect_eq(fault.frame.rip, (u64)at_beyond);
}

TEST("guest.seg.swapgs", "SWAPGS exchanges GS base and IA32_KERNEL_GS_BASE")
{
	const u64 gs = rdmsr(IA32_GS_BASE), kernel = rdmsr(IA32_KERNEL_GS_BASE);

	wrmsr(IA32_KERNEL_GS_BASE, 0xffff923456789abc);
	asm volatile("swapgs" : : : "memory");
	const u64 gs_now = rdmsr(IA32_GS_BASE), kernel_now = rdmsr(IA32_KERNEL_GS_BASE);
	asm volatile("swapgs" : : : "memory");
	wrmsr(IA32_KERNEL_GS_BASE, kernel);
	expect_eq(gs_now, 0xffff923456789abc);
	expect_eq(kernel_now, gs);
	expect_eq(rdmsr(IA32_GS_BASE), gs);
}

/* ---- far transfers */

CODE32(compat_code, "mov %cs, %eax; dec %eax; inc %eax");

TEST("guest.seg.compatibility", "code with L=0 runs in compatibility mode: 32-bit operands, and 40H-4FH are INC "
     "and DEC")
{
	struct fault fault = run_code32(compat_code);

	expect_no_fault(fault);
	user_pages_on();
	fault = user_run_code32(compat_code);
	expect_no_fault(fault);
}

CODE(ud_landing, "ud2");

TEST("guest.seg.l_and_d", "a code segment with L=1 and D=1 is refused")
{
	static struct far_pointer target = { 0, SELECTOR_SPARE };

	target.offset = (u64)ud_landing;
	set_spare(flat(CODE_R, 0xe), 0);
	const struct fault fault = TRY(asm volatile("ljmp *%0" : : "m"(target)));
	set_spare(0, 0);
	expect_fault(fault, VECTOR_GP, SELECTOR_SPARE);
}

u64 gate_rsp, gate_frame[4], gate_ss;	/* the assembly below writes them */

/* Where the call gate leads: note the stack, and return to CPL 3. */
asm(".pushsection .text\n"
    "gate_entry:\n"
    "	mov %rsp, gate_rsp(%rip)\n"
    "	mov %ss, gate_ss(%rip)\n"
    "	mov (%rsp), %rax; mov %rax, gate_frame(%rip)\n"
    "	mov 8(%rsp), %rax; mov %rax, gate_frame + 8(%rip)\n"
    "	mov 16(%rsp), %rax; mov %rax, gate_frame + 16(%rip)\n"
    "	mov 24(%rsp), %rax; mov %rax, gate_frame + 24(%rip)\n"
    "	lretq\n"
    ".popsection");
extern const u8 gate_entry[];

static struct far_pointer through_gate = { 0x12345678, SELECTOR_SPARE };
static u64 caller_rsp;

static void user_calls_gate(void)
{
	asm volatile("mov %%rsp, %0; lcall *%1; behind_gate:" : "=m"(caller_rsp) : "m"(through_gate) : "rax", "memory");
}
extern const u8 behind_gate[];

static void set_gate(u8 access, u16 selector, u64 offset)
{
	set_spare((offset & 0xffff) | (u64)selector << 16 | (u64)access << 40 | (offset >> 16 & 0xffff) << 48,
			offset >> 32);
}

TEST("guest.gate.call", "a 64-bit call gate leads from CPL 3 to CPL 0: RSP0, a null SS, and the caller's SS, "
     "RSP, CS, RIP saved")
{
	user_pages_on();
	set_gate(CALL_GATE | DPL3, SELECTOR_CODE64, (u64)gate_entry);
	gate_ss = ~0ull;
	const struct fault fault = user_run(user_calls_gate);
	set_spare(0, 0);
	expect_no_fault(fault);
	expect_eq(gate_rsp, this_cpu()->tss.rsp[0] - 32);
	expect_eq(gate_ss & 0xffff, 0);
	expect_eq(gate_frame[0], (u64)behind_gate);
	expect_eq(gate_frame[1], SELECTOR_USER_CODE64);
	expect_eq(gate_frame[2], caller_rsp);
	expect_eq(gate_frame[3], SELECTOR_USER_DATA);
}

TEST("guest.gate.refused", "a call gate is refused if its DPL is below the CPL, if it is not present, and if it "
     "leads to 32-bit code")
{
	user_pages_on();
	set_gate(CALL_GATE, SELECTOR_CODE64, (u64)gate_entry);
	struct fault fault = user_run(user_calls_gate);
	expect_fault(fault, VECTOR_GP, SELECTOR_SPARE);
	set_gate((CALL_GATE | DPL3) & ~PRESENT, SELECTOR_CODE64, (u64)gate_entry);
	fault = user_run(user_calls_gate);
	expect_fault(fault, VECTOR_NP, SELECTOR_SPARE);
	set_gate(CALL_GATE | DPL3, SELECTOR_CODE32, (u64)gate_entry);
	fault = user_run(user_calls_gate);
	expect_fault(fault, VECTOR_GP, SELECTOR_CODE32);
	set_spare(0, 0);
}
