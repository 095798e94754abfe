/* SPDX-License-Identifier: BSD-2-Clause */
/* "Saving Non-Register State" (SDM Vol. 3C): activity, interruptibility, pending debug exceptions, PDPTEs. */
#include "hostload.h"

#include "libc/string.h"
#include "vmx/bitmaps.h"
#include "vmx/ept.h"
#include "vmxtest/events.h"
#include "x86/page.h"

enum { WAKE_UP_VECTOR = 0x71 };

GUEST_ASM(save_cpuid, "cpuid; vmcall");
GUEST_ASM(save_ud, "ud2; vmcall");
GUEST_ASM(save_hlt, "hlt; save_behind_hlt: vmcall");
GUEST_ASM(save_sti_hlt, "movl $1, save_flag; sti; hlt; save_behind_sti_hlt: vmcall");
GUEST_ASM(save_mwait, "lea save_flag, %rax; xor %ecx, %ecx; xor %edx, %edx; monitor; xor %eax, %eax; mwait\n"
		      "1: jmp 1b");
extern const u8 save_behind_hlt[], save_behind_sti_hlt[];
extern volatile u32 save_flag;
asm(".pushsection .bss\n.balign 64\nsave_flag: .skip 64\n.popsection");

static void interrupt_a_halted_guest(void)
{
	save_flag = 0;
	run_halted_until_interrupt(save_sti_hlt, RFLAGS_FIXED, WAKE_UP_VECTOR, save_behind_sti_hlt);
}

TEST("save.rip_hlt_interrupt", "an external interrupt that exits from a halted guest saves the RIP behind HLT",
     NEEDS(PIN_EXTERNAL_INTERRUPT_EXITING))
{
	for (u32 acknowledge = 0; acknowledge <= has(EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT); acknowledge++) {
		CASE("acknowledge interrupt on exit %u", acknowledge);
		vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
		if (acknowledge)
			vmcs_set_controls(EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT);
		interrupt_a_halted_guest();
		expect_exit(EXIT_EXTERNAL_INTERRUPT, .rip = (u64)save_behind_sti_hlt);
		expect_eq(save_flag, 1);
		if (acknowledge)
			apic_eoi();
		else
			take_pending(WAKE_UP_VECTOR);
	}
}

static void stop_guest_by_timer(u32 value)
{
	vmcs_set_controls(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
	vmcs_write(VMX_PREEMPTION_TIMER_VALUE, value);
}

static void expect_activity(u32 activity)
{
	expect_eq(vmcs_read(GUEST_ACTIVITY_STATE), activity);
}

TEST("save.activity", "the saved activity state is active, or HLT if the guest was halted; MWAIT is none")
{
	for (u32 bitmap = 0; bitmap < 2; bitmap++) {
		CASE("an active guest");
		vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_UD));
		guest_run_at(bitmap ? save_ud : save_cpuid);
		expect_exit(bitmap ? EXIT_EXCEPTION_OR_NMI : EXIT_CPUID);
		expect_activity(ACTIVITY_ACTIVE);
	}

	if (has(PROC_HLT_EXITING)) {
		CASE("HLT that exits");
		vmcs_set_controls(PROC_HLT_EXITING);
		guest_run_at(save_hlt);
		expect_exit(EXIT_HLT);
		expect_activity(ACTIVITY_ACTIVE);
		vmcs_clear_controls(PROC_HLT_EXITING);
	}

	if (!has(PIN_ACTIVATE_VMX_PREEMPTION_TIMER))
		return;
	CASE("the VMX-preemption timer exits from HLT");
	run_halted_until_timer(save_hlt, RFLAGS_FIXED, save_behind_hlt);
	expect_exit(EXIT_PREEMPTION_TIMER, .rip = (u64)save_behind_hlt);
	expect_activity(ACTIVITY_HLT);
	vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);

	if (has(CAP_MISC_ACTIVITY_HLT)) {
		CASE("the VMX-preemption timer exits from HLT that VM entry made");
		stop_guest_by_timer(1000);
		vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
		guest_run_at(save_cpuid);
		expect_exit(EXIT_PREEMPTION_TIMER, .rip = (u64)save_cpuid);
		expect_activity(ACTIVITY_HLT);
		vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
	}
	if (!has(FEATURE_MONITOR))
		return;
	CASE("the VMX-preemption timer exits from MWAIT");
	stop_guest_by_timer(10000);
	guest_run_at(save_mwait);
	expect_exit(EXIT_PREEMPTION_TIMER);
	expect_activity(ACTIVITY_ACTIVE);
}

/* "A return to the active state occurs only after the VM exit completes" ("Architectural State Before a VM Exit"). */
TEST("save.activity_interrupt", "an external interrupt that exits from a halted guest saves the activity state HLT",
     NEEDS(PIN_EXTERNAL_INTERRUPT_EXITING))
{
	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	interrupt_a_halted_guest();
	expect_exit(EXIT_EXTERNAL_INTERRUPT);
	expect_activity(ACTIVITY_HLT);
	take_pending(WAKE_UP_VECTOR);
}

/* The exit is that of the instruction at once behind STI or MOV SS, or one further. */
GUEST_ASM(save_sti_cpuid, "sti; cpuid; vmcall");
GUEST_ASM(save_nop_ud, "nop; ud2; vmcall");
GUEST_ASM(save_sti_ud, "sti; ud2; vmcall");
GUEST_ASM(save_sti_nop_cpuid, "sti; nop; cpuid; vmcall");
GUEST_ASM(save_mov_ss_cpuid, "mov %ss, %ecx; mov %ecx, %ss; cpuid; vmcall");
GUEST_ASM(save_mov_ss_ud, "mov %ss, %ecx; mov %ecx, %ss; ud2; vmcall");
GUEST_ASM(save_mov_ss_nop_cpuid, "mov %ss, %ecx; mov %ecx, %ss; nop; cpuid; vmcall");
GUEST_ASM(save_mov_ds_cpuid, "mov %ds, %ecx; mov %ecx, %ds; cpuid; vmcall");
GUEST_ASM(save_popf_cpuid, "pushq $0x202; popfq; cpuid; vmcall");
/* In compatibility mode. */
GUEST_ASM(save_pop_ss_cpuid, ".code32; push %ss; pop %ss; cpuid; vmcall; .code64");

static const struct shadow {
	const char *text;
	void (*function)(void);
	u64 rflags;
	u32 saved;
	u32 reason;
	bool compatibility;
} shadows[] = {
	{ "no blocking", save_cpuid, 0, 0, EXIT_CPUID, false },
	{ "STI, CPUID", save_sti_cpuid, 0, INTERRUPTIBILITY_STI, EXIT_CPUID, false },
	{ "STI, #UD", save_sti_ud, 0, INTERRUPTIBILITY_STI, EXIT_EXCEPTION_OR_NMI, false },
	{ "NOP, #UD", save_nop_ud, 0, 0, EXIT_EXCEPTION_OR_NMI, false },
	{ "STI with IF = 1, CPUID", save_sti_cpuid, RFLAGS_IF, 0, EXIT_CPUID, false },
	{ "STI, NOP, CPUID", save_sti_nop_cpuid, 0, 0, EXIT_CPUID, false },
	{ "MOV SS, CPUID", save_mov_ss_cpuid, 0, INTERRUPTIBILITY_MOV_SS, EXIT_CPUID, false },
	{ "MOV SS with IF = 1, CPUID", save_mov_ss_cpuid, RFLAGS_IF, INTERRUPTIBILITY_MOV_SS, EXIT_CPUID, false },
	{ "MOV SS, #UD", save_mov_ss_ud, 0, INTERRUPTIBILITY_MOV_SS, EXIT_EXCEPTION_OR_NMI, false },
	{ "MOV SS, NOP, CPUID", save_mov_ss_nop_cpuid, 0, 0, EXIT_CPUID, false },
	{ "POP SS, CPUID", save_pop_ss_cpuid, 0, INTERRUPTIBILITY_MOV_SS, EXIT_CPUID, true },
	{ "MOV DS, CPUID", save_mov_ds_cpuid, 0, 0, EXIT_CPUID, false },
	{ "POPF that sets IF, CPUID", save_popf_cpuid, 0, 0, EXIT_CPUID, false },
};

static void expect_shadows(u32 reason)
{
	for (u32 i = 0; i < ARRAY_SIZE(shadows); i++) {
		if (shadows[i].reason != reason)
			continue;
		CASE("%s", shadows[i].text);
		if (shadows[i].compatibility)
			guest_set_compatibility();
		else
			guest_set_cpl0();
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | shadows[i].rflags);
		guest_run_at(shadows[i].function);
		expect_exit(reason);
		expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), shadows[i].saved);
	}
}

TEST("save.intr_sti_movss", "an exit at the instruction behind STI or MOV SS saves that blocking, one further on none")
{
	expect_shadows(EXIT_CPUID);
	/* Made by VM entry, not by an instruction. */
	guest_set_cpl0();
	for (u32 blocking = 0; blocking <= INTERRUPTIBILITY_MOV_SS; blocking++) {
		CASE("blocking %u at VM entry, exit at the first instruction", blocking);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, blocking);
		guest_run_at(save_cpuid);
		expect_exit(EXIT_CPUID);
		expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), blocking);
	}
}

TEST("save.intr_sti_movss_fault", "an exit by a fault of the instruction behind STI or MOV SS saves that blocking")
{
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_UD));
	expect_shadows(EXIT_EXCEPTION_OR_NMI);
}

TEST("save.intr_smi_zero", "blocking by SMI is saved as 0 by exits outside SMM, for every kind of exit")
{
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_UD));
	for (u32 i = 0; i < 4; i++) {
		const u32 reasons[] = { EXIT_CPUID, EXIT_EXCEPTION_OR_NMI, EXIT_HLT, EXIT_PREEMPTION_TIMER };

		if ((i == 2 && !has(PROC_HLT_EXITING)) || (i == 3 && !has(PIN_ACTIVATE_VMX_PREEMPTION_TIMER)))
			continue;
		CASE("exit %u", reasons[i]);
		if (i == 2)
			vmcs_set_controls(PROC_HLT_EXITING);
		if (i == 3)
			stop_guest_by_timer(0);
		guest_run_at(i == 1 ? save_ud : i == 2 ? save_hlt : save_cpuid);
		expect_exit(reasons[i]);
		expect_bits(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_SMI, 0);
	}
}

static volatile u32 nmis;

static void nmi_handler_exits(UNUSED struct exception_frame *frame)
{
	nmis++;
	if (guest_running)
		guest_call_host(1);
}

static void guest_sends_nmi(void)
{
	nmi_arrives();
	guest_call_host(2);
}

TEST("save.intr_nmi", "without virtual NMIs bit 3 is saved as the blocking by NMI: 1 in the guest's NMI handler, 0 behind it",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	vmcs_use_msr_bitmap();			/* the guest uses the APIC */
	interrupt_handle(VECTOR_NMI, nmi_handler_exits);
	for (u32 round = 0; round < 3; round++) {
		CASE("round %u", round);
		nmis = 0;
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
		guest_run(guest_sends_nmi);
		expect_exit(EXIT_VMCALL);
		expect_eq(guest.regs.rax, 1);
		expect_eq(nmis, 1);
		expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI);
		guest_skip_instruction();
		guest_resume();			/* the handler ends by IRET */
		expect_exit(EXIT_VMCALL);
		expect_eq(guest.regs.rax, 2);
		expect_eq(nmis, 1);
		expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);
		nmi_unblock();			/* VM entry with bit 3 = 0 does so too, but has tests of its own */
	}
	CASE("made by VM entry");
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_NMI);
	guest_run_at(save_cpuid);
	expect_exit(EXIT_CPUID);
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI);
	nmi_unblock();
}

/* With MODE_PAE's CR3 in EAX. */
GUEST_ASM(save_mov_cr3, ".code32; mov %eax, %cr3; vmcall; .code64");
GUEST_ASM(save_vmcall, "vmcall");

/*
 * Page directories that say which PDPTE leads to them: eight copies of each of the suite's, of which PDPTE number n has
 * the n-th. Bits 8:5, 2:1 and the high ones of a present PDPTE are reserved; what is saved in bits 11:9 is undefined.
 */
enum { DIRECTORIES = 8, PDPTE_UNDEFINED = 7 << 9 };
static u64 *directories;

static void make_directories(void)
{
	extern u64 boot_pd[2048];

	directories = page_alloc_many(4 * DIRECTORIES);
	for (u32 i = 0; i < DIRECTORIES; i++)
		memcpy(directories + i * 2048, boot_pd, sizeof(boot_pd));
}

/* PDPTEs that map what the suite has below 1 GiB: the others may be anything that is not present. */
static void make_pdptes(u64 pdpt[4], u32 n)
{
	for (u64 i = 0; i < 4; i++) {
		const bool present = i == 0 || (n + i) & 1;
		const u64 flags = (n & 8 ? PAGE_PWT : 0) | (n & 16 ? PAGE_PCD : 0);

		pdpt[i] = present ? physical_address(directories + n % DIRECTORIES * 2048 + 512 * i) | flags | PAGE_PRESENT
				  : (0x123456789abcdef0 ^ BIT((7 * n + i) % 64)) & ~(u64)PAGE_PRESENT;
	}
}

/* Of a PDPTE that is not present bit 0 alone is defined. */
static void expect_pdpte(u64 saved, u64 loaded)
{
	expect_bits(saved, loaded & PAGE_PRESENT ? ~(u64)PDPTE_UNDEFINED : PAGE_PRESENT, loaded);
}

static void expect_pdptes(const u64 pdpt[4])
{
	expect_pdpte(vmcs_read(GUEST_PDPTE0), pdpt[0]);
	expect_pdpte(vmcs_read(GUEST_PDPTE1), pdpt[1]);
	expect_pdpte(vmcs_read(GUEST_PDPTE2), pdpt[2]);
	expect_pdpte(vmcs_read(GUEST_PDPTE3), pdpt[3]);
}

static void write_pdptes(const u64 pdpt[4])
{
	vmcs_write(GUEST_PDPTE0, pdpt[0]);
	vmcs_write(GUEST_PDPTE1, pdpt[1]);
	vmcs_write(GUEST_PDPTE2, pdpt[2]);
	vmcs_write(GUEST_PDPTE3, pdpt[3]);
}

TEST("save.pdptes", "with EPT the PDPTEs of a guest with PAE paging are saved",
     NEEDS(PROC2_ENABLE_EPT))
{
	u64 *const page = page_alloc();
	u64 entered[4];

	make_directories();
	guest_set_pae();
	vmcs_use_ept();
	vmcs_clear_controls(PROC_CR3_LOAD_EXITING);
	if (vmcs_read(PRIMARY_PROC_CONTROLS) & control_bit(PROC_CR3_LOAD_EXITING))
		skip("needs \"CR3-load exiting\" to be 0");
	for (u32 n = 0; n < 128; n++) {
		u64 *const pdpt = page + 4 * (n % 128);

		CASE("as VM entry loaded them, %u", n);
		make_pdptes(entered, n + 1);
		write_pdptes(entered);
		guest_run_at(save_vmcall);
		expect_exit(EXIT_VMCALL);
		expect_pdptes(entered);

		CASE("as MOV to CR3 loaded them, %u", n);
		make_pdptes(pdpt, n);
		guest.regs.rax = physical_address(pdpt);
		guest_run_at(save_mov_cr3);
		expect_exit(EXIT_VMCALL);
		expect_eq(vmcs_read(GUEST_CR3), physical_address(pdpt));
		expect_pdptes(pdpt);
	}
	CASE("not as they are in memory now");
	make_pdptes(entered, 0);
	make_pdptes(page, 5);
	vmcs_write(GUEST_CR3, physical_address(page));
	write_pdptes(entered);
	guest_run_at(save_vmcall);
	expect_exit(EXIT_VMCALL);
	expect_pdptes(entered);
}
