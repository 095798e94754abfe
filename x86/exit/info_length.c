/* SPDX-License-Identifier: BSD-2-Clause */
/* VM-exit instruction length (SDM Vol. 3C, "Information for VM Exits Due to Instruction Execution"). */
#include "info_instructions.h"
#include "vmx/modes.h"

#include "libc/string.h"

/* Prefixes that change nothing here: 64-bit mode ignores four of the segments, the base of FS is 0. */
static const u8 redundant[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x67 };

static void expect_length(const struct exiting_instruction *instruction, u32 length)
{
	expect_exit(instruction->reason, .instruction_length = length, .rip = (u64)exiting_code,
		    .qualification = instruction->qualification);
}

TEST("info.ilen.instructions", "The instruction length is that of the instruction that exits")
{
	exit_on_every_instruction();
	FOR_EACH_EXITING_INSTRUCTION(instruction) {
		CASE("%s", instruction->text);
		run_instruction(instruction, NULL, 0);
		expect_length(instruction, instruction->length);
	}
	exit_on_every_instruction_ends();
}

/* A REX prefix stands right before the opcode: not before another prefix. */
static bool may_have_rex(const struct exiting_instruction *instruction)
{
	const u8 first = instruction->bytes[0];

	return first != 0x66 && first != 0xf2 && first != 0xf3 && first != 0x64 && (first & 0xf0) != 0x40;
}

static void check_prefixes(const struct exiting_instruction *instruction, const u8 *prefixes, u32 count)
{
	static u32 turn;

	if (!walk_takes_nth(&turn, 5))
		return;
	run_instruction(instruction, prefixes, count);
	expect_length(instruction, count + instruction->length);
}

TEST("info.ilen.prefix", "The instruction length includes redundant prefixes, up to 15 bytes")
{
	u8 prefixes[MAX_INSTRUCTION_LENGTH];

	exit_on_every_instruction();
	vmcs_write(GUEST_FS_BASE, 0);
	FOR_EACH_EXITING_INSTRUCTION(instruction) {
		const u32 room = MAX_INSTRUCTION_LENGTH - instruction->length;

		for (size_t p = 0; p < sizeof(redundant); p++) {
			memset(prefixes, redundant[p], sizeof(prefixes));
			for (u32 count = 1; count <= room; count++) {
				CASE("%s behind %u bytes %#x", instruction->text, count, redundant[p]);
				check_prefixes(instruction, prefixes, count);
				if (!may_have_rex(instruction) || (count > 1 && count < room))
					continue;
				CASE("%s behind REX behind %u bytes %#x", instruction->text, count - 1, redundant[p]);
				prefixes[count - 1] = 0x40;
				check_prefixes(instruction, prefixes, count);
				prefixes[count - 1] = redundant[p];
			}
		}
		for (u32 count = 1; count <= room; count++) {
			CASE("%s behind %u different prefixes", instruction->text, count);
			for (u32 i = 0; i < count; i++)
				prefixes[i] = redundant[i % sizeof(redundant)];
			check_prefixes(instruction, prefixes, count);
		}
	}
	exit_on_every_instruction_ends();
}

static u8 trap_code[MAX_INSTRUCTION_LENGTH + 2];

/* INT1, INT3 or INTO at every length that prefixes can give it. */
static void check_trap(const char *name, u8 opcode, u8 vector, u32 type)
{
	static const u8 prefixes[] = { 0x26, 0x2e, 0x66, 0x67, 0xf3 };

	vmcs_write(EXCEPTION_BITMAP, BIT(vector));
	for (size_t p = 0; p < sizeof(prefixes); p++)
		for (u32 length = 1; length <= MAX_INSTRUCTION_LENGTH; length++) {
			CASE("%s of %u bytes, prefixes %#x", name, length, prefixes[p]);
			memset(trap_code, prefixes[p], sizeof(trap_code));
			trap_code[length - 1] = opcode;
			trap_code[length] = 0x0f;		/* UD2 */
			trap_code[length + 1] = 0x0b;
			guest_run_at(trap_code);
			expect_exit(EXIT_EXCEPTION_OR_NMI, .interruption = INTERRUPTION_VALID | type | vector,
				    .instruction_length = length, .rip = (u64)trap_code);
		}
}

TEST("info.ilen.int3_into", "The instruction length is valid for exits of INT3, INTO and INT1")
{
	check_trap("INT3", 0xcc, VECTOR_BP, INTERRUPTION_TYPE_SOFTWARE_EXCEPTION);
	check_trap("INT1", 0xf1, VECTOR_DB, INTERRUPTION_TYPE_PRIVILEGED);
	guest_set_compatibility();
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_OF);
	check_trap("INTO", 0xce, VECTOR_OF, INTERRUPTION_TYPE_SOFTWARE_EXCEPTION);
	check_trap("INT3 in compatibility mode", 0xcc, VECTOR_BP, INTERRUPTION_TYPE_SOFTWARE_EXCEPTION);
}
