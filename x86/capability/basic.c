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

	require_between(1, size, PAGE_SIZE);

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

		CASE("MSR %#lx", msr);
		if (present)
			expect_no_fault(fault);
		else
			expect_fault(fault, VECTOR_GP, 0);
	}
}

TEST("cap.basic.paw48", "A processor with Intel 64 does not limit VMX structures to 32-bit addresses", NEEDS(FEATURE_LM))
{
	expect_bits(rdmsr(IA32_VMX_BASIC), BIT(48), 0);
}

TEST("cap.basic.memtype", "IA32_VMX_BASIC[53:50] is 0 (uncacheable) or 6 (write back)")
{
	const u64 memory_type = rdmsr(IA32_VMX_BASIC) >> 50 & 0xf;

	expect_either(memory_type, 0, 6);
}

/* Bit 60 is about SEAMRET. */
TEST("cap.basic.reserved", "The reserved bits 47:45, 57, 59 and 63:61 of IA32_VMX_BASIC are 0")
{
	expect_reserved(rdmsr(IA32_VMX_BASIC), 7ull << 45 | BIT(57) | BIT(59) | 7ull << 61);
}

GUEST_ASM(guest_outsb, "mov $0x80, %edx; outsb; ret");
GUEST_ASM(guest_outsb_fs_32, "mov $0x80, %edx; fs addr32 outsb; ret");
GUEST_ASM(guest_outsl_gs, "mov $0x80, %edx; gs outsl; ret");
GUEST_ASM(guest_insb, "mov $0x80, %edx; insb; ret");
GUEST_ASM(guest_insw_32, "mov $0x80, %edx; addr32 insw; ret");

/* Address size in bits 9:7, segment register in bits 17:15; for INS the segment is undefined. */
TEST("cap.basic.insouts54", "With IA32_VMX_BASIC[54] an exit by INS or OUTS says the address size and the segment",
     NEEDS(CAP_BASIC_INS_OUTS_INFORMATION, PROC_UNCONDITIONAL_IO_EXITING))
{
	enum { ADDRESS_32 = 1 << 7, ADDRESS_64 = 2 << 7, ADDRESS = 7 << 7, SEGMENT = 7 << 15 };
	static const struct {
		const char *name;
		void (*guest)(void);
		u32 mask, information;
	} cases[] = {
		{ "OUTSB", guest_outsb, ADDRESS | SEGMENT, ADDRESS_64 | 3 << 15 },
		{ "OUTSB FS, 32-bit address", guest_outsb_fs_32, ADDRESS | SEGMENT, ADDRESS_32 | 4 << 15 },
		{ "OUTSL GS", guest_outsl_gs, ADDRESS | SEGMENT, ADDRESS_64 | 5 << 15 },
		{ "INSB", guest_insb, ADDRESS, ADDRESS_64 },
		{ "INSW, 32-bit address", guest_insw_32, ADDRESS, ADDRESS_32 },
	};

	vmcs_set_controls(PROC_UNCONDITIONAL_IO_EXITING);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CASE("%s", cases[i].name);
		guest_run(cases[i].guest);
		expect_exit(EXIT_IO);
		expect_bits(vmcs_read(EXIT_INSTRUCTION_INFORMATION), cases[i].mask, cases[i].information);
	}
}

/* No guest is to run: RFLAGS = 0 is refused last, behind the checks on the event. */
TEST("cap.basic.nohwerr56", "With IA32_VMX_BASIC[56] any hardware exception may be injected with and without error code",
     NEEDS(CAP_BASIC_INJECT_WITHOUT_ERROR_CODE))
{
	const u64 hardware = INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE;

	vmcs_write(GUEST_RFLAGS, 0);
	for (u32 vector = 0; vector < 32; vector++) {
		for (int with = 0; with < 2; with++) {
			CASE("vector %u, error code %u", vector, with);
			vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION,
				   hardware | vector | (with ? INTERRUPTION_ERROR_CODE : 0));
			expect_outcome(guest_enter(), ENTRY_FAILS(EXIT_INVALID_GUEST_STATE, 0));
		}
	}
	for (u32 vector = 32; vector < 256; vector++) {
		CASE("vector %u", vector);
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, hardware | vector);
		expect_outcome(guest_enter(), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	}
}
