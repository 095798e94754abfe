/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/probe.h"

#include "hostile/hostile.h"
#include "x86/cpu.h"
#include "x86/processor.h"

struct exit_probe exit_probe;
void (*exit_probe_hook)(void);

_Static_assert(offsetof(struct exit_probe, rsp) == 120 && offsetof(struct exit_probe, cr0) == 144 &&
	       offsetof(struct exit_probe, dr0) == 184 && offsetof(struct exit_probe, es) == 232 &&
	       offsetof(struct exit_probe, gdtr) == 248 && offsetof(struct exit_probe, idtr) == 258 &&
	       offsetof(struct exit_probe, entry) == 268,
	       "the offsets in probe.S");

static const u32 known_msrs[] = {
	IA32_EFER, IA32_PAT, IA32_FS_BASE, IA32_GS_BASE, IA32_KERNEL_GS_BASE, IA32_SYSENTER_CS, IA32_SYSENTER_ESP,
	IA32_SYSENTER_EIP, IA32_DEBUGCTL, IA32_PERF_GLOBAL_CTRL, IA32_STAR, IA32_LSTAR, IA32_CSTAR, IA32_FMASK,
	IA32_TSC_AUX, IA32_S_CET, IA32_INTERRUPT_SSP_TABLE_ADDR, IA32_PKRS, IA32_BNDCFGS, IA32_RTIT_CTL, IA32_LBR_CTL,
	IA32_UINTR_MISC,
};

/* As probe.S reads and writes them: those of the above that exist. */
struct {
	u32 index, unused;
	u64 value;
} exit_probe_msrs[ARRAY_SIZE(known_msrs)];
u32 exit_probe_msr_count;

/* The host's state, as it was when the probe was switched on. */
u64 exit_probe_home_cr0, exit_probe_home_cr3, exit_probe_home_cr4, exit_probe_home_gs_base;
struct table_register exit_probe_home_gdtr, exit_probe_home_idtr;
static u64 home_cr8, home_dr[4], home_dr6, home_dr7, home_msrs[ARRAY_SIZE(known_msrs)];

void exit_probe_go_home(void);

/* probe.S reads them past the words that a strange machine answers. */
static void find_msrs(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(known_msrs); i++)
		if (!HOSTILE_INVENTS_MSR(known_msrs[i]) && !TRY(rdmsr(known_msrs[i])).raised)
			exit_probe_msrs[exit_probe_msr_count++].index = known_msrs[i];
}

void exit_probe_on(void)
{
	if (!exit_probe_msr_count)
		find_msrs();
	for (u32 i = 0; i < exit_probe_msr_count; i++)
		home_msrs[i] = rdmsr(exit_probe_msrs[i].index);
	exit_probe_hook = NULL;
	exit_probe_home_cr0 = read_cr0();
	exit_probe_home_cr3 = read_cr3();
	exit_probe_home_cr4 = read_cr4();
	exit_probe_home_gs_base = rdmsr(IA32_GS_BASE);
	exit_probe_home_gdtr = read_gdtr();
	exit_probe_home_idtr = read_idtr();
	home_cr8 = read_cr8();
	home_dr[0] = read_dr0();
	home_dr[1] = read_dr1();
	home_dr[2] = read_dr2();
	home_dr[3] = read_dr3();
	home_dr6 = read_dr6();
	home_dr7 = read_dr7();
	vmcs_write(HOST_RIP, (u64)exit_probe_entries);
}

/* From the probe, with CR0, CR3, CR4, GDTR, IDTR, CS and IA32_GS_BASE at home. */
void exit_probe_go_home(void)
{
	for (u32 i = 0; i < exit_probe_msr_count; i++)
		if (rdmsr(exit_probe_msrs[i].index) != home_msrs[i])
			wrmsr(exit_probe_msrs[i].index, home_msrs[i]);
	cpu_load_tables(this_cpu());
	write_cr8(home_cr8);
	write_dr0(home_dr[0]);
	write_dr1(home_dr[1]);
	write_dr2(home_dr[2]);
	write_dr3(home_dr[3]);
	write_dr6(home_dr6);
	write_dr7(home_dr7);
}

static u32 find_msr(u32 msr)
{
	u32 i = 0;

	while (i < exit_probe_msr_count && exit_probe_msrs[i].index != msr)
		i++;
	return i;
}

bool exit_probe_has_msr(u32 msr)
{
	return find_msr(msr) < exit_probe_msr_count;
}

u64 exit_probe_msr(u32 msr)
{
	if (!exit_probe_has_msr(msr))
		throw("the exit probe does not read this MSR");
	return exit_probe_msrs[find_msr(msr)].value;
}
