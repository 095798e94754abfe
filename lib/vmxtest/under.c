/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * under=vmx: the image becomes its own hypervisor. It enters VMX operation, makes
 * itself the guest with nothing intercepted but what must be, and runs its tests
 * there: what held outside must hold inside. More words, joined by +, in any order:
 *
 *	ept		with an identity EPT
 *	intercept	whatever can exit does, and is emulated; with ept the EPT forgets now and then
 */
#include "vmx/ept.h"
#include "vmxtest/under.h"
#include "vmxtest/vmxtest.h"

#include "libc/printf.h"
#include "libc/string.h"

static char failure[224];
static const char *gave_up;

void under_give_up(const char *reason)
{
	gave_up = reason;
}

/* ---- controls */

/* Controls without which an instruction that works outside would raise #UD inside. */
static const u32 enabling[] = {
	PROC2_ENABLE_RDTSCP, PROC2_ENABLE_INVPCID, PROC2_ENABLE_XSAVES_XRSTORS, PROC2_ENABLE_USER_WAIT_AND_PAUSE,
	PROC2_ENABLE_PCONFIG,
};

static const u32 intercepting[] = {
	PROC_CR3_LOAD_EXITING, PROC_CR3_STORE_EXITING, PROC_CR8_LOAD_EXITING, PROC_CR8_STORE_EXITING,
	PROC_MOV_DR_EXITING, PROC_RDTSC_EXITING, PROC_RDPMC_EXITING,
	PROC_INVLPG_EXITING, PROC_PAUSE_EXITING, PROC2_WBINVD_EXITING, PROC2_DESCRIPTOR_TABLE_EXITING,
	PROC2_RDRAND_EXITING, PROC2_RDSEED_EXITING,
};

static void set_controls(const u32 *controls, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (has(controls[i]))
			vmcs_set_controls(controls[i]);
}

static void prepare(bool intercept)
{
	vmcs_clear_controls(PIN_ACTIVATE_VMX_PREEMPTION_TIMER);
	guest.apic_timer_watchdog = false;
	vmcs_clear_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	set_controls(enabling, ARRAY_SIZE(enabling));
	under_use_own_tables();
	under_hide_cr_bits(intercept);
	under_use_msr_controls(intercept);
	if (!intercept)
		return;
	set_controls(intercepting, ARRAY_SIZE(intercepting));
	under_use_io_controls();
	under_use_vpid();
	under_intercept_events();
}

/* ---- handlers that need no file of their own */

static void handle_undefined(void)
{
	under_inject(VECTOR_UD);
}

static void handle_wbinvd(void)
{
	asm volatile("wbinvd" : : : "memory");
	under_retire();
}

static void handle_rdtsc(void)
{
	under_set_edx_eax(rdtsc());
	under_retire();
}

static void handle_rdtscp(void)
{
	guest.regs.rcx = (u32)rdmsr(IA32_TSC_AUX);
	handle_rdtsc();
}

static void handle_rdpmc(void)
{
	u32 low = 0, high = 0;

	if (!UNDER_TRY(asm volatile("rdpmc" : "=a"(low), "=d"(high) : "c"(guest.regs.rcx))))
		return;
	under_set_edx_eax((u64)high << 32 | low);
	under_retire();
}

/*
 * RDRAND and RDSEED: the information has the register in 6:3 and the operand's size in 12:11; that of a 16-bit one
 * is wrong in Bochs 2.7, so look at the instruction for it.
 */
static void finish_random(u64 value, u8 carry)
{
	const u32 information = vmcs_read(EXIT_INSTRUCTION_INFORMATION);
	const u32 gpr = information >> 3 & 0xf, size = information >> 11 & 3;
	const u64 mask = size == 2 ? ~0ull : under_has_prefix(0x66) ? 0xffff : 0xffffffff;
	const u64 kept = mask == 0xffff ? under_gpr(gpr) & ~mask : 0;

	under_set_gpr(gpr, kept | (value & mask));
	vmcs_write(GUEST_RFLAGS, (vmcs_read(GUEST_RFLAGS) & ~(u64)RFLAGS_ARITHMETIC) | (carry ? RFLAGS_CF : 0));
	under_retire();
}

static void handle_rdrand(void)
{
	u64 value;
	u8 carry;

	asm volatile("rdrand %0; setc %1" : "=r"(value), "=qm"(carry) : : "cc");
	finish_random(value, carry);
}

static void handle_rdseed(void)
{
	u64 value;
	u8 carry;

	asm volatile("rdseed %0; setc %1" : "=r"(value), "=qm"(carry) : : "cc");
	finish_random(value, carry);
}

static const struct {
	u32 reason;
	void (*handle)(void);
} handlers[] = {
	{ EXIT_CPUID, under_cpuid }, { EXIT_RDMSR, under_rdmsr }, { EXIT_WRMSR, under_wrmsr },
	{ EXIT_XSETBV, under_xsetbv }, { EXIT_INVD, handle_wbinvd }, { EXIT_CR_ACCESS, under_cr_access },
	{ EXIT_GETSEC, handle_undefined }, { EXIT_VMCALL, handle_undefined }, { EXIT_VMCLEAR, handle_undefined },
	{ EXIT_VMLAUNCH, handle_undefined }, { EXIT_VMPTRLD, handle_undefined }, { EXIT_VMPTRST, handle_undefined },
	{ EXIT_VMREAD, handle_undefined }, { EXIT_VMRESUME, handle_undefined }, { EXIT_VMWRITE, handle_undefined },
	{ EXIT_VMXOFF, handle_undefined }, { EXIT_VMXON, handle_undefined }, { EXIT_INVEPT, handle_undefined },
	{ EXIT_INVVPID, handle_undefined },

	{ EXIT_EXCEPTION_OR_NMI, under_exception }, { EXIT_EXTERNAL_INTERRUPT, under_external_interrupt },
	{ EXIT_INTERRUPT_WINDOW, under_interrupt_window }, { EXIT_NMI_WINDOW, under_nmi_window },
	{ EXIT_HLT, under_hlt }, { EXIT_MOV_DR, under_mov_dr }, { EXIT_IO, under_io }, { EXIT_INVLPG, under_invlpg },
	{ EXIT_INVPCID, under_invpcid }, { EXIT_RDTSC, handle_rdtsc }, { EXIT_RDTSCP, handle_rdtscp },
	{ EXIT_RDPMC, handle_rdpmc }, { EXIT_RDRAND, handle_rdrand }, { EXIT_RDSEED, handle_rdseed },
	{ EXIT_PAUSE, under_retire }, { EXIT_WBINVD, handle_wbinvd }, { EXIT_GDTR_IDTR, under_gdtr_idtr },
	{ EXIT_LDTR_TR, under_ldtr_tr }, { EXIT_EPT_VIOLATION, under_ept_violation },
};

/* ---- the loop */

static const char *cannot_go_on(const char *reason)
{
	char text[160];

	exit_describe(text, sizeof(text), &guest.outcome);
	snprintf(failure, sizeof(failure), "under=: the guest cannot go on: %s%s%s", reason ? reason : "",
		 reason ? ": " : "", text);
	return failure;
}

static bool handle_exit(void)
{
	for (size_t i = 0; guest.outcome.kind == OUTCOME_EXIT && i < ARRAY_SIZE(handlers); i++) {
		if (handlers[i].reason == guest.outcome.number) {
			handlers[i].handle();
			return !gave_up;
		}
	}
	return false;
}

static const char *run_in_guest(void (*run)(void))
{
	under_prepare_entry();
	guest_run(run);
	while (!guest_is_done()) {
		under_unblock_nmis();
		if (guest_has_faulted() || !handle_exit())
			return cannot_go_on(gave_up);
		under_ept_tick();
		under_prepare_entry();
		guest_resume();
	}
	return NULL;
}

/* ---- the words */

enum { MODE_VMX = 1, MODE_EPT = 2, MODE_INTERCEPT = 4, MODE_UNKNOWN = 8 };

static u32 word_mode(const char *word, size_t length)
{
	static const struct {
		const char *word;
		u32 mode;
	} words[] = { { "vmx", MODE_VMX }, { "ept", MODE_EPT }, { "intercept", MODE_INTERCEPT } };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strlen(words[i].word) == length && memcmp(words[i].word, word, length) == 0)
			return words[i].mode;
	return MODE_UNKNOWN;
}

static u32 parse_mode(const char *text)
{
	u32 mode = 0;

	for (;;) {
		size_t length = 0;

		while (text[length] && text[length] != '+')
			length++;
		mode |= word_mode(text, length);
		if (!text[length])
			return mode;
		text += length + 1;
	}
}

static const char *enter(const char *words, void (*run)(void))
{
	const u32 mode = parse_mode(words);

	if (mode & MODE_UNKNOWN || !(mode & MODE_VMX))
		return "under= takes vmx, with +ept and +intercept";
	vmx_on();
	vmcs_reset();
	guest_baseline();
	prepare(mode & MODE_INTERCEPT);
	if (mode & MODE_EPT)
		vmcs_use_ept();
	if ((mode & MODE_EPT) && (mode & MODE_INTERCEPT))
		under_use_forgetful_ept();

	const char *error = run_in_guest(run);

	under_return_tables();
	vmx_off();
	return error;
}

bool tap_under_usable(const char *words, char *reason, size_t size)
{
	char what[128];

	if (!vmx_usable(what, sizeof(what))) {
		snprintf(reason, size, "needs %s", what);
		return false;
	}
	if (parse_mode(words) & MODE_EPT && !has(PROC2_ENABLE_EPT)) {
		token_format(what, sizeof(what), PROC2_ENABLE_EPT);
		snprintf(reason, size, "needs %s", what);
		return false;
	}
	return true;
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
