/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions that a control must enable first: else they raise #UD in a guest. */
#include "insn.h"

#include "libc/string.h"
#include "x86/page.h"

/* Memory operand (%rax + 40H); EDX:EAX is the mask of XSAVES, so the operand is (%rcx + 40H) there. */
static const struct instruction xsaves = { "XSAVES", BYTES(0x0f, 0xc7, 0x69, 0x40), EXIT_XSAVES, 0x40 };
static const struct instruction xrstors = { "XRSTORS", BYTES(0x0f, 0xc7, 0x59, 0x40), EXIT_XRSTORS, 0x40 };

/* A bit that IA32_XSS takes, whether CPUID lists it (guest.msr.xss) or not; 0: none. Leaves the MSR as it was. */
static u64 some_xss_bit(void)
{
	const u64 before = rdmsr(IA32_XSS);
	u64 found = 0;

	for (u32 bit = 0; bit < 64 && !found; bit++) {
		const struct fault fault = TRY(wrmsr(IA32_XSS, BIT(bit)));

		found = fault.raised ? 0 : rdmsr(IA32_XSS) & BIT(bit);
	}
	wrmsr(IA32_XSS, before);
	return found;
}

static void run_xsaves(const struct instruction *instruction, u64 mask)
{
	u8 *area = page_alloc();

	area[512 + 15] = 0x80;			/* XCOMP_BV bit 63: the compacted format, for XRSTORS */
	guest.regs.rcx = (u64)area - 0x40;
	guest.regs.rax = (u32)mask;
	guest.regs.rdx = mask >> 32;
	instruction_run(instruction);
}

TEST("exit.xsaves",
     "XSAVES and XRSTORS exit with reason 63 and 64 where EDX:EAX, IA32_XSS and the bitmap have a common bit",
     NEEDS(PROC2_ENABLE_XSAVES_XRSTORS, FEATURE_XSAVES))
{
	static const struct instruction *const instructions[] = { &xsaves, &xrstors };
	const u64 bit = some_xss_bit(), xss = rdmsr(IA32_XSS);

	if (!bit)
		skip("needs a bit that IA32_XSS takes");
	vmcs_set_controls(PROC2_ENABLE_XSAVES_XRSTORS);
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_OSXSAVE);
	for (u32 i = 0; i < 2; i++)
		for (u32 set = 0; set < 8; set++) {
			const u64 mask = set & 1 ? ~0ull : ~bit, in_xss = set & 2 ? bit : 0;

			CASE("%s, in EDX:EAX and IA32_XSS: %u, in the bitmap: %u",
			     instructions[i]->text, set & 3, set >> 2);
			wrmsr(IA32_XSS, in_xss);
			vmcs_write(XSS_EXITING_BITMAP, set & 4 ? bit : ~bit);
			run_xsaves(instructions[i], mask & ~(u64)7);	/* no x87, SSE or AVX state */
			wrmsr(IA32_XSS, xss);
			if (set != 7) {
				expect_guest_done();
				continue;
			}
			expect_instruction_exit(instructions[i]);
			CASE("%s at CPL 3", instructions[i]->text);
			guest_set_cpl3();
			wrmsr(IA32_XSS, in_xss);
			run_xsaves(instructions[i], mask & ~(u64)7);
			wrmsr(IA32_XSS, xss);
			expect_guest_fault(VECTOR_GP, 0);
			guest_set_cpl0();
		}
}

TEST("exit.xsaves.ud", "XSAVES and XRSTORS raise #UD in the guest with \"enable XSAVES/XRSTORS\" 0",
     NEEDS(PROC2_ENABLE_XSAVES_XRSTORS, FEATURE_XSAVES))
{
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_OSXSAVE);
	for (u32 enabled = 0; enabled < 2; enabled++) {
		CASE("enabled %u", enabled);
		if (enabled) {
			vmcs_set_controls(PROC2_ENABLE_XSAVES_XRSTORS);
			vmcs_write(XSS_EXITING_BITMAP, 0);
		} else if (has(PROC2_ENABLE_XSAVES_XRSTORS)) {
			vmcs_clear_controls(PROC2_ENABLE_XSAVES_XRSTORS);
			vmcs_write(XSS_EXITING_BITMAP, ~0ull);
		}
		for (u32 i = 0; i < 2; i++) {
			run_xsaves(i ? &xrstors : &xsaves, 0);
			if (enabled)
				expect_guest_done();
			else
				expect_guest_fault(VECTOR_UD, 0);
		}
	}
}

TEST("exit.umwait",
     "UMWAIT, TPAUSE and UMONITOR raise #UD if not enabled; the first two exit with 67 and 68 with \"RDTSC exiting\" 1",
     NEEDS(PROC2_ENABLE_USER_WAIT_AND_PAUSE, FEATURE_WAITPKG, PROC_RDTSC_EXITING))
{
	static const struct instruction instructions[] = {
		{ "UMWAIT ECX", BYTES(0xf2, 0x0f, 0xae, 0xf1), EXIT_UMWAIT, 0 },
		{ "TPAUSE ECX", BYTES(0x66, 0x0f, 0xae, 0xf1), EXIT_TPAUSE, 0 },
		{ "UMONITOR RCX", BYTES(0xf3, 0x0f, 0xae, 0xf1), 0, 0 },
	};
	enum { UMONITOR = 2 };

	for (u32 enabled = 0; enabled < 2; enabled++)
		for (u32 exiting = 0; exiting < 2; exiting++)
			for (u32 i = 0; i < ARRAY_SIZE(instructions); i++) {
				CASE("%s, enabled %u, RDTSC exiting %u", instructions[i].text, enabled, exiting);
				vmcs_change_controls((const u32[]){ PROC2_ENABLE_USER_WAIT_AND_PAUSE, 0 }, enabled);
				vmcs_change_controls((const u32[]){ PROC_RDTSC_EXITING, 0 }, exiting);
				guest.regs.rax = guest.regs.rdx = 0;	/* a deadline in the past */
				guest.regs.rcx = i == UMONITOR ? (u64)instruction_operand : 0;
				instruction_run(&instructions[i]);
				if (!enabled)
					expect_guest_fault(VECTOR_UD, 0);
				else if (exiting && i != UMONITOR)
					expect_instruction_exit(&instructions[i]);
				else
					expect_guest_done();
			}
}

/* An instruction whose leaf is in EAX, and whose bitmap has a bit for it; bit 63 stands for all leaves from 63 on. */
static void check_leaves(const struct instruction *instruction, enum vmcs_field bitmap)
{
	static const u32 leaves[] = { 0, 1, 2, 5, 31, 32, 62, 63, 64, 0x80000000, 0xffffffff };

	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		CASE("%s, leaf %#x", instruction->text, leaves[i]);
		vmcs_write(bitmap, BIT(leaves[i] < 63 ? leaves[i] : 63));
		guest.regs.rax = leaves[i];
		guest.regs.rcx = guest.regs.rdx = 0;
		instruction_run(instruction);
		expect_instruction_exit(instruction);
	}
	/* A leaf that there is not, so that what happens instead is known. */
	CASE("%s, leaf 0xffffffff, bit 63 alone 0", instruction->text);
	vmcs_write(bitmap, ~BIT(63));
	guest.regs.rax = 0xffffffff;
	guest.regs.rcx = guest.regs.rdx = 0;
	instruction_run(instruction);
	expect_guest_fault(VECTOR_GP, 0);
}

TEST("exit.encls_enclv", "ENCLS exits with reason 60, ENCLV with 70, where the bit of EAX in their bitmap is 1",
     NEEDS(PROC2_ENABLE_ENCLS_EXITING, FEATURE_SGX))
{
	static const struct instruction encls = { "ENCLS", BYTES(0x0f, 0x01, 0xcf), EXIT_ENCLS, 0 };
	static const struct instruction enclv = { "ENCLV", BYTES(0x0f, 0x01, 0xc0), EXIT_ENCLV, 0 };

	/* Where the firmware has switched SGX off ENCLS is #UD, whatever the control is. */
	if (!(cpuid(0x12, 0).eax & BIT(0)))
		skip("needs SGX that is switched on (CPUID.12H.0:EAX[0])");
	vmcs_set_controls(PROC2_ENABLE_ENCLS_EXITING);
	check_leaves(&encls, ENCLS_EXITING_BITMAP);
	if (has(PROC2_ENABLE_ENCLV_EXITING) && cpuid(0x12, 0).eax & BIT(5)) {
		vmcs_set_controls(PROC2_ENABLE_ENCLV_EXITING);
		check_leaves(&enclv, ENCLV_EXITING_BITMAP);
	}
	CASE("CPL 3: #UD");
	guest_set_cpl3();
	guest.regs.rax = 0;
	instruction_run(&encls);
	expect_guest_fault(VECTOR_UD, 0);
}

TEST("exit.pconfig",
     "PCONFIG exits with reason 65 where the bit of EAX in its bitmap is 1, and raises #UD if not enabled",
     NEEDS(PROC2_ENABLE_PCONFIG, FEATURE_PCONFIG))
{
	static const struct instruction pconfig = { "PCONFIG", BYTES(0x0f, 0x01, 0xc5), EXIT_PCONFIG, 0 };

	vmcs_set_controls(PROC2_ENABLE_PCONFIG);
	check_leaves(&pconfig, PCONFIG_EXITING_BITMAP);
	CASE("not enabled");
	vmcs_clear_controls(PROC2_ENABLE_PCONFIG);
	guest.regs.rax = 0;
	instruction_run(&pconfig);
	expect_guest_fault(VECTOR_UD, 0);
}

TEST("exit.loadiwkey", "LOADIWKEY exits with reason 69", NEEDS(PROC3_LOADIWKEY_EXITING, FEATURE_KL))
{
	static const struct instruction loadiwkey = {
		"LOADIWKEY XMM0, XMM1", BYTES(0xf3, 0x0f, 0x38, 0xdc, 0xc1), EXIT_LOADIWKEY, 0
	};

	vmcs_set_controls(PROC3_LOADIWKEY_EXITING);
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_KL | CR4_OSFXSR);
	guest.regs.rax = 0;
	instruction_run(&loadiwkey);
	expect_instruction_exit(&loadiwkey);
}
