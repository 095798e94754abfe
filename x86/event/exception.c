/* SPDX-License-Identifier: BSD-2-Clause */
/* The exception bitmap, vector by vector (SDM Vol. 3C, "Other Causes of VM Exits"; Vol. 3A, "Exceptions"). */
#include "event.h"
#include "x86/tables.h"
#include "x86/user.h"

#include "libc/string.h"

/*
 * Guest code that raises one exception. The label NAME_at is what the saved RIP must be: the instruction, for
 * faults and for INT1, INT3 and INTO; the one behind it for the single step.
 */
#define RAISES(name, text) GUEST_ASM(raise_##name, text); extern const u8 name##_at[]

/* 32-bit code in compatibility mode, and back. */
#define IN_COMPATIBILITY_MODE(text)							\
	"pushq $0x30; lea 7f(%rip), %rax; push %rax; lretq; 7: .code32; " text	\
	"; ljmp $8, $8f; .code64; 8: ret"

RAISES(de, "xor %ecx, %ecx; de_at: div %ecx; ret");
RAISES(db, "pushfq; orq $0x100, (%rsp); popfq; nop; db_at: nop; ret");
RAISES(int1, "int1_at: .byte 0xf1; ret");
RAISES(bp, "bp_at: int3; ret");
RAISES(int1_prefixed, "int1_prefixed_at: .byte 0x48, 0xf1; ret");
RAISES(bp_prefixed, "bp_prefixed_at: .byte 0x66, 0x48, 0xcc; ret");
RAISES(of, IN_COMPATIBILITY_MODE("mov $0x7fffffff, %eax; inc %eax; of_at: into"));
RAISES(br, IN_COMPATIBILITY_MODE("mov $5, %eax; br_at: bound %eax, bounds"));
RAISES(ud, "ud_at: ud2; ret");
RAISES(nm, "nm_at: fnop; ret");
RAISES(ts, "ts_at: int $2; ret");
RAISES(np, "mov $0x48, %ecx; np_at: mov %ecx, %es; ret");
RAISES(ss, "mov $0x48, %ecx; ss_at: mov %ecx, %ss; ret");
RAISES(gp, "mov $0xfff8, %ecx; gp_at: mov %ecx, %es; ret");
RAISES(gp0, "mov $1, %rcx; ror $1, %rcx; gp0_at: mov (%rcx), %al; ret");
RAISES(pf, "mov $1, %rcx; rol $46, %rcx; pf_at: mov (%rcx), %al; ret");
RAISES(mf, "fninit; pushq $0x37b; fldcw (%rsp); pop %rax; fld1; fldz; fdivrp; mf_at: fwait; fninit; ret");
RAISES(ac, "pushfq; orq $0x40000, (%rsp); popfq; ac_at: mov 1(%rsp), %eax; ret");
RAISES(xm, "pushq $0x1d80; ldmxcsr (%rsp); pop %rax; mov $1, %eax; cvtsi2ss %eax, %xmm0; xorps %xmm1, %xmm1\n"
	   "xm_at: divss %xmm1, %xmm0; ret");
asm(".pushsection .rodata; .balign 8; bounds: .long 0, 4; .popsection");

enum {
	HARDWARE = INTERRUPTION_TYPE_HARDWARE,
	HARDWARE_CODE = INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE,
	SOFTWARE = INTERRUPTION_TYPE_SOFTWARE_EXCEPTION,
	PRIVILEGED = INTERRUPTION_TYPE_PRIVILEGED,
};

static const struct raiser {
	void (*function)(void);
	const u8 *at;
	u8 vector;
	u32 type;			/* and bit 11: an error code */
	u32 error_code;
	u32 length;			/* of the instruction, where the exit must report it */
	u32 cpl;
	u64 cr0;			/* bits beside the baseline's */
	u32 tr_limit;			/* 0: the baseline's */
} raisers[] = {
	{ raise_de, de_at, VECTOR_DE, HARDWARE, 0, 0, 0, 0, 0 },
	{ raise_db, db_at, VECTOR_DB, HARDWARE, 0, 0, 0, 0, 0 },
	{ raise_int1, int1_at, VECTOR_DB, PRIVILEGED, 0, 1, 0, 0, 0 },
	{ raise_bp, bp_at, VECTOR_BP, SOFTWARE, 0, 1, 0, 0, 0 },
	{ raise_int1_prefixed, int1_prefixed_at, VECTOR_DB, PRIVILEGED, 0, 2, 0, 0, 0 },
	{ raise_bp_prefixed, bp_prefixed_at, VECTOR_BP, SOFTWARE, 0, 3, 0, 0, 0 },
	{ raise_of, of_at, VECTOR_OF, SOFTWARE, 0, 1, 0, 0, 0 },
	{ raise_br, br_at, VECTOR_BR, HARDWARE, 0, 0, 0, 0, 0 },
	{ raise_ud, ud_at, VECTOR_UD, HARDWARE, 0, 0, 0, 0, 0 },
	{ raise_ud, ud_at, VECTOR_UD, HARDWARE, 0, 0, 3, 0, 0 },
	{ raise_int1, int1_at, VECTOR_DB, PRIVILEGED, 0, 1, 3, 0, 0 },
	{ raise_nm, nm_at, VECTOR_NM, HARDWARE, 0, 0, 0, CR0_TS, 0 },
	/* A gate with an interrupt stack that lies outside of the TSS. */
	{ raise_ts, ts_at, VECTOR_TS, HARDWARE_CODE, SELECTOR_TSS(0), 0, 0, 0, 0x23 },
	{ raise_np, np_at, VECTOR_NP, HARDWARE_CODE, SELECTOR_SPARE, 0, 0, 0, 0 },
	{ raise_ss, ss_at, VECTOR_SS, HARDWARE_CODE, SELECTOR_SPARE, 0, 0, 0, 0 },
	{ raise_gp, gp_at, VECTOR_GP, HARDWARE_CODE, 0xfff8, 0, 0, 0, 0 },
	{ raise_gp0, gp0_at, VECTOR_GP, HARDWARE_CODE, 0, 0, 0, 0, 0 },
	{ raise_pf, pf_at, VECTOR_PF, HARDWARE_CODE, 0, 0, 0, 0, 0 },
	{ raise_mf, mf_at, VECTOR_MF, HARDWARE, 0, 0, 0, 0, 0 },
	{ raise_ac, ac_at, VECTOR_AC, HARDWARE_CODE, 0, 0, 3, CR0_AM, 0 },
	{ raise_xm, xm_at, VECTOR_XM, HARDWARE, 0, 0, 0, 0, 0 },
};

#define FOR_EACH_RAISER(raiser) \
	for (const struct raiser *raiser = raisers; raiser < raisers + ARRAY_SIZE(raisers); raiser++)

static void prepare_exceptions(void)
{
	user_pages_on();
	gdt[SELECTOR_SPARE / 8] = 0x00cf13000000ffff;		/* a data segment, not present */
}

static void end_exceptions(void)
{
	gdt[SELECTOR_SPARE / 8] = 0;
	write_dr6(0xffff0ff0);
	asm volatile("fninit; pushq $0x1f80; ldmxcsr (%%rsp); pop %%rax" : : : "rax", "memory");
}

/* Run the code from the baseline's state, whatever the last guest has left. */
static void raise(const struct raiser *raiser, u64 bitmap)
{
	vmcs_write(EXCEPTION_BITMAP, (u32)bitmap);
	set_guest_cpl(raiser->cpl);
	vmcs_write(GUEST_CR0, read_cr0() | raiser->cr0);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	vmcs_write(GUEST_TR_LIMIT, raiser->tr_limit ? raiser->tr_limit : descriptor_limit(read_tr()));
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
	guest_run(raiser->function);
}

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
	prepare_exceptions();
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
	end_exceptions();
}

TEST("exec.exc.bitmap_clear", "Each exception goes through the guest's IDT if its bit is 0, whatever the others are")
{
	prepare_exceptions();
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
	end_exceptions();
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
	prepare_exceptions();
	expect_eq(check_both_ways(BIT(VECTOR_BP) | BIT(VECTOR_OF), INTERRUPTION_TYPE_MASK, SOFTWARE), 3);

	CASE("INTO with OF = 0");
	vmcs_write(EXCEPTION_BITMAP, ~0u);
	set_guest_cpl(0);
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
	end_exceptions();
}

TEST("exec.exc.int1", "INT1 exits by bit 1 as a privileged software exception")
{
	prepare_exceptions();
	expect_eq(check_both_ways(BIT(VECTOR_DB), INTERRUPTION_TYPE_MASK, PRIVILEGED), 3);
	end_exceptions();
}

TEST("exec.exc.bound_ud2", "BOUND and UD2 exit by bits 5 and 6 as hardware exceptions")
{
	prepare_exceptions();
	expect_eq(check_both_ways(BIT(VECTOR_BR) | BIT(VECTOR_UD), INTERRUPTION_TYPE_MASK, HARDWARE), 3);

	CASE("BOUND inside its bounds");
	vmcs_write(EXCEPTION_BITMAP, ~0u);
	set_guest_cpl(0);
	guest_run(guest_bound_inside);
	expect_guest_done();
	end_exceptions();
}

static u16 probed_selector;

static void guest_loads_es(void)
{
	asm volatile("mov %0, %%es" : : "r"(probed_selector));
}

TEST("exec.exc.error_code", "An exception with an error code has it in its field, and bit 11 set")
{
	prepare_exceptions();
	expect_eq(check_both_ways(~0u, INTERRUPTION_ERROR_CODE, INTERRUPTION_ERROR_CODE), 7);

	/* Each bit of a selector; the LDT that it names does not exist, and RPL is not part of the error code. */
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_GP));
	set_guest_cpl(0);
	for (u32 bit = 3; bit < 16; bit++) {
		probed_selector = BIT(bit) | 4 | (bit & 3);
		CASE("selector %#x", probed_selector);
		guest_run(guest_loads_es);
		expect_exit(EXIT_EXCEPTION_OR_NMI, .qualification = 0,
			    .interruption = INTERRUPTION_VALID | HARDWARE_CODE | VECTOR_GP,
			    .interruption_error = BIT(bit) | 4);
	}

	CASE("#DF");
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_DF));
	vmcs_write(GUEST_IDTR_LIMIT, 0);
	guest_run(raise_ud);
	expect_exit(EXIT_EXCEPTION_OR_NMI, .interruption_error = 0);
	expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), ~(u64)INTERRUPTION_NMI_UNBLOCKING,
		    INTERRUPTION_VALID | HARDWARE_CODE | VECTOR_DF);
	end_exceptions();
}

TEST("exec.exc.no_error_code", "An exception without an error code leaves bit 11 of the information 0")
{
	prepare_exceptions();
	expect_eq(check_both_ways(~0u, INTERRUPTION_ERROR_CODE, 0), 14);
	end_exceptions();
}

/* INT n: two bytes of code that the test writes, and gates that all lead to a VMCALL. */
static u8 int_n[] ALIGNED(16) = { 0xcd, 0, 0x0f, 0x0b };
static struct gate gates[256] ALIGNED(16);
GUEST_ASM(guest_int_n_arrives, "vmcall");

TEST("exec.exc.intn_never", "INT n does not exit by the exception bitmap, INT 3 as CD 03 included")
{
	prepare_exceptions();
	vmcs_write(EXCEPTION_BITMAP, ~0u);
	vmcs_write(GUEST_IDTR_BASE, (u64)gates);
	for (u32 cpl = 0; cpl <= 3; cpl += 3) {
		for (u32 n = 0; n < 256; n++) {
			CASE("INT %#x, CPL %u", n, cpl);
			memset(gates, 0, sizeof(gates));
			gates[n] = gate_to(guest_int_n_arrives, 0, cpl);
			int_n[1] = n;
			set_guest_cpl(cpl);
			vmcs_write(GUEST_RSP, (u64)(guest_stack + GUEST_STACK_SIZE));
			vmcs_write(GUEST_RIP, (u64)int_n);
			guest_enter();
			expect_exit(EXIT_VMCALL, .rip = (u64)guest_int_n_arrives);
		}
	}
	end_exceptions();
}
