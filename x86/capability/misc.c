/* SPDX-License-Identifier: BSD-2-Clause */
/* IA32_VMX_MISC (SDM Vol. 3, Appendix A.6). */
#include "vmxtest/vmxtest.h"

/* "This number is a value between 0 and 256, inclusive": and it is the count that VM entry goes by. */
TEST("cap.misc.cr3count", "IA32_VMX_MISC[24:16] is the number of CR3-target values, at most 256")
{
	const u32 count = rdmsr(IA32_VMX_MISC) >> 16 & 0x1ff;

	expect(count <= 256);

	vmcs_write(GUEST_RFLAGS, 0);		/* no guest is to run: its state is refused last */
	vmcs_write(CR3_TARGET_COUNT, count);
	expect_outcome(guest_enter(), ENTRY_FAILS(EXIT_INVALID_GUEST_STATE, 0));
	vmcs_write(CR3_TARGET_COUNT, count + 1);
	expect_outcome(guest_enter(), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
}
