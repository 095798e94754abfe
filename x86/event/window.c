/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupt-window and NMI-window exiting (SDM Vol. 3C, "Other Causes of VM Exits"). */
#include "event.h"

/* One-byte instructions with labels, so that the saved RIP says how far the guest came. */
GUEST_ASM(guest_steps, "nop; nop; ret");
GUEST_ASM(guest_sti, "nop; sti_at: sti; sti_1: nop; sti_2: nop; cli; ret");
GUEST_ASM(guest_sti_cli, "sti; cli; nop; nop; ret");
GUEST_ASM(guest_popf, "nop; pushfq; orl $0x200, (%rsp); popfq; popf_1: nop; cli; ret");
GUEST_ASM(guest_iret_if, "mov %ss, %eax; mov %rsp, %rcx; push %rax; push %rcx; pushfq; orl $0x200, (%rsp)\n"
			 "mov %cs, %eax; push %rax; lea iret_if_1(%rip), %rax; push %rax; iretq\n"
			 "iret_if_1: nop; cli; ret");
extern const u8 sti_at[], sti_1[], sti_2[], popf_1[], iret_if_1[];

/* A window exit at this RIP; none of its other information is valid or non-zero. */
static void expect_window_exit(u32 reason, u64 rip)
{
	if (!expect_exit(reason, .qualification = 0, .rip = rip))
		return;
	expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), INTERRUPTION_VALID, 0);
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);
	expect_eq(vmcs_read(GUEST_ACTIVITY_STATE), ACTIVITY_ACTIVE);
}

static void enter_with(u64 rflags, u32 interruptibility, void (*function)(void))
{
	vmcs_write(GUEST_RFLAGS, rflags);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, interruptibility);
	guest_run(function);
}

enum { IF_0 = RFLAGS_FIXED, IF_1 = RFLAGS_FIXED | RFLAGS_IF };

TEST("exec.intwin.basic", "Interrupt-window exiting exits where IF = 1 and no STI or MOV SS blocks",
     NEEDS(PROC_INTERRUPT_WINDOW_EXITING))
{
	static const struct {
		const char *name;
		u64 rflags;
		u32 interruptibility;
		void (*function)(void);
		const void *rip;		/* of the exit; NULL: there is none */
	} cases[] = {
		{ "IF = 1", IF_1, 0, guest_steps, guest_start },
		{ "IF = 1, other flags", IF_1 | RFLAGS_IOPL | RFLAGS_ARITHMETIC, 0, guest_steps, guest_start },
		{ "IF = 1, blocking by STI", IF_1, INTERRUPTIBILITY_STI, guest_steps, guest_steps },
		{ "IF = 1, blocking by MOV SS", IF_1, INTERRUPTIBILITY_MOV_SS, guest_steps, guest_steps },
		/* Blocking by NMI has no part in it. */
		{ "IF = 1, blocking by NMI", IF_1, INTERRUPTIBILITY_NMI, guest_steps, guest_start },
		{ "IF = 0", IF_0, 0, guest_steps, NULL },
		{ "IF = 0, other flags", IF_0 | RFLAGS_IOPL | RFLAGS_ARITHMETIC, 0, guest_steps, NULL },
		{ "IF = 0, blocking by MOV SS", IF_0, INTERRUPTIBILITY_MOV_SS, guest_steps, NULL },
		{ "POPF sets IF", IF_0, 0, guest_popf, popf_1 },
		{ "IRET sets IF", IF_0, 0, guest_iret_if, iret_if_1 },
	};

	vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		CASE("%s", cases[i].name);
		enter_with(cases[i].rflags, cases[i].interruptibility, cases[i].function);
		if (cases[i].interruptibility & INTERRUPTIBILITY_NMI) {
			expect_exit(EXIT_INTERRUPT_WINDOW, .rip = (u64)cases[i].rip);
			expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI);
			nmi_unblock();
		} else if (cases[i].rip) {
			expect_window_exit(EXIT_INTERRUPT_WINDOW, (u64)cases[i].rip);
		} else {
			expect_guest_done();
		}
	}

	CASE("the control 0, IF = 1");
	vmcs_clear_controls(PROC_INTERRUPT_WINDOW_EXITING);
	enter_with(IF_1, 0, guest_steps);
	expect_guest_done();
}

TEST("exec.intwin.sti_shadow", "Behind an STI that sets IF the interrupt window opens one instruction later",
     NEEDS(PROC_INTERRUPT_WINDOW_EXITING))
{
	vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);

	CASE("STI with IF = 0");
	enter_with(IF_0, 0, guest_sti);
	expect_window_exit(EXIT_INTERRUPT_WINDOW, (u64)sti_2);
	expect_bits(vmcs_read(GUEST_RFLAGS), RFLAGS_IF, RFLAGS_IF);

	/* The window is closed again before it opens. */
	CASE("STI, CLI");
	enter_with(IF_0, 0, guest_sti_cli);
	expect_guest_done();

	/* STI with IF = 1 blocks nothing; that the guest comes to it is due to the blocking it is entered with. */
	CASE("STI with IF = 1");
	vmcs_write(GUEST_RSP, (u64)(guest_stack + GUEST_STACK_SIZE));
	vmcs_write(GUEST_RIP, (u64)sti_at);
	vmcs_write(GUEST_RFLAGS, IF_1);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_STI);
	guest_enter();
	expect_window_exit(EXIT_INTERRUPT_WINDOW, (u64)sti_1);
}

TEST("exec.nmiwin.basic", "NMI-window exiting exits where neither virtual-NMI blocking nor MOV SS blocks",
     NEEDS(PROC_NMI_WINDOW_EXITING, PIN_VIRTUAL_NMIS, PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS))
{
	static const struct {
		u64 rflags;
		u32 interruptibility;
		const void *rip;
	} cases[] = {
		{ IF_0, 0, guest_start },
		{ IF_1, 0, guest_start },
		{ IF_0, INTERRUPTIBILITY_MOV_SS, guest_steps },
		{ IF_1, INTERRUPTIBILITY_MOV_SS, guest_steps },
		{ IF_0, INTERRUPTIBILITY_NMI, NULL },
		{ IF_1, INTERRUPTIBILITY_NMI, NULL },
		{ IF_0, INTERRUPTIBILITY_NMI | INTERRUPTIBILITY_MOV_SS, NULL },
		{ IF_1, INTERRUPTIBILITY_NMI | INTERRUPTIBILITY_STI, NULL },
	};

	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		CASE("RFLAGS %#x, interruptibility state %#x", cases[i].rflags, cases[i].interruptibility);
		vmcs_clear_controls(PROC_NMI_WINDOW_EXITING);
		use_virtual_nmis();
		vmcs_set_controls(PROC_NMI_WINDOW_EXITING);
		enter_with(cases[i].rflags, cases[i].interruptibility, guest_steps);
		if (cases[i].rip) {
			expect_window_exit(EXIT_NMI_WINDOW, (u64)cases[i].rip);
		} else {
			expect_guest_done();
			expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI);
		}
	}

	/* Whether blocking by STI holds the exit for one instruction the manual leaves to the processor. */
	CASE("blocking by STI");
	vmcs_clear_controls(PROC_NMI_WINDOW_EXITING);
	use_virtual_nmis();
	vmcs_set_controls(PROC_NMI_WINDOW_EXITING);
	enter_with(IF_1, INTERRUPTIBILITY_STI, guest_steps);
	expect_exit(EXIT_NMI_WINDOW);
	expect_either(vmcs_read(GUEST_RIP), guest_start, guest_steps);

	CASE("the control 0");
	vmcs_clear_controls(PROC_NMI_WINDOW_EXITING);
	enter_with(IF_1, 0, guest_steps);
	expect_guest_done();
}

TEST("exec.nmiwin.after_iret", "With virtual-NMI blocking the NMI-window exit comes right behind IRET",
     NEEDS(PROC_NMI_WINDOW_EXITING, PIN_VIRTUAL_NMIS, PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS))
{
	use_virtual_nmis();
	vmcs_set_controls(PROC_NMI_WINDOW_EXITING);
	for (u64 rflags = IF_0; rflags <= IF_1; rflags += RFLAGS_IF) {
		CASE("RFLAGS %#x", rflags);
		enter_with(rflags, INTERRUPTIBILITY_NMI, guest_iret);
		expect_window_exit(EXIT_NMI_WINDOW, (u64)guest_iret_done);

		CASE("RFLAGS %#x, blocking by MOV SS besides", rflags);
		enter_with(rflags, INTERRUPTIBILITY_NMI | INTERRUPTIBILITY_MOV_SS, guest_iret);
		expect_window_exit(EXIT_NMI_WINDOW, (u64)guest_iret_done);
	}
}

/* The guest's NMI handler, or its interrupt's. */
static volatile u32 nmis, interrupts;

static void count_nmi(UNUSED struct exception_frame *frame)
{
	nmis++;
}

static void count_interrupt(UNUSED struct exception_frame *frame)
{
	interrupts++;
	apic_eoi();
}

/* An NMI pends, blocked; the IRET unblocks it and sets IF at the same boundary. */
static void guest_opens_all(void)
{
	nmi_pend();
	guest_iret_if();
}

TEST("exec.intwin.prio_nmi", "A pending NMI comes before the interrupt-window exit, which comes before an interrupt",
     NEEDS(PROC_INTERRUPT_WINDOW_EXITING, PROC_USE_MSR_BITMAPS))
{
	let_guest_use_apic();
	interrupt_handle(VECTOR_NMI, count_nmi);
	interrupt_handle(TEST_VECTOR, count_interrupt);
	nmis = interrupts = 0;

	CASE("NMI, interrupt window and interrupt");
	vmcs_clear_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	guest.apic_timer_watchdog = false;
	vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);
	require_pend(TEST_VECTOR);
	enter_with(IF_0, INTERRUPTIBILITY_NMI, guest_opens_all);
	expect_window_exit(EXIT_INTERRUPT_WINDOW, (u64)iret_if_1);
	expect_eq(nmis, 1);
	expect_eq(interrupts, 0);
	expect_requested(TEST_VECTOR);

	CASE("the window closed, the interrupt comes");
	vmcs_clear_controls(PROC_INTERRUPT_WINDOW_EXITING);
	guest_resume();
	expect_guest_done();
	expect_eq(interrupts, 1);
}

/* CPUID.05H:ECX[1]: interrupts end MWAIT even with IF = 0, if ECX[0] = 1. */
static bool has_mwait_break(void)
{
	return cpuid(0, 0).eax >= 5 && (cpuid(5, 0).ecx & 3) == 3;
}

GUEST_ASM(guest_mwaits, "mov %rbx, %rax; xor %ecx, %ecx; xor %edx, %edx; monitor\n"
			"xor %eax, %eax; mov $1, %ecx; mwait; behind_mwait: vmcall; ret");
extern const u8 behind_mwait[];

TEST("feat.mwait.ecx0_window", "MWAIT with ECX[0] = 1 and IF = 0 does not wait under interrupt-window exiting",
     NEEDS(PROC_INTERRUPT_WINDOW_EXITING, FEATURE_MONITOR))
{
	if (!has_mwait_break())
		skip("needs CPUID.05H:ECX[1] (interrupts as break events for MWAIT)");
	vmcs_clear_controls(PROC_MONITOR_EXITING, PROC_MWAIT_EXITING);
	vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);
	guest.regs.rbx = (u64)page_alloc();
	enter_with(IF_0, 0, guest_mwaits);
	expect_exit(EXIT_VMCALL, .rip = (u64)behind_mwait);
}
