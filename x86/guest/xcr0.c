/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest.h"

/* CR4.OSXSAVE for the statements. */
#define WITH_XSAVE(...)						\
do {								\
	const u64 cr4_ = read_cr4();				\
								\
	write_cr4(cr4_ | CR4_OSXSAVE);				\
	__VA_ARGS__						\
	write_cr4(cr4_);					\
} while (0)

static u64 supported_xcr0(void)
{
	const struct cpuid c = cpuid(0xd, 0);

	return (u64)c.edx << 32 | c.eax;
}

TEST("guest.xcr0.supported", "XCR0 takes the bits that CPUID.0DH lists, and refuses all others", NEEDS(FEATURE_XSAVE))
{
	WITH_XSAVE(
		const u64 xcr0 = xgetbv(0);
		const u64 supported = supported_xcr0();

		for (unsigned int bit = 0; bit < 64; bit++) {
			if (supported >> bit & 1)
				continue;
			const struct fault fault = TRY(xsetbv(0, xcr0 | BIT(bit)));
			CASE("bit %u", bit);
			expect_fault(fault, VECTOR_GP, 0);
			expect_eq(xgetbv(0), xcr0);
		}
		xsetbv(0, supported & 7);
		expect_eq(xgetbv(0), supported & 7);
		xsetbv(0, xcr0);
		expect_eq(xgetbv(0), xcr0);
	);
}

TEST("guest.xcr0.x87", "XCR0 refuses bit 0 (x87) = 0, and AVX without SSE", NEEDS(FEATURE_XSAVE))
{
	WITH_XSAVE(
		const u64 xcr0 = xgetbv(0);
		struct fault fault = TRY(xsetbv(0, 0));
		expect_fault(fault, VECTOR_GP, 0);
		fault = TRY(xsetbv(0, 2));
		expect_fault(fault, VECTOR_GP, 0);
		fault = TRY(xsetbv(0, 5));
		expect_fault(fault, VECTOR_GP, 0);
		expect_eq(xgetbv(0), xcr0);
	);
}

TEST("guest.xcr0.index", "XSETBV refuses every ECX but 0", NEEDS(FEATURE_XSAVE))
{
	WITH_XSAVE(
		for (unsigned int bit = 0; bit < 32; bit++) {
			const struct fault fault = TRY(xsetbv(BIT(bit), 1));
			CASE("ECX %#lx", BIT(bit));
			expect_fault(fault, VECTOR_GP, 0);
		}
	);
}

static void user_xsetbv(void)
{
	xsetbv(0, 1);
}

static void user_xgetbv(void)
{
	xgetbv(0);
}

TEST("guest.xcr0.user", "XSETBV at CPL 3 raises #GP(0), XGETBV does not", NEEDS(FEATURE_XSAVE))
{
	user_pages_on();
	WITH_XSAVE(
		struct fault fault = user_run(user_xsetbv);
		expect_fault(fault, VECTOR_GP, 0);
		fault = user_run(user_xgetbv);
		expect_no_fault(fault);
	);
}

TEST("guest.xcr0.xsetbv_ud", "XSETBV raises #UD if CR4.OSXSAVE is 0")
{
	const u64 cr4 = read_cr4();

	write_cr4(cr4 & ~(u64)CR4_OSXSAVE);
	const struct fault fault = TRY(xsetbv(0, 1));
	write_cr4(cr4);
	expect_fault(fault, VECTOR_UD, 0);
}

TEST("guest.xcr0.size", "CPUID.0DH:EBX follows XCR0, and is not above ECX", NEEDS(FEATURE_XSAVE, FEATURE_AVX))
{
	WITH_XSAVE(
		const u64 xcr0 = xgetbv(0);
		const struct cpuid avx = cpuid(0xd, 2);

		xsetbv(0, 3);
		const struct cpuid legacy = cpuid(0xd, 0);
		xsetbv(0, 7);
		const struct cpuid with_avx = cpuid(0xd, 0);
		xsetbv(0, xcr0);
		expect_eq(legacy.ebx, 576);
		expect_eq(with_avx.ebx, avx.ebx + avx.eax);
		expect_at_most(with_avx.ebx, with_avx.ecx);
		expect_eq(legacy.ecx, with_avx.ecx);
	);
}

TEST("guest.msr.xss", "IA32_XSS refuses bits that CPUID.0DH.1 does not list", NEEDS(FEATURE_XSAVES))
{
	const struct cpuid c = cpuid(0xd, 1);
	const u64 supported = (u64)c.edx << 32 | c.ecx;
	const u64 xss = rdmsr(IA32_XSS);

	for (unsigned int bit = 0; bit < 64; bit++) {
		if (supported >> bit & 1)
			continue;
		CASE("bit %u", bit);
		expect_msr_refused(IA32_XSS, xss | BIT(bit));
	}
}
