/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmxtest/raiser.h"
#include "x86/selectors.h"
#include "x86/tables.h"
#include "x86/user.h"

/*
 * The label NAME_at is what the saved RIP must be: the instruction, for faults and for INT1, INT3 and INTO; the one
 * behind it for the single step.
 */
#define RAISES(name, text)								\
	GUEST_ASM(raise_##name, ".globl " #name "_at\n" text); extern const u8 name##_at[]

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
asm(".pushsection .rodata; .balign 8; .globl bounds; bounds: .long 0, 4; .popsection");

const struct raiser raisers[] = {
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

const size_t raiser_count = ARRAY_SIZE(raisers);

void raisers_begin(void)
{
	user_pages_on();
	gdt[SELECTOR_SPARE / 8] = 0x00cf13000000ffff;		/* a data segment, not present */
}

void raisers_end(void)
{
	gdt[SELECTOR_SPARE / 8] = 0;
	write_dr6(0xffff0ff0);
	asm volatile("fninit; pushq $0x1f80; ldmxcsr (%%rsp); pop %%rax" : : : "rax", "memory");
}

void raise(const struct raiser *raiser, u64 bitmap)
{
	vmcs_write(EXCEPTION_BITMAP, (u32)bitmap);
	guest_set_cpl(raiser->cpl);
	vmcs_write(GUEST_CR0, read_cr0() | raiser->cr0);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	vmcs_write(GUEST_TR_LIMIT, raiser->tr_limit ? raiser->tr_limit : descriptor_limit(read_tr()));
	vmcs_write(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
	guest_run(raiser->function);
}
