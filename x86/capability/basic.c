/* SPDX-License-Identifier: BSD-2-Clause */
/* IA32_VMX_BASIC (SDM Vol. 3, Appendix A.1). */
#include "capability.h"

#include "libc/string.h"

TEST("cap.basic.revision_bit31", "IA32_VMX_BASIC[31] is 0: the revision identifier has 31 bits")
{
	const u64 basic = rdmsr(IA32_VMX_BASIC);
	struct vmcs_region *region = vmcs_region_alloc();
	const u64 address = physical_address(region);

	expect_bits(basic, BIT(31), 0);

	/* All 32 bits as they are make a region that the processor takes. */
	region->revision = (u32)basic;
	expect_outcome(vmclear(&address, NULL), SUCCEED);
	expect_outcome(vmptrld(&address, NULL), SUCCEED);
	expect_outcome(vmclear(&address, NULL), SUCCEED);
	vmcs_reset();
}

static u32 region_size(void)
{
	return rdmsr(IA32_VMX_BASIC) >> 32 & 0x1fff;
}

static u32 count_other_bytes(const u8 *bytes, size_t size, u8 value)
{
	u32 count = 0;

	for (size_t i = 0; i < size; i++)
		count += bytes[i] != value;
	return count;
}

static void guest_does_nothing(void)
{
}

/* Beside the number itself: a VMCS in full use leaves the bytes around the region alone. */
TEST("cap.basic.size", "A VMXON or VMCS region takes from 1 to 4096 bytes, and no byte beyond them is written")
{
	enum { CANARY = 0xa5 };
	u8 *pages = page_alloc_many(3);
	struct vmcs_region *region = (struct vmcs_region *)(pages + PAGE_SIZE);
	const u64 address = physical_address(region);
	const u32 size = region_size();

	require(size > 0 && size <= PAGE_SIZE);

	memset(pages, CANARY, 3 * PAGE_SIZE);
	memset(region, 0, size);
	region->revision = vmx_capabilities()->revision;
	require_outcome(vmclear(&address, NULL), SUCCEED);
	require_outcome(vmptrld(&address, NULL), SUCCEED);
	guest_baseline();
	guest_run(guest_does_nothing);
	expect_guest_done();
	require_outcome(vmclear(&address, NULL), SUCCEED);

	expect_eq(count_other_bytes(pages, PAGE_SIZE, CANARY), 0);
	expect_eq(count_other_bytes(pages + PAGE_SIZE + size, 2 * PAGE_SIZE - size, CANARY), 0);
	vmcs_reset();
}

TEST("cap.basic.true55", "The TRUE control MSRs exist if IA32_VMX_BASIC[55] is 1, and fault with #GP(0) if it is 0")
{
	const bool present = rdmsr(IA32_VMX_BASIC) & BIT(55);

	for (u32 msr = IA32_VMX_TRUE_PINBASED_CTLS; msr <= IA32_VMX_TRUE_ENTRY_CTLS; msr++) {
		const struct fault fault = try_rdmsr(msr, NULL);

		CASE("MSR %#x", msr);
		if (present)
			expect_no_fault(fault);
		else
			expect_fault(fault, VECTOR_GP, 0);
	}
}
