/* SPDX-License-Identifier: BSD-2-Clause */
/* Which of several reasons not to enter is reported ("Basic VM-Entry Checks", "VM Entries"). */
#include "registers.h"

static void break_controls(void)
{
	vmcs_write(CR3_TARGET_COUNT, vmx_capabilities()->cr3_targets + 1);
}

static void break_host_state(void)
{
	vmcs_write(HOST_TR_SELECTOR, 0);
}

static void mend(void)
{
	vmcs_write(CR3_TARGET_COUNT, 0);
	vmcs_write(HOST_TR_SELECTOR, read_tr());
}

static void guest_does_nothing(void)
{
}

static struct outcome enter_by(bool vmresume)
{
	guest.launched = vmresume;
	return entry_attempt(false);
}

/*
 * VMLAUNCH or VMRESUME right behind MOV to SS, which blocks events until the instruction
 * behind it is done. A guest that runs all the same exits to the label here.
 */
static struct outcome enter_behind_mov_ss(bool vmresume)
{
	u64 flags = 0;

	asm volatile("push %%rbp\n\t"
		     "vmwrite %%rsp, %[host_rsp]\n\t"
		     "lea 3f(%%rip), %%rax\n\t"
		     "vmwrite %%rax, %[host_rip]\n\t"
		     "test %[resume], %[resume]\n\t"
		     "mov %%ss, %%eax\n\t"
		     "jnz 1f\n\t"
		     "mov %%eax, %%ss\n\t"
		     "vmlaunch\n\t"
		     "jmp 2f\n"
		     "1: mov %%eax, %%ss\n\t"
		     "vmresume\n"
		     "2: pushfq\n\t"
		     "pop %%rax\n\t"
		     "jmp 4f\n"
		     "3: xor %%eax, %%eax\n"
		     "4: pop %%rbp"
		     : "=&a"(flags)
		     : [host_rsp] "r"((u64)HOST_RSP), [host_rip] "r"((u64)HOST_RIP), [resume] "r"((u32)vmresume)
		     : "memory", "cc");
	return flags ? outcome_from_rflags(flags) : EXITS(vmcs_read(EXIT_REASON));
}

TEST("entry.order.movss_before_launchstate", "blocking by MOV SS (error 26) is reported before the launch state")
{
	entry_stop_guest_at_once();
	CASE("VMLAUNCH of a clear VMCS");
	expect_outcome(enter_behind_mov_ss(false), FAIL_VALID(VMERR_ENTRY_BLOCKED_BY_MOV_SS));
	CASE("VMRESUME of a clear VMCS");
	expect_outcome(enter_behind_mov_ss(true), FAIL_VALID(VMERR_ENTRY_BLOCKED_BY_MOV_SS));
	break_controls();
	break_host_state();
	CASE("invalid controls and host state");
	expect_outcome(enter_behind_mov_ss(false), FAIL_VALID(VMERR_ENTRY_BLOCKED_BY_MOV_SS));

	vmcs_reset();
	guest_baseline();
	guest_run(guest_does_nothing);
	expect_guest_done();
	entry_stop_guest_at_once();
	CASE("VMLAUNCH of a launched VMCS");
	expect_outcome(enter_behind_mov_ss(false), FAIL_VALID(VMERR_ENTRY_BLOCKED_BY_MOV_SS));
	CASE("VMRESUME of a launched VMCS");
	expect_outcome(enter_behind_mov_ss(true), FAIL_VALID(VMERR_ENTRY_BLOCKED_BY_MOV_SS));
}

static void without_current_vmcs(struct outcome (*attempt)(bool), struct outcome expected)
{
	const u64 region = physical_address(&vmcs_region);
	struct outcome launch, resume;

	require_outcome(vmclear(&region, NULL), SUCCEED);
	launch = attempt(false);
	resume = attempt(true);
	require_outcome(vmptrld(&region, NULL), SUCCEED);
	expect_outcome(launch, expected);
	expect_outcome(resume, expected);
}

/* Nothing is entered without a VMCS, so this needs no way back from a guest. */
static struct outcome plainly_behind_mov_ss(bool vmresume)
{
	u64 flags;

	if (vmresume)
		asm volatile("mov %%ss, %%eax; mov %%eax, %%ss; vmresume; pushfq; pop %%rax"
			     : "=a"(flags) : : "cc", "memory");
	else
		asm volatile("mov %%ss, %%eax; mov %%eax, %%ss; vmlaunch; pushfq; pop %%rax"
			     : "=a"(flags) : : "cc", "memory");
	return outcome_from_rflags(flags);
}

TEST("entry.order.invalid_before_movss", "with no current VMCS it is VMfailInvalid, whatever MOV SS blocks")
{
	without_current_vmcs(plainly_behind_mov_ss, FAIL_INVALID);
}

TEST("entry.order.launchstate_before_controls",
     "a wrong launch state (error 4 or 5) is reported before errors 7 and 8")
{
	CASE("VMRESUME of a clear VMCS");
	expect_outcome(enter_by(true), FAIL_VALID(VMERR_VMRESUME_NON_LAUNCHED));
	break_controls();
	CASE("VMRESUME of a clear VMCS, invalid controls");
	expect_outcome(enter_by(true), FAIL_VALID(VMERR_VMRESUME_NON_LAUNCHED));
	break_host_state();
	CASE("VMRESUME of a clear VMCS, invalid controls and host state");
	expect_outcome(enter_by(true), FAIL_VALID(VMERR_VMRESUME_NON_LAUNCHED));

	mend();
	guest.launched = false;
	guest_run(guest_does_nothing);
	expect_guest_done();
	CASE("VMLAUNCH of a launched VMCS");
	expect_outcome(enter_by(false), FAIL_VALID(VMERR_VMLAUNCH_NON_CLEAR));
	break_controls();
	CASE("VMLAUNCH of a launched VMCS, invalid controls");
	expect_outcome(enter_by(false), FAIL_VALID(VMERR_VMLAUNCH_NON_CLEAR));
	break_host_state();
	CASE("VMLAUNCH of a launched VMCS, invalid controls and host state");
	expect_outcome(enter_by(false), FAIL_VALID(VMERR_VMLAUNCH_NON_CLEAR));
	mend();
	vmcs_write(HOST_RIP, 1ull << 63);
	CASE("VMLAUNCH of a launched VMCS, invalid host state");
	expect_outcome(enter_by(false), FAIL_VALID(VMERR_VMLAUNCH_NON_CLEAR));
}

TEST("entry.order.controls_before_guest", "errors 7 and 8 are reported before an invalid guest state (reason 33)")
{
	vmcs_write(GUEST_RFLAGS, 0);
	vmcs_write(VMCS_LINK_POINTER, 1);
	vmcs_write(GUEST_ACTIVITY_STATE, 0xff);
	CASE("invalid controls");
	break_controls();
	expect_outcome(entry_attempt(false), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	mend();
	CASE("invalid host state");
	break_host_state();
	expect_outcome(entry_attempt(false), FAIL_VALID(VMERR_ENTRY_INVALID_HOST_STATE));
	mend();
	CASE("valid controls and host state");
	vmcs_write(VMCS_LINK_POINTER, ~0ull);
	vmcs_write(GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
	expect_outcome(entry_attempt(false), ENTRY_FAILS(EXIT_INVALID_GUEST_STATE, 0));
}

TEST("entry.order.guest_before_msr",
     "an invalid guest state (reason 33) is reported before an MSR that cannot be loaded")
{
	u64 *area = page_alloc();

	area[0] = (u32)IA32_FS_BASE;
	vmcs_write(VM_ENTRY_MSR_LOAD_ADDRESS, physical_address(area));
	vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, 1);
	entry_stop_guest_at_once();
	CASE("a bad MSR entry only");
	expect_outcome(entry_attempt(false), ENTRY_FAILS(EXIT_MSR_LOADING, 1));
	CASE("an invalid guest state too");
	expect_outcome(entry_attempt_with_illegal_guest(), ENTRY_FAILS(EXIT_INVALID_GUEST_STATE, 0));
	CASE("invalid controls too");
	break_controls();
	expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	mend();
}

TEST("entry.order.error7_or_8", "invalid controls and an invalid host state give error 7 or 8")
{
	break_controls();
	break_host_state();
	expect_refused_7_or_8(entry_attempt(true));
	vmcs_write(HOST_CR0, 0);
	vmcs_write(HOST_RIP, 1ull << 63);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, 0xffffffff);
	expect_refused_7_or_8(entry_attempt(true));
}

enum { MOST_FIELDS = 256 };
static u64 fields_before[MOST_FIELDS];

/* All of the VMCS but what a VMfail writes, and what the code that enters does. */
static bool must_stay(u32 row)
{
	const u32 encoding = vmcs_fields[row].encoding;

	return field_readable(&vmcs_fields[row]) && encoding != VM_INSTRUCTION_ERROR && encoding != HOST_RSP &&
	       encoding != HOST_RIP;
}

static void remember_fields(void)
{
	require_between(1, vmcs_field_count, MOST_FIELDS);
	for (u32 i = 0; i < vmcs_field_count; i++)
		if (must_stay(i))
			fields_before[i] = vmcs_read(vmcs_fields[i].encoding);
}

static void expect_fields_kept(const char *after)
{
	for (u32 i = 0; i < vmcs_field_count; i++) {
		if (!must_stay(i))
			continue;
		CASE("%s: %s", after, vmcs_fields[i].name);
		expect_eq(vmcs_read(vmcs_fields[i].encoding), fields_before[i]);
	}
}

static void expect_nothing_changed(const char *after, const struct registers *before, struct outcome outcome,
				   struct outcome expected)
{
	CASE("%s", after);
	expect_outcome(outcome, expected);
	expect_registers(*before);
	mend();
	expect_fields_kept(after);
}

/* VM entry and VM exit would load these. */
static void list_msrs(u64 entry_value, u64 exit_value)
{
	u64 *area = page_alloc();

	area[0] = area[2] = (u32)IA32_KERNEL_GS_BASE;
	area[1] = entry_value;
	area[3] = exit_value;
	vmcs_write(VM_ENTRY_MSR_LOAD_ADDRESS, physical_address(area));
	vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, 1);
	vmcs_write(VM_EXIT_MSR_LOAD_ADDRESS, physical_address(area + 2));
	vmcs_write(VM_EXIT_MSR_LOAD_COUNT, 1);
}

TEST("entry.order.vmfail_no_state_change", "a VMfail loads and saves nothing, and goes on behind the instruction")
{
	struct registers before;

	entry_stop_guest_at_once();
	guest_state_make_different();
	host_state_make_different();
	vmcs_write(HOST_TR_SELECTOR, read_tr());
	list_msrs(0x123456000, 0x654321000);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INTERRUPTION_VALID | INTERRUPTION_TYPE_NMI | VECTOR_NMI);
	write_dr7(0x600);
	before = registers_read();
	remember_fields();

	expect_nothing_changed("VMRESUME of a clear VMCS", &before, enter_by(true),
			       FAIL_VALID(VMERR_VMRESUME_NON_LAUNCHED));
	expect_nothing_changed("MOV SS", &before, enter_behind_mov_ss(false),
			       FAIL_VALID(VMERR_ENTRY_BLOCKED_BY_MOV_SS));
	break_controls();
	expect_nothing_changed("invalid controls", &before, enter_by(false),
			       FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	break_host_state();
	expect_nothing_changed("invalid host state", &before, enter_by(false),
			       FAIL_VALID(VMERR_ENTRY_INVALID_HOST_STATE));
	CASE("no current VMCS");
	without_current_vmcs(enter_by, FAIL_INVALID);
	expect_registers(before);
	expect_fields_kept("no current VMCS");
	write_dr7(0x400);
}
