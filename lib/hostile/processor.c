/* SPDX-License-Identifier: BSD-2-Clause */
/* What CPUID and MSRs say in another processor's, or another hypervisor's, name. */
#include "hostile/internal.h"

#include "libc/string.h"
#include "x86/processor.h"

static const struct {
	const char *signature;		/* EBX, ECX, EDX of leaf 40000000H */
	u32 highest, interface;		/* EAX of that leaf, and of 40000001H */
} hypervisors[] = {			/* in the order of their names in words.c */
	{ "Microsoft Hv", 0x40000006, 0x31237648 },
	{ "VMwareVMware", 0x40000001, 0 },
	{ "XenVMMXenVMM", 0x40000004, 0x00040011 },
	{ "KVMKVMKVM\0\0\0", 0x40000001, 0x01007afb },
};

static void hypervisor_leaf(u32 leaf, struct cpuid *answer)
{
	u32 which = 0;

	while (which + 1 < ARRAY_SIZE(hypervisors) && !(hostile.hypervisor & BIT(which)))
		which++;
	if (leaf == 1)
		answer->ecx |= BIT(31);
	if (leaf < 0x40000000 || leaf > 0x4fffffff)
		return;
	*answer = (struct cpuid){ 0 };
	if (leaf == 0x40000000) {
		answer->eax = hypervisors[which].highest;
		memcpy(&answer->ebx, hypervisors[which].signature, 12);
	} else if (leaf == 0x40000001) {
		answer->eax = hypervisors[which].interface;
	}
}

void hostile_lie_in_cpuid(u32 leaf, u32 subleaf, struct cpuid *answer)
{
	if (hostile.hypervisor)
		hypervisor_leaf(leaf, answer);
	if (hostile.width && leaf == 0x80000008)
		answer->eax = (answer->eax & ~0xffu) | hostile.width;
	if (hostile.la57 && leaf == 0x80000008)
		answer->eax = (answer->eax & ~0xff00u) | 57 << 8;
	if (hostile.la57 && leaf == 7 && subleaf == 0)
		answer->ecx |= BIT(16);
	if (hostile.pmu && leaf == 0xa)
		*answer = (struct cpuid){ .eax = 0x07300402, .edx = 0x603 };	/* version 2, 4 + 3 counters of 48 bits */
}

static u64 perf_global_ctrl;
static bool perf_global_ctrl_set;

/* IA32_PERF_GLOBAL_CTRL, which no emulator has: as a hypervisor leaves it that uses the PMU itself. */
bool hostile_lie_in_rdmsr(u32 msr, u64 *value)
{
	if (msr != IA32_PERF_GLOBAL_CTRL)
		return false;
	*value = perf_global_ctrl_set ? perf_global_ctrl : hostile.pmu;
	return true;
}

bool hostile_lie_in_wrmsr(u32 msr, u64 value)
{
	if (msr != IA32_PERF_GLOBAL_CTRL)
		return false;
	if (value & ~0x70000000full)
		asm volatile("wrmsr" : : "c"(IA32_PERF_GLOBAL_CTRL), "a"((u32)value), "d"((u32)(value >> 32)));
	perf_global_ctrl = value;
	perf_global_ctrl_set = true;
	return true;
}
