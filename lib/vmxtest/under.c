/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * under=vmx: the image becomes its own hypervisor. It enters VMX operation, makes
 * itself the guest with nothing intercepted but what must be, and runs its tests
 * there: what held outside must hold inside.
 *
 *	under=vmx	the least interception
 *	under=vmx+ept	the same, with an identity EPT
 */
#include "vmx/ept.h"
#include "vmxtest/vmxtest.h"

#include "libc/printf.h"
#include "libc/string.h"

static char failure[192];

/* Controls without which an instruction that works outside would raise #UD inside. */
static const u32 enabling[] = {
	PROC2_ENABLE_RDTSCP, PROC2_ENABLE_INVPCID, PROC2_ENABLE_XSAVES_XRSTORS, PROC2_ENABLE_USER_WAIT_AND_PAUSE,
	PROC2_ENABLE_PCONFIG,
};

static void prepare(void)
{
	vmcs_clear_controls(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
	guest.apic_timer_watchdog = false;
	vmcs_clear_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	/* DR7 and IA32_DEBUGCTL are the guest's own across exits. */
	vmcs_set_controls(EXITCTL_SAVE_DEBUG_CONTROLS, ENTRYCTL_LOAD_DEBUG_CONTROLS);
	for (size_t i = 0; i < ARRAY_SIZE(enabling); i++)
		if (has(enabling[i]))
			vmcs_set_controls(enabling[i]);
	if (has(PROC_USE_MSR_BITMAPS))
		vmcs_use_msr_bitmap();
	/* The guest sees no VMX: CR4.VMXE reads as 0 and cannot be set. */
	vmcs_write(CR4_GUEST_HOST_MASK, CR4_VMXE);
	vmcs_write(CR4_READ_SHADOW, 0);
}

static void inject(u8 vector, bool with_error_code, u32 error_code)
{
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION,
		   INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | vector |
		   (with_error_code ? INTERRUPTION_ERROR_CODE : 0));
	vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, error_code);
}

/* The guest's value in EDX:EAX. */
static u64 edx_eax(void)
{
	return guest.regs.rdx << 32 | (u32)guest.regs.rax;
}

static void handle_cpuid(void)
{
	const u32 leaf = guest.regs.rax;
	struct cpuid c = cpuid(leaf, guest.regs.rcx);
	const u64 cr4 = vmcs_read(GUEST_CR4);

	/* What CPUID says of CR4 is the guest's CR4, and there is no VMX. */
	if (leaf == 1)
		c.ecx = (c.ecx & ~(u32)(BIT(5) | BIT(27))) | (cr4 & CR4_OSXSAVE ? BIT(27) : 0);
	if (leaf == 7 && (u32)guest.regs.rcx == 0)
		c.ecx = (c.ecx & ~(u32)BIT(4)) | (cr4 & CR4_PKE ? BIT(4) : 0);
	guest.regs.rax = c.eax;
	guest.regs.rbx = c.ebx;
	guest.regs.rcx = c.ecx;
	guest.regs.rdx = c.edx;
	guest_skip_instruction();
}

static void handle_rdmsr(void)
{
	volatile u64 value = 0;
	const struct fault fault = TRY(value = rdmsr(guest.regs.rcx));

	if (fault.raised) {
		inject(VECTOR_GP, true, 0);
		return;
	}
	guest.regs.rax = (u32)value;
	guest.regs.rdx = value >> 32;
	guest_skip_instruction();
}

static void handle_wrmsr(void)
{
	const struct fault fault = TRY(wrmsr(guest.regs.rcx, edx_eax()));

	if (fault.raised)
		inject(VECTOR_GP, true, 0);
	else
		guest_skip_instruction();
}

static void handle_xsetbv(void)
{
	const u64 cr4 = read_cr4();

	write_cr4(cr4 | CR4_OSXSAVE);
	const struct fault fault = TRY(xsetbv(guest.regs.rcx, edx_eax()));
	write_cr4(cr4);

	if (fault.raised)
		inject(VECTOR_GP, true, 0);
	else
		guest_skip_instruction();
}

static void handle_invd(void)
{
	asm volatile("wbinvd" : : : "memory");
	guest_skip_instruction();
}

/* Only a MOV to CR4 that would set VMXE: a bit that this guest's processor does not have. */
static void handle_cr_access(void)
{
	inject(VECTOR_GP, true, 0);
}

static void handle_undefined(void)
{
	inject(VECTOR_UD, false, 0);
}

static const struct {
	u32 reason;
	void (*handle)(void);
} handlers[] = {
	{ EXIT_CPUID, handle_cpuid }, { EXIT_RDMSR, handle_rdmsr }, { EXIT_WRMSR, handle_wrmsr },
	{ EXIT_XSETBV, handle_xsetbv }, { EXIT_INVD, handle_invd }, { EXIT_CR_ACCESS, handle_cr_access },
	{ EXIT_GETSEC, handle_undefined }, { EXIT_VMCALL, handle_undefined }, { EXIT_VMCLEAR, handle_undefined },
	{ EXIT_VMLAUNCH, handle_undefined }, { EXIT_VMPTRLD, handle_undefined }, { EXIT_VMPTRST, handle_undefined },
	{ EXIT_VMREAD, handle_undefined }, { EXIT_VMRESUME, handle_undefined }, { EXIT_VMWRITE, handle_undefined },
	{ EXIT_VMXOFF, handle_undefined }, { EXIT_VMXON, handle_undefined }, { EXIT_INVEPT, handle_undefined },
	{ EXIT_INVVPID, handle_undefined },
};

static bool handle_exit(void)
{
	for (size_t i = 0; guest.outcome.kind == OUTCOME_EXIT && i < ARRAY_SIZE(handlers); i++) {
		if (handlers[i].reason == guest.outcome.number) {
			handlers[i].handle();
			return true;
		}
	}
	return false;
}

static const char *run_in_guest(void (*run)(void))
{
	guest_run(run);
	while (!guest_is_done()) {
		if (guest_has_faulted() || !handle_exit()) {
			char text[160];

			exit_describe(text, sizeof(text), &guest.outcome);
			snprintf(failure, sizeof(failure), "under=: the guest cannot go on: %s", text);
			return failure;
		}
		guest_resume();
	}
	return NULL;
}

static const char *enter(const char *mode, void (*run)(void))
{
	const bool ept = strcmp(mode, "vmx+ept") == 0;
	char reason[128];

	if (!ept && strcmp(mode, "vmx") != 0)
		return "under= takes vmx or vmx+ept";
	if (!vmx_usable(reason, sizeof(reason)) || (ept && !has(PROC2_ENABLE_EPT))) {
		snprintf(failure, sizeof(failure), "under=%s: needs %s", mode,
			 ept ? "EPT" : reason);
		return failure;
	}
	vmx_on();
	vmcs_reset();
	guest_baseline();
	prepare();
	if (ept)
		vmcs_use_ept();

	const char *error = run_in_guest(run);

	vmx_off();
	return error;
}

const char *tap_run_under(const char *mode, void (*run)(void))
{
	static const char *error;
	const struct fault fault = TRY(error = enter(mode, run));
	char text[96];

	if (!fault.raised)
		return error;
	fault_format(text, sizeof(text), &fault);
	snprintf(failure, sizeof(failure), "under=%s: the hypervisor ended in %s, RIP %#lx", mode, text, fault.frame.rip);
	return failure;
}
