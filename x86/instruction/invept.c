/* SPDX-License-Identifier: BSD-2-Clause */
/* INVEPT (SDM Vol. 3C, "INVEPT-Invalidate Translations Derived from EPT"). */
#include "instruction.h"

#include "vmx/ept.h"

#define INVALID_OPERAND FAIL_VALID(VMERR_INVALID_OPERAND_TO_INVEPT_INVVPID)

static bool type_supported(u64 type)
{
	return (type == INVEPT_SINGLE_CONTEXT && has(CAP_INVEPT_SINGLE_CONTEXT)) ||
	       (type == INVEPT_ALL_CONTEXT && has(CAP_INVEPT_ALL_CONTEXT));
}

TEST("insn.invept.type_unsupported", "INVEPT with a type that IA32_VMX_EPT_VPID_CAP does not report fails with error 28",
     NEEDS(CAP_INVEPT))
{
	const struct invept_descriptor descriptor = { ept_pointer(page_alloc()), 0 };

	for (u64 type = 0; type < 256; type++) {
		CASE("type %#lx", type);
		expect_outcome(invept(type, &descriptor, NULL), type_supported(type) ? SUCCEED : INVALID_OPERAND);
	}
	for (u32 bit = 8; bit < 32; bit++) {
		for (u64 type = 0; type < 4; type++) {
			CASE("type %#lx", type | BIT(bit));
			expect_outcome(invept(type | BIT(bit), &descriptor, NULL), INVALID_OPERAND);
		}
	}
}

TEST("insn.invept.type_64bit", "In 64-bit mode the INVEPT type is all 64 bits of the register: bits 63:32 make it unsupported",
     NEEDS(CAP_INVEPT))
{
	const struct invept_descriptor descriptor = { ept_pointer(page_alloc()), 0 };

	for (u32 bit = 32; bit < 64; bit++) {
		for (u64 type = 0; type < 4; type++) {
			CASE("type %#lx", type | BIT(bit));
			expect_outcome(invept(type | BIT(bit), &descriptor, NULL), INVALID_OPERAND);
		}
	}
}

/* An EPTP that VM entry would refuse. Fields one by one, all values of the small ones. */
static bool eptp_valid(u64 eptp)
{
	const u32 memory_type = eptp & 7, walk_length = (eptp >> 3 & 7) + 1;
	u64 reserved = 0xfull << 8 | ~(BIT(physical_address_width()) - 1);

	if (!has(CAP_EPT_SUPERVISOR_SHADOW_STACK))
		reserved |= BIT(7);
	return ((memory_type == 0 && has(CAP_EPT_MEMORY_TYPE_UC)) ||
		(memory_type == 6 && has(CAP_EPT_MEMORY_TYPE_WB))) &&
	       ((walk_length == 4 && has(CAP_EPT_PAGE_WALK_LENGTH_4)) ||
		(walk_length == 5 && has(CAP_EPT_PAGE_WALK_LENGTH_5))) &&
	       (!(eptp & BIT(6)) || has(CAP_EPT_ACCESSED_AND_DIRTY_FLAGS)) && !(eptp & reserved);
}

TEST("insn.invept.single_bad_eptp", "Single-context INVEPT with an EPTP that VM entry would refuse fails with error 28",
     NEEDS(CAP_INVEPT_SINGLE_CONTEXT))
{
	const u64 good = ept_pointer(page_alloc());
	struct invept_descriptor descriptor = { good, 0 };

	expect_outcome(invept(INVEPT_SINGLE_CONTEXT, &descriptor, NULL), SUCCEED);
	WALK_OVER(low, 0, 4096) {
		descriptor.eptp = (good & ~0xfffull) | low;
		CASE("EPTP %#lx", descriptor.eptp);
		expect_outcome(invept(INVEPT_SINGLE_CONTEXT, &descriptor, NULL),
			       eptp_valid(descriptor.eptp) ? SUCCEED : INVALID_OPERAND);
	}
	for (u32 bit = 12; bit < 64; bit++) {
		descriptor.eptp = good ^ BIT(bit);
		CASE("EPTP %#lx", descriptor.eptp);
		expect_outcome(invept(INVEPT_SINGLE_CONTEXT, &descriptor, NULL),
			       eptp_valid(descriptor.eptp) ? SUCCEED : INVALID_OPERAND);
	}
}

TEST("insn.invept.all_ignores_desc", "All-context INVEPT succeeds whatever EPTP its descriptor holds",
     NEEDS(CAP_INVEPT_ALL_CONTEXT))
{
	const u64 eptps[] = { 0, 1, 0xfff, BIT(63), ~0ull, ept_pointer(page_alloc()) };

	for (size_t i = 0; i < ARRAY_SIZE(eptps); i++) {
		const struct invept_descriptor descriptor = { eptps[i], 0 };

		CASE("EPTP %#lx", eptps[i]);
		expect_outcome(invept(INVEPT_ALL_CONTEXT, &descriptor, NULL), SUCCEED);
	}
}

/* Must be 0, says the manual, and not that they are checked: a processor may look at each or not. */
TEST("insn.invept.desc_reserved", "INVEPT with one of bits 127:64 of its descriptor set fails with error 28, or succeeds",
     NEEDS(CAP_INVEPT_SINGLE_CONTEXT))
{
	struct invept_descriptor descriptor = { ept_pointer(page_alloc()), 0 };
	u32 refused = 0;

	for (u32 bit = 0; bit < 64; bit++) {
		descriptor.reserved = BIT(bit);
		CASE("descriptor bit %u", 64 + bit);
		const struct outcome outcome = invept(INVEPT_SINGLE_CONTEXT, &descriptor, NULL);

		if (outcome.kind == OUTCOME_FAIL_VALID)
			refused++;
		expect_outcome(outcome, outcome.kind == OUTCOME_FAIL_VALID ? INVALID_OPERAND : SUCCEED);
	}
	if (refused)
		note("INVEPT refuses %u of the 64 reserved bits of its descriptor", refused);
	descriptor.reserved = 0;
	expect_outcome(invept(INVEPT_SINGLE_CONTEXT, &descriptor, NULL), SUCCEED);
}

TEST("insn.invept.ud_unsupported", "INVEPT raises #UD where IA32_VMX_EPT_VPID_CAP[20] is 0", NEEDS(LACKS(CAP_INVEPT)))
{
	const struct invept_descriptor descriptor = { 0, 0 };

	for (u64 type = 0; type < 4; type++) {
		CASE("type %u", type);
		expect_outcome(invept(type, &descriptor, NULL), FAULTS(VECTOR_UD, 0));
	}
}

static u64 *volatile shared_page;
static volatile u64 seen;

static void guest_reads_page(void)
{
	seen = *(volatile u64 *)shared_page;
}

/* For both types: the guest has read the page, then its EPT entry loses a permission. */
TEST("insn.invept.invalidates", "After INVEPT the guest's next access goes by the EPT entry as it is now",
     NEEDS(PROC2_ENABLE_EPT, CAP_INVEPT))
{
	for (u64 type = INVEPT_SINGLE_CONTEXT; type <= INVEPT_ALL_CONTEXT; type++) {
		struct invept_descriptor descriptor = { 0, 0 };

		if (!type_supported(type))
			continue;
		CASE("type %u", type);
		vmcs_use_ept();
		descriptor.eptp = vmcs_read(EPT_POINTER);
		shared_page = page_alloc();
		shared_page[0] = 0x600d;
		*ept_entry(physical_address(shared_page), 1) |= EPT_READ;
		require_outcome(invept(type, &descriptor, NULL), SUCCEED);
		guest_run(guest_reads_page);
		expect_guest_done();
		expect_eq(seen, 0x600d);

		*ept_entry(physical_address(shared_page), 1) &= ~(u64)EPT_RWX;
		expect_outcome(invept(type, &descriptor, NULL), SUCCEED);
		guest_run(guest_reads_page);
		expect_exit(EXIT_EPT_VIOLATION, .physical = physical_address(shared_page));
	}
}
