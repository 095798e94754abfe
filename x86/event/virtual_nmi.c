/* SPDX-License-Identifier: BSD-2-Clause */
/* Virtual NMIs (SDM Vol. 3C, "Pin-Based VM-Execution Controls"). */
#include "event.h"

/* Every combination of the bits that may block an event at entry; blocking by STI needs IF = 1. */
static const struct blocking {
	u32 interruptibility;
	u64 rflags;
} blockings[] = {
	{ 0, RFLAGS_FIXED },
	{ 0, RFLAGS_FIXED | RFLAGS_IF },
	{ INTERRUPTIBILITY_NMI, RFLAGS_FIXED },
	{ INTERRUPTIBILITY_NMI, RFLAGS_FIXED | RFLAGS_IF },
	{ INTERRUPTIBILITY_NMI | INTERRUPTIBILITY_MOV_SS, RFLAGS_FIXED },
	{ INTERRUPTIBILITY_NMI | INTERRUPTIBILITY_MOV_SS, RFLAGS_FIXED | RFLAGS_IF },
	{ INTERRUPTIBILITY_NMI | INTERRUPTIBILITY_STI, RFLAGS_FIXED | RFLAGS_IF },
	{ INTERRUPTIBILITY_MOV_SS, RFLAGS_FIXED },
	{ INTERRUPTIBILITY_STI, RFLAGS_FIXED | RFLAGS_IF },
};

static void guest_sends_nmi(void)
{
	nmi_arrives();
}

void use_virtual_nmis(void)
{
	let_guest_use_apic();
	interrupt_handle(VECTOR_NMI, interrupt_counter);
	vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	guest_run(guest_iret);
	require_guest_done();
}

TEST("exec.vnmi.never_blocks_phys", "Virtual NMIs = 1: a physical NMI exits even with virtual-NMI blocking",
     NEEDS(PIN_VIRTUAL_NMIS, PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS))
{
	for (const struct blocking *at = blockings; at < blockings + ARRAY_SIZE(blockings); at++) {
		CASE("interruptibility state %#x, RFLAGS %#x", at->interruptibility, at->rflags);
		use_virtual_nmis();
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, at->interruptibility);
		vmcs_write(GUEST_RFLAGS, at->rflags);
		guest_run(guest_sends_nmi);
		expect_nmi_exit();
		/* The first instruction ended the other two kinds of blocking. */
		expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), at->interruptibility & INTERRUPTIBILITY_NMI);
		expect_eq(nmis_taken(), 0);
		nmi_unblock();
		expect_eq(nmis_taken(), 0);
	}
}

TEST("exec.vnmi.entry_replaces", "Virtual NMIs = 1: entry with bit 3 = 0 ends an earlier virtual-NMI blocking",
     NEEDS(PIN_VIRTUAL_NMIS, PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS))
{
	use_virtual_nmis();
	for (int i = 0; i < 4; i++) {
		const u32 blocked = i & 1 ? 0 : INTERRUPTIBILITY_NMI;

		CASE("entry %u, interruptibility state %#x", i, blocked);
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, blocked);
		guest_run(guest_does_nothing);
		expect_guest_done();
		expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), blocked);
	}
}

TEST("exec.vnmi.entry_unblocks_phys", "Virtual NMIs = 1: an NMI that the host blocks exits right after VM entry",
     NEEDS(PIN_VIRTUAL_NMIS, PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS))
{
	use_virtual_nmis();
	for (u32 blocked = 0; blocked <= INTERRUPTIBILITY_NMI; blocked += INTERRUPTIBILITY_NMI) {
		CASE("interruptibility state %#x", blocked);
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, blocked);
		guest_run(guest_sends_nmi);
		expect_nmi_exit();
		nmi_pend();				/* the exit has blocked NMIs here */
		expect_eq(nmis_taken(), 0);
		guest_run(guest_sends_nmi);
		expect_nmi_exit();
		expect_eq(vmcs_read(GUEST_RIP), (u64)guest_start);
		expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), blocked);
		nmi_unblock();
		expect_eq(nmis_taken(), 0);
	}
}

/* Instructions that change flow or flags as IRET does, and do not end the blocking. */
GUEST_ASM(guest_no_iret, "pushfq; popfq; mov %cs, %eax; push %rax; lea 1f(%rip), %rax; push %rax; lretq\n"
			 "1: sti; cli; ret");

TEST("exec.vnmi.iret_unblocks", "Virtual NMIs = 1: IRET in the guest ends virtual-NMI blocking",
     NEEDS(PIN_VIRTUAL_NMIS, PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS))
{
	static const struct {
		const char *name;
		void (*function)(void);
		u32 saved;
	} guests[] = {
		{ "nothing", guest_does_nothing, INTERRUPTIBILITY_NMI },
		{ "POPF, far RET, STI and CLI", guest_no_iret, INTERRUPTIBILITY_NMI },
		{ "IRET", guest_iret, 0 },
	};

	use_virtual_nmis();
	for (u32 i = 0; i < ARRAY_SIZE(guests); i++) {
		CASE("%s", guests[i].name);
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_NMI);
		guest_run(guests[i].function);
		expect_guest_done();
		expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), guests[i].saved);
	}
}

/* IRET whose return frame is no good: RIP 0 and CS at a selector beyond the GDT; and a stack that is not there. */
GUEST_ASM(guest_iret_gp, "sub $40, %rsp; movq $0, (%rsp); movq $0xfff8, 8(%rsp); guest_iret_gp_at: iretq");
GUEST_ASM(guest_iret_pf, "mov $1, %rsp; rol $46, %rsp; guest_iret_pf_at: iretq");
extern const u8 guest_iret_gp_at[], guest_iret_pf_at[];

static void call_host(UNUSED struct exception_frame *frame)
{
	guest_call_host(0);
}

/* Blocking is in effect, and IRET faults: the exit of the fault, and one from its handler, find no blocking. */
static void check_faulting_iret(void)
{
	CASE("#GP of IRET exits");
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_NMI);
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_GP));
	guest_run(guest_iret_gp);
	expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)guest_iret_gp_at, .interruption_error = 0xfff8,
		    .interruption = INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE |
				    INTERRUPTION_NMI_UNBLOCKING | VECTOR_GP);
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);

	CASE("#PF of IRET exits");
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_NMI);
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_PF));
	guest_run(guest_iret_pf);
	expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)guest_iret_pf_at,
		    .interruption = INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE |
				    INTERRUPTION_NMI_UNBLOCKING | VECTOR_PF);
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);

	CASE("#GP of IRET is delivered");
	interrupt_handle(VECTOR_GP, call_host);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_NMI);
	vmcs_write(EXCEPTION_BITMAP, 0);
	guest_run(guest_iret_gp);
	expect_exit(EXIT_VMCALL);
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);
	interrupt_handle(VECTOR_GP, NULL);
}

TEST("exec.vnmi.iret_fault_unblocks", "An IRET that faults ends virtual-NMI blocking, and blocking by NMI",
     NEEDS(PIN_VIRTUAL_NMIS, PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS))
{
	use_virtual_nmis();
	check_faulting_iret();
	vmcs_clear_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
	check_faulting_iret();
}

TEST("exec.vnmi.saved_bit3", "Virtual NMIs = 1: saved bit 3 is virtual-NMI blocking, not the blocking of NMIs",
     NEEDS(PIN_VIRTUAL_NMIS, PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS))
{
	CASE("NMIs blocked in the host, no virtual-NMI blocking");
	use_virtual_nmis();
	guest_run(guest_sends_nmi);
	expect_nmi_exit();
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);
	guest_run(guest_does_nothing);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), 0);
	nmi_unblock();

	CASE("NMIs not blocked in the host, virtual-NMI blocking");
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, INTERRUPTIBILITY_NMI);
	guest_run(guest_does_nothing);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI);
	nmi_arrives();
	expect_eq(nmis_taken(), 1);		/* that blocking was the guest's alone */
	guest_run(guest_does_nothing);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI);

	/* An exit by a physical NMI keeps it too. */
	guest_run(guest_sends_nmi);
	expect_nmi_exit();
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), INTERRUPTIBILITY_NMI);
	nmi_unblock();
	expect_eq(nmis_taken(), 0);
}
