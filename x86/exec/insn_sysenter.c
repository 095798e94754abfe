/* SPDX-License-Identifier: BSD-2-Clause */
/* SYSENTER, SYSEXIT, SYSCALL and SYSRET, which never exit. */
#include "insn.h"

#include "x86/selectors.h"

/* Each lands at a VMCALL, which shows where and at which CPL. */
GUEST_ASM(guest_sysenter, "sysenter");
GUEST_ASM(guest_sysexit, "sysexitq");
GUEST_ASM(guest_syscall, "syscall");
GUEST_ASM(guest_sysret, "sysretq");
GUEST_ASM(landing, "vmcall");
GUEST_ASM(other_landing, "vmcall");

/* All that may make instructions exit, without interrupt and NMI windows, which would exit at once. */
static void set_exiting_controls(void)
{
	static const u32 controls[] = {
		PROC_HLT_EXITING, PROC_INVLPG_EXITING, PROC_MWAIT_EXITING, PROC_RDPMC_EXITING, PROC_RDTSC_EXITING,
		PROC_CR3_LOAD_EXITING, PROC_CR3_STORE_EXITING, PROC_CR8_LOAD_EXITING, PROC_CR8_STORE_EXITING,
		PROC_MOV_DR_EXITING, PROC_UNCONDITIONAL_IO_EXITING, PROC_MONITOR_EXITING, PROC_PAUSE_EXITING,
		PROC2_DESCRIPTOR_TABLE_EXITING, PROC2_WBINVD_EXITING, PROC2_RDRAND_EXITING, PROC2_RDSEED_EXITING,
	};

	for (size_t i = 0; i < ARRAY_SIZE(controls); i++)
		if (has(controls[i]))
			vmcs_set_controls(controls[i]);
}

static u32 saved_cpl(void)
{
	return vmcs_read(GUEST_SS_ACCESS_RIGHTS) >> 5 & 3;
}

static void expect_landing(void (*where)(void), u16 cs, u32 cpl)
{
	expect_exit(EXIT_VMCALL, .rip = (u64)where);
	expect_eq(vmcs_read(GUEST_CS_SELECTOR), cs);
	expect_eq(saved_cpl(), cpl);
}

/* For one guest: its own values of the MSRs, which differ from the host's. */
static void set_sysenter_msrs(void (*entry)(void), u64 stack)
{
	vmcs_write(GUEST_IA32_SYSENTER_CS, SELECTOR_CODE64);
	vmcs_write(GUEST_IA32_SYSENTER_EIP, (u64)entry);
	vmcs_write(GUEST_IA32_SYSENTER_ESP, stack);
}

static void check_sysenter(void)
{
	for (u32 cpl = 0; cpl < 4; cpl += 3)
		for (u32 other = 0; other < 2; other++) {
			void (*const where)(void) = other ? other_landing : landing;
			const u64 stack = (u64)guest_stack + (other ? 0x800 : 0x1000);

			CASE("SYSENTER at CPL %u", cpl);
			set_sysenter_msrs(where, stack);
			if (cpl == 3)
				guest_set_cpl3();
			else
				guest_set_cpl0();
			guest_run(guest_sysenter);
			expect_landing(where, SELECTOR_CODE64, 0);
			expect_eq(vmcs_read(GUEST_RSP), stack);
			expect_eq(vmcs_read(GUEST_SS_SELECTOR), SELECTOR_CODE64 + 8);
		}
	CASE("SYSEXIT");
	guest_set_cpl0();
	set_sysenter_msrs(other_landing, 0);
	guest.regs.rdx = (u64)landing;
	guest.regs.rcx = (u64)guest_stack + 0x900;
	guest_run(guest_sysexit);
	expect_landing(landing, (SELECTOR_CODE64 + 32) | 3, 3);
	expect_eq(vmcs_read(GUEST_RSP), (u64)guest_stack + 0x900);
}

static void check_syscall(void)
{
	const u64 efer = rdmsr(IA32_EFER), star = rdmsr(IA32_STAR), lstar = rdmsr(IA32_LSTAR);
	const u64 fmask = rdmsr(IA32_FMASK);

	/* Not in the VMCS: the guest has the host's. SYSCALL: CS = 8; SYSRET: CS = 18H + 16, SS = 18H + 8. */
	wrmsr(IA32_EFER, efer | EFER_SCE);
	wrmsr(IA32_STAR, (u64)SELECTOR_CODE64 << 32 | (u64)SELECTOR_USER_CODE32 << 48);
	wrmsr(IA32_LSTAR, (u64)landing);
	wrmsr(IA32_FMASK, RFLAGS_AC);
	if (has(ENTRYCTL_LOAD_IA32_EFER))
		vmcs_write(GUEST_IA32_EFER, efer | EFER_SCE);
	if (has(EXITCTL_LOAD_IA32_EFER))
		vmcs_write(HOST_IA32_EFER, efer | EFER_SCE);

	for (u32 cpl = 0; cpl < 4; cpl += 3) {
		CASE("SYSCALL at CPL %u", cpl);
		if (cpl == 3)
			guest_set_cpl3();
		else
			guest_set_cpl0();
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_AC);
		guest_run(guest_syscall);
		expect_landing(landing, SELECTOR_CODE64, 0);
		expect_eq(guest.regs.rcx, (u64)guest_syscall + 2);
		expect_eq(vmcs_read(GUEST_RFLAGS) & RFLAGS_AC, 0);
	}
	CASE("SYSRET");
	guest_set_cpl0();
	guest.regs.rcx = (u64)other_landing;
	guest.regs.r11 = RFLAGS_FIXED;
	guest_run(guest_sysret);
	expect_landing(other_landing, SELECTOR_USER_CODE64, 3);

	wrmsr(IA32_EFER, efer);
	wrmsr(IA32_STAR, star);
	wrmsr(IA32_LSTAR, lstar);
	wrmsr(IA32_FMASK, fmask);
}

TEST("exit.sysenter.never", "SYSENTER, SYSEXIT, SYSCALL and SYSRET do not exit, and use the guest's MSRs",
     NEEDS(FEATURE_SEP))
{
	set_exiting_controls();
	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);
	check_sysenter();
	if (has(FEATURE_SYSCALL))
		check_syscall();
}

TEST("exit.sysenter.faults", "SYSENTER with a null IA32_SYSENTER_CS and SYSEXIT at CPL 3 raise #GP(0) in the guest",
     NEEDS(FEATURE_SEP))
{
	for (u32 bitmap = 0; bitmap < 2; bitmap++) {
		vmcs_write(EXCEPTION_BITMAP, bitmap ? BIT(VECTOR_GP) : ~(u32)BIT(VECTOR_GP));
		for (u32 row = 0; row < 5; row++) {
			CASE("row %u (0-3: SYSENTER, 4: SYSEXIT), exception bitmap bit 13: %u", row, bitmap);
			set_sysenter_msrs(landing, (u64)guest_stack + 0x1000);
			guest_set_cpl3();
			if (row < 4)				/* null, whatever its RPL */
				vmcs_write(GUEST_IA32_SYSENTER_CS, row);
			guest_run(row < 4 ? guest_sysenter : guest_sysexit);
			if (!bitmap) {
				expect_guest_fault(VECTOR_GP, 0);
				continue;
			}
			expect_exit(EXIT_EXCEPTION_OR_NMI,
				    .interruption = INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE |
						    INTERRUPTION_ERROR_CODE | VECTOR_GP,
				    .interruption_error = 0, .rip = (u64)(row < 4 ? guest_sysenter : guest_sysexit));
		}
	}
}
