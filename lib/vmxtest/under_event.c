/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events: each exception exits and is given back by injection; interrupts and NMIs
 * exit and are injected when the guest can take them (SDM Vol. 3C, "Handling VM Exits Due to Exceptions").
 */
#include "vmxtest/under.h"
#include "x86/interrupt.h"

#define NMI_EVENT (INTERRUPTION_VALID | INTERRUPTION_TYPE_NMI | VECTOR_NMI)

static bool intercepts_interrupts, intercepts_nmis;
static volatile bool nmi_waits;		/* also by the host's own handler */
static bool interrupt_waits;		/* exited for, not acknowledged yet */

void under_intercept_events(void)
{
	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);	/* with #PF's mask and match 0: all of them */
	intercepts_interrupts = has(PROC_INTERRUPT_WINDOW_EXITING) && has(EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT);
	intercepts_nmis = has(PIN_NMI_EXITING) && has(PIN_VIRTUAL_NMIS) && has(PROC_NMI_WINDOW_EXITING);
	if (intercepts_nmis)
		vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
	if (has(PROC_HLT_EXITING))
		vmcs_set_controls(PROC_HLT_EXITING);
}

static u64 blocking(void)
{
	return vmcs_read(GUEST_INTERRUPTIBILITY_STATE);
}

static void set_blocking(u64 bits, bool set)
{
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, set ? blocking() | bits : blocking() & ~bits);
}

static bool interruptible(void)
{
	return vmcs_read(GUEST_RFLAGS) & RFLAGS_IF && !(blocking() & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS));
}

/* ---- exceptions */

static bool contributory(u8 vector)
{
	return vector == VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP) || vector == VECTOR_CP;
}

/* An exception during the delivery of an event (SDM Vol. 3A, "Interrupt 8 - Double Fault Exception"). */
static enum { SERIAL, DOUBLE, TRIPLE } combination(u64 first, u8 second)
{
	const u8 vector = first;

	if (!(first & INTERRUPTION_VALID) || (first & INTERRUPTION_TYPE_MASK) != INTERRUPTION_TYPE_HARDWARE)
		return SERIAL;
	if (vector == VECTOR_DF)
		return contributory(second) || second == VECTOR_PF ? TRIPLE : SERIAL;
	if (contributory(vector))
		return contributory(second) ? DOUBLE : SERIAL;
	return vector == VECTOR_PF && (contributory(second) || second == VECTOR_PF) ? DOUBLE : SERIAL;
}

/* The event of an information field again, with what goes with it. */
static void inject_again(u64 information, u64 error_code)
{
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, information & ~(u64)INTERRUPTION_NMI_UNBLOCKING);
	vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, error_code);
	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, vmcs_read(EXIT_INSTRUCTION_LENGTH));
}

/*
 * Behind an exit by an NMI the host has NMIs blocked, as behind any NMI. The IRET may let in another one, which
 * under_nmi_in_host() takes: they are one to the guest, too. Behind other exits it does nothing, but where the
 * host is a virtual machine itself, and the VM entry to it has not ended the blocking that this guest had, as that
 * of Bochs 2.7 does not: then the host would go on blocking, and each of its entries would block the guest.
 */
void under_unblock_nmis(void)
{
	if (intercepts_nmis)
		nmi_unblock();
}

void under_exception(void)
{
	const u64 information = vmcs_read(EXIT_INTERRUPTION_INFORMATION);
	const u64 error_code = vmcs_read(EXIT_INTERRUPTION_ERROR_CODE);
	const u8 vector = information;

	if ((information & INTERRUPTION_TYPE_MASK) == INTERRUPTION_TYPE_NMI) {
		nmi_waits = true;
		return;
	}
	/* CR2 and DR6 are as before the exception; they change although it may become a double fault. */
	if (vector == VECTOR_PF)
		write_cr2(guest.outcome.qualification);
	if (vector == VECTOR_DB && (information & INTERRUPTION_TYPE_MASK) == INTERRUPTION_TYPE_HARDWARE)
		under_inject_debug(guest.outcome.qualification);

	/* What a delivery would save; Bochs 2.7 has RF = 0 here. */
	if ((information & INTERRUPTION_TYPE_MASK) == INTERRUPTION_TYPE_HARDWARE && vector != VECTOR_DB &&
	    vector != VECTOR_DF && vector != VECTOR_MC)
		vmcs_write(GUEST_RFLAGS, vmcs_read(GUEST_RFLAGS) | RFLAGS_RF);

	/*
	 * Blocking by NMI that an IRET has ended before it faulted stays ended: that is what the guest's processor
	 * would do, and the exception is the guest's.
	 */
	switch (combination(vmcs_read(IDT_VECTORING_INFORMATION), vector)) {
	case SERIAL:
		inject_again(information, error_code);
		break;
	case DOUBLE:
		under_inject_code(VECTOR_DF, 0);
		break;
	case TRIPLE:
		under_give_up("a triple fault of the guest");
	}
}

/*
 * An exit that is no event of the guest's came from within an IRET, which is going to be executed again: NMIs are
 * blocked until then (SDM Vol. 3C, "Resuming Guest Software after Handling an Exception"). Bit 12 of an information
 * field, or of the qualification of an EPT violation.
 */
void under_block_nmis_again(u64 information)
{
	if (information & INTERRUPTION_NMI_UNBLOCKING && !(vmcs_read(IDT_VECTORING_INFORMATION) & INTERRUPTION_VALID))
		set_blocking(INTERRUPTIBILITY_NMI, true);
}

/* ---- interrupts and NMIs */

/*
 * The first exit only says that an interrupt waits: the APIC keeps it until the guest can take it, as it would
 * outside. Then the next entry exits at once, and acknowledges.
 */
void under_external_interrupt(void)
{
	const u64 information = vmcs_read(EXIT_INTERRUPTION_INFORMATION);

	if (information & INTERRUPTION_VALID)
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, information);
	else
		interrupt_waits = interruptible();
}

/* under_prepare_entry() looks at what waits. */
void under_interrupt_window(void)
{
}

void under_nmi_window(void)
{
}

void under_hlt(void)
{
	under_retire();
	vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
}

/* The controls that say what to exit for: they follow the guest's state before each entry. */
enum { EXTERNAL_INTERRUPTS, ACKNOWLEDGE, INTERRUPT_WINDOW, NMI_WINDOW, SWITCHES };

static volatile bool is_on[SWITCHES];

static void turn(u32 which, bool on)
{
	static const u32 controls[SWITCHES] = {
		PIN_EXTERNAL_INTERRUPT_EXITING, EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT, PROC_INTERRUPT_WINDOW_EXITING,
		PROC_NMI_WINDOW_EXITING,
	};

	if (is_on[which] == on)
		return;
	is_on[which] = on;
	if (on)
		vmcs_set_controls(controls[which]);
	else
		vmcs_clear_controls(controls[which]);
}

/* Runs when an NMI hits the host: at any time, so the window is opened here, too. */
void under_nmi_in_host(UNUSED struct exception_frame *frame)
{
	nmi_waits = true;
	turn(NMI_WINDOW, true);
}

static bool injecting(void)
{
	return vmcs_read(VM_ENTRY_INTERRUPTION_INFORMATION) & INTERRUPTION_VALID;
}

/* An event whose delivery exited for our own reasons is delivered again. */
static void finish_delivery(void)
{
	const u64 event = vmcs_read(IDT_VECTORING_INFORMATION);

	if (injecting() || !(event & INTERRUPTION_VALID))
		return;
	inject_again(event, vmcs_read(IDT_VECTORING_ERROR_CODE));
	if ((event & INTERRUPTION_TYPE_MASK) == INTERRUPTION_TYPE_NMI)
		set_blocking(INTERRUPTIBILITY_NMI, false);	/* the entry will set it */
}

static void inject_nmi_or_open_window(void)
{
	const u64 now = blocking();

	if (nmi_waits && !injecting() && !(now & (INTERRUPTIBILITY_NMI | INTERRUPTIBILITY_MOV_SS))) {
		nmi_waits = false;
		/* Whether STI blocks NMIs is the processor's choice: the exit shows that this one's does not. */
		set_blocking(INTERRUPTIBILITY_STI, false);
		vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, NMI_EVENT);
	}
	turn(NMI_WINDOW, nmi_waits);
	/* One that has hit the host while the window was being closed. */
	while (nmi_waits && !(vmcs_read(PRIMARY_PROC_CONTROLS) & control_bit(PROC_NMI_WINDOW_EXITING)))
		vmcs_set_controls(PROC_NMI_WINDOW_EXITING);
}

void under_prepare_entry(void)
{
	if (guest.launched)
		finish_delivery();
	if (intercepts_nmis)
		inject_nmi_or_open_window();
	/* Delivery ends these; with TF = 1 the entry would ask for a pending single step as well. */
	if (injecting())
		set_blocking(INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS, false);
	if (!intercepts_interrupts)
		return;

	/* A guest that is halted with IF = 0 opens no window until an NMI has woken it. */
	const bool can = interruptible();
	const bool halted = vmcs_read(GUEST_ACTIVITY_STATE) == ACTIVITY_HLT;

	turn(EXTERNAL_INTERRUPTS, can);
	turn(INTERRUPT_WINDOW, !can && !halted);
	turn(ACKNOWLEDGE, can && interrupt_waits);
	interrupt_waits = false;
}
