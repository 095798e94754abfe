/* SPDX-License-Identifier: BSD-2-Clause */
/* The exception bitmap, vector by vector (SDM Vol. 3C, "Other Causes of VM Exits"; Vol. 3A, "Exceptions"). */
#include "event.h"
#include "vmxtest/raiser.h"
#include "x86/tables.h"

#include "libc/string.h"

static void expect_exception_exit(const struct raiser *raiser)
{
	if (!expect_exit(EXIT_EXCEPTION_OR_NMI,
			 .interruption = INTERRUPTION_VALID | raiser->type | raiser->vector, .rip = (u64)raiser->at))
		return;
	if (raiser->type & INTERRUPTION_ERROR_CODE)
		expect_eq(vmcs_read(EXIT_INTERRUPTION_ERROR_CODE), raiser->error_code);
	if (raiser->length)
		expect_eq(vmcs_read(EXIT_INSTRUCTION_LENGTH), raiser->length);
	/* What has no other meaning for it is 0. */
	if (raiser->vector != VECTOR_DB && raiser->vector != VECTOR_PF)
		expect_eq(vmcs_read(EXIT_QUALIFICATION), 0);
}

static void expect_exception_delivered(const struct raiser *raiser)
{
	const u64 saved_rip = guest.fault.frame.rip;

	if (!expect_guest_fault(raiser->vector, raiser->error_code))
		return;
	expect_eq(saved_rip, (u64)raiser->at + raiser->length);
}

TEST("exec.exc.bitmap_set", "Each exception exits if its bit of the exception bitmap is 1, and by no other bit")
{
	raisers_begin();
	FOR_EACH_RAISER(raiser) {
		for (u32 bit = 0; bit < 32; bit++) {
			CASE("%s, exception bitmap %#x", vector_name(raiser->vector), BIT(bit));
			raise(raiser, BIT(bit));
			if (bit == raiser->vector)
				expect_exception_exit(raiser);
			else
				expect_exception_delivered(raiser);
		}
		CASE("%s, exception bitmap FFFFFFFFH", vector_name(raiser->vector));
		raise(raiser, ~0u);
		expect_exception_exit(raiser);
	}
	raisers_end();
}

TEST("exec.exc.bitmap_clear", "Each exception goes through the guest's IDT if its bit is 0, whatever the others are")
{
	raisers_begin();
	FOR_EACH_RAISER(raiser) {
		CASE("%s, exception bitmap 0", vector_name(raiser->vector));
		raise(raiser, 0);
		expect_exception_delivered(raiser);
		for (u32 bit = 0; bit < 32; bit++) {
			CASE("%s, exception bitmap %#x", vector_name(raiser->vector), (u32)~BIT(bit));
			raise(raiser, ~BIT(bit));
			if (bit == raiser->vector)
				expect_exception_delivered(raiser);
			else
				expect_exception_exit(raiser);
		}
	}
	raisers_end();
}

/* All of the table for which the condition holds: with their bit alone they exit, without it they do not. */
static u32 check_both_ways(u32 vectors, u32 type_mask, u32 type)
{
	u32 checked = 0;

	FOR_EACH_RAISER(raiser) {
		if (!(vectors >> raiser->vector & 1) || (raiser->type & type_mask) != type)
			continue;
		checked++;
		CASE("%s, its bit 1, CPL %u", vector_name(raiser->vector), raiser->cpl);
		raise(raiser, BIT(raiser->vector));
		expect_exception_exit(raiser);
		CASE("%s, its bit 0, CPL %u", vector_name(raiser->vector), raiser->cpl);
		raise(raiser, ~BIT(raiser->vector));
		expect_exception_delivered(raiser);
	}
	return checked;
}

static const struct raiser bp_at_cpl3 = { raise_bp, bp_at, VECTOR_BP, SOFTWARE, 0, 1, 3, 0, 0 };
static const struct raiser gp_for_bp = {
	raise_bp, bp_at, VECTOR_GP, HARDWARE_CODE, VECTOR_BP << 3 | 2, 0, 3, 0, 0,
};

GUEST_ASM(guest_into_without_of, IN_COMPATIBILITY_MODE("xor %eax, %eax; into"));
GUEST_ASM(guest_bound_inside, IN_COMPATIBILITY_MODE("mov $4, %eax; bound %eax, bounds"));

TEST("exec.exc.bp_of", "INT3 and INTO exit by bits 3 and 4 as software exceptions")
{
	raisers_begin();
	expect_eq(check_both_ways(BIT(VECTOR_BP) | BIT(VECTOR_OF), INTERRUPTION_TYPE_MASK, SOFTWARE), 3);

	CASE("INTO with OF = 0");
	vmcs_write(EXCEPTION_BITMAP, ~0u);
	guest_set_cpl(0);
	guest_run(guest_into_without_of);
	expect_guest_done();

	/* The gate's DPL, 0, keeps CPL 3 from delivering #BP, but not from its exit. */
	CASE("INT3 at CPL 3");
	raise(&bp_at_cpl3, BIT(VECTOR_BP));
	expect_exception_exit(&bp_at_cpl3);
	CASE("INT3 at CPL 3, #GP of its delivery");
	raise(&bp_at_cpl3, ~BIT(VECTOR_BP));
	expect_exception_exit(&gp_for_bp);
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), ~BIT(12), INTERRUPTION_VALID | SOFTWARE | VECTOR_BP);
	raisers_end();
}

TEST("exec.exc.int1", "INT1 exits by bit 1 as a privileged software exception")
{
	raisers_begin();
	expect_eq(check_both_ways(BIT(VECTOR_DB), INTERRUPTION_TYPE_MASK, PRIVILEGED), 3);
	raisers_end();
}

TEST("exec.exc.bound_ud2", "BOUND and UD2 exit by bits 5 and 6 as hardware exceptions")
{
	raisers_begin();
	expect_eq(check_both_ways(BIT(VECTOR_BR) | BIT(VECTOR_UD), INTERRUPTION_TYPE_MASK, HARDWARE), 3);

	CASE("BOUND inside its bounds");
	vmcs_write(EXCEPTION_BITMAP, ~0u);
	guest_set_cpl(0);
	guest_run(guest_bound_inside);
	expect_guest_done();
	raisers_end();
}

static u16 probed_selector;

static void guest_loads_es(void)
{
	asm volatile("mov %0, %%es" : : "r"(probed_selector));
}

GUEST_ASM(guest_jumps_to_no_endbranch, "lea 1f(%rip), %rax; jmp *%rax; 1: nop");

/* Not delivered: the handler would have to begin with ENDBR64. */
static void check_control_protection(void)
{
	enum { ENDBR_EN = 4, ENDBRANCH = 3 };
	const u64 s_cet = rdmsr(IA32_S_CET), cr4 = vmcs_read(GUEST_CR4);

	CASE("#CP");
	wrmsr(IA32_S_CET, ENDBR_EN);
	vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) | CR0_WP);
	vmcs_write(GUEST_CR4, cr4 | CR4_CET);
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_CP));
	guest_run(guest_jumps_to_no_endbranch);
	wrmsr(IA32_S_CET, s_cet);
	vmcs_write(GUEST_CR4, cr4);
	expect_exit(EXIT_EXCEPTION_OR_NMI, .qualification = 0, .interruption = INTERRUPTION_VALID | HARDWARE_CODE | VECTOR_CP,
		    .interruption_error = ENDBRANCH);
}

TEST("exec.exc.error_code", "An exception with an error code has it in its field, and bit 11 set")
{
	raisers_begin();
	expect_eq(check_both_ways(~0u, INTERRUPTION_ERROR_CODE, INTERRUPTION_ERROR_CODE), 7);

	/* Each bit of a selector; the LDT that it names does not exist, and RPL is not part of the error code. */
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_GP));
	guest_set_cpl(0);
	for (u32 bit = 3; bit < 16; bit++) {
		probed_selector = BIT(bit) | 4 | (bit & 3);
		CASE("selector %#x", probed_selector);
		guest_run(guest_loads_es);
		expect_exit(EXIT_EXCEPTION_OR_NMI, .qualification = 0,
			    .interruption = INTERRUPTION_VALID | HARDWARE_CODE | VECTOR_GP,
			    .interruption_error = BIT(bit) | 4);
	}
	if (has(FEATURE_CET_IBT))
		check_control_protection();

	CASE("#DF");
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_DF));
	vmcs_write(GUEST_IDTR_LIMIT, 0);
	guest_run(raise_ud);
	expect_exit(EXIT_EXCEPTION_OR_NMI, .interruption_error = 0);
	expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), ~(u64)INTERRUPTION_NMI_UNBLOCKING,
		    INTERRUPTION_VALID | HARDWARE_CODE | VECTOR_DF);
	raisers_end();
}

TEST("exec.exc.no_error_code", "An exception without an error code leaves bit 11 of the information 0")
{
	raisers_begin();
	expect_eq(check_both_ways(~0u, INTERRUPTION_ERROR_CODE, 0), 14);
	raisers_end();
}

/* INT n: two bytes of code that the test writes, and gates that all lead to a VMCALL. */
static u8 int_n[] ALIGNED(16) = { 0xcd, 0, 0x0f, 0x0b };
static struct gate gates[256] ALIGNED(16);
GUEST_ASM(guest_int_n_arrives, "vmcall");

TEST("exec.exc.intn_never", "INT n does not exit by the exception bitmap, INT 3 as CD 03 included")
{
	raisers_begin();
	vmcs_write(EXCEPTION_BITMAP, ~0u);
	vmcs_write(GUEST_IDTR_BASE, (u64)gates);
	for (u32 cpl = 0; cpl <= 3; cpl += 3) {
		WALK_OVER(n, 0, 256) {
			CASE("INT %#x, CPL %u", n, cpl);
			memset(gates, 0, sizeof(gates));
			gates[n] = gate_to(guest_int_n_arrives, 0, cpl);
			int_n[1] = n;
			guest_set_cpl(cpl);
			vmcs_write(GUEST_RSP, (u64)(guest_stack + GUEST_STACK_SIZE));
			vmcs_write(GUEST_RIP, (u64)int_n);
			guest_enter();
			expect_exit(EXIT_VMCALL, .rip = (u64)guest_int_n_arrives);
		}
	}
	raisers_end();
}
