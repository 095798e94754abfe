/* SPDX-License-Identifier: BSD-2-Clause */
/* Where VMX instructions are not allowed at all: #UD and #GP (SDM Vol. 3C, "VMX Instruction Reference"). */
#include "instruction.h"

#include "libc/string.h"
#include "x86/selectors.h"
#include "x86/user.h"

/* The operand of those that have one: no valid address, should one of them be executed after all. */
u64 instruction_operand[2] ALIGNED(16);

/*
 * Each instruction for CPL 3, and for compatibility mode, where its function goes back
 * to 64-bit mode by itself.
 */
#define INSTRUCTION(name, text)							\
	GUEST_ASM(user_##name, text "; ret");					\
	GUEST_ASM(compat_##name, ".code32; " text "; ljmp $8, $compat_return; .code64");

INSTRUCTION(nop, "nop")
INSTRUCTION(vmxon, "vmxon instruction_operand")
INSTRUCTION(vmxoff, "vmxoff")
INSTRUCTION(vmclear, "vmclear instruction_operand")
INSTRUCTION(vmptrld, "vmptrld instruction_operand")
INSTRUCTION(vmptrst, "vmptrst instruction_operand")
GUEST_ASM(user_vmread, "mov $0x681e, %eax; vmread %rax, %rcx; ret");
GUEST_ASM(compat_vmread, ".code32; mov $0x681e, %eax; vmread %eax, %ecx; ljmp $8, $compat_return; .code64");
GUEST_ASM(user_vmwrite, "mov $0x681e, %eax; xor %ecx, %ecx; vmwrite %rcx, %rax; ret");
GUEST_ASM(compat_vmwrite, ".code32; mov $0x681e, %eax; xor %ecx, %ecx; vmwrite %ecx, %eax;"
			  "ljmp $8, $compat_return; .code64");
INSTRUCTION(vmlaunch, "vmlaunch")
INSTRUCTION(vmresume, "vmresume")
INSTRUCTION(vmcall, "vmcall")
GUEST_ASM(user_invept, "mov $2, %eax; invept instruction_operand, %rax; ret");
GUEST_ASM(compat_invept, ".code32; mov $2, %eax; invept instruction_operand, %eax; ljmp $8, $compat_return; .code64");
GUEST_ASM(user_invvpid, "mov $2, %eax; invvpid instruction_operand, %rax; ret");
GUEST_ASM(compat_invvpid, ".code32; mov $2, %eax; invvpid instruction_operand, %eax; ljmp $8, $compat_return; .code64");

static const struct {
	const char *name;
	void (*user)(void), (*compat)(void);
	u32 need;
} instructions[] = {
	{ "VMXON", user_vmxon, compat_vmxon, 0 },
	{ "VMXOFF", user_vmxoff, compat_vmxoff, 0 },
	{ "VMCLEAR", user_vmclear, compat_vmclear, 0 },
	{ "VMPTRLD", user_vmptrld, compat_vmptrld, 0 },
	{ "VMPTRST", user_vmptrst, compat_vmptrst, 0 },
	{ "VMREAD", user_vmread, compat_vmread, 0 },
	{ "VMWRITE", user_vmwrite, compat_vmwrite, 0 },
	{ "VMLAUNCH", user_vmlaunch, compat_vmlaunch, 0 },
	{ "VMRESUME", user_vmresume, compat_vmresume, 0 },
	{ "VMCALL", user_vmcall, compat_vmcall, 0 },
	{ "INVEPT", user_invept, compat_invept, CAP_INVEPT },
	{ "INVVPID", user_invvpid, compat_invvpid, CAP_INVVPID },
};

static bool possible(u32 need)
{
	return !need || has(need);
}

enum { RIP_BEFORE = 0x13579bdf, OPERAND = 0x5a5a5a5a };

/* Whatever is executed after all must do no harm: no entry succeeds, no operand is an address. */
static void begin_case(void)
{
	instruction_operand[0] = instruction_operand[1] = OPERAND;
	vmcs_write(PIN_BASED_CONTROLS, 0xffffffff);
	vmcs_write(GUEST_RIP, RIP_BEFORE);
}

static void expect_nothing_changed(void)
{
	expect_eq(vmcs_current(), physical_address(&vmcs_region));
	expect_eq(vmcs_read(GUEST_RIP), RIP_BEFORE);
	expect_eq(instruction_operand[0], OPERAND);
}

/* VMCALL: a VMCS that is not clear, for the emulators that a clear one ends. */
static void launch(void)
{
	guest_run(user_nop);
	require_guest_done();
}

TEST("insn.gp.cpl3_root", "A VMX instruction in VMX root operation at CPL 3 raises #GP(0) and does nothing")
{
	launch();
	begin_case();
	user_pages_on();
	const struct fault nop = user_run(user_nop);

	expect_no_fault(nop);
	for (size_t i = 0; i < ARRAY_SIZE(instructions); i++) {
		if (!possible(instructions[i].need))
			continue;
		const struct fault fault = user_run(instructions[i].user);

		CASE("%s", instructions[i].name);
		expect_fault(fault, VECTOR_GP, 0);
		expect_nothing_changed();
	}
}

TEST("insn.vmxon.cpl3_nonvmx", "VMXON outside VMX operation at CPL 3 raises #GP(0) if CR4.VMXE is 1, #UD if it is 0")
{
	u64 value = 0;

	instruction_operand[0] = physical_address(&vmxon_region);
	vmx_off();
	user_pages_on();
	struct fault fault = user_run(user_vmxon);

	CASE("CR4.VMXE = 0");
	expect_fault(fault, VECTOR_UD, 0);
	write_cr4(read_cr4() | CR4_VMXE);
	fault = user_run(user_vmxon);
	CASE("CR4.VMXE = 1");
	expect_fault(fault, VECTOR_GP, 0);
	expect_outcome(vmread(GUEST_RIP, &value, NULL), FAULTS(VECTOR_UD, 0));
	vmx_on();
	vmcs_reset();
}

/* Call a function of 32-bit code at CPL 0 in compatibility mode. */
static __attribute__((noinline)) struct fault compat_run(void (*function)(void))
{
	return TRY(asm volatile("pushq %[code32]; pushq %[function]; lretq; compat_return:"
				: [function] "+a"(function) : [code32] "i"(SELECTOR_CODE32)
				: "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
				  "r14", "r15", "cc", "memory"));
}

TEST("insn.ud.compat_mode", "VMX instructions raise #UD in compatibility mode, in VMX root operation VMCALL too")
{
	struct fault fault = compat_run(compat_nop);

	require_no_fault(fault);
	begin_case();
	for (size_t i = 0; i < ARRAY_SIZE(instructions); i++) {
		fault = compat_run(instructions[i].compat);
		CASE("%s", instructions[i].name);
		expect_fault(fault, VECTOR_UD, 0);
		expect_nothing_changed();
	}
}

static void expect_undefined_outside(bool vmxe)
{
	const u64 region = physical_address(&vmcs_region);
	u64 value = 0x77;
	struct outcome outcomes[] = {
		vmclear(&region, NULL), vmptrld(&region, NULL), vmptrst(&value, NULL),
		vmread(GUEST_RIP, &value, NULL), vmwrite(GUEST_RIP, 0, NULL), vmlaunch(NULL), vmresume(NULL),
		vmxoff(NULL), vmcall(NULL),
	};
	static const char *const names[] = {
		"VMCLEAR", "VMPTRLD", "VMPTRST", "VMREAD", "VMWRITE", "VMLAUNCH", "VMRESUME", "VMXOFF", "VMCALL",
	};

	for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
		CASE("%s, CR4.VMXE = %u", names[i], vmxe);
		expect_outcome(outcomes[i], FAULTS(VECTOR_UD, 0));
	}
	expect_eq(value, 0x77);
}

TEST("insn.ud.outside_vmx", "VMX instructions but VMXON raise #UD outside VMX operation")
{
	launch();
	begin_case();
	vmx_off();
	expect_undefined_outside(false);
	write_cr4(read_cr4() | CR4_VMXE);
	expect_undefined_outside(true);
	vmx_on();
	vmcs_reset();
}

TEST("insn.ud.invept_invvpid_outside", "INVEPT and INVVPID raise #UD outside VMX operation")
{
	const struct invept_descriptor all_eptps = { 0, 0 };
	const struct invvpid_descriptor all_vpids = { 0, 0 };

	if (has(CAP_INVEPT_ALL_CONTEXT))
		expect_outcome(invept(2, &all_eptps, NULL), SUCCEED);
	if (has(CAP_INVVPID_ALL_CONTEXT))
		expect_outcome(invvpid(2, &all_vpids, NULL), SUCCEED);
	vmx_off();
	for (int vmxe = 0; vmxe < 2; vmxe++) {
		CASE("CR4.VMXE = %u", vmxe);
		expect_outcome(invept(2, &all_eptps, NULL), FAULTS(VECTOR_UD, 0));
		expect_outcome(invvpid(2, &all_vpids, NULL), FAULTS(VECTOR_UD, 0));
		write_cr4(read_cr4() | CR4_VMXE);
	}
	vmx_on();
	vmcs_reset();
}

/* Bytes as an instruction: RDI points at the operand, RAX is a field's encoding. */
static struct fault run_bytes(const u8 *bytes, size_t size)
{
	static u8 code[16];

	memcpy(code, bytes, size);
	code[size] = 0xc3;
	return TRY(asm volatile("call *%[code]"
				: : [code] "r"(code), "D"(instruction_operand), "a"((u64)GUEST_RIP)
				: "rcx", "rdx", "cc", "memory"));
}

struct encoding {
	const char *name;
	u8 size, bytes[6];
	u32 unless;		/* the processor has another instruction at this place */
};

static void expect_undefined(const struct encoding *encodings, size_t count)
{
	launch();
	begin_case();
	for (size_t i = 0; i < count; i++) {
		if (encodings[i].unless && has(encodings[i].unless))
			continue;
		const struct fault fault = run_bytes(encodings[i].bytes, encodings[i].size);

		CASE("%s", encodings[i].name);
		expect_fault(fault, VECTOR_UD, 0);
		expect_nothing_changed();
	}
}

static const struct encoding register_operands[] = {
	{ "VMCLEAR EDI", 4, { 0x66, 0x0f, 0xc7, 0xf7 }, FEATURE_RDRAND },
	{ "VMPTRLD EDI", 3, { 0x0f, 0xc7, 0xf7 }, FEATURE_RDRAND },
	{ "VMPTRST EDI", 3, { 0x0f, 0xc7, 0xff }, FEATURE_RDSEED },
	{ "VMXON EDI", 4, { 0xf3, 0x0f, 0xc7, 0xf7 }, FEATURE_UINTR },
	{ "INVEPT RDI", 5, { 0x66, 0x0f, 0x38, 0x80, 0xc7 }, 0 },
	{ "INVVPID RDI", 5, { 0x66, 0x0f, 0x38, 0x81, 0xc7 }, 0 },
};

TEST("insn.ud.reg_operand", "A VMX instruction with a register where it takes memory raises #UD")
{
	expect_undefined(register_operands, ARRAY_SIZE(register_operands));
}

static const struct encoding prefixed[] = {
	{ "LOCK VMCALL", 4, { 0xf0, 0x0f, 0x01, 0xc1 }, 0 },
	{ "LOCK VMLAUNCH", 4, { 0xf0, 0x0f, 0x01, 0xc2 }, 0 },
	{ "LOCK VMRESUME", 4, { 0xf0, 0x0f, 0x01, 0xc3 }, 0 },
	{ "LOCK VMXOFF", 4, { 0xf0, 0x0f, 0x01, 0xc4 }, 0 },
	{ "LOCK VMPTRLD", 4, { 0xf0, 0x0f, 0xc7, 0x37 }, 0 },
	{ "LOCK VMPTRST", 4, { 0xf0, 0x0f, 0xc7, 0x3f }, 0 },
	{ "LOCK VMCLEAR", 5, { 0xf0, 0x66, 0x0f, 0xc7, 0x37 }, 0 },
	{ "LOCK VMXON", 5, { 0xf0, 0xf3, 0x0f, 0xc7, 0x37 }, 0 },
	{ "LOCK VMREAD", 4, { 0xf0, 0x0f, 0x78, 0x07 }, 0 },
	{ "LOCK VMREAD to a register", 4, { 0xf0, 0x0f, 0x78, 0xc1 }, 0 },
	{ "LOCK VMWRITE", 4, { 0xf0, 0x0f, 0x79, 0x07 }, 0 },
	{ "LOCK INVEPT", 6, { 0xf0, 0x66, 0x0f, 0x38, 0x80, 0x07 }, 0 },
	{ "LOCK INVVPID", 6, { 0xf0, 0x66, 0x0f, 0x38, 0x81, 0x07 }, 0 },
	{ "F2 VMPTRLD", 4, { 0xf2, 0x0f, 0xc7, 0x37 }, 0 },
	{ "66 VMPTRST", 4, { 0x66, 0x0f, 0xc7, 0x3f }, 0 },
	{ "F2 VMPTRST", 4, { 0xf2, 0x0f, 0xc7, 0x3f }, 0 },
	{ "F3 VMPTRST", 4, { 0xf3, 0x0f, 0xc7, 0x3f }, 0 },
	{ "66 VMREAD", 4, { 0x66, 0x0f, 0x78, 0x07 }, 0 },
	{ "F2 VMREAD", 4, { 0xf2, 0x0f, 0x78, 0x07 }, 0 },
	{ "F3 VMREAD", 4, { 0xf3, 0x0f, 0x78, 0x07 }, 0 },
	{ "66 VMWRITE", 4, { 0x66, 0x0f, 0x79, 0x07 }, 0 },
	{ "F2 VMWRITE", 4, { 0xf2, 0x0f, 0x79, 0x07 }, 0 },
	{ "F3 VMWRITE", 4, { 0xf3, 0x0f, 0x79, 0x07 }, 0 },
};

/* The operand is no address, so that the one that is executed after all only fails. */
TEST("insn.ud.lock_prefix", "LOCK before a VMX instruction raises #UD, and so do 66H, F2H and F3H that select nothing else")
{
	expect_undefined(prefixed, ARRAY_SIZE(prefixed));
}

TEST("insn.vmfunc.ud_root", "VMFUNC raises #UD in VMX root operation and outside VMX operation")
{
	static const u8 vmfunc[] = { 0x0f, 0x01, 0xd4 };
	struct fault fault = run_bytes(vmfunc, sizeof(vmfunc));

	CASE("in VMX root operation");
	expect_fault(fault, VECTOR_UD, 0);
	vmx_off();
	fault = run_bytes(vmfunc, sizeof(vmfunc));
	CASE("outside VMX operation");
	expect_fault(fault, VECTOR_UD, 0);
	vmx_on();
	vmcs_reset();
}
