/* SPDX-License-Identifier: BSD-2-Clause */
/* x2APIC mode: the registers as MSRs, their reserved bits, IPIs, and the ways in and out ("Extended XAPIC (x2APIC)"). */
#include "guest.h"

#include "tap/pending.h"

#define NEEDS_X2APIC NEEDS(NEED_X2APIC_MODE)

enum { FIRST = 0x800, LAST = 0x8ff, ESR = 0x828, EOI = 0x80b, SELF_IPI = 0x83f, ICR = 0x830 };

enum access { NONE, READ_ONLY, READ_WRITE, WRITE_ONLY, OPTIONAL };

/* "Local APIC Register Address Map Supported by x2APIC"; an LVT entry is there if the version register counts so many. */
static enum access access_to(u32 msr)
{
	const u32 last_lvt = rdmsr(0x803) >> 16 & 0xff;

	switch (msr) {
	case 0x802: case 0x803: case 0x80a: case 0x80d: case 0x810 ... 0x827: case 0x839:
		return READ_ONLY;
	case 0x808: case 0x80f: case ESR: case ICR: case 0x832: case 0x835 ... 0x838: case 0x83e:
		return READ_WRITE;
	case EOI: case SELF_IPI:
		return WRITE_ONLY;
	case 0x834:
		return last_lvt >= 4 ? READ_WRITE : OPTIONAL;
	case 0x833:
		return last_lvt >= 5 ? READ_WRITE : OPTIONAL;
	case 0x82f:
		return OPTIONAL;
	}
	return NONE;
}

TEST("guest.x2apic.read", "RDMSR reads each register of x2APIC mode, with EDX=0 but for the ICR, and refuses the others", NEEDS_X2APIC)
{
	for (u32 msr = FIRST; msr <= LAST; msr++) {
		const enum access access = access_to(msr);
		volatile u64 value = 0;
		const struct fault fault = TRY(value = rdmsr(msr));

		CASE("MSR %#x", msr);
		if (access == READ_ONLY || access == READ_WRITE)
			expect_no_fault(fault);
		else if (access != OPTIONAL)
			expect_fault(fault, VECTOR_GP, 0);
		if (msr != ICR)
			expect_eq(value >> 32, 0);
	}
}

TEST("guest.x2apic.read_only", "WRMSR to a register that is read-only, or not there, raises #GP(0)", NEEDS_X2APIC)
{
	for (u32 msr = FIRST; msr <= LAST; msr++) {
		const enum access access = access_to(msr);
		volatile u64 value = 0;

		if (access != READ_ONLY && access != NONE)
			continue;
		CASE("MSR %#x", msr);
		if (access == READ_ONLY)
			value = rdmsr(msr);
		const struct fault fault = TRY(wrmsr(msr, value));
		expect_fault(fault, VECTOR_GP, 0);
	}
}

/* Bits 31:0 that are reserved in every edition; bits 63:32 are in all of these registers. */
static const struct {
	u32 msr, reserved;
} reserved[] = {
	{ 0x808, 0xffffff00 }, { 0x80f, 0xffffe000 }, { 0x832, 0xfff8ef00 }, { 0x835, 0xfffe0800 }, { 0x836, 0xfffe0800 },
	{ 0x837, 0xfffeef00 }, { 0x838, 0 }, { 0x83e, 0xfffffff4 },
};

TEST("guest.x2apic.reserved", "WRMSR refuses a 1 in each reserved bit of a register, bits 63:32 among them, and changes nothing",
     NEEDS_X2APIC)
{
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
		const u32 msr = reserved[i].msr;
		const u64 before = rdmsr(msr), bits = reserved[i].reserved | 0xffffffff00000000;

		for (u32 bit = 0; bit < 64; bit++) {
			if (!(bits >> bit & 1))
				continue;
			CASE("MSR %#x, bit %u", msr, bit);
			const struct fault fault = TRY(wrmsr(msr, before | BIT(bit)));
			expect_fault(fault, VECTOR_GP, 0);
			if (!expect_eq(rdmsr(msr), before))
				wrmsr(msr, before);
		}
		const struct fault same = TRY(wrmsr(msr, before));
		CASE("MSR %#x as it is", msr);
		expect_no_fault(same);
	}
}

TEST("guest.x2apic.esr", "WRMSR to the ESR takes 0 alone", NEEDS_X2APIC)
{
	struct fault fault = TRY(wrmsr(ESR, 0));

	expect_no_fault(fault);
	for (u32 bit = 0; bit < 64; bit++) {
		CASE("bit %u", bit);
		fault = TRY(wrmsr(ESR, BIT(bit)));
		expect_fault(fault, VECTOR_GP, 0);
	}
}

static u32 refused, taken, in_service_still, in_service_after;

static void tries_eoi(struct exception_frame *frame)
{
	taken++;
	for (u32 bit = 0; bit < 64; bit++)
		refused += TRY(wrmsr(EOI, BIT(bit))).raised;
	in_service_still = apic_in_service(frame->vector);
	wrmsr(EOI, 0);
	in_service_after = apic_in_service(frame->vector);
}

TEST("guest.x2apic.eoi", "WRMSR of 0 to the EOI register ends the interrupt; any other value is refused, and ends nothing", NEEDS_X2APIC)
{
	refused = taken = 0;
	interrupt_handle(0x61, tries_eoi);
	require_pend(0x61);
	let_interrupts_in();
	expect_eq(taken, 1);
	expect_eq(refused, 64);
	expect_eq(in_service_still, 1);
	expect_eq(in_service_after, 0);
}

TEST("guest.x2apic.self_ipi", "WRMSR to the SELF IPI register requests its vector; bits 63:8 are reserved", NEEDS_X2APIC)
{
	for (u32 vector = 32; vector < 255; vector += 13) {
		CASE("vector %u", vector);
		wrmsr(SELF_IPI, vector);
		expect(wait_until(apic_requested(vector), SELF_MS), "the vector's bit in the IRR is 1");
		expect_eq(take_pending(vector), 1);
	}
	for (u32 bit = 8; bit < 64; bit++) {
		CASE("bit %u", bit);
		const struct fault fault = TRY(wrmsr(SELF_IPI, BIT(bit) | 0x61));
		expect_fault(fault, VECTOR_GP, 0);
		expect_not_requested(0x61);
	}
}

/* To itself, by ID, in one write. */
static u64 icr_to_itself(u8 vector)
{
	return (u64)rdmsr(0x802) << 32 | APIC_ICR_ASSERT | vector;
}

TEST("guest.x2apic.icr", "one WRMSR to the ICR sends an IPI to a 32-bit ID; its reserved bits are refused, and send nothing", NEEDS_X2APIC)
{
	static const u8 reserved_bits[] = { 13, 16, 17, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31 };

	interrupt_handle(0x63, interrupt_counter);
	wrmsr(ICR, icr_to_itself(0x63));
	expect(wait_until(apic_requested(0x63), SELF_MS), "the vector's bit in the IRR is 1");
	expect_eq(take_pending(0x63), 1);
	for (size_t i = 0; i < ARRAY_SIZE(reserved_bits); i++) {
		CASE("bit %u", reserved_bits[i]);
		const struct fault fault = TRY(wrmsr(ICR, icr_to_itself(0x64) | BIT(reserved_bits[i])));
		expect_fault(fault, VECTOR_GP, 0);
		if (!expect_not_requested(0x64))
			take_pending(0x64);
	}
}

/* "Deriving Logical x2APIC ID from the Local x2APIC ID". */
TEST("guest.x2apic.logical", "the logical ID is the ID's: bits 19:4 the cluster, one bit for ID[3:0]; an IPI to its bit arrives",
     NEEDS_X2APIC)
{
	const u32 id = rdmsr(0x802);
	const u32 cluster = (id >> 4 & 0xffff) << 16, own = BIT(id & 15);

	expect_eq(rdmsr(0x80d), cluster | own);
	for (u32 bit = 0; bit <= 16; bit++) {
		const u32 members = bit < 16 ? BIT(bit) : 0xffff & ~own;
		const bool arrives = members & own;

		CASE("members %#x", members);
		wrmsr(ICR, (u64)(cluster | members) << 32 | APIC_ICR_ASSERT | 1 << 11 | 0x65);
		wait_until(apic_requested(0x65), arrives ? SELF_MS : 2);
		expect_eq(apic_requested(0x65), arrives);
		if (apic_requested(0x65))
			take_pending(0x65);
	}
	CASE("all of the cluster");
	wrmsr(ICR, (u64)(cluster | own | 0x8000) << 32 | APIC_ICR_ASSERT | 1 << 11 | 0x66);
	expect(wait_until(apic_requested(0x66), SELF_MS), "the vector's bit in the IRR is 1");
	take_pending(0x66);
}

enum { EXTD = BIT(10), EN = BIT(11) };

TEST("guest.x2apic.transitions", "from x2APIC mode IA32_APIC_BASE refuses xAPIC mode and EN=0, EXTD=1; to write its own value is no transition",
     NEEDS_X2APIC)
{
	const u64 base = rdmsr(IA32_APIC_BASE);
	const struct fault same = TRY(wrmsr(IA32_APIC_BASE, base));

	expect_no_fault(same);
	CASE("EN=1, EXTD=0");
	expect_msr_refused(IA32_APIC_BASE, base & ~(u64)EXTD);
	CASE("EN=0, EXTD=1");
	expect_msr_refused(IA32_APIC_BASE, base & ~(u64)EN);
}

TEST("guest.apic.invalid_mode", "from xAPIC mode IA32_APIC_BASE refuses EN=0, EXTD=1", NEEDS(NEED_XAPIC_MODE, FEATURE_X2APIC))
{
	expect_msr_refused(IA32_APIC_BASE, (rdmsr(IA32_APIC_BASE) & ~(u64)EN) | EXTD);
}
