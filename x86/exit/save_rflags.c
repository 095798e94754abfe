/* SPDX-License-Identifier: BSD-2-Clause */
/* "Saving RIP, RSP, RFLAGS, and SSP" (SDM Vol. 3C): RFLAGS, and RF most of all. */
#include "hostload.h"

#include "vmx/bitmaps.h"
#include "vmx/ept.h"
#include "x86/interrupt.h"
#include "x86/page.h"
#include "x86/tables.h"

/* Not called: the state at VM entry is that of their first instruction. */
GUEST_ASM(save_rf_ud, "ud2; vmcall");
GUEST_ASM(save_rf_de, "xor %ecx, %ecx; div %ecx; vmcall");
GUEST_ASM(save_rf_gp, "mov $1, %rcx; ror $2, %rcx; mov (%rcx), %eax; vmcall");
GUEST_ASM(save_rf_gp_selector, "mov $0xfff8, %ecx; mov %ecx, %es; vmcall");
GUEST_ASM(save_rf_np, "mov $0x48, %ecx; mov %ecx, %es; vmcall");
GUEST_ASM(save_rf_ss, "mov $0x48, %ecx; mov %ecx, %ss; vmcall");
GUEST_ASM(save_rf_pf, "mov $1, %rcx; rol $39, %rcx; mov (%rcx), %eax; vmcall");
GUEST_ASM(save_rf_pf_fetch, "mov $1, %rcx; rol $39, %rcx; jmp *%rcx");
GUEST_ASM(save_rf_nm, "fnop; vmcall");
GUEST_ASM(save_rf_int3, "int3; vmcall");
GUEST_ASM(save_rf_step, "pushfq; orq $0x100, (%rsp); popfq; nop; nop; vmcall");
GUEST_ASM(save_rf_data_breakpoint, "mov (%rbx), %eax; nop; vmcall");
GUEST_ASM(save_rf_cpuid, "cpuid; vmcall");
GUEST_ASM(save_rf_hlt, "hlt; vmcall");
GUEST_ASM(save_rf_nop, "nop; nop; vmcall");

/* Faults, whose RFLAGS image has RF = 1. */
static const struct {
	const char *text;
	void (*function)(void);
	u8 vector;
	u64 cr0;
} faults[] = {
	{ "#UD", save_rf_ud, VECTOR_UD, 0 },
	{ "#DE", save_rf_de, VECTOR_DE, 0 },
	{ "#GP by an address", save_rf_gp, VECTOR_GP, 0 },
	{ "#GP by a selector", save_rf_gp_selector, VECTOR_GP, 0 },
	{ "#NP", save_rf_np, VECTOR_NP, 0 },
	{ "#SS", save_rf_ss, VECTOR_SS, 0 },
	{ "#PF by a read", save_rf_pf, VECTOR_PF, 0 },
	{ "#PF by a fetch", save_rf_pf_fetch, VECTOR_PF, 0 },
	{ "#NM", save_rf_nm, VECTOR_NM, CR0_TS },
};

static void expect_saved_rf(u64 rf)
{
	expect_bits(vmcs_read(GUEST_RFLAGS), RFLAGS_RF, rf);
}

static void expect_exception_exit(u8 vector)
{
	expect_exit(EXIT_EXCEPTION_OR_NMI);
	expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), 0xff | INTERRUPTION_VALID, vector | INTERRUPTION_VALID);
}

TEST("save.rflags_rf_fault", "a fault that exits through the exception bitmap saves RF = 1")
{
	const u64 old = gdt[SELECTOR_SPARE / 8];

	exit_probe_on();
	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);
	gdt[SELECTOR_SPARE / 8] = 0x00cf13000000ffff;		/* not present */
	for (u64 rf = 0; rf <= RFLAGS_RF; rf += RFLAGS_RF)
		for (u32 i = 0; i < ARRAY_SIZE(faults); i++) {
			CASE("%s, RF %#x at VM entry", faults[i].text, rf);
			vmcs_write(GUEST_CR0, read_cr0() | faults[i].cr0);
			vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | rf | RFLAGS_CF);
			guest_run_at(faults[i].function);
			expect_exception_exit(faults[i].vector);
			expect_saved_rf(RFLAGS_RF);
		}
	gdt[SELECTOR_SPARE / 8] = old;
}

TEST("save.rflags_rf_trap", "a trap that exits through the exception bitmap saves RF = 0")
{
	exit_probe_on();
	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);
	CASE("#BP");
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	guest_run_at(save_rf_int3);
	expect_exception_exit(VECTOR_BP);
	expect_saved_rf(0);

	CASE("#DB by a single step");
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	guest_run_at(save_rf_step);
	expect_exception_exit(VECTOR_DB);
	expect_saved_rf(0);

	CASE("#DB by a data breakpoint");
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	vmcs_write(GUEST_DR7, 0x402 | 0xf0000);		/* G0, reads and writes, 4 bytes */
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
	guest.regs.rbx = (u64)&guest_stack;
	write_dr0((u64)&guest_stack);
	guest_run_at(save_rf_data_breakpoint);
	expect_exception_exit(VECTOR_DB);
	expect_saved_rf(0);
}

TEST("save.rflags_rf_ept", "EPT violations and misconfigurations and APIC accesses save RF = 1",
     NEEDS(PROC2_ENABLE_EPT))
{
	u8 *page = page_alloc();

	vmcs_use_ept();
	page_map(PAGE_WINDOW, physical_address(page), PAGE_PRESENT | PAGE_WRITE);
	for (u64 rf = 0; rf <= RFLAGS_RF; rf += RFLAGS_RF)
		for (u32 fetch = 0; fetch < 2; fetch++) {
			void (*const function)(void) = fetch ? save_rf_pf_fetch : save_rf_pf;

			CASE("EPT violation, fetch %u, RF %#x at VM entry", fetch, rf);
			*ept_entry(physical_address(page), 1) = 0;
			ept_flush();
			vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | rf);
			guest_run_at(function);
			expect_exit(EXIT_EPT_VIOLATION);
			expect_saved_rf(RFLAGS_RF);

			CASE("EPT misconfiguration, fetch %u, RF %#x at VM entry", fetch, rf);
			*ept_entry(physical_address(page), 1) = physical_address(page) | EPT_WRITE;
			ept_flush();
			vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | rf);
			guest_run_at(function);
			expect_exit(EXIT_EPT_MISCONFIGURATION);
			expect_saved_rf(RFLAGS_RF);
		}
	ept_map(physical_address(page), physical_address(page), EPT_RWX | EPT_WB);
	ept_flush();
	if (!has(PROC2_VIRTUALIZE_APIC_ACCESSES))
		return;
	page_map(PAGE_WINDOW, physical_address(vmcs_use_apic_access_page()), PAGE_PRESENT | PAGE_WRITE);
	ept_flush();
	for (u64 rf = 0; rf <= RFLAGS_RF; rf += RFLAGS_RF) {
		CASE("APIC access, RF %#x at VM entry", rf);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | rf);
		guest_run_at(save_rf_pf);
		expect_exit(EXIT_APIC_ACCESS);
		expect_saved_rf(RFLAGS_RF);
	}
}

/* Flags that CPUID leaves alone. */
static const u64 flags[] = {
	RFLAGS_CF, RFLAGS_PF, RFLAGS_AF, RFLAGS_ZF, RFLAGS_SF, RFLAGS_IF, RFLAGS_DF, RFLAGS_OF, BIT(12), BIT(13), RFLAGS_NT,
	RFLAGS_AC, BIT(21), RFLAGS_TF,
};

/*
 * An instruction that exits by itself or by a control saves RF = 0, even if it was 1 before it; an exit that no
 * instruction and no event of the IDT causes saves it as it was.
 */
TEST("save.rflags_rf_other", "an instruction's exit saves RF = 0, one by a timer or a window RF as it was, and the other flags",
     NEEDS(PROC_HLT_EXITING))
{
	for (u32 i = 0; i < ARRAY_SIZE(flags); i++) {
		CASE("RFLAGS %#x", flags[i]);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | flags[i]);
		vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
		guest_run_at(save_rf_cpuid);
		expect_exit(EXIT_CPUID);
		expect_eq(vmcs_read(GUEST_RFLAGS), RFLAGS_FIXED | flags[i]);
	}
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);

	CASE("CPUID with RF = 1 before it");
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_RF);
	guest_run_at(save_rf_cpuid);
	expect_exit(EXIT_CPUID);
	expect_saved_rf(0);
	CASE("HLT by its control, with RF = 1 before it");
	vmcs_set_controls(PROC_HLT_EXITING);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_RF);
	guest_run_at(save_rf_hlt);
	expect_exit(EXIT_HLT);
	expect_saved_rf(0);
	if (has(PROC_INTERRUPT_WINDOW_EXITING)) {
		for (u64 rf = 0; rf <= RFLAGS_RF; rf += RFLAGS_RF) {
			CASE("interrupt window, RF %#x", rf);
			vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);
			vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF | rf);
			guest_run_at(save_rf_nop);
			expect_exit(EXIT_INTERRUPT_WINDOW, .rip = (u64)save_rf_nop);
			expect_saved_rf(rf);
		}
		vmcs_clear_controls(PROC_INTERRUPT_WINDOW_EXITING);
	}
	if (has(PIN_ACTIVATE_VMX_PREEMPTION_TIMER))
		for (u64 rf = 0; rf <= RFLAGS_RF; rf += RFLAGS_RF) {
			CASE("VMX-preemption timer, RF %#x", rf);
			vmcs_write(VMX_PREEMPTION_TIMER_VALUE, 0);
			vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | rf);
			guest_run_at(save_rf_nop);
			expect_exit(EXIT_PREEMPTION_TIMER, .rip = (u64)save_rf_nop);
			expect_saved_rf(rf);
		}
}
