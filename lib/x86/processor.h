/* SPDX-License-Identifier: BSD-2-Clause */
/* Single instructions as functions. None of them recovers from a fault: see x86/fault.h. */
#pragma once

#include "hostile/hostile.h"
#include "libc/types.h"
#include "x86/msr.h"

enum {
	CR0_PE = BIT(0), CR0_MP = BIT(1), CR0_EM = BIT(2), CR0_TS = BIT(3), CR0_ET = BIT(4), CR0_NE = BIT(5),
	CR0_WP = BIT(16), CR0_AM = BIT(18), CR0_NW = BIT(29), CR0_CD = BIT(30),
};
#define CR0_PG BIT(31)

enum {
	CR4_VME = BIT(0), CR4_PVI = BIT(1), CR4_TSD = BIT(2), CR4_DE = BIT(3), CR4_PSE = BIT(4), CR4_PAE = BIT(5),
	CR4_MCE = BIT(6), CR4_PGE = BIT(7), CR4_PCE = BIT(8), CR4_OSFXSR = BIT(9), CR4_OSXMMEXCPT = BIT(10),
	CR4_UMIP = BIT(11), CR4_LA57 = BIT(12), CR4_VMXE = BIT(13), CR4_SMXE = BIT(14), CR4_FSGSBASE = BIT(16),
	CR4_PCIDE = BIT(17), CR4_OSXSAVE = BIT(18), CR4_KL = BIT(19), CR4_SMEP = BIT(20), CR4_SMAP = BIT(21),
	CR4_PKE = BIT(22), CR4_CET = BIT(23), CR4_PKS = BIT(24), CR4_UINTR = BIT(25), CR4_LASS = BIT(27),
	CR4_LAM_SUP = BIT(28),
};
#define CR4_FRED BIT(32)

/* DR7's R/W field of a breakpoint (SDM Vol. 3B, "Debug Control Register (DR7)"). */
enum { BREAK_ON_EXECUTE = 0, BREAK_ON_WRITE = 1, BREAK_ON_IO = 2, BREAK_ON_ACCESS = 3 };

enum {
	RFLAGS_CF = BIT(0), RFLAGS_FIXED = BIT(1), RFLAGS_PF = BIT(2), RFLAGS_AF = BIT(4), RFLAGS_ZF = BIT(6),
	RFLAGS_SF = BIT(7), RFLAGS_TF = BIT(8), RFLAGS_IF = BIT(9), RFLAGS_DF = BIT(10), RFLAGS_OF = BIT(11),
	RFLAGS_IOPL = 3 << 12, RFLAGS_NT = BIT(14), RFLAGS_RF = BIT(16), RFLAGS_VM = BIT(17), RFLAGS_AC = BIT(18),
	RFLAGS_ARITHMETIC = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF,
};

enum {
	EFER_SCE = BIT(0), EFER_LME = BIT(8), EFER_LMA = BIT(10), EFER_NXE = BIT(11),
};

enum vector {
	VECTOR_DE = 0, VECTOR_DB = 1, VECTOR_NMI = 2, VECTOR_BP = 3, VECTOR_OF = 4, VECTOR_BR = 5, VECTOR_UD = 6,
	VECTOR_NM = 7, VECTOR_DF = 8, VECTOR_TS = 10, VECTOR_NP = 11, VECTOR_SS = 12, VECTOR_GP = 13,
	VECTOR_PF = 14, VECTOR_MF = 16, VECTOR_AC = 17, VECTOR_MC = 18, VECTOR_XM = 19, VECTOR_VE = 20,
	VECTOR_CP = 21,
};

struct cpuid {
	u32 eax, ebx, ecx, edx;
};

struct table_register {
	u16 limit;
	u64 base;
} __attribute__((packed));

static inline struct cpuid cpuid(u32 leaf, u32 subleaf)
{
	struct cpuid c;

	asm volatile("cpuid" : "=a"(c.eax), "=b"(c.ebx), "=c"(c.ecx), "=d"(c.edx) : "a"(leaf), "c"(subleaf));
	HOSTILE_CPUID(leaf, subleaf, &c);
	return c;
}

#ifdef VMXCHECK_CHECK_BUILD
/* The check build may make another processor of this one: what of a VMX capability MSR is to be seen. NULL: all. */
extern u64 (*vmx_msr_seen)(u32 msr, u64 value);
#endif

static inline u64 rdmsr(u32 msr)
{
	u32 low, high;
	u64 UNUSED value;

	if (HOSTILE_RDMSR(msr, &value))
		return value;
	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
#ifdef VMXCHECK_CHECK_BUILD
	if (msr >= (u32)IA32_VMX_BASIC && msr <= (u32)IA32_VMX_EXIT_CTLS2 && vmx_msr_seen)
		return vmx_msr_seen(msr, (u64)high << 32 | low);
#endif
	return (u64)high << 32 | low;
}

static inline void wrmsr(u32 msr, u64 value)
{
	if (HOSTILE_WRMSR(msr, value))
		return;
	asm volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

static inline u64 rdtsc(void)
{
	u32 low, high;

	HOSTILE_GAP();
	asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (u64)high << 32 | low;
}

static inline u64 rdtscp(u32 *aux)
{
	u32 low, high;

	asm volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(*aux) : : "memory");
	return (u64)high << 32 | low;
}

#define DEFINE_CR_ACCESS(n)							\
static inline u64 read_cr##n(void)						\
{										\
	u64 value;								\
										\
	asm volatile("mov %%cr" #n ", %0" : "=r"(value) : : "memory");		\
	return value;								\
}										\
										\
static inline void write_cr##n(u64 value)					\
{										\
	asm volatile("mov %0, %%cr" #n : : "r"(value) : "memory");		\
}

DEFINE_CR_ACCESS(0)
DEFINE_CR_ACCESS(2)
DEFINE_CR_ACCESS(3)
DEFINE_CR_ACCESS(4)
DEFINE_CR_ACCESS(8)
#undef DEFINE_CR_ACCESS

#define DEFINE_DR_ACCESS(n)							\
static inline u64 read_dr##n(void)						\
{										\
	u64 value;								\
										\
	asm volatile("mov %%dr" #n ", %0" : "=r"(value) : : "memory");		\
	return value;								\
}										\
										\
static inline void write_dr##n(u64 value)					\
{										\
	asm volatile("mov %0, %%dr" #n : : "r"(value) : "memory");		\
}

DEFINE_DR_ACCESS(0)
DEFINE_DR_ACCESS(1)
DEFINE_DR_ACCESS(2)
DEFINE_DR_ACCESS(3)
DEFINE_DR_ACCESS(6)
DEFINE_DR_ACCESS(7)
#undef DEFINE_DR_ACCESS

#define DEFINE_PORT_ACCESS(type, suffix)					\
static inline type in##suffix(u16 port)						\
{										\
	type value = (type)~0u;							\
										\
	if (HOSTILE_ABSENT(port))						\
		return value;							\
	asm volatile("in" #suffix " %1, %0" : "=a"(value) : "Nd"(port) : "memory"); \
	return value;								\
}										\
										\
static inline void out##suffix(u16 port, type value)				\
{										\
	if (HOSTILE_ABSENT(port))						\
		return;								\
	asm volatile("out" #suffix " %0, %1" : : "a"(value), "Nd"(port) : "memory"); \
}

DEFINE_PORT_ACCESS(u8, b)
DEFINE_PORT_ACCESS(u16, w)
DEFINE_PORT_ACCESS(u32, l)
#undef DEFINE_PORT_ACCESS

#define DEFINE_SELECTOR_READ(name, instruction)					\
static inline u16 read_##name(void)						\
{										\
	u16 value;								\
										\
	asm volatile(instruction : "=r"(value) : : "memory");			\
	return value;								\
}

DEFINE_SELECTOR_READ(es, "mov %%es, %0")
DEFINE_SELECTOR_READ(cs, "mov %%cs, %0")
DEFINE_SELECTOR_READ(ss, "mov %%ss, %0")
DEFINE_SELECTOR_READ(ds, "mov %%ds, %0")
DEFINE_SELECTOR_READ(fs, "mov %%fs, %0")
DEFINE_SELECTOR_READ(gs, "mov %%gs, %0")
DEFINE_SELECTOR_READ(tr, "str %0")
DEFINE_SELECTOR_READ(ldtr, "sldt %0")
#undef DEFINE_SELECTOR_READ

static inline struct table_register read_gdtr(void)
{
	struct table_register value;

	asm volatile("sgdt %0" : "=m"(value));
	return value;
}

static inline struct table_register read_idtr(void)
{
	struct table_register value;

	asm volatile("sidt %0" : "=m"(value));
	return value;
}

static inline void write_gdtr(struct table_register value)
{
	asm volatile("lgdt %0" : : "m"(value) : "memory");
}

static inline void write_idtr(struct table_register value)
{
	asm volatile("lidt %0" : : "m"(value) : "memory");
}

static inline void write_ldtr(u16 selector)
{
	asm volatile("lldt %0" : : "r"(selector) : "memory");
}

static inline u64 read_rflags(void)
{
	u64 value;

	asm volatile("pushfq; popq %0" : "=r"(value) : : "memory");
	return value;
}

static inline void write_rflags(u64 value)
{
	asm volatile("pushq %0; popfq" : : "r"(value) : "memory", "cc");
}

static inline u64 xgetbv(u32 index)
{
	u32 low, high;

	asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(index));
	return (u64)high << 32 | low;
}

static inline void xsetbv(u32 index, u64 value)
{
	asm volatile("xsetbv" : : "c"(index), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

static inline void invlpg(const volatile void *address)
{
	asm volatile("invlpg (%0)" : : "r"(address) : "memory");
}

static inline void interrupts_on(void)
{
	asm volatile("sti" : : : "memory");
}

static inline void interrupts_off(void)
{
	asm volatile("cli" : : : "memory");
}
