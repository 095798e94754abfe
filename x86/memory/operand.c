/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory operands in a page that a hypervisor traps: each instruction exits by the EPT violation of its operand, having done
 * nothing, and when the page is there it does what it does in the host, which runs the same code on a page of its own.
 */
#include "window.h"

#include "libc/string.h"

/*
 * The instruction: operand at (RBX), (RSI), (RDI); RAX, RCX, RDX. Behind it the flags are in R8, and XMM0 in memory that
 * both share. RBP keeps RSP.
 */
#define OPERAND(name, text)	\
	GUEST_ASM(operand_##name, text "; pushfq; pop %r8; movups %xmm0, operand_xmm(%rip); cld; ret")

extern u8 operand_xmm[16];
u8 operand_xmm[16] ALIGNED(16);

enum { READS = 1, WRITES = 2, UPDATES = READS | WRITES };

OPERAND(mov8, "mov (%rbx), %al");
OPERAND(mov16, "mov (%rbx), %ax");
OPERAND(mov32, "mov (%rbx), %eax");
OPERAND(mov64, "mov (%rbx), %rax");
OPERAND(store8, "mov %cl, (%rbx)");
OPERAND(store16, "mov %cx, (%rbx)");
OPERAND(store32, "mov %ecx, (%rbx)");
OPERAND(store64, "mov %rcx, (%rbx)");
OPERAND(store_imm, "movq $-2, (%rbx)");
OPERAND(movzx8, "movzbl (%rbx), %eax");
OPERAND(movzx16, "movzwl (%rbx), %eax");
OPERAND(movsx8, "movsbq (%rbx), %rax");
OPERAND(movsx32, "movslq (%rbx), %rax");
OPERAND(xchg8, "xchg %cl, (%rbx)");
OPERAND(xchg32, "xchg %ecx, (%rbx)");
OPERAND(xchg64, "xchg %rcx, (%rbx)");
OPERAND(cmpxchg32, "lock cmpxchg %ecx, (%rbx)");
OPERAND(cmpxchg64, "cmpxchg %rcx, (%rbx)");
OPERAND(cmpxchg_equal, "mov $0xa5a5a5a5, %eax; lock cmpxchg %ecx, (%rbx)");
OPERAND(cmpxchg8b, "lock cmpxchg8b (%rsi)");
OPERAND(xadd32, "lock xadd %ecx, (%rbx)");
OPERAND(xadd64, "xadd %rcx, (%rbx)");
OPERAND(add8, "lock addb %cl, (%rbx)");
OPERAND(add16, "add %cx, (%rbx)");
OPERAND(add32, "lock add %ecx, (%rbx)");
OPERAND(add64, "add %rcx, (%rbx)");
OPERAND(add_load, "add (%rbx), %rax");
OPERAND(adc, "stc; adc %ecx, (%rbx)");
OPERAND(and, "lock and %rcx, (%rbx)");
OPERAND(or, "orl $0x10, (%rbx)");
OPERAND(inc, "incl (%rbx)");
OPERAND(not, "notq (%rbx)");
OPERAND(neg, "negw (%rbx)");
OPERAND(shl, "shll $3, (%rbx)");
OPERAND(test, "testl $4, (%rbx)");
OPERAND(cmp, "cmp %rcx, (%rbx)");
OPERAND(bt, "btl $5, (%rbx)");
OPERAND(bts, "lock btsl $6, (%rbx)");
OPERAND(btr, "btrq $7, (%rbx)");
OPERAND(setcc, "stc; setc (%rbx)");
OPERAND(cmov, "clc; cmovc (%rbx), %rax");
OPERAND(push_from, "pushq (%rbx); pop %rax");
OPERAND(pop_to, "push %rcx; popq (%rbx)");
OPERAND(push_to, "mov %rsp, %rbp; lea 8(%rbx), %rsp; push %rcx; mov %rbp, %rsp");
OPERAND(enter, "mov %rsp, %r9; mov %rcx, %rbp; lea 8(%rbx), %rsp; enter $0, $0; mov %r9, %rsp");
OPERAND(stosd, "mov %ecx, %eax; stosl");
OPERAND(stosq, "stosq");
OPERAND(lodsb, "lodsb");
OPERAND(lodsq, "lodsq");
OPERAND(scasd, "scasl");
OPERAND(movs_to, "lea operand_xmm(%rip), %rsi; movsl");
OPERAND(movs_from, "lea operand_xmm(%rip), %rdi; movsq");
OPERAND(movdqu, "movdqu (%rbx), %xmm0");
OPERAND(movdqu_to, "movdqu %xmm0, (%rbx)");
OPERAND(movq_xmm, "movq (%rbx), %xmm0");
OPERAND(movss, "movss (%rbx), %xmm0");
OPERAND(movhps, "movdqu operand_xmm(%rip), %xmm0; movhps (%rbx), %xmm0");
OPERAND(fild, "fninit; fildll (%rbx); fistpll operand_xmm(%rip); movups operand_xmm(%rip), %xmm0");
OPERAND(movnti, "movnti %rcx, (%rbx)");
OPERAND(fistp, "fninit; fildll operand_xmm(%rip); fistpll (%rbx)");

struct operand {
	const char *text;
	void (*code)(void);
	u32 size, access;
};

static const struct operand operands[] = {
	{ "MOV r8, m8", operand_mov8, 1, READS }, { "MOV r16, m16", operand_mov16, 2, READS }, { "MOV r32, m32", operand_mov32, 4, READS },
	{ "MOV r64, m64", operand_mov64, 8, READS }, { "MOV m8, r8", operand_store8, 1, WRITES }, { "MOV m16, r16", operand_store16, 2, WRITES },
	{ "MOV m32, r32", operand_store32, 4, WRITES }, { "MOV m64, r64", operand_store64, 8, WRITES },
	{ "MOV m64, imm32", operand_store_imm, 8, WRITES }, { "MOVZX r32, m8", operand_movzx8, 1, READS },
	{ "MOVZX r32, m16", operand_movzx16, 2, READS }, { "MOVSX r64, m8", operand_movsx8, 1, READS },
	{ "MOVSXD r64, m32", operand_movsx32, 4, READS }, { "XCHG m8, r8", operand_xchg8, 1, UPDATES },
	{ "XCHG m32, r32", operand_xchg32, 4, UPDATES }, { "XCHG m64, r64", operand_xchg64, 8, UPDATES },
	{ "LOCK CMPXCHG m32, r32, not equal", operand_cmpxchg32, 4, UPDATES }, { "CMPXCHG m64, r64, not equal", operand_cmpxchg64, 8, UPDATES },
	{ "LOCK CMPXCHG m32, r32, equal", operand_cmpxchg_equal, 4, UPDATES }, { "LOCK CMPXCHG8B m64", operand_cmpxchg8b, 8, UPDATES },
	{ "LOCK XADD m32, r32", operand_xadd32, 4, UPDATES }, { "XADD m64, r64", operand_xadd64, 8, UPDATES },
	{ "LOCK ADD m8, r8", operand_add8, 1, UPDATES }, { "ADD m16, r16", operand_add16, 2, UPDATES },
	{ "LOCK ADD m32, r32", operand_add32, 4, UPDATES }, { "ADD m64, r64", operand_add64, 8, UPDATES },
	{ "ADD r64, m64", operand_add_load, 8, READS }, { "ADC m32, r32", operand_adc, 4, UPDATES },
	{ "LOCK AND m64, r64", operand_and, 8, UPDATES }, { "OR m32, imm8", operand_or, 4, UPDATES }, { "INC m32", operand_inc, 4, UPDATES },
	{ "NOT m64", operand_not, 8, UPDATES }, { "NEG m16", operand_neg, 2, UPDATES }, { "SHL m32, 3", operand_shl, 4, UPDATES },
	{ "TEST m32, imm32", operand_test, 4, READS }, { "CMP m64, r64", operand_cmp, 8, READS }, { "BT m32, imm8", operand_bt, 4, READS },
	{ "LOCK BTS m32, imm8", operand_bts, 4, UPDATES }, { "BTR m64, imm8", operand_btr, 8, UPDATES }, { "SETC m8", operand_setcc, 1, WRITES },
	{ "CMOVC r64, m64, CF = 0", operand_cmov, 8, READS }, { "PUSH m64", operand_push_from, 8, READS }, { "POP m64", operand_pop_to, 8, WRITES },
	{ "PUSH r64, to the page", operand_push_to, 8, WRITES }, { "ENTER 0, 0, to the page", operand_enter, 8, WRITES },
	{ "STOSD", operand_stosd, 4, WRITES }, { "STOSQ", operand_stosq, 8, WRITES }, { "LODSB", operand_lodsb, 1, READS },
	{ "LODSQ", operand_lodsq, 8, READS }, { "SCASD", operand_scasd, 4, READS }, { "MOVSD, to the page", operand_movs_to, 4, WRITES },
	{ "MOVSQ, from the page", operand_movs_from, 8, READS }, { "MOVDQU xmm, m128", operand_movdqu, 16, READS },
	{ "MOVDQU m128, xmm", operand_movdqu_to, 16, WRITES }, { "MOVQ xmm, m64", operand_movq_xmm, 8, READS },
	{ "MOVSS xmm, m32", operand_movss, 4, READS }, { "MOVHPS xmm, m64", operand_movhps, 8, READS }, { "FILD m64", operand_fild, 8, READS },
	{ "MOVNTI m64, r64", operand_movnti, 8, WRITES }, { "FISTP m64", operand_fistp, 8, WRITES },
};

/* What the code finds, and what it leaves. */
static struct trial {
	u64 rax, rcx, rdx, flags;
	u64 moved;		/* RSI + RDI */
	u8 xmm[16];
	u8 memory[32];
} trial;

asm(".pushsection .text\n"
    "operand_run:\n"		/* code, operand, struct trial */
    "	push %rbx; push %rbp; push %r12; push %r13; mov %rdx, %r12; mov %rdi, %r13\n"
    "	mov %rsi, %rbx; mov %rsi, %rdi; movups operand_xmm(%rip), %xmm0\n"
    "	mov (%r12), %rax; mov 8(%r12), %rcx; mov 16(%r12), %rdx\n"
    "	call *%r13\n"
    "	mov %rax, (%r12); mov %rcx, 8(%r12); mov %rdx, 16(%r12); mov %r8, 24(%r12); lea (%rsi, %rdi), %rax; mov %rax, 32(%r12)\n"
    "	pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n"
    ".popsection");
void operand_run(void (*code)(void), void *operand, struct trial *trial);

static const struct operand *now;
static u8 *pages, *host_pages;	/* two in a row each: what is behind the window, and the host's own */
static u32 offset;

#define SECOND_PHYSICAL	(GUEST_PHYSICAL + 4 * PAGE_SIZE)

static void begin(u8 *memory)
{
	memset(memory, 0xa5, 32);
	memory[4] = 0x12;
	memory[9] = 0x34;
	for (u32 i = 0; i < sizeof(operand_xmm); i++)
		operand_xmm[i] = 0x40 + i;
	trial = (struct trial){ .rax = 0x1122334455667788, .rcx = 0x0102030405060708, .rdx = 0x99 };
}

static void end(const u8 *memory)
{
	memcpy(trial.xmm, operand_xmm, sizeof(trial.xmm));
	memcpy(trial.memory, memory, sizeof(trial.memory));
	trial.moved &= PAGE_SIZE - 1;
	trial.flags &= RFLAGS_CF | RFLAGS_ZF | RFLAGS_DF;	/* the others are undefined behind some of them */
}

/* Both pages, but for the one that is missing; 0: none. */
static void map_both(u64 missing)
{
	static const u64 places[] = { GUEST_PHYSICAL, SECOND_PHYSICAL };

	for (u32 i = 0; i < 2; i++)
		ept_map(places[i], places[i] == missing ? 0 : physical_address(pages) + i * PAGE_SIZE,
			places[i] == missing ? 0 : EPT_RWX | EPT_WB);
	ept_flush();
}

static void guest_runs_operand(void)
{
	operand_run(now->code, (void *)(LINEAR + offset), &trial);
}

/* The page that is missing, of the two; what the exit says of the access; and what comes when it is there. */
static void try_operand(u64 missing)
{
	const u64 access = now->access & WRITES ? EPT_VIOLATION_WRITE : EPT_VIOLATION_READ;
	u8 *memory = pages + offset, untouched[32];

	begin(host_pages + offset);
	operand_run(now->code, host_pages + offset, &trial);
	end(host_pages + offset);
	const struct trial expected = trial;

	map_both(missing);
	begin(memory);
	memcpy(untouched, memory, sizeof(untouched));
	guest_run(guest_runs_operand);
	if (!expect_exit(EXIT_EPT_VIOLATION))
		return;
	expect_bits(vmcs_read(GUEST_PHYSICAL_ADDRESS), ~0xfffull, missing);
	/* A read-modify-write sets bit 1; whether bit 0 too is open. */
	expect_bits(vmcs_read(EXIT_QUALIFICATION), access | EPT_VIOLATION_FETCH | EPT_VIOLATION_LINEAR_VALID | EPT_VIOLATION_FINAL,
		    access | EPT_VIOLATION_LINEAR_VALID | EPT_VIOLATION_FINAL);
	if (now->access != UPDATES)
		expect_bits(vmcs_read(EXIT_QUALIFICATION), EPT_VIOLATION_READ | EPT_VIOLATION_WRITE, access);
	if (missing == GUEST_PHYSICAL)
		expect_eq(vmcs_read(GUEST_LINEAR_ADDRESS), LINEAR + offset);
	expect_bytes(memory, untouched, sizeof(untouched));

	map_both(0);
	guest_resume();
	expect_guest_done();
	end(memory);
	expect_eq(trial.rax, expected.rax);
	expect_eq(trial.rcx, expected.rcx);
	expect_eq(trial.rdx, expected.rdx);
	expect_eq(trial.flags, expected.flags);
	expect_eq(trial.moved, expected.moved);
	expect_bytes(trial.xmm, expected.xmm, sizeof(trial.xmm));
	expect_bytes(trial.memory, expected.memory, sizeof(trial.memory));
}

static void use_two_pages(void)
{
	use_window();
	pages = page_alloc_many(2);
	host_pages = page_alloc_many(2);
	page_map(LINEAR + PAGE_SIZE, SECOND_PHYSICAL, PAGE_PRESENT | PAGE_WRITE);
}

TEST("ept.operand.trapped", "an instruction whose memory operand is in a page that is not there exits with nothing done, and then does all of it",
     NEEDS(PROC2_ENABLE_EPT))
{
	use_two_pages();
	for (size_t i = 0; i < ARRAY_SIZE(operands); i++) {
		now = &operands[i];
		offset = 0x340;
		CASE("%s", now->text);
		try_operand(GUEST_PHYSICAL);
	}
}

/* Not those with LOCK: a processor may be told to refuse a split lock. */
TEST("ept.operand.crosses", "the same where the operand begins in a page that is there and ends in one that is not", NEEDS(PROC2_ENABLE_EPT))
{
	use_two_pages();
	for (size_t i = 0; i < ARRAY_SIZE(operands); i++) {
		now = &operands[i];
		if (now->size == 1 || now->text[0] == 'X' || (now->text[0] == 'L' && now->text[2] == 'C'))
			continue;
		offset = PAGE_SIZE - now->size / 2;
		CASE("%s", now->text);
		try_operand(SECOND_PHYSICAL);
	}
}
