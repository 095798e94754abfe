/* SPDX-License-Identifier: BSD-2-Clause */
/* What INIT resets and what it keeps ("IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT"). */
#include "init.h"

/* What the prefix stores, at 800H of its page. */
struct found {
	u32 eax, ebx, ecx, edx, esi, edi, ebp, esp;
	u32 cr2, cr3, dr[4], dr6;
	u16 gdtr_limit, gdtr_low, gdtr_high, es, fs, gs;
	u64 efer, star, lstar, fs_base, gs_base, sysenter_cs, sysenter_esp, sysenter_eip;
	u32 mxcsr;
	u16 fcw, unused;
	u8 xmm0[16], xmm7[16];
	u64 apic_base;
} __attribute__((packed));

#define STORE(reg, offset)	"mov " reg ", %cs:0x800+" #offset "; "
#define STORE_MSR(msr, offset)	"mov $" #msr ", %ecx; rdmsr; mov %eax, %cs:0x800+" #offset "; mov %edx, %cs:0x804+" #offset "; "

asm(".pushsection .rodata\n.code16\n"
    "init_prefix:\n"
    STORE("%eax", 0) STORE("%ebx", 4) STORE("%ecx", 8) STORE("%edx", 12)
    STORE("%esi", 16) STORE("%edi", 20) STORE("%ebp", 24) STORE("%esp", 28)
    "mov %cr2, %eax;" STORE("%eax", 32) "mov %cr3, %eax;" STORE("%eax", 36)
    "mov %db0, %eax;" STORE("%eax", 40) "mov %db1, %eax;" STORE("%eax", 44)
    "mov %db2, %eax;" STORE("%eax", 48) "mov %db3, %eax;" STORE("%eax", 52)
    "mov %db6, %eax;" STORE("%eax", 56)
    "sgdtl %cs:0x800+60\n"
    STORE("%es", 66) STORE("%fs", 68) STORE("%gs", 70)
    STORE_MSR(0xc0000080, 72) STORE_MSR(0xc0000081, 80) STORE_MSR(0xc0000082, 88) STORE_MSR(0xc0000100, 96)
    STORE_MSR(0xc0000101, 104) STORE_MSR(0x174, 112) STORE_MSR(0x175, 120) STORE_MSR(0x176, 128)
    STORE_MSR(0x1b, 176)
    "mov %cr4, %eax; or $0x200, %eax; mov %eax, %cr4\n"
    "stmxcsr %cs:0x800+136; fnstcw %cs:0x800+140\n"
    "movups %xmm0, %cs:0x800+144; movups %xmm7, %cs:0x800+160\n"
    "and $~0x200, %eax; mov %eax, %cr4\n"
    "init_prefix_end:\n"
    ".code64\n.popsection");
extern const u8 init_prefix[], init_prefix_end[];

enum { PATTERN = 0x5a5aa5a5 };

static volatile bool waits;
static const u8 bytes[2][16] ALIGNED(16) = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 }, { 0x99, 0x88, 0x77 } };
static u64 msrs_before[6];
static const u32 msrs[6] = {
	IA32_STAR, IA32_LSTAR, IA32_SYSENTER_CS, IA32_SYSENTER_ESP, IA32_SYSENTER_EIP, IA32_FS_BASE,
};

/* On processor 1, until its INIT: a state that differs from what INIT leaves wherever that is told. */
static void fills_and_waits(UNUSED void *argument)
{
	const u32 mxcsr = 0x5f80;		/* rounds up, all masked */
	const u16 fcw = 0x0b7f;

	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++) {
		msrs_before[i] = rdmsr(msrs[i]);
		wrmsr(msrs[i], i == 0 ? 0x0013001000000000 : i == 2 ? 0x1230 : 0x123456789000 + i);
	}
	write_cr2(0x123456789abc);
	write_dr0(0x1000);
	write_dr1(0x2000);
	write_dr2(0x3000);
	write_dr3(0x4000);
	write_dr6(0xffff4ff1);
	asm volatile("ldmxcsr %0; fldcw %1; movaps %2, %%xmm0; movaps %3, %%xmm7" : : "m"(mxcsr), "m"(fcw), "m"(bytes[0]), "m"(bytes[1]));
	waits = true;
	asm volatile("mov %0, %%eax; mov %%eax, %%ebx; mov %%eax, %%ecx; mov %%eax, %%edx; mov %%eax, %%esi; mov %%eax, %%edi;"
		     "mov %%eax, %%ebp; mov %%eax, %%r8d; 1: out %%al, $0x80; jmp 1b" : : "i"(PATTERN));
	__builtin_unreachable();
}

static void puts_msrs_back(UNUSED void *argument)
{
	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++)
		wrmsr(msrs[i], msrs_before[i]);
	write_cr2(0);
}

/* The state behind INIT and SIPI, from one that differs. */
static const struct found *init_filled(void)
{
	const u8 vector = start_vector(0x0a);

	waits = false;
	on_cpu_start(1, fills_and_waits, NULL);
	require(wait_for_other(waits, WAIT_MS), "processor 1 waits for its INIT");
	start_prefix = init_prefix;
	start_prefix_end = init_prefix_end;
	start_at(vector);
	start_prefix = start_prefix_end = NULL;
	return (const struct found *)((u64)vector << 12 | 0x800);
}

static void init_end(void)
{
	require(cpu_restart(1), "the processor starts again by INIT and SIPI");
	on_cpu(1, puts_msrs_back, NULL);
}

TEST("guest.init.general", "INIT leaves EAX to EBP and ESP 0, and the family in EDX", NEEDS(NEED_CPUS(2)))
{
	const struct found *found = init_filled();
	const u32 signature = cpuid(1, 0).eax;

	expect_eq(found->eax, 0);
	expect_eq(found->ebx, 0);
	expect_eq(found->ecx, 0);
	expect_eq(found->esi, 0);
	expect_eq(found->edi, 0);
	expect_eq(found->ebp, 0);
	expect_eq(found->esp, 0);
	if ((signature & 0xf00) == 0x600)
		expect_bits(found->edx, 0xfff00f00, 0x600);
	init_end();
}

TEST("guest.init.cr", "INIT leaves CR2, CR3 and IA32_EFER 0", NEEDS(NEED_CPUS(2)))
{
	const struct found *found = init_filled();

	expect_eq(found->cr2, 0);
	expect_eq(found->cr3, 0);
	expect_eq(found->efer, 0);
	init_end();
}

TEST("guest.init.dr", "INIT leaves DR0 to DR3 0 and DR6 FFFF0FF0H", NEEDS(NEED_CPUS(2)))
{
	const struct found *found = init_filled();

	for (u32 i = 0; i < 4; i++) {
		CASE("DR%u", i);
		expect_eq(found->dr[i], 0);
	}
	CASE("DR6");
	expect_eq(found->dr6, 0xffff0ff0);
	init_end();
}

TEST("guest.init.segments", "INIT leaves ES, FS and GS 0, the bases of FS and GS 0, and GDTR base 0, limit FFFFH", NEEDS(NEED_CPUS(2)))
{
	const struct found *found = init_filled();

	expect_eq(found->es, 0);
	expect_eq(found->fs, 0);
	expect_eq(found->gs, 0);
	expect_eq(found->fs_base, 0);
	expect_eq(found->gs_base, 0);
	expect_eq(found->gdtr_low | found->gdtr_high, 0);
	expect_eq(found->gdtr_limit, 0xffff);
	init_end();
}

TEST("guest.init.keeps_msrs", "INIT keeps IA32_STAR, IA32_LSTAR and the MSRs of SYSENTER", NEEDS(NEED_CPUS(2), FEATURE_SEP))
{
	const struct found *found = init_filled();

	expect_eq(found->star, 0x0013001000000000);
	expect_eq(found->lstar, 0x123456789001);
	expect_bits(found->sysenter_cs, 0xffff, 0x1230);
	expect_eq(found->sysenter_esp, 0x123456789003);
	expect_eq(found->sysenter_eip, 0x123456789004);
	init_end();
}

TEST("guest.init.keeps_fpu", "INIT keeps the x87 control word, MXCSR and the XMM registers", NEEDS(NEED_CPUS(2), FEATURE_SSE))
{
	const struct found *found = init_filled();

	expect_eq(found->fcw, 0x0b7f);
	expect_eq(found->mxcsr, 0x5f80);
	expect_bytes(found->xmm0, bytes[0], 16);
	expect_bytes(found->xmm7, bytes[1], 16);
	init_end();
}

/* Of one that is not the first: BSP = 0. */
TEST("guest.init.apic_base", "INIT keeps IA32_APIC_BASE: the APIC's address, that it is enabled, and x2APIC mode", NEEDS(NEED_CPUS(2)))
{
	const u64 here = rdmsr(IA32_APIC_BASE);
	const struct found *found = init_filled();

	expect_eq(found->apic_base, here & ~BIT(8));
	init_end();
}
