/* SPDX-License-Identifier: BSD-2-Clause */
#include "ending.h"

#include "libc/string.h"

/*
 * The instruction three times, with the addresses that it has and that are behind it. Registers: RSI and RDI lead to
 * the operand, RAX, RCX, RDX are the row's, R15D is the selector in SS.
 */
#define CODES(name, text)							\
	asm(".pushsection .text\n"						\
	    "ending_" #name ":	" text "\nending_" #name "_1: nop; jmp ending_back\n" \
	    "ending_" #name "_2: sti; " text "\nending_" #name "_3: nop; jmp ending_back\n" \
	    "ending_" #name "_4: mov %r15d, %ss; " text "\nending_" #name "_5: nop; jmp ending_back\n" \
	    ".popsection");							\
	extern const u8 ending_##name[], ending_##name##_1[], ending_##name##_2[], ending_##name##_3[], ending_##name##_4[], \
		ending_##name##_5[]
#define ROW_OF(name, shown)	.text = shown, .code = ending_##name, .behind = ending_##name##_1, .sti = ending_##name##_2, \
	.sti_behind = ending_##name##_3, .ss = ending_##name##_4, .ss_behind = ending_##name##_5

enum { PORT = 0x80 };

CODES(cpuid, "cpuid");
CODES(rdmsr, "rdmsr");
CODES(wrmsr, "wrmsr");
CODES(in8, "in %dx, %al");
CODES(in16, "in %dx, %ax");
CODES(in32, "in %dx, %eax");
CODES(out8, "out %al, %dx");
CODES(out16, "out %ax, %dx");
CODES(out32, "out %eax, %dx");
CODES(in_imm, "in $0x80, %al");
CODES(out_imm, "out %al, $0x80");
CODES(insb, "insb");
CODES(insl, "insl");
CODES(outsb, "outsb");
CODES(outsl, "outsl");
CODES(rep_none, "rep insb");
CODES(from_cr0, "mov %cr0, %rax");
CODES(to_cr0, "mov %rax, %cr0");
CODES(from_cr2, "mov %cr2, %rax");
CODES(to_cr2, "mov %rax, %cr2");
CODES(from_cr3, "mov %cr3, %rax");
CODES(to_cr3, "mov %rax, %cr3");
CODES(from_cr4, "mov %cr4, %rax");
CODES(to_cr4, "mov %rax, %cr4");
CODES(from_cr8, "mov %cr8, %rax");
CODES(to_cr8, "mov %rax, %cr8");
CODES(from_dr, "mov %db3, %rax");
CODES(to_dr, "mov %rax, %db3");
CODES(clts, "clts");
CODES(lmsw, "lmsw %ax");
CODES(lmsw_memory, "lmsw (%rsi)");
CODES(smsw, "smsw %eax");
CODES(smsw_memory, "smsw (%rdi)");
CODES(lgdt, "lgdt (%rsi)");
CODES(lidt, "lidt (%rsi)");
CODES(sgdt, "sgdt (%rdi)");
CODES(sidt, "sidt (%rdi)");
CODES(lldt, "lldt %ax");
CODES(lldt_memory, "lldt (%rsi)");
CODES(sldt, "sldt %eax");
CODES(sldt_memory, "sldt (%rdi)");
CODES(str, "str %eax");
CODES(str_memory, "str (%rdi)");
CODES(invlpg, "invlpg (%rsi)");
CODES(wbinvd, "wbinvd");
CODES(rdtsc, "rdtsc");
CODES(rdtscp, "rdtscp");
CODES(rdpid, ".byte 0xf3, 0x0f, 0xc7, 0xf8");
CODES(xgetbv, "xgetbv");
CODES(xsetbv, "xsetbv");
CODES(invpcid, "invpcid (%rsi), %rax");
CODES(pause, "pause");
CODES(hlt, "hlt");
CODES(rdrand, "rdrand %rax");
CODES(rdseed, "rdseed %rax");

static u64 cr0(void) { return read_cr0(); }
static u64 cr2(void) { return read_cr2(); }
static u64 cr3(void) { return read_cr3(); }
static u64 cr4(void) { return read_cr4(); }
static u64 cr8(void) { return read_cr8(); }
static u64 apic_base(void) { return rdmsr(IA32_APIC_BASE); }
static u64 efer(void) { return rdmsr(IA32_EFER); }
static u64 xcr0(void) { return xgetbv(0); }
static u64 one(void) { return 1; }
static u64 two(void) { return 2; }

const struct ending endings[] = {
	{ ROW_OF(cpuid, "CPUID") }, { ROW_OF(cpuid, "CPUID, leaf 1"), .rax = one },
	{ ROW_OF(rdmsr, "RDMSR, IA32_APIC_BASE"), .ecx = IA32_APIC_BASE },
	{ ROW_OF(wrmsr, "WRMSR, IA32_APIC_BASE"), .ecx = IA32_APIC_BASE, .rax = apic_base },
	{ ROW_OF(rdmsr, "RDMSR, IA32_EFER"), .ecx = IA32_EFER }, { ROW_OF(wrmsr, "WRMSR, IA32_EFER"), .ecx = IA32_EFER, .rax = efer },
	{ ROW_OF(in8, "IN AL, DX"), .edx = PORT }, { ROW_OF(in16, "IN AX, DX"), .edx = PORT },
	{ ROW_OF(in32, "IN EAX, DX"), .edx = PORT }, { ROW_OF(out8, "OUT DX, AL"), .edx = PORT },
	{ ROW_OF(out16, "OUT DX, AX"), .edx = PORT }, { ROW_OF(out32, "OUT DX, EAX"), .edx = PORT },
	{ ROW_OF(in_imm, "IN AL, 80H") }, { ROW_OF(out_imm, "OUT 80H, AL") },
	{ ROW_OF(insb, "INSB"), .edx = PORT, .operand = BYTES_OUT }, { ROW_OF(insl, "INSD"), .edx = PORT, .operand = BYTES_OUT },
	{ ROW_OF(outsb, "OUTSB"), .edx = PORT, .operand = BYTES_IN }, { ROW_OF(outsl, "OUTSD"), .edx = PORT, .operand = BYTES_IN },
	{ ROW_OF(rep_none, "REP INSB, RCX = 0"), .edx = PORT, .kind = REPEATS_NEVER },
	{ ROW_OF(from_cr0, "MOV RAX, CR0") }, { ROW_OF(to_cr0, "MOV CR0, RAX"), .rax = cr0 },
	{ ROW_OF(from_cr2, "MOV RAX, CR2") }, { ROW_OF(to_cr2, "MOV CR2, RAX"), .rax = cr2 },
	{ ROW_OF(from_cr3, "MOV RAX, CR3") }, { ROW_OF(to_cr3, "MOV CR3, RAX"), .rax = cr3 },
	{ ROW_OF(from_cr4, "MOV RAX, CR4") }, { ROW_OF(to_cr4, "MOV CR4, RAX"), .rax = cr4 },
	{ ROW_OF(from_cr8, "MOV RAX, CR8") }, { ROW_OF(to_cr8, "MOV CR8, RAX"), .rax = cr8 },
	{ ROW_OF(from_dr, "MOV RAX, DR3") }, { ROW_OF(to_dr, "MOV DR3, RAX") },
	{ ROW_OF(clts, "CLTS") }, { ROW_OF(lmsw, "LMSW AX"), .rax = cr0 },
	{ ROW_OF(lmsw_memory, "LMSW m16"), .operand = MSW_IN },
	{ ROW_OF(smsw, "SMSW EAX") }, { ROW_OF(smsw_memory, "SMSW m16"), .operand = BYTES_OUT },
	{ ROW_OF(lgdt, "LGDT"), .operand = GDTR_IN }, { ROW_OF(lidt, "LIDT"), .operand = IDTR_IN },
	{ ROW_OF(sgdt, "SGDT"), .operand = BYTES_OUT }, { ROW_OF(sidt, "SIDT"), .operand = BYTES_OUT },
	{ ROW_OF(lldt, "LLDT AX") }, { ROW_OF(lldt_memory, "LLDT m16"), .operand = NULL_IN },
	{ ROW_OF(sldt, "SLDT EAX") }, { ROW_OF(sldt_memory, "SLDT m16"), .operand = BYTES_OUT },
	{ ROW_OF(str, "STR EAX") }, { ROW_OF(str_memory, "STR m16"), .operand = BYTES_OUT },
	{ ROW_OF(invlpg, "INVLPG") }, { ROW_OF(wbinvd, "WBINVD") }, { ROW_OF(rdtsc, "RDTSC"), .feature = FEATURE_TSC },
	{ ROW_OF(rdtscp, "RDTSCP"), .feature = FEATURE_RDTSCP }, { ROW_OF(rdpid, "RDPID RAX"), .feature = FEATURE_RDPID },
	{ ROW_OF(xgetbv, "XGETBV"), .feature = FEATURE_XSAVE }, { ROW_OF(xsetbv, "XSETBV"), .feature = FEATURE_XSAVE, .rax = xcr0 },
	{ ROW_OF(invpcid, "INVPCID"), .feature = FEATURE_INVPCID, .operand = INVPCID_IN, .rax = two },
	{ ROW_OF(rdrand, "RDRAND RAX"), .feature = FEATURE_RDRAND, .kind = SETS_FLAGS },
	{ ROW_OF(rdseed, "RDSEED RAX"), .feature = FEATURE_RDSEED, .kind = SETS_FLAGS },
	{ ROW_OF(pause, "PAUSE") }, { ROW_OF(hlt, "HLT"), .kind = HALTS },
};
const u32 ending_count = ARRAY_SIZE(endings);

/* RIP, RFLAGS; then RAX, RCX, RDX. */
struct ending_start {
	const u8 *code;
	u64 rflags, rax, rcx, rdx, operand;
} ending_start;

u8 ending_operand[16] ALIGNED(16);
volatile u64 ending_flags;

asm(".pushsection .text\n"
    "ending_jump:\n"
    "	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "	mov %rsp, %rbx\n"
    "	mov %ss, %r15d\n"
    "	push %r15; push %rbx; push ending_start+8(%rip)\n"
    "	mov %cs, %ebx; push %rbx; push ending_start(%rip)\n"
    "	mov ending_start+16(%rip), %rax; mov ending_start+24(%rip), %rcx; mov ending_start+32(%rip), %rdx\n"
    "	mov ending_start+40(%rip), %rsi; mov %rsi, %rdi\n"
    "	iretq\n"
    "ending_back:\n"
    "	pushfq; pop ending_flags(%rip)\n"
    "	push $2; popfq\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "	ret\n"
    ".popsection");
void ending_jump(void);

static u64 cr4_before, cr0_before;

void endings_begin(void)
{
	cr0_before = read_cr0();
	cr4_before = read_cr4();
	if (has_feature(FEATURE_XSAVE))
		write_cr4(cr4_before | CR4_OSXSAVE);
	if (has_feature(FEATURE_DE))
		write_cr4(read_cr4() | CR4_DE);
}

void endings_end(void)
{
	write_dr7(DR7_FIXED);
	write_dr0(0);
	write_dr1(0);
	write_dr3(0);
	write_dr6(DR6_ONES);
	write_cr4(cr4_before);
	write_cr0(cr0_before);
}

bool ending_prepare(const struct ending *e)
{
	const struct table_register gdtr = read_gdtr(), idtr = read_idtr();
	const u16 msw = read_cr0();

	if (e->feature && !has_feature(e->feature))
		return false;
	memset(ending_operand, 0, sizeof(ending_operand));
	switch (e->operand) {
	case GDTR_IN: memcpy(ending_operand, &gdtr, sizeof(gdtr)); break;
	case IDTR_IN: memcpy(ending_operand, &idtr, sizeof(idtr)); break;
	case MSW_IN: memcpy(ending_operand, &msw, sizeof(msw)); break;
	default: break;
	}
	ending_start.rax = e->rax ? e->rax() : 0;
	ending_start.rcx = e->ecx;
	ending_start.rdx = e->ecx ? ending_start.rax >> 32 : e->edx;
	ending_start.operand = (u64)ending_operand;
	return true;
}

void ending_copy_operand(void *to)
{
	memcpy(to, ending_operand, sizeof(ending_operand));
}

void ending_operand_at(u64 address)
{
	ending_start.operand = address;
}

struct fault ending_run(const u8 *code, u64 rflags)
{
	ending_start.code = code;
	ending_start.rflags = rflags;
	const struct fault fault = TRY(ending_jump());
	interrupts_off();
	return fault;
}
