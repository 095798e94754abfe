/* SPDX-License-Identifier: BSD-2-Clause */
/* CPUID: that it agrees with itself, and with what the processor does. */
#include "guest.h"
#include "x86/model.h"

#include "libc/string.h"

static bool same(struct cpuid a, struct cpuid b)
{
	return a.eax == b.eax && a.ebx == b.ebx && a.ecx == b.ecx && a.edx == b.edx;
}

static void expect_same(struct cpuid actual, struct cpuid expected)
{
	expect_eq(actual.eax, expected.eax);
	expect_eq(actual.ebx, expected.ebx);
	expect_eq(actual.ecx, expected.ecx);
	expect_eq(actual.edx, expected.edx);
}

TEST("guest.cpuid.signature", "leaf 0 names a vendor in 12 printable characters, and the highest basic leaf")
{
	const struct cpuid c = cpuid(0, 0);
	const u32 text[] = { c.ebx, c.edx, c.ecx };

	expect_between(1, c.eax, 0xffff);
	for (size_t i = 0; i < sizeof(text); i++)
		expect_between(' ', ((const u8 *)text)[i], '~');
}

TEST("guest.cpuid.registers", "CPUID takes EAX and ECX alone, and clears bits 63:32 of RAX, RBX, RCX and RDX")
{
	u64 rax = 0xabcdef0100000000, rbx = ~0ull, rcx = ~0ull << 32, rdx = ~0ull;
	const struct cpuid c = cpuid(0, 0);

	asm volatile("cpuid" : "+a"(rax), "+b"(rbx), "+c"(rcx), "+d"(rdx));
	expect_eq(rax, c.eax);
	expect_eq(rbx, c.ebx);
	expect_eq(rcx, c.ecx);
	expect_eq(rdx, c.edx);
}

TEST("guest.cpuid.repeats", "CPUID gives the same again")
{
	for (u32 leaf = 0; leaf <= cpuid(0, 0).eax && leaf < 0x40; leaf++) {
		CASE("leaf %#x", leaf);
		expect_same(cpuid(leaf, 0), cpuid(leaf, 0));
	}
}

static u32 user_leaf;
static struct cpuid user_result;
static void user_cpuid(void)
{
	user_result = cpuid(user_leaf, 0);
}

TEST("guest.cpuid.user", "CPUID at CPL 3 gives what it gives at CPL 0")
{
	static const u32 leaves[] = { 0, 1, 0x80000000, 0x80000001, 0x80000008 };

	user_pages_on();
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		user_leaf = leaves[i];
		const struct fault fault = user_run(user_cpuid);

		CASE("leaf %#x", leaves[i]);
		expect_no_fault(fault);
		expect_same(user_result, cpuid(leaves[i], 0));
	}
}

TEST("guest.cpuid.long_mode", "CPUID has the features that an image in 64-bit mode uses")
{
	static const u32 features[] = {
		FEATURE_LM, FEATURE_MSR, FEATURE_PAE, FEATURE_CX8, FEATURE_FPU, FEATURE_FXSR, FEATURE_SSE,
		FEATURE_SSE2, FEATURE_TSC, FEATURE_CMOV, FEATURE_PSE,
	};

	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		char text[96];

		feature_format(text, sizeof(text), features[i]);
		CASE("%s", text);
		expect(has_feature(features[i]), "the feature is there");
	}
}

TEST("guest.cpuid.nx", "CPUID has execute-disable where IA32_EFER.NXE can be set, and not where that is refused")
{
	const u64 efer = rdmsr(IA32_EFER);
	const struct fault fault = TRY(wrmsr(IA32_EFER, efer | EFER_NXE));
	const u64 set = rdmsr(IA32_EFER);

	wrmsr(IA32_EFER, efer);
	if (has_feature(FEATURE_NX)) {
		expect_no_fault(fault);
		expect_eq(set, efer | EFER_NXE);
	} else {
		expect_fault(fault, VECTOR_GP, 0);
		expect_eq(set & EFER_NXE, 0);
	}
}

TEST("guest.cpuid.implies", "a feature that is built on another has that one too")
{
	static const struct {
		u32 feature, needs;
	} rows[] = {
		{ FEATURE_SSE2, FEATURE_SSE }, { FEATURE_SSE, FEATURE_FXSR }, { FEATURE_SSE3, FEATURE_SSE2 },
		{ FEATURE_AVX, FEATURE_XSAVE }, { FEATURE_XSAVEOPT, FEATURE_XSAVE }, { FEATURE_XSAVEC, FEATURE_XSAVE },
		{ FEATURE_XSAVES, FEATURE_XSAVEC }, { FEATURE_PKU, FEATURE_XSAVE }, { FEATURE_X2APIC, FEATURE_APIC },
		{ FEATURE_TSC_DEADLINE, FEATURE_APIC }, { FEATURE_TSC_ADJUST, FEATURE_TSC }, { FEATURE_RDTSCP,
		FEATURE_TSC },
		{ FEATURE_MCA, FEATURE_MCE }, { FEATURE_OSXSAVE, FEATURE_XSAVE }, { FEATURE_OSPKE, FEATURE_PKU },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[96];

		feature_format(text, sizeof(text), rows[i].feature);
		CASE("%s", text);
		if (has_feature(rows[i].feature))
			expect(has_feature(rows[i].needs), "the feature that it is built on is there");
	}
}

TEST("guest.cpuid.address_widths", "the physical address has 32 to 52 bits, the linear address 48, or 57 with LA57")
{
	expect_between(32, physical_address_width(), 52);
	expect_eq(linear_address_width(), has_feature(FEATURE_LA57) ? 57 : 48);
	expect_at_least(cpuid(0x80000000, 0).eax, 0x80000008);
}

TEST("guest.cpuid.leaf7", "sub-leaves of leaf 7 beyond the highest are all 0")
{
	if (cpuid(0, 0).eax < 7)
		skip("needs leaf 7 of CPUID");
	const u32 last = cpuid(7, 0).eax;
	for (u32 subleaf = last + 1; subleaf < last + 8; subleaf++) {
		const struct cpuid c = cpuid(7, subleaf);

		CASE("sub-leaf %u", subleaf);
		expect_eq(c.eax | c.ebx | c.ecx | c.edx, 0);
	}
}

TEST("guest.cpuid.leaf4", "leaf 4 describes caches up to a sub-leaf of type 0")
{
	u32 count = 0;

	if (cpuid(0, 0).eax < 4 || !(cpuid(4, 0).eax & 31))
		skip("needs leaf 4 of CPUID");
	while (count < 16 && cpuid(4, count).eax & 31) {
		const struct cpuid c = cpuid(4, count);

		CASE("sub-leaf %u", count);
		if (processor_is_known())
			expect_between(1, c.eax & 31, 3);
		else if ((c.eax & 31) > 3)
			note("CPUID leaf 4 has a cache of type %u, which this suite does not know", c.eax & 31);
		expect_between(1, c.eax >> 5 & 7, 7);
		count++;
	}
	expect_between(1, count, 15);
}

TEST("guest.cpuid.leaf_b", "leaf 0BH echoes the sub-leaf, gives the x2APIC id in EDX, and ends with a type of 0")
{
	if (cpuid(0, 0).eax < 0xb || !cpuid(0xb, 0).ebx)
		skip("needs leaf 0BH of CPUID");
	for (u32 subleaf = 0; subleaf < 8; subleaf++) {
		const struct cpuid c = cpuid(0xb, subleaf);

		CASE("sub-leaf %u", subleaf);
		expect_eq(c.ecx & 0xff, subleaf);
		expect_eq(c.edx, apic_id());
		if (!(c.ecx >> 8 & 0xff)) {
			expect_eq(c.eax | c.ebx, 0);
			return;
		}
	}
	fail_check("the end of leaf 0BH", "a sub-leaf below 8 of type 0 (invalid)", "none");
}

TEST("guest.cpuid.leaf_d", "leaf 0DH: x87 and SSE are always there, the other state components behind their 576 bytes",
     NEEDS(FEATURE_XSAVE))
{
	const struct cpuid c = cpuid(0xd, 0);

	expect_eq(c.eax & 3, 3);
	for (u32 i = 2; i < 63; i++) {
		const struct cpuid component = cpuid(0xd, i);

		if (!(((u64)c.edx << 32 | c.eax) >> i & 1))
			continue;
		CASE("component %u", i);
		expect_at_least(component.eax, 1);
		expect_at_least(component.ebx, 576);
		expect_at_most(component.ebx + component.eax, c.ecx);
		expect_eq(component.ecx & 1, 0);
	}
}

TEST("guest.cpuid.leaf_d_none", "leaf 0DH: a state component that is not supported gives all 0", NEEDS(FEATURE_XSAVE))
{
	const struct cpuid all = cpuid(0xd, 0), more = cpuid(0xd, 1);
	const u64 supported = ((u64)all.edx << 32 | all.eax) | ((u64)more.edx << 32 | more.ecx);

	for (u32 i = 2; i < 63; i++) {
		const struct cpuid c = cpuid(0xd, i);

		if (supported >> i & 1)
			continue;
		CASE("component %u", i);
		expect_eq(c.eax | c.ebx | c.ecx | c.edx, 0);
	}
}

TEST("guest.cpuid.apic_id", "CPUID.01H:EBX[31:24] is the initial APIC id")
{
	expect_eq(cpuid(1, 0).ebx >> 24, apic_id() & 0xff);
}

TEST("guest.cpuid.brand", "leaves 80000002H to 80000004H are a text that ends with 0")
{
	u32 text[12];

	if (cpuid(0x80000000, 0).eax < 0x80000004)
		skip("needs leaf 80000004H of CPUID");
	for (u32 i = 0; i < 3; i++) {
		const struct cpuid c = cpuid(0x80000002 + i, 0);

		memcpy(&text[4 * i], &c, sizeof(c));
	}
	const u8 *characters = (const u8 *)text;
	size_t length = 0;

	while (length < sizeof(text) && characters[length]) {
		expect_between(' ', characters[length], '~');
		length++;
	}
	expect_between(1, length, sizeof(text) - 1);
}

TEST("guest.cpuid.reserved", "the reserved bits of leaf 1 are 0")
{
	const struct cpuid c = cpuid(1, 0);

	expect_reserved(c.edx, BIT(10) | BIT(20));
	expect_reserved(c.ecx, BIT(16));
	expect_reserved(c.eax, 0xf000c000);
}

/* What CPUID says on another processor. */
static struct cpuid there;
static void ask(void *leaf)
{
	there = cpuid(*(u32 *)leaf, 0);
}

static struct cpuid cpuid_on(u32 n, u32 leaf)
{
	const struct fault fault = on_cpu(n, ask, &leaf);

	expect_no_fault(fault);
	return there;
}

/* The whole one by leaf 0BH, where that leaf says something; else the 8 bits of leaf 1. */
static u32 initial_apic_id(u32 n)
{
	const struct cpuid topology = cpuid_on(n, 0xb);

	if (cpuid_on(n, 0).eax >= 0xb && topology.ebx)
		return topology.edx;
	return cpuid_on(n, 1).ebx >> 24;
}

/* What is a processor's own in leaf 1: its APIC ID, and what a hypervisor below the first one alone hides (VMX, SMX, OSXSAVE). */
static struct cpuid without_own(u32 leaf, struct cpuid c)
{
	if (leaf == 1) {
		c.ebx = 0;
		c.ecx &= ~(u32)(BIT(5) | BIT(6) | BIT(27));
	}
	return c;
}

/* Cores of other types, or of other steppings, may differ in what CPUID says: nothing forbids it. */
static void note_differences(u32 n)
{
	static const u32 leaves[] = { 0, 1, 7, 0xd, 0x80000000, 0x80000001, 0x80000008 };

	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		const u32 leaf = leaves[i];

		if (leaf <= cpuid(leaf & 0x80000000, 0).eax &&
		    !same(without_own(leaf, cpuid(leaf, 0)), without_own(leaf, cpuid_on(n, leaf))))
			note("processor %u differs from processor 0 in CPUID leaf %#x", n, leaf);
	}
}

TEST("guest.cpuid.smp", "CPUID gives each processor an APIC ID of its own", NEEDS(NEED_CPUS(2)))
{
	static u32 ids[MAX_CPUS];

	for (u32 n = 0; n < cpus_online(); n++) {
		CASE("processor %u", n);
		ids[n] = initial_apic_id(n);
		if (cpuid_on(n, 1).ecx >> 21 & 1)	/* x2APIC: "Consistency of APIC IDs and CPUID" */
			expect_eq(cpuid_on(n, 1).ebx >> 24, ids[n] & 0xff);
		for (u32 other = 0; other < n; other++) {
			CASE("processors %u and %u, ID %#x", other, n, ids[n]);
			expect_ne(ids[n], ids[other]);
		}
		note_differences(n);
	}
}
