/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest.h"
#include "x86/cr4.h"

/* #GP(0), and CR4 as it was. */
static void check_refused(u64 value)
{
	const u64 cr4 = read_cr4();
	u64 seen;
	const struct fault fault = cr4_try(value, &seen);

	expect_fault(fault, VECTOR_GP, 0);
	expect_eq(seen, cr4);
}

struct cr4_bit {
	u64 bit;
	u32 features[2];		/* one of which lets it be set; none: it may always be */
};

/* The bit takes both values where CPUID has the feature, and can't be set where not. */
static void check_bit(const void *data)
{
	const struct cr4_bit *row = data;
	const u64 cr4 = read_cr4();

	bool settable = !row->features[0];

	for (size_t i = 0; i < ARRAY_SIZE(row->features) && row->features[i]; i++)
		settable |= has_feature(row->features[i]);
	if (!settable) {
		expect_eq(cr4 & row->bit, 0);
		check_refused(cr4 | row->bit);
		return;
	}
	u64 flipped_cr4;
	const struct fault fault = cr4_try(cr4 ^ row->bit, &flipped_cr4);

	expect_no_fault(fault);
	expect_eq(flipped_cr4, cr4 ^ row->bit);
	expect_eq(read_cr4(), cr4);
}

#define BIT_ROW(name, bit, ...)								\
	ROW("guest.cr4." name, #bit " can be changed if CPUID has its feature, and not be set if not", check_bit, \
	    &((const struct cr4_bit){ bit, { __VA_ARGS__ } }))
BIT_ROW("vme", CR4_VME, FEATURE_VME);
BIT_ROW("pvi", CR4_PVI, FEATURE_VME);
BIT_ROW("tsd", CR4_TSD, FEATURE_TSC);
BIT_ROW("de", CR4_DE, FEATURE_DE);
BIT_ROW("pse", CR4_PSE, FEATURE_PSE);
BIT_ROW("mce", CR4_MCE, FEATURE_MCE);
BIT_ROW("pge", CR4_PGE, FEATURE_PGE);
BIT_ROW("pce", CR4_PCE, 0);
BIT_ROW("osfxsr", CR4_OSFXSR, FEATURE_FXSR);
BIT_ROW("osxmmexcpt", CR4_OSXMMEXCPT, FEATURE_SSE);
BIT_ROW("umip", CR4_UMIP, FEATURE_UMIP);
BIT_ROW("vmxe", CR4_VMXE, FEATURE_VMX);
BIT_ROW("smxe", CR4_SMXE, FEATURE_SMX);
BIT_ROW("fsgsbase", CR4_FSGSBASE, FEATURE_FSGSBASE);
BIT_ROW("pcide", CR4_PCIDE, FEATURE_PCID);
BIT_ROW("osxsave", CR4_OSXSAVE, FEATURE_XSAVE);
BIT_ROW("kl", CR4_KL, FEATURE_KL);
BIT_ROW("smep", CR4_SMEP, FEATURE_SMEP);
BIT_ROW("smap", CR4_SMAP, FEATURE_SMAP);
BIT_ROW("pke", CR4_PKE, FEATURE_PKU);
BIT_ROW("cet", CR4_CET, FEATURE_CET_SS, FEATURE_CET_IBT);
BIT_ROW("pks", CR4_PKS, FEATURE_PKS);
BIT_ROW("uintr", CR4_UINTR, FEATURE_UINTR);
BIT_ROW("lass", CR4_LASS, FEATURE_LASS);
BIT_ROW("lam_sup", CR4_LAM_SUP, FEATURE_LAM);
BIT_ROW("fred", CR4_FRED, FEATURE_FRED);

TEST("guest.cr4.la57", "LA57 cannot be changed in 64-bit mode")
{
	check_refused(read_cr4() ^ CR4_LA57);
}

TEST("guest.cr4.pae", "CR4 refuses PAE=0 in IA-32e mode")
{
	check_refused(read_cr4() & ~(u64)CR4_PAE);
}

static void check_reserved(unsigned int first, unsigned int last)
{
	const u64 cr4 = read_cr4();
	u64 seen, taken = 0;

	need_reserved_bits();
	for (unsigned int bit = first; bit <= last; bit++) {
		const struct fault fault = cr4_try(cr4 | BIT(bit), &seen);

		CASE("bit %u", bit);
		if (!fault.raised && reserved_bits_taken(BIT(bit), seen, &taken))
			continue;
		expect_fault(fault, VECTOR_GP, 0);
		expect_eq(seen, cr4);
	}
	note_reserved_bits("CR4", taken);
}

TEST("guest.cr4.reserved_high", "CR4 refuses a 1 in each of bits 63:33")
{
	check_reserved(33, 63);
}

TEST("guest.cr4.reserved_low", "CR4 refuses a 1 in bits 15, 26 and 31:29")
{
	check_reserved(15, 15);
	check_reserved(26, 26);
	check_reserved(29, 31);
}

/* ---- what the bits do */

TEST("guest.cr4.de_alias", "with DE=0, DR4 and DR5 are DR6 and DR7; with DE=1 they do not exist",
     NEEDS(FEATURE_DE))
{
	const u64 cr4 = read_cr4();
	u64 dr4 = 0, dr5 = 0;

	write_cr4(cr4 & ~(u64)CR4_DE);
	asm volatile("mov %%db4, %0; mov %%db5, %1" : "=r"(dr4), "=r"(dr5));
	expect_eq(dr4, read_dr6());
	expect_eq(dr5, read_dr7());
	write_cr4(cr4 | CR4_DE);
	struct fault fault = TRY(asm volatile("mov %%db4, %%rax" : : : "rax"));
	expect_fault(fault, VECTOR_UD, 0);
	fault = TRY(asm volatile("mov %0, %%db5" : : "r"(0x400ull)));
	expect_fault(fault, VECTOR_UD, 0);
	write_cr4(cr4);
}

CODE(rdpmc_0, "xor %ecx, %ecx; rdpmc");

TEST("guest.cr4.pce_user", "RDPMC at CPL 3 raises #GP if PCE is 0, and does what it does at CPL 0 if PCE is 1")
{
	const u64 cr4 = read_cr4();
	const struct fault at_cpl0 = TRY(rdpmc_0());
	struct fault fault;

	user_pages_on();
	write_cr4(cr4 & ~(u64)CR4_PCE);
	fault = user_run(rdpmc_0);
	expect_fault(fault, VECTOR_GP, 0);
	write_cr4(cr4 | CR4_PCE);
	fault = user_run(rdpmc_0);
	write_cr4(cr4);
	expect_eq(fault.raised, at_cpl0.raised);
}

CODE(sse_add, "addps %xmm0, %xmm0");
CODE(mmx_add, "paddb %mm0, %mm0; emms");

TEST("guest.cr4.osfxsr_ud", "with OSFXSR=0, SSE instructions raise #UD, and MMX instructions do not")
{
	const u64 cr4 = read_cr4();

	write_cr4(cr4 & ~(u64)CR4_OSFXSR);
	const struct fault sse = TRY(sse_add());
	const struct fault mmx = TRY(mmx_add());
	write_cr4(cr4 | CR4_OSFXSR);
	const struct fault sse_on = TRY(sse_add());
	write_cr4(cr4);
	expect_fault(sse, VECTOR_UD, 0);
	expect_no_fault(mmx);
	expect_no_fault(sse_on);
}

CODE(rdfsbase, "rdfsbase %rax");
CODE(wrgsbase, "wrgsbase %rax");

TEST("guest.cr4.fsgsbase_ud", "with FSGSBASE=0, RDFSBASE and WRGSBASE raise #UD", NEEDS(FEATURE_FSGSBASE))
{
	struct fault fault = TRY(rdfsbase());

	expect_fault(fault, VECTOR_UD, 0);
	fault = TRY(wrgsbase());
	expect_fault(fault, VECTOR_UD, 0);
}

TEST("guest.cr4.fsgsbase_values", "RDFSBASE and WRFSBASE see IA32_FS_BASE, 32 or 64 bits of it",
     NEEDS(FEATURE_FSGSBASE))
{
	const u64 cr4 = read_cr4(), base = rdmsr(IA32_FS_BASE);
	u64 wide, narrow;

	write_cr4(cr4 | CR4_FSGSBASE);
	wrmsr(IA32_FS_BASE, 0xffff923456789abc);
	asm volatile("rdfsbase %0; rdfsbase %k1" : "=r"(wide), "=r"(narrow));
	asm volatile("wrfsbase %0" : : "r"(0x7123456789abull));
	const u64 written = rdmsr(IA32_FS_BASE);
	asm volatile("wrfsbase %k0" : : "r"(0xfedcba9876543210ull));
	const u64 written_32 = rdmsr(IA32_FS_BASE);
	wrmsr(IA32_FS_BASE, base);
	write_cr4(cr4);
	expect_eq(wide, 0xffff923456789abc);
	expect_eq(narrow, 0x56789abc);
	expect_eq(written, 0x7123456789ab);
	expect_eq(written_32, 0x76543210);
}

TEST("guest.cr4.fsgsbase_canonical", "WRFSBASE refuses an address that is not canonical", NEEDS(FEATURE_FSGSBASE))
{
	const u64 cr4 = read_cr4(), base = rdmsr(IA32_FS_BASE);

	write_cr4(cr4 | CR4_FSGSBASE);
	const struct fault fault = TRY(asm volatile("wrfsbase %0" : : "r"(NOT_CANONICAL)));
	const u64 now = rdmsr(IA32_FS_BASE);
	wrmsr(IA32_FS_BASE, base);
	write_cr4(cr4);
	expect_fault(fault, VECTOR_GP, 0);
	expect_eq(now, base);
}

CODE(read_xcr0, "xor %ecx, %ecx; xgetbv");

TEST("guest.cr4.osxsave_xgetbv", "XGETBV raises #UD if OSXSAVE is 0", NEEDS(FEATURE_XSAVE))
{
	const u64 cr4 = read_cr4();

	write_cr4(cr4 & ~(u64)CR4_OSXSAVE);
	const struct fault off = TRY(read_xcr0());
	write_cr4(cr4 | CR4_OSXSAVE);
	const struct fault on = TRY(read_xcr0());
	write_cr4(cr4);
	expect_fault(off, VECTOR_UD, 0);
	expect_no_fault(on);
}

TEST("guest.cr4.osxsave_cpuid", "CPUID.01H:ECX[27] is CR4.OSXSAVE", NEEDS(FEATURE_XSAVE))
{
	const u64 cr4 = read_cr4();

	write_cr4(cr4 & ~(u64)CR4_OSXSAVE);
	const bool off = has_feature(FEATURE_OSXSAVE);
	write_cr4(cr4 | CR4_OSXSAVE);
	const bool on = has_feature(FEATURE_OSXSAVE);
	write_cr4(cr4);
	expect_eq(off, 0);
	expect_eq(on, 1);
}

TEST("guest.cr4.pke_cpuid", "CPUID.07H:ECX[4] is CR4.PKE", NEEDS(FEATURE_PKU))
{
	const u64 cr4 = read_cr4();

	write_cr4(cr4 & ~(u64)CR4_PKE);
	const bool off = has_feature(FEATURE_OSPKE);
	write_cr4(cr4 | CR4_PKE);
	const bool on = has_feature(FEATURE_OSPKE);
	write_cr4(cr4);
	expect_eq(off, 0);
	expect_eq(on, 1);
}

CODE(rdpkru, "xor %ecx, %ecx; rdpkru");
CODE(rdpkru_1, "mov $1, %ecx; rdpkru");

TEST("guest.cr4.pke_rdpkru", "RDPKRU raises #UD if PKE is 0, and #GP if ECX is not 0", NEEDS(FEATURE_PKU))
{
	const u64 cr4 = read_cr4();

	const struct fault off = TRY(rdpkru());
	write_cr4(cr4 | CR4_PKE);
	const struct fault on = TRY(rdpkru());
	const struct fault index = TRY(rdpkru_1());
	write_cr4(cr4);
	expect_fault(off, VECTOR_UD, 0);
	expect_no_fault(on);
	expect_fault(index, VECTOR_GP, 0);
}

static u8 stored[16] ALIGNED(16);
static void user_sgdt(void) { asm volatile("sgdt %0" : "=m"(stored)); }
static void user_sidt(void) { asm volatile("sidt %0" : "=m"(stored)); }
static void user_sldt(void) { asm volatile("sldt %0" : "=m"(stored)); }
static void user_str(void) { asm volatile("str %0" : "=m"(stored)); }
static void user_smsw(void) { asm volatile("smsw %0" : "=m"(stored)); }
static void user_str_register(void) { asm volatile("str %%eax" : : : "rax"); }

static const struct store {
	const char *name;
	void (*run)(void);
} stores[] = { { "SGDT", user_sgdt }, { "SIDT", user_sidt }, { "SLDT", user_sldt }, { "STR", user_str },
	       { "STR EAX", user_str_register }, { "SMSW", user_smsw } };
enum { SMSW = ARRAY_SIZE(stores) - 1 };

static void check_umip(const struct store *store)
{
	const u64 cr4 = read_cr4();

	write_cr4(cr4 | CR4_UMIP);
	const struct fault at_cpl3 = user_run(store->run);
	const struct fault at_cpl0 = TRY(store->run());
	write_cr4(cr4);
	CASE("%s", store->name);
	expect_fault(at_cpl3, VECTOR_GP, 0);
	expect_no_fault(at_cpl0);
}

TEST("guest.cr4.umip_user", "with UMIP=1, SGDT, SIDT, SLDT and STR at CPL 3 raise #GP", NEEDS(FEATURE_UMIP))
{
	user_pages_on();
	for (size_t i = 0; i < SMSW; i++)
		check_umip(&stores[i]);
}

TEST("guest.cr4.umip_smsw", "with UMIP=1, SMSW at CPL 3 raises #GP", NEEDS(FEATURE_UMIP))
{
	user_pages_on();
	check_umip(&stores[SMSW]);
}

TEST("guest.cr4.umip_off", "with UMIP=0, SGDT, SIDT, SLDT, STR and SMSW work at CPL 3")
{
	user_pages_on();
	for (size_t i = 0; i < ARRAY_SIZE(stores); i++) {
		const struct fault fault = user_run(stores[i].run);

		CASE("%s", stores[i].name);
		expect_no_fault(fault);
	}
}
