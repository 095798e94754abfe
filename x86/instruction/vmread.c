/* SPDX-License-Identifier: BSD-2-Clause */
/* VMREAD and VMWRITE (SDM Vol. 3C, "VMREAD-Read Field from Virtual-Machine Control Structure"). */
#include "instruction.h"

/*
 * Encodings that are no field on any processor: a reserved bit set (12 and 31:15, and in
 * 64-bit mode 63:32; all of the field GUEST_RIP otherwise), or an index above the highest
 * that IA32_VMX_VMCS_ENUM gives.
 */
static u32 unsupported(void (*check)(u64 encoding))
{
	const u32 highest = vmx_capabilities()->vmcs_enum >> 1 & 0x1ff;
	u32 count = 0;

	for (u32 bit = 12; bit < 64; bit++) {
		if (bit == 13 || bit == 14)
			continue;
		check(GUEST_RIP | BIT(bit));
		count++;
	}
	for (u32 width_and_type = 0; width_and_type < 16; width_and_type++) {
		WALK_OVER(index, highest + 1, 0x200) {
			check((width_and_type >> 2) << 13 | (width_and_type & 3) << 10 | index << 1);
			count++;
		}
	}
	return count;
}

static void expect_vmread_refused(u64 encoding)
{
	const u64 canary = 0x5a5aa5a512344321;
	u64 memory = canary, reg = canary;
	bool valid, invalid;

	CASE("encoding %#lx", encoding);
	expect_outcome(vmread(encoding, &memory, NULL), FAIL_VALID(VMERR_UNSUPPORTED_COMPONENT));
	expect_eq(memory, canary);

	asm volatile("vmread %3, %0; setz %1" : "+r"(reg), "=q"(valid), "=@ccc"(invalid) : "r"(encoding));
	expect_eq(valid, true);
	expect_eq(invalid, false);
	expect_eq(reg, canary);
}

static void expect_vmwrite_refused(u64 encoding)
{
	CASE("encoding %#lx", encoding);
	expect_outcome(vmwrite(encoding, 0, NULL), FAIL_VALID(VMERR_UNSUPPORTED_COMPONENT));
}

/* So that the error number is seen to be written: another one before. */
static void provoke_error_2(void)
{
	const u64 unaligned = 1;

	require_outcome(vmclear(&unaligned, NULL), FAIL_VALID(VMERR_VMCLEAR_INVALID_ADDRESS));
}

TEST("insn.vmread.e12", "VMREAD of an encoding that is no field fails with error 12 and leaves its destination alone")
{
	u64 value = 0;

	vmcs_write(GUEST_RIP, 0x7654321);
	provoke_error_2();
	expect_at_least(unsupported(expect_vmread_refused), 51);

	expect_outcome(vmread(GUEST_RIP, &value, NULL), SUCCEED);
	expect_eq(value, 0x7654321);
}

TEST("insn.vmwrite.e12", "VMWRITE to an encoding that is no field fails with error 12")
{
	vmcs_write(GUEST_RIP, 0x7654321);
	provoke_error_2();
	expect_at_least(unsupported(expect_vmwrite_refused), 51);

	expect_eq(vmcs_read(GUEST_RIP), 0x7654321);
	expect_outcome(vmwrite(GUEST_RIP, 0x1234567, NULL), SUCCEED);
	expect_eq(vmcs_read(GUEST_RIP), 0x1234567);
}
