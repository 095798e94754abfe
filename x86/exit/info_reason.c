/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every exit says of itself: its reason, its qualification, and whether an event was the cause or was on its
 * way (SDM Vol. 3C, "Recording VM-Exit Information"). INIT, SIPI and SMI have tests of their own.
 */
#include "info_instructions.h"
#include "info_ways.h"

#include "libc/string.h"

/* Run every instruction and every way there is, and call check for each. */
static void run_all(void (*poison)(void), void (*check_instruction)(const struct exiting_instruction *),
		    void (*check_other)(const struct way *))
{
	exit_on_every_instruction();
	FOR_EACH_EXITING_INSTRUCTION(instruction) {
		CASE("%s", instruction->text);
		if (poison)
			poison();
		run_instruction(instruction, NULL, 0);
		check_instruction(instruction);
	}
	exit_on_every_instruction_ends();
	FOR_EACH_WAY(way) {
		CASE("%s", way->name);
		way_run(way, poison);
		check_other(way);
	}
}

static void check_instruction_reason(const struct exiting_instruction *instruction)
{
	expect_exit(instruction->reason, .rip = (u64)exiting_code);
	expect_reason_only(instruction->reason);
}

static void check_way_reason(const struct way *way)
{
	expect_way(way);
}

TEST("info.reason.basic", "The exit reason is the number alone; bit 31 is 1 for a VM entry that fails, and only then")
{
	run_all(NULL, check_instruction_reason, check_way_reason);
}

static bool produced[128];

static void note_reason(void)
{
	const u64 reason = vmcs_read(EXIT_REASON) & 0xffff;

	expect_on_known(reason < ARRAY_SIZE(produced), "a basic exit reason below 128");
	if (reason < ARRAY_SIZE(produced))
		produced[reason] = true;
}

static void note_instruction(const struct exiting_instruction *instruction)
{
	expect_exit(instruction->reason);
	note_reason();
}

static void note_way(const struct way *way)
{
	expect_way(way);
	note_reason();
}

static void produce_all(void)
{
	memset(produced, 0, sizeof(produced));
	run_all(NULL, note_instruction, note_way);
}

TEST("info.reason.all_unique", "Each exit that this processor can produce has its own reason")
{
	bool possible[ARRAY_SIZE(produced)] = { false };

	FOR_EACH_EXITING_INSTRUCTION(instruction)
		possible[instruction->reason] = true;
	FOR_EACH_WAY(way)
		possible[way->reason] = true;
	produce_all();
	for (u32 reason = 0; reason < ARRAY_SIZE(produced); reason++) {
		CASE("reason %u", reason);
		expect_eq(produced[reason], possible[reason]);
	}
}

/* A later processor may give any of them a meaning, as it happened to those behind 64. */
TEST("info.reason.reserved_never", "No exit has one of the numbers that the manual leaves out")
{
	static const u8 reserved[] = { 35, 38, 42, 71, 82, 83 };

	produce_all();
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
		CASE("reason %u", reserved[i]);
		expect_on_known(!produced[reserved[i]], "no exit has this reason");
	}
	for (u32 reason = 86; reason < ARRAY_SIZE(produced); reason++) {
		CASE("reason %u", reason);
		expect_on_known(!produced[reason], "no exit has this reason");
	}
}

static void check_no_enclave(void)
{
	expect_bits(vmcs_read(EXIT_REASON), BIT(27), 0);
	expect_bits(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_ENCLAVE, 0);
}

static void check_instruction_no_enclave(UNUSED const struct exiting_instruction *instruction)
{
	check_no_enclave();
}

static void check_way_no_enclave(UNUSED const struct way *way)
{
	check_no_enclave();
}

TEST("info.reason.bit27_enclave", "Bit 27 of the exit reason is 0 for an exit outside of an enclave",
     NEEDS(FEATURE_SGX))
{
	run_all(NULL, check_instruction_no_enclave, check_way_no_enclave);
}

GUEST_ASM(guest_splits_lock, "lock incl (%rbx); nop; ret");

TEST("info.reason.bit26_buslock", "An exit behind a bus lock has reason 74, or bit 26 of its reason is 1",
     NEEDS(PROC2_VMM_BUS_LOCK_DETECTION))
{
	u8 *const page = page_alloc();

	vmcs_set_controls(PROC2_VMM_BUS_LOCK_DETECTION);
	for (u32 offset = 56; offset < 72; offset++) {
		const bool split = offset > 60 && offset < 64;

		CASE("a locked access of 4 bytes at %u", offset);
		guest.regs.rbx = (u64)page + offset;
		guest_run(guest_splits_lock);
		if (split) {
			const u64 reason = vmcs_read(EXIT_REASON);

			expect((reason & 0xffff) == EXIT_BUS_LOCK || (reason & BIT(26)),
			       "an exit 74 (bus lock), or another one with bit 26 of its reason");
		} else {
			expect_guest_done();
			expect_bits(vmcs_read(EXIT_REASON), BIT(26), 0);
		}
	}
}

/* Qualifications, and the two fields of events: what has nothing to say is 0, or not valid. */

static void check_instruction_qualification(const struct exiting_instruction *instruction)
{
	expect_exit(instruction->reason, .qualification = instruction->qualification);
}

static void check_way_qualification(const struct way *way)
{
	if (expect_way(way) && way->qualification != NOT_LOOKED_AT)
		expect_eq(vmcs_read(EXIT_QUALIFICATION), way->qualification);
}

TEST("info.qual.zero_others", "The exit qualification is 0 where the manual gives it no meaning")
{
	run_all(NULL, check_instruction_qualification, check_way_qualification);
}

/* Not valid: the other bits mean nothing. Bit 12 is the test's of IRET. */
static void expect_event(const char *name, u64 information, u64 expected)
{
	const u64 mask = expected ? ~(u64)INTERRUPTION_NMI_UNBLOCKING : INTERRUPTION_VALID;

	check_bits(HERE, name, information, mask, expected);
}

static void check_instruction_no_event(const struct exiting_instruction *instruction)
{
	expect_exit(instruction->reason);
	expect_event("interruption information", vmcs_read(EXIT_INTERRUPTION_INFORMATION), 0);
}

static void check_way_event(const struct way *way)
{
	if (expect_way(way) && !way->entry_failure)
		expect_event("interruption information", vmcs_read(EXIT_INTERRUPTION_INFORMATION), way->interruption);
}

TEST("info.intr.valid_only_vectored",
     "Interruption information is valid for exceptions, NMIs and acknowledged interrupts, and for no other exit")
{
	run_all(NULL, check_instruction_no_event, check_way_event);
}

/* Values that no exit here gives; the interruption fields valid, so that "not valid" is seen. */
#define POISON 0xdeadbeefcafef00d
enum { POISON_REASON = 0x5a5a, POISON_EVENT = 0xc0dec0de };

static void poison_fields(void)
{
	vmcs_write(EXIT_REASON, POISON_REASON);
	vmcs_write(EXIT_QUALIFICATION, POISON);
	vmcs_write(EXIT_INTERRUPTION_INFORMATION, POISON_EVENT);
	vmcs_write(EXIT_INTERRUPTION_ERROR_CODE, POISON_EVENT);
	vmcs_write(IDT_VECTORING_INFORMATION, POISON_EVENT);
	vmcs_write(IDT_VECTORING_ERROR_CODE, POISON_EVENT);
}

static void check_instruction_fresh(const struct exiting_instruction *instruction)
{
	expect_exit(instruction->reason, .qualification = instruction->qualification,
		    .instruction_length = instruction->length);
	expect_ne(vmcs_read(EXIT_QUALIFICATION), POISON);
	expect_event("interruption information", vmcs_read(EXIT_INTERRUPTION_INFORMATION), 0);
	expect_event("IDT-vectoring information", vmcs_read(IDT_VECTORING_INFORMATION), 0);
}

static void check_way_fresh(const struct way *way)
{
	expect_way(way);
	expect_ne(vmcs_read(EXIT_QUALIFICATION), POISON);
	if (way->qualification != NOT_LOOKED_AT)
		expect_eq(vmcs_read(EXIT_QUALIFICATION), way->qualification);
	if (way->entry_failure)
		return;			/* which leaves the other fields alone */
	expect_event("interruption information", vmcs_read(EXIT_INTERRUPTION_INFORMATION), way->interruption);
	expect_event("IDT-vectoring information", vmcs_read(IDT_VECTORING_INFORMATION), way->idt_vectoring);
}

TEST("info.fields_all_fresh",
     "Each exit writes reason, qualification, interruption and IDT-vectoring information afresh",
     NEEDS(CAP_MISC_VMWRITE_ANY_FIELD))
{
	run_all(poison_fields, check_instruction_fresh, check_way_fresh);
}

TEST("info.virtualized_eoi", "A virtualized EOI has reason 45 alone, its vector for a qualification, and no event",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC2_VIRTUAL_INTERRUPT_DELIVERY))
{
	const struct way *way = ways;

	while (way->reason != EXIT_VIRTUALIZED_EOI)
		way++;
	for (u32 poisoned = 0; poisoned <= has(CAP_MISC_VMWRITE_ANY_FIELD); poisoned++) {
		CASE("%s, fields poisoned %u", way->name, poisoned);
		way_run(way, poisoned ? poison_fields : NULL);
		check_way_fresh(way);
	}
}
