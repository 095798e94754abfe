/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions that always exit (SDM Vol. 3C, "Instructions That Cause VM Exits Unconditionally"). */
#include "insn.h"

#include "libc/string.h"
#include "vmxtest/low.h"
#include "x86/page.h"

/* The displacement of memory operands, which is their qualification; of register operands info.qual.register has it. */
#define DISPLACEMENT 0x70

static const struct instruction insn_cpuid = { "CPUID", BYTES(0x0f, 0xa2), EXIT_CPUID, 0 };
static const struct instruction insn_invd = { "INVD", BYTES(0x0f, 0x08), EXIT_INVD, 0 };
static const struct instruction insn_getsec = { "GETSEC", BYTES(0x0f, 0x37), EXIT_GETSEC, 0 };
static const struct instruction insn_xsetbv = { "XSETBV", BYTES(0x0f, 0x01, 0xd1), EXIT_XSETBV, 0 };
static const struct instruction insn_vmcall = { "VMCALL", BYTES(0x0f, 0x01, 0xc1), EXIT_VMCALL, 0 };
static const struct instruction insn_vmlaunch = { "VMLAUNCH", BYTES(0x0f, 0x01, 0xc2), EXIT_VMLAUNCH, 0 };
static const struct instruction insn_vmresume = { "VMRESUME", BYTES(0x0f, 0x01, 0xc3), EXIT_VMRESUME, 0 };
static const struct instruction insn_vmxoff = { "VMXOFF", BYTES(0x0f, 0x01, 0xc4), EXIT_VMXOFF, 0 };
static const struct instruction insn_vmclear = {
	"VMCLEAR", BYTES(0x66, 0x0f, 0xc7, 0x70, DISPLACEMENT), EXIT_VMCLEAR, DISPLACEMENT
};
static const struct instruction insn_vmptrld = {
	"VMPTRLD", BYTES(0x0f, 0xc7, 0x70, DISPLACEMENT), EXIT_VMPTRLD, DISPLACEMENT
};
static const struct instruction insn_vmptrst = {
	"VMPTRST", BYTES(0x0f, 0xc7, 0x78, DISPLACEMENT), EXIT_VMPTRST, DISPLACEMENT
};
static const struct instruction insn_vmxon = {
	"VMXON", BYTES(0xf3, 0x0f, 0xc7, 0x70, DISPLACEMENT), EXIT_VMXON, DISPLACEMENT
};
static const struct instruction insn_vmread = {
	"VMREAD to memory", BYTES(0x0f, 0x78, 0x48, DISPLACEMENT), EXIT_VMREAD, DISPLACEMENT
};
static const struct instruction insn_vmread_register = {
	"VMREAD RDX, RCX", BYTES(0x0f, 0x78, 0xca), EXIT_VMREAD, NOT_LOOKED_AT
};
static const struct instruction insn_vmwrite = {
	"VMWRITE from memory", BYTES(0x0f, 0x79, 0x48, DISPLACEMENT), EXIT_VMWRITE, DISPLACEMENT
};
static const struct instruction insn_vmwrite_register = {
	"VMWRITE RCX, RDX", BYTES(0x0f, 0x79, 0xca), EXIT_VMWRITE, NOT_LOOKED_AT
};
static const struct instruction insn_invept = {
	"INVEPT", BYTES(0x66, 0x0f, 0x38, 0x80, 0x48, DISPLACEMENT), EXIT_INVEPT, DISPLACEMENT
};
static const struct instruction insn_invvpid = {
	"INVVPID", BYTES(0x66, 0x0f, 0x38, 0x81, 0x48, DISPLACEMENT), EXIT_INVVPID, DISPLACEMENT
};

/* RAX: the operand; RCX: a field that exists (guest RIP), or a type, leaf or index; RDX: a value. */
static void set_registers(u64 rcx)
{
	guest.regs.rax = (u64)instruction_operand;
	guest.regs.rcx = rcx;
	guest.regs.rdx = 0x1122334455667788;
}

static void run_and_expect_exit(const void *data)
{
	const struct instruction *instruction = data;
	u64 current = vmcs_current();

	for (u32 rcx = 0; rcx < 3; rcx++) {
		CASE("%s, RCX %#x", instruction->text, rcx);
		set_registers(rcx);
		instruction_run(instruction);
		expect_instruction_exit(instruction);
	}
	expect_eq(vmcs_current(), current);
}

#define UNCONDITIONAL(id, title, instruction, ...) \
	TAP_ROW(vmx_fixture, id, title, .run = run_and_expect_exit, .data = &(instruction), ##__VA_ARGS__)

UNCONDITIONAL("exit.uncond.vmclear", "VMCLEAR exits with reason 19", insn_vmclear);
UNCONDITIONAL("exit.uncond.vmlaunch", "VMLAUNCH exits with reason 20", insn_vmlaunch);
UNCONDITIONAL("exit.uncond.vmptrld", "VMPTRLD exits with reason 21", insn_vmptrld);
UNCONDITIONAL("exit.uncond.vmptrst", "VMPTRST exits with reason 22", insn_vmptrst);
UNCONDITIONAL("exit.uncond.vmresume", "VMRESUME exits with reason 24", insn_vmresume);
UNCONDITIONAL("exit.uncond.vmxoff", "VMXOFF exits with reason 26", insn_vmxoff);
UNCONDITIONAL("exit.uncond.invept", "INVEPT exits with reason 50", insn_invept, NEEDS(CAP_INVEPT));
UNCONDITIONAL("exit.uncond.invvpid", "INVVPID exits with reason 53", insn_invvpid, NEEDS(CAP_INVVPID));
UNCONDITIONAL("exit.uncond.invd", "INVD at CPL 0 exits with reason 13", insn_invd);

/* With "VMCS shadowing" 0; the fields: one that exists, one that does not, all ones. */
static void check_vmread_vmwrite(const struct instruction *memory, const struct instruction *in_register)
{
	static const u64 fields[] = { GUEST_RIP, EXIT_REASON, 0x7ffe, ~0ull };

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		CASE("%s, field %#x", memory->text, fields[i]);
		set_registers(fields[i]);
		instruction_run(memory);
		expect_instruction_exit(memory);
		CASE("%s, field %#x", in_register->text, fields[i]);
		instruction_run(in_register);
		expect_instruction_exit(in_register);
	}
}

TEST("exit.uncond.vmread", "VMREAD without VMCS shadowing exits with reason 23")
{
	check_vmread_vmwrite(&insn_vmread, &insn_vmread_register);
}

TEST("exit.uncond.vmwrite", "VMWRITE without VMCS shadowing exits with reason 25")
{
	check_vmread_vmwrite(&insn_vmwrite, &insn_vmwrite_register);
}

TEST("exit.uncond.vmxon", "VMXON in a guest exits with reason 27, also where the guest believes that CR4.VMXE is 0")
{
	run_and_expect_exit(&insn_vmxon);
	CASE("CR4.VMXE hidden by the read shadow");
	vmcs_write(CR4_GUEST_HOST_MASK, CR4_VMXE);
	vmcs_write(CR4_READ_SHADOW, 0);
	instruction_run(&insn_vmxon);
	expect_instruction_exit(&insn_vmxon);
}

TEST("exit.uncond.cpuid", "CPUID exits with reason 10 and qualification 0, at any CPL")
{
	static const u32 leaves[] = { 0, 1, 7, 0x40000000, 0x80000000, 0x80000008, 0xffffffff };

	for (u32 cpl = 0; cpl < 4; cpl += 3) {
		if (cpl == 3)
			guest_set_cpl3();
		for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
			CASE("leaf %#x at CPL %u", leaves[i], cpl);
			set_registers(0);
			guest.regs.rax = leaves[i];
			instruction_run(&insn_cpuid);
			expect_instruction_exit(&insn_cpuid);
		}
	}
}

TEST("exit.uncond.vmcall", "VMCALL exits with reason 18 at any CPL, in compatibility and in virtual-8086 mode")
{
	static const char *const modes[] = { "64-bit mode", "CPL 3", "compatibility mode", "virtual-8086 mode" };
	u8 *const low = (u8 *)low_page();
	u8 saved[3];

	memcpy(instruction_code, insn_vmcall.bytes, insn_vmcall.length);
	for (u32 mode = 0; mode < ARRAY_SIZE(modes); mode++) {
		CASE("%s", modes[mode]);
		if (mode == 1)
			guest_set_cpl3();
		if (mode == 2)
			guest_set_compatibility();
		if (mode == 3)
			guest_set_virtual_8086(low_page() >> 4);
		memcpy(saved, low, sizeof(saved));
		memcpy(low, insn_vmcall.bytes, sizeof(saved));
		guest.regs.rax = 0x1234;
		guest_run_at(mode == 3 ? NULL : instruction_code);
		memcpy(low, saved, sizeof(saved));
		expect_exit(EXIT_VMCALL, .qualification = 0, .instruction_length = 3,
			    .rip = mode == 3 ? 0 : (u64)instruction_code);
		expect_eq((u32)guest.regs.rax, 0x1234);
	}
}

TEST("exit.uncond.getsec", "GETSEC exits with reason 11 if CR4.SMXE is 1, and raises #UD if it is 0")
{
	set_registers(0);
	guest.regs.rax = 0;
	instruction_run(&insn_getsec);
	expect_guest_fault(VECTOR_UD, 0);
	if (!has(FEATURE_SMX))
		return;
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_SMXE);
	guest.regs.rax = 0;
	instruction_run(&insn_getsec);
	expect_instruction_exit(&insn_getsec);
}

TEST("exit.uncond.xsetbv", "XSETBV exits with reason 55, but raises #UD if CR4.OSXSAVE is 0",
     NEEDS(FEATURE_XSAVE))
{
	const u64 cr4 = vmcs_read(GUEST_CR4) & ~(u64)CR4_OSXSAVE;

	for (u32 index = 0; index < 3; index++) {	/* 1 and 2 would raise #GP behind the exit's check */
		CASE("index %u", index);
		set_registers(index);
		vmcs_write(GUEST_CR4, cr4 | CR4_OSXSAVE);
		instruction_run(&insn_xsetbv);
		expect_instruction_exit(&insn_xsetbv);
		vmcs_write(GUEST_CR4, cr4);
		instruction_run(&insn_xsetbv);
		expect_guest_fault(VECTOR_UD, 0);
	}
}

TEST("exit.uncond.xsetbv_cpl3", "XSETBV at CPL 3 raises #GP rather than exit", NEEDS(FEATURE_XSAVE))
{
	set_registers(0);
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_OSXSAVE);
	guest_set_cpl3();
	instruction_run(&insn_xsetbv);
	expect_guest_fault(VECTOR_GP, 0);
}

TEST("exit.uncond.vmx_cpl3", "the VMX instructions exit at CPL 3 too, rather than raise #GP")
{
	static const struct instruction *const instructions[] = {
		&insn_vmclear, &insn_vmlaunch, &insn_vmptrld, &insn_vmptrst, &insn_vmread, &insn_vmresume,
		&insn_vmwrite, &insn_vmxoff, &insn_vmxon,
	};

	guest_set_cpl3();
	for (size_t i = 0; i < ARRAY_SIZE(instructions); i++) {
		CASE("%s", instructions[i]->text);
		set_registers(GUEST_RIP);
		instruction_run(instructions[i]);
		expect_instruction_exit(instructions[i]);
	}
	if (has(CAP_INVEPT))
		run_and_expect_exit(&insn_invept);
	if (has(CAP_INVVPID))
		run_and_expect_exit(&insn_invvpid);
}

TEST("exit.uncond.rsm17", "RSM outside SMM raises #UD in a guest; there is no exit with reason 17")
{
	static const struct instruction rsm = { "RSM", BYTES(0x0f, 0xaa), EXIT_RSM, 0 };

	instruction_run(&rsm);
	expect_guest_fault(VECTOR_UD, 0);
}
