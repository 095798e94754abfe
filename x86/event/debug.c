/* SPDX-License-Identifier: BSD-2-Clause */
/* Debug exceptions that exit: what the qualification says, and what stays as it was (SDM Vol. 3C). */
#include "event.h"

/* Exit qualification of a debug exception, and the same bits of DR6. */
enum { DB_BUS_LOCK = BIT(11), DB_BD = BIT(13), DB_BS = BIT(14), DB_RTM = BIT(16) };
#define DB_DEFINED (0xf | DB_BUS_LOCK | DB_BD | DB_BS | DB_RTM)

enum { DR6_INIT = 0xffff0ff0, DR7_INIT = 0x400, DR7_GD = BIT(13) };

/* DR7's enable (global), R/W and LEN bits of breakpoint n. */
#define DR7_BREAKPOINT(n, rw, length) (2ull << 2 * (n) | (u64)((rw) | ((length) - 1) << 2) << (16 + 4 * (n)))

static u64 watched[8] ALIGNED(64);

GUEST_ASM(guest_single_step, "pushfq; orl $0x100, (%rsp); popfq; nop; step_behind: nop; ret");
GUEST_ASM(guest_accesses, "mov %edx, (%rcx); written_behind: mov (%rcx), %edx; read_behind: nop; ret");
GUEST_ASM(guest_executes, "nop; executed: nop; ret");
GUEST_ASM(guest_reads_dr, "dr_at: mov %dr3, %rax; ret");
GUEST_ASM(guest_int1, "int1_here: .byte 0xf1; int1_behind: ret");
GUEST_ASM(guest_steps_and_writes, "pushfq; orl $0x100, (%rsp); popfq; mov %edx, (%rcx); both_behind: nop; ret");
extern const u8 step_behind[], written_behind[], read_behind[], executed[], dr_at[], int1_here[], int1_behind[],
	both_behind[];

static void write_dr(unsigned int n, u64 value)
{
	switch (n) {
	case 0: write_dr0(value); break;
	case 1: write_dr1(value); break;
	case 2: write_dr2(value); break;
	case 3: write_dr3(value); break;
	}
}

/* The debug exceptions: code, DR7, what the qualification must say, and RIP. */
static struct debug_case {
	const char *name;
	void (*function)(void);
	u64 dr7, qualification;
	const void *rip;
	u32 breakpoint;			/* which of DR0-DR3 */
	const void *address;		/* what it holds */
} cases[32];
static u32 case_count;

static void add_case(struct debug_case debug_case)
{
	cases[case_count++] = debug_case;
}

static void make_cases(void)
{
	case_count = 0;
	add_case((struct debug_case){ "single step", guest_single_step, DR7_INIT, DB_BS, step_behind, 0, NULL });
	add_case((struct debug_case){ "INT1", guest_int1, DR7_INIT, 0, int1_here, 0, NULL });
	add_case((struct debug_case){ "general detect", guest_reads_dr, DR7_INIT | DR7_GD, DB_BD, dr_at, 0, NULL });
	for (u32 n = 0; n < 4; n++) {
		add_case((struct debug_case){ "execution breakpoint", guest_executes,
			 DR7_INIT | DR7_BREAKPOINT(n, BREAK_ON_EXECUTE, 1), BIT(n), executed, n, executed });
		add_case((struct debug_case){ "write breakpoint", guest_accesses,
			 DR7_INIT | DR7_BREAKPOINT(n, BREAK_ON_WRITE, 4), BIT(n), written_behind, n, watched });
		add_case((struct debug_case){ "access breakpoint", guest_accesses,
			 DR7_INIT | DR7_BREAKPOINT(n, BREAK_ON_ACCESS, 4), BIT(n), written_behind, n, watched });
		add_case((struct debug_case){ "write breakpoint and single step", guest_steps_and_writes,
			 DR7_INIT | DR7_BREAKPOINT(n, BREAK_ON_WRITE, 4), BIT(n) | DB_BS, both_behind, n, watched });
	}
}

/* Run one case; DR0-DR3 and DR6 are the processor's, DR7 is in the VMCS. */
static void run_case(const struct debug_case *at, u64 dr6)
{
	/* The others lie somewhere else: a bit of theirs may be set only if their own condition is met. */
	for (u32 n = 0; n < 4; n++)
		write_dr(n, n == at->breakpoint && at->address ? (u64)at->address : (u64)&watched[4]);
	write_dr6(dr6);
	vmcs_write(GUEST_DR7, at->dr7);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
	guest.regs.rcx = (u64)watched;
	guest_run(at->function);
}

static void end_debug(void)
{
	for (u32 n = 0; n < 4; n++)
		write_dr(n, 0);
	write_dr6(DR6_INIT);
}

static void expect_debug_exit(const struct debug_case *at)
{
	const bool int1 = at->function == guest_int1;

	if (!expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)at->rip,
			 .interruption = INTERRUPTION_VALID | VECTOR_DB |
					 (int1 ? INTERRUPTION_TYPE_PRIVILEGED : INTERRUPTION_TYPE_HARDWARE)))
		return;
	expect_bits(vmcs_read(EXIT_QUALIFICATION), DB_DEFINED, at->qualification);
}

#define FOR_EACH_CASE(at) \
	for (const struct debug_case *at = cases; at < cases + case_count; at++)

TEST("exec.db.qual", "A #DB exit says its causes in the qualification: B0-B3, BD, BS",
     NEEDS(ENTRYCTL_LOAD_DEBUG_CONTROLS))
{
	make_cases();
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_DB));
	FOR_EACH_CASE(at) {
		CASE("%s, DR%u", at->name, at->breakpoint);
		run_case(at, DR6_INIT);
		expect_debug_exit(at);
	}

	/* Two at once. */
	CASE("write breakpoints in DR0 and DR2");
	const struct debug_case two = {
		"", guest_accesses, DR7_INIT | DR7_BREAKPOINT(0, BREAK_ON_WRITE, 4) | DR7_BREAKPOINT(2, BREAK_ON_WRITE, 8),
		BIT(0) | BIT(2), written_behind, 0, watched
	};

	for (u32 n = 0; n < 4; n++)
		write_dr(n, (u64)(n & 1 ? &watched[4] : watched));
	write_dr6(DR6_INIT);
	vmcs_write(GUEST_DR7, two.dr7);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
	guest.regs.rcx = (u64)watched;
	guest_run(two.function);
	expect_debug_exit(&two);

	/* With no cause there is no exit. */
	CASE("no breakpoint");
	vmcs_write(GUEST_DR7, DR7_INIT);
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
	guest_run(guest_accesses);
	expect_guest_done();
	end_debug();
}

/* DR6 and DR7 as the guest's handler of #DB finds them. */
static struct {
	u64 dr6, dr7;
} found;

static void read_debug_registers(UNUSED struct exception_frame *frame)
{
	found.dr6 = read_dr6();
	found.dr7 = read_dr7();
	guest_call_host(0);
}

TEST("exec.db.dr6_unchanged", "A #DB that exits leaves DR6, DR7.GD and DEBUGCTL.LBR as they were",
     NEEDS(ENTRYCTL_LOAD_DEBUG_CONTROLS, EXITCTL_SAVE_DEBUG_CONTROLS))
{
	static const u64 dr6_values[] = { DR6_INIT, DR6_INIT | 0xf, DR6_INIT | BIT(15), DR6_INIT | DB_BS | DB_BD };
	const bool has_lbr = !TRY(rdmsr(IA32_DEBUGCTL)).raised;

	make_cases();
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS, EXITCTL_SAVE_DEBUG_CONTROLS);
	FOR_EACH_CASE(at) {
		for (u32 i = 0; i < ARRAY_SIZE(dr6_values); i++) {
			CASE("%s, DR%u, DR6 %#x: exits", at->name, at->breakpoint, dr6_values[i]);
			vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_DB));
			vmcs_write(GUEST_IA32_DEBUGCTL, has_lbr);
			run_case(at, dr6_values[i]);
			expect_debug_exit(at);
			expect_eq(read_dr6(), dr6_values[i]);
			expect_eq(vmcs_read(GUEST_DR7), at->dr7);
			expect_eq(vmcs_read(GUEST_IA32_DEBUGCTL), has_lbr);
		}

		CASE("%s, DR%u: is delivered", at->name, at->breakpoint);
		vmcs_write(EXCEPTION_BITMAP, 0);
		interrupt_handle(VECTOR_DB, read_debug_registers);
		run_case(at, DR6_INIT);
		expect_exit(EXIT_VMCALL);
		expect_bits(found.dr6, 0xf | DB_BD | DB_BS, at->qualification);
		expect_eq(found.dr7, at->dr7 & ~(u64)DR7_GD);
		interrupt_handle(VECTOR_DB, NULL);
	}
	end_debug();
}
