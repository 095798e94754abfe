/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions that exit if their control is 1, and work in the guest if it is 0. */
#include "insn.h"

#include "libc/string.h"
#include "x86/page.h"

static void run(const struct instruction *instruction, u64 rax, u64 rcx)
{
	guest.regs.rax = rax;
	guest.regs.rcx = rcx;
	guest.regs.rdx = 0;
	instruction_run(instruction);
}

TEST("exit.invlpg", "INVLPG exits with reason 14 and the linear address of its operand in the qualification",
     NEEDS(PROC_INVLPG_EXITING))
{
	static const u64 addresses[] = {
		0, 1, 0xfff, 0x12345678, 0x00007fffffffffff, 0xffff800000000000, 0xfffffffffffffffe, PAGE_WINDOW,
		0x5555aaaa5aa5, 0xffffaaaa5555a55a,
	};
	static const u64 fs_base = 0x0000100000abc000;
	struct instruction plain = { "INVLPG (RAX)", BYTES(0x0f, 0x01, 0x38), EXIT_INVLPG, 0 };
	struct instruction fs = { "INVLPG FS:(RAX)", BYTES(0x64, 0x0f, 0x01, 0x38), EXIT_INVLPG, 0 };
	struct instruction short_address = { "INVLPG (EAX)", BYTES(0x67, 0x0f, 0x01, 0x38), EXIT_INVLPG, 0 };
	struct instruction with_displacement = { "INVLPG -8(RAX)", BYTES(0x0f, 0x01, 0x78, 0xf8), EXIT_INVLPG, 0 };

	vmcs_write(GUEST_FS_BASE, fs_base);
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		const u64 address = addresses[i];

		CASE("address %#lx", address);
		vmcs_set_controls(PROC_INVLPG_EXITING);
		plain.qualification = address;
		run(&plain, address, 0);
		expect_instruction_exit(&plain);
		fs.qualification = fs_base + address % BIT(40);
		run(&fs, address % BIT(40), 0);
		expect_instruction_exit(&fs);
		short_address.qualification = (u32)address;
		run(&short_address, address, 0);
		expect_instruction_exit(&short_address);
		with_displacement.qualification = 0x123456780 + i * PAGE_SIZE - 8;
		run(&with_displacement, 0x123456780 + i * PAGE_SIZE, 0);
		expect_instruction_exit(&with_displacement);
		CASE("address %#lx, the control 0", address);
		vmcs_clear_controls(PROC_INVLPG_EXITING);
		run(&plain, address, 0);
		expect_guest_done();
	}
}

/* RAX: the descriptor, RCX: the type. */
static const struct instruction insn_invpcid = {
	"INVPCID", BYTES(0x66, 0x0f, 0x38, 0x82, 0x48, 0x20), EXIT_INVPCID, 0x20
};

TEST("exit.invpcid", "INVPCID with \"INVLPG exiting\" 1 exits with reason 58 and its displacement as qualification",
     NEEDS(PROC2_ENABLE_INVPCID, PROC_INVLPG_EXITING))
{
	/* Address size 9:7, segment 17:15, index invalid 22, base 26:23, base invalid 27, type register 31:28. */
	const u32 looked_at = 7 << 7 | 7 << 15 | 1 << 22 | 0xf << 23 | 1 << 27 | 0xf0000000;
	const u32 information = 2 << 7 | 3 << 15 | 1 << 22 | 0 << 23 | 0 << 27 | 1 << 28;

	for (u64 type = 0; type < 5; type++) {		/* type 4 would raise #GP */
		CASE("type %u", type);
		vmcs_set_controls(PROC2_ENABLE_INVPCID, PROC_INVLPG_EXITING);
		run(&insn_invpcid, (u64)instruction_operand, type);
		expect_instruction_exit(&insn_invpcid);
		expect_bits(vmcs_read(EXIT_INSTRUCTION_INFORMATION), looked_at, information);
	}
	CASE("\"INVLPG exiting\" 0: INVPCID of all contexts works");
	vmcs_clear_controls(PROC_INVLPG_EXITING);
	run(&insn_invpcid, (u64)page_alloc(), 2);
	expect_guest_done();
}

TEST("exit.invpcid.ud", "INVPCID with \"enable INVPCID\" 0 raises #UD in the guest, at CPL 3 too",
     NEEDS(PROC2_ENABLE_INVPCID, PROC_INVLPG_EXITING))
{
	/* The control 0; 1, but the secondary controls not active. */
	for (u32 way = 0; way < 2; way++)
		for (u32 exiting = 0; exiting < 2; exiting++)
			for (u32 cpl = 0; cpl < 4; cpl += 3) {
				CASE("secondary inactive %u, \"INVLPG exiting\" %u, CPL %u", way, exiting, cpl);
				if (way) {
					vmcs_set_controls(PROC2_ENABLE_INVPCID);
					vmcs_clear_controls(PROC_ACTIVATE_SECONDARY_CONTROLS);
				}
				vmcs_change_controls((const u32[]){ PROC_INVLPG_EXITING, 0 }, exiting);
				guest_set_cpl0();
				if (cpl == 3)
					guest_set_cpl3();
				run(&insn_invpcid, (u64)instruction_operand, 2);
				expect_guest_fault(VECTOR_UD, 0);
			}
}

TEST("exit.rdpmc", "RDPMC exits with reason 15, whatever counter ECX names", NEEDS(PROC_RDPMC_EXITING))
{
	static const struct instruction rdpmc = { "RDPMC", BYTES(0x0f, 0x33), EXIT_RDPMC, 0 };
	static const u64 counters[] = { 0, 1, 7, 0x40000000, 0x40000002, 0xffffffff };
	struct fault in_host;

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		CASE("counter %#x", counters[i]);
		vmcs_set_controls(PROC_RDPMC_EXITING);
		run(&rdpmc, 0, counters[i]);
		expect_instruction_exit(&rdpmc);
		vmcs_clear_controls(PROC_RDPMC_EXITING);
		CASE("counter %#x, the control 0", counters[i]);
		run(&rdpmc, 0, counters[i]);
		/* What it does in the host: a counter that does not exist raises #GP. */
		in_host = TRY(asm volatile("rdpmc" : : "c"((u32)counters[i]) : "rax", "rdx"));
		if (in_host.raised)
			expect_guest_fault(in_host.vector, in_host.error_code);
		else
			expect_guest_done();
	}
	CASE("CPL 3, CR4.PCE 1");
	vmcs_set_controls(PROC_RDPMC_EXITING);
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_PCE);
	guest_set_cpl3();
	run(&rdpmc, 0, 0);
	expect_instruction_exit(&rdpmc);
}

/* RDRAND (modrm 11 110 r) and RDSEED (11 111 r) of every register, in every operand size. */
static void check_random(u32 control, u32 reason, u8 modrm)
{
	static const char *const sizes[] = { "16", "32", "64" };
	struct instruction instruction = { .reason = reason, .qualification = 0 };

	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);	/* should one be done after all, to RSP for one */
	for (u32 size = 0; size < 3; size++)
		for (u32 reg = 0; reg < 16; reg++) {
			u8 *byte = instruction.bytes;

			if (size == 0)
				*byte++ = 0x66;
			if (size == 2 || reg >= 8)
				*byte++ = 0x40 | (size == 2 ? 8 : 0) | (reg >= 8 ? 1 : 0);
			*byte++ = 0x0f;
			*byte++ = 0xc7;
			*byte++ = modrm | (reg & 7);
			instruction.length = byte - instruction.bytes;

			CASE("register %u, %s bits", reg, sizes[size]);
			vmcs_set_controls(control);
			run(&instruction, 0x11111111, 0x22222222);
			expect_instruction_exit(&instruction);
			/* Destination 6:3; operand size 12:11 (of 16 bits: info.iinfo.rdrand). */
			expect_bits(vmcs_read(EXIT_INSTRUCTION_INFORMATION), 0xf << 3 | (size ? 3 << 11 : 0),
				    reg << 3 | size << 11);
		}
	CASE("the control 0");
	vmcs_clear_controls(control);
	memcpy(instruction.bytes, (const u8[]){ 0x0f, 0xc7, modrm | 1 }, 3);	/* to ECX */
	instruction.length = 3;
	run(&instruction, 0, 0);
	expect_guest_done();
}

TEST("exit.rdrand", "RDRAND exits with reason 57 and says its destination and operand size",
     NEEDS(PROC2_RDRAND_EXITING, FEATURE_RDRAND))
{
	check_random(PROC2_RDRAND_EXITING, EXIT_RDRAND, 0xf0);
}

TEST("exit.rdseed", "RDSEED exits with reason 61 and says its destination and operand size",
     NEEDS(PROC2_RDSEED_EXITING, FEATURE_RDSEED))
{
	check_random(PROC2_RDSEED_EXITING, EXIT_RDSEED, 0xf8);
}

TEST("exit.wbinvd", "WBINVD exits with reason 54 and qualification 0, and WBNOINVD with the same reason",
     NEEDS(PROC2_WBINVD_EXITING))
{
	static const struct instruction wbinvd = { "WBINVD", BYTES(0x0f, 0x09), EXIT_WBINVD, 0 };
	/* Its qualification is 1 by later editions; it is told as a note where it is another. */
	static const struct instruction wbnoinvd = {
		"WBNOINVD", BYTES(0xf3, 0x0f, 0x09), EXIT_WBINVD, NOT_LOOKED_AT
	};

	for (u32 i = 0; i < (has(FEATURE_WBNOINVD) ? 2 : 1); i++) {
		const struct instruction *instruction = i ? &wbnoinvd : &wbinvd;

		CASE("%s", instruction->text);
		vmcs_set_controls(PROC2_WBINVD_EXITING);
		run(instruction, 0, 0);
		expect_instruction_exit(instruction);
		if (i && vmcs_read(EXIT_QUALIFICATION) != 1)
			note("WBNOINVD exits with qualification %#lx", vmcs_read(EXIT_QUALIFICATION));
		CASE("%s, the control 0", instruction->text);
		vmcs_clear_controls(PROC2_WBINVD_EXITING);
		run(instruction, 0, 0);
		expect_guest_done();
		CASE("%s, the secondary controls not active", instruction->text);
		vmcs_set_controls(PROC2_WBINVD_EXITING);
		vmcs_clear_controls(PROC_ACTIVATE_SECONDARY_CONTROLS);
		run(instruction, 0, 0);
		expect_guest_done();
	}
}
