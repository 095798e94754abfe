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

static void guest_does_nothing(void)
{
}

static void guest_sends_nmi(void)
{
	send_nmi();
}

/* An IRET to the next instruction, which ends virtual-NMI blocking. */
GUEST_ASM(guest_irets, "mov %ss, %eax; push %rax; lea 8(%rsp), %rax; push %rax; pushfq; mov %cs, %eax; push %rax\n"
		       "lea 1f(%rip), %rax; push %rax; iretq; 1: ret");

/*
 * Virtual NMIs on, and no blocking: where an entry with bit 3 = 0 does not end that of an earlier guest, only the
 * test of that shall fail (exec.vnmi.entry_replaces).
 */
static void use_virtual_nmis(void)
{
	let_guest_use_apic();
	interrupt_handle(VECTOR_NMI, interrupt_counter);
	vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
	guest_run(guest_irets);
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
     NEEDS(PIN_VIRTUAL_NMIS, PIN_NMI_EXITING))
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
		send_nmi();				/* pends: the exit has blocked NMIs here */
		expect_eq(nmis_taken(), 0);
		guest_run(guest_sends_nmi);
		expect_nmi_exit();
		expect_eq(vmcs_read(GUEST_RIP), guest_first_instruction());
		expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), blocked);
		nmi_unblock();
		expect_eq(nmis_taken(), 0);
	}
}
