/* SPDX-License-Identifier: BSD-2-Clause */
#include "info_instructions.h"

#include "libc/string.h"
#include "x86/page.h"

#define BYTES(...) { __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ })

/* Memory operands are 70H(%rbx). Register operands are the business of info.qual.register. */
#define DISPLACEMENT 0x70
#define MSR_LIST PROC3_ENABLE_MSR_LIST_INSTRUCTIONS
#define XSAVES_CONTROL PROC2_ENABLE_XSAVES_XRSTORS
#define ALL_IO PROC_UNCONDITIONAL_IO_EXITING

/* Exit qualifications of control-register accesses, MOV DR and I/O; all ports here are immediate or 0. */
enum { TO = 0 << 4, FROM = 1 << 4, CLTS = 2 << 4 };
enum { IO_1 = 0, IO_2 = 1, IO_4 = 3, IO_IN = 1 << 3, IO_STRING = 1 << 4, IO_REP = 1 << 5, IO_IMMEDIATE = 1 << 6 };

const struct exiting_instruction exiting_instructions[] = {
	{ "CPUID", BYTES(0x0f, 0xa2), EXIT_CPUID, 0, 0 },
	{ "GETSEC", BYTES(0x0f, 0x37), EXIT_GETSEC, FEATURE_SMX, 0 },
	{ "HLT", BYTES(0xf4), EXIT_HLT, PROC_HLT_EXITING, 0 },
	{ "INVD", BYTES(0x0f, 0x08), EXIT_INVD, 0, 0 },
	{ "INVLPG", BYTES(0x0f, 0x01, 0x7b, DISPLACEMENT), EXIT_INVLPG, PROC_INVLPG_EXITING, ANY_QUALIFICATION },
	{ "RDPMC", BYTES(0x0f, 0x33), EXIT_RDPMC, PROC_RDPMC_EXITING, 0 },
	{ "RDTSC", BYTES(0x0f, 0x31), EXIT_RDTSC, PROC_RDTSC_EXITING, 0 },
	{ "VMCALL", BYTES(0x0f, 0x01, 0xc1), EXIT_VMCALL, 0, 0 },
	{ "VMCLEAR", BYTES(0x66, 0x0f, 0xc7, 0x73, DISPLACEMENT), EXIT_VMCLEAR, 0, DISPLACEMENT },
	{ "VMLAUNCH", BYTES(0x0f, 0x01, 0xc2), EXIT_VMLAUNCH, 0, 0 },
	{ "VMPTRLD", BYTES(0x0f, 0xc7, 0x73, DISPLACEMENT), EXIT_VMPTRLD, 0, DISPLACEMENT },
	{ "VMPTRST", BYTES(0x0f, 0xc7, 0x7b, DISPLACEMENT), EXIT_VMPTRST, 0, DISPLACEMENT },
	{ "VMREAD to memory", BYTES(0x0f, 0x78, 0x4b, DISPLACEMENT), EXIT_VMREAD, 0, DISPLACEMENT },
	{ "VMREAD to a register", BYTES(0x0f, 0x78, 0xca), EXIT_VMREAD, 0, ANY_QUALIFICATION },
	{ "VMREAD to R10", BYTES(0x41, 0x0f, 0x78, 0xca), EXIT_VMREAD, 0, ANY_QUALIFICATION },
	{ "VMRESUME", BYTES(0x0f, 0x01, 0xc3), EXIT_VMRESUME, 0, 0 },
	{ "VMWRITE from memory", BYTES(0x0f, 0x79, 0x4b, DISPLACEMENT), EXIT_VMWRITE, 0, DISPLACEMENT },
	{ "VMWRITE from a register", BYTES(0x0f, 0x79, 0xca), EXIT_VMWRITE, 0, ANY_QUALIFICATION },
	{ "VMXOFF", BYTES(0x0f, 0x01, 0xc4), EXIT_VMXOFF, 0, 0 },
	{ "VMXON", BYTES(0xf3, 0x0f, 0xc7, 0x73, DISPLACEMENT), EXIT_VMXON, 0, DISPLACEMENT },
	{ "CLTS", BYTES(0x0f, 0x06), EXIT_CR_ACCESS, 0, CLTS },
	{ "LMSW AX", BYTES(0x0f, 0x01, 0xf0), EXIT_CR_ACCESS, 0, ANY_QUALIFICATION },
	{ "LMSW from memory", BYTES(0x0f, 0x01, 0x73, DISPLACEMENT), EXIT_CR_ACCESS, 0, ANY_QUALIFICATION },
	{ "MOV to CR0", BYTES(0x0f, 0x22, 0xc0), EXIT_CR_ACCESS, 0, TO | 0 },
	{ "MOV R15 to CR0", BYTES(0x41, 0x0f, 0x22, 0xc7), EXIT_CR_ACCESS, 0, TO | 0 | 15 << 8 },
	{ "MOV to CR3", BYTES(0x0f, 0x22, 0xda), EXIT_CR_ACCESS, 0, TO | 3 | 2 << 8 },
	{ "MOV from CR3", BYTES(0x0f, 0x20, 0xde), EXIT_CR_ACCESS, 0, FROM | 3 | 6 << 8 },
	{ "MOV to CR4", BYTES(0x0f, 0x22, 0xe0), EXIT_CR_ACCESS, 0, TO | 4 },
	{ "MOV to CR8", BYTES(0x44, 0x0f, 0x22, 0xc1), EXIT_CR_ACCESS, PROC_CR8_LOAD_EXITING, TO | 8 | 1 << 8 },
	{ "MOV from CR8 to R9", BYTES(0x45, 0x0f, 0x20, 0xc1), EXIT_CR_ACCESS, PROC_CR8_STORE_EXITING, FROM | 8 | 9 << 8 },
	{ "MOV to DR7", BYTES(0x0f, 0x23, 0xf8), EXIT_MOV_DR, PROC_MOV_DR_EXITING, TO | 7 },
	{ "MOV from DR0 to R12", BYTES(0x41, 0x0f, 0x21, 0xc4), EXIT_MOV_DR, PROC_MOV_DR_EXITING, FROM | 0 | 12 << 8 },
	{ "IN AL, 7FH", BYTES(0xe4, 0x7f), EXIT_IO, ALL_IO, IO_IN | IO_IMMEDIATE | IO_1 | 0x7f << 16 },
	{ "IN AX, 7EH", BYTES(0x66, 0xe5, 0x7e), EXIT_IO, ALL_IO, IO_IN | IO_IMMEDIATE | IO_2 | 0x7e << 16 },
	{ "IN EAX, 7DH", BYTES(0xe5, 0x7d), EXIT_IO, ALL_IO, IO_IN | IO_IMMEDIATE | IO_4 | 0x7d << 16 },
	{ "IN AL, DX", BYTES(0xec), EXIT_IO, ALL_IO, IO_IN | IO_1 },
	{ "IN AX, DX", BYTES(0x66, 0xed), EXIT_IO, ALL_IO, IO_IN | IO_2 },
	{ "IN EAX, DX", BYTES(0xed), EXIT_IO, ALL_IO, IO_IN | IO_4 },
	{ "OUT 80H, AL", BYTES(0xe6, 0x80), EXIT_IO, ALL_IO, IO_IMMEDIATE | IO_1 | 0x80 << 16 },
	{ "OUT 80H, AX", BYTES(0x66, 0xe7, 0x80), EXIT_IO, ALL_IO, IO_IMMEDIATE | IO_2 | 0x80 << 16 },
	{ "OUT 80H, EAX", BYTES(0xe7, 0x80), EXIT_IO, ALL_IO, IO_IMMEDIATE | IO_4 | 0x80 << 16 },
	{ "OUT DX, AL", BYTES(0xee), EXIT_IO, ALL_IO, IO_1 },
	{ "OUT DX, AX", BYTES(0x66, 0xef), EXIT_IO, ALL_IO, IO_2 },
	{ "OUT DX, EAX", BYTES(0xef), EXIT_IO, ALL_IO, IO_4 },
	{ "INSB", BYTES(0x6c), EXIT_IO, ALL_IO, IO_IN | IO_STRING | IO_1 },
	{ "INSW", BYTES(0x66, 0x6d), EXIT_IO, ALL_IO, IO_IN | IO_STRING | IO_2 },
	{ "REP INSD", BYTES(0xf3, 0x6d), EXIT_IO, ALL_IO, IO_IN | IO_STRING | IO_REP | IO_4 },
	{ "OUTSB", BYTES(0x6e), EXIT_IO, ALL_IO, IO_STRING | IO_1 },
	{ "OUTSD", BYTES(0x6f), EXIT_IO, ALL_IO, IO_STRING | IO_4 },
	{ "REP OUTSW from FS", BYTES(0x64, 0xf3, 0x66, 0x6f), EXIT_IO, ALL_IO, IO_STRING | IO_REP | IO_2 },
	{ "RDMSR", BYTES(0x0f, 0x32), EXIT_RDMSR, 0, 0 },
	{ "WRMSR", BYTES(0x0f, 0x30), EXIT_WRMSR, 0, 0 },
	{ "MWAIT", BYTES(0x0f, 0x01, 0xc9), EXIT_MWAIT, PROC_MWAIT_EXITING, ANY_QUALIFICATION },
	{ "MONITOR", BYTES(0x0f, 0x01, 0xc8), EXIT_MONITOR, PROC_MONITOR_EXITING, 0 },
	{ "PAUSE", BYTES(0xf3, 0x90), EXIT_PAUSE, PROC_PAUSE_EXITING, 0 },
	{ "SGDT", BYTES(0x0f, 0x01, 0x43, DISPLACEMENT), EXIT_GDTR_IDTR, PROC2_DESCRIPTOR_TABLE_EXITING, DISPLACEMENT },
	{ "SIDT", BYTES(0x0f, 0x01, 0x4b, DISPLACEMENT), EXIT_GDTR_IDTR, PROC2_DESCRIPTOR_TABLE_EXITING, DISPLACEMENT },
	{ "LGDT", BYTES(0x0f, 0x01, 0x53, DISPLACEMENT), EXIT_GDTR_IDTR, PROC2_DESCRIPTOR_TABLE_EXITING, DISPLACEMENT },
	{ "LIDT", BYTES(0x0f, 0x01, 0x5b, DISPLACEMENT), EXIT_GDTR_IDTR, PROC2_DESCRIPTOR_TABLE_EXITING, DISPLACEMENT },
	{ "SLDT", BYTES(0x0f, 0x00, 0x43, DISPLACEMENT), EXIT_LDTR_TR, PROC2_DESCRIPTOR_TABLE_EXITING, DISPLACEMENT },
	{ "STR RAX", BYTES(0x48, 0x0f, 0x00, 0xc8), EXIT_LDTR_TR, PROC2_DESCRIPTOR_TABLE_EXITING, ANY_QUALIFICATION },
	{ "LLDT CX", BYTES(0x0f, 0x00, 0xd1), EXIT_LDTR_TR, PROC2_DESCRIPTOR_TABLE_EXITING, ANY_QUALIFICATION },
	{ "LTR", BYTES(0x0f, 0x00, 0x5b, DISPLACEMENT), EXIT_LDTR_TR, PROC2_DESCRIPTOR_TABLE_EXITING, DISPLACEMENT },
	{ "INVEPT", BYTES(0x66, 0x0f, 0x38, 0x80, 0x4b, DISPLACEMENT), EXIT_INVEPT, CAP_INVEPT, DISPLACEMENT },
	{ "RDTSCP", BYTES(0x0f, 0x01, 0xf9), EXIT_RDTSCP, PROC2_ENABLE_RDTSCP, 0 },
	{ "INVVPID", BYTES(0x66, 0x0f, 0x38, 0x81, 0x4b, DISPLACEMENT), EXIT_INVVPID, CAP_INVVPID, DISPLACEMENT },
	{ "WBINVD", BYTES(0x0f, 0x09), EXIT_WBINVD, PROC2_WBINVD_EXITING, 0 },
	{ "WBNOINVD", BYTES(0xf3, 0x0f, 0x09), EXIT_WBINVD, PROC2_WBINVD_EXITING, ANY_QUALIFICATION },
	{ "XSETBV", BYTES(0x0f, 0x01, 0xd1), EXIT_XSETBV, FEATURE_XSAVE, 0 },
	{ "RDRAND EAX", BYTES(0x0f, 0xc7, 0xf0), EXIT_RDRAND, PROC2_RDRAND_EXITING, 0 },
	{ "RDRAND R11W", BYTES(0x66, 0x41, 0x0f, 0xc7, 0xf3), EXIT_RDRAND, PROC2_RDRAND_EXITING, 0 },
	{ "INVPCID", BYTES(0x66, 0x0f, 0x38, 0x82, 0x4b, DISPLACEMENT), EXIT_INVPCID,
	  PROC2_ENABLE_INVPCID, DISPLACEMENT },
	{ "VMFUNC", BYTES(0x0f, 0x01, 0xd4), EXIT_VMFUNC, PROC2_ENABLE_VM_FUNCTIONS, 0 },
	{ "ENCLS", BYTES(0x0f, 0x01, 0xcf), EXIT_ENCLS, PROC2_ENABLE_ENCLS_EXITING, 0 },
	{ "RDSEED RDX", BYTES(0x48, 0x0f, 0xc7, 0xfa), EXIT_RDSEED, PROC2_RDSEED_EXITING, 0 },
	{ "XSAVES", BYTES(0x0f, 0xc7, 0x6b, DISPLACEMENT), EXIT_XSAVES, XSAVES_CONTROL, DISPLACEMENT },
	{ "XRSTORS64", BYTES(0x48, 0x0f, 0xc7, 0x5b, DISPLACEMENT), EXIT_XRSTORS, XSAVES_CONTROL, DISPLACEMENT },
	{ "PCONFIG", BYTES(0x0f, 0x01, 0xc5), EXIT_PCONFIG, PROC2_ENABLE_PCONFIG, 0 },
	{ "UMWAIT ECX", BYTES(0xf2, 0x0f, 0xae, 0xf1), EXIT_UMWAIT, PROC2_ENABLE_USER_WAIT_AND_PAUSE, 0 },
	{ "TPAUSE ECX", BYTES(0x66, 0x0f, 0xae, 0xf1), EXIT_TPAUSE, PROC2_ENABLE_USER_WAIT_AND_PAUSE, 0 },
	{ "ENCLV", BYTES(0x0f, 0x01, 0xc0), EXIT_ENCLV, PROC2_ENABLE_ENCLV_EXITING, 0 },
	{ "RDMSRLIST", BYTES(0xf2, 0x0f, 0x01, 0xc6), EXIT_RDMSRLIST, MSR_LIST, ANY_QUALIFICATION },
	{ "WRMSRLIST", BYTES(0xf3, 0x0f, 0x01, 0xc6), EXIT_WRMSRLIST, MSR_LIST, ANY_QUALIFICATION },
};

const size_t exiting_instruction_count = ARRAY_SIZE(exiting_instructions);

/* Controls that make instructions exit, or without which one raises #UD rather than exits. */
static const u32 controls[] = {
	PROC_HLT_EXITING, PROC_INVLPG_EXITING, PROC_MWAIT_EXITING, PROC_RDPMC_EXITING, PROC_RDTSC_EXITING,
	PROC_CR3_LOAD_EXITING, PROC_CR3_STORE_EXITING, PROC_CR8_LOAD_EXITING, PROC_CR8_STORE_EXITING,
	PROC_MOV_DR_EXITING, PROC_UNCONDITIONAL_IO_EXITING, PROC_MONITOR_EXITING, PROC_PAUSE_EXITING,
	PROC2_DESCRIPTOR_TABLE_EXITING, PROC2_ENABLE_RDTSCP, PROC2_WBINVD_EXITING, PROC2_RDRAND_EXITING,
	PROC2_ENABLE_INVPCID, PROC2_ENABLE_VM_FUNCTIONS, PROC2_ENABLE_ENCLS_EXITING, PROC2_RDSEED_EXITING,
	PROC2_ENABLE_XSAVES_XRSTORS, PROC2_ENABLE_USER_WAIT_AND_PAUSE, PROC2_ENABLE_PCONFIG,
	PROC2_ENABLE_ENCLV_EXITING, PROC3_ENABLE_MSR_LIST_INSTRUCTIONS,
};

static const enum vmcs_field bitmaps[] = {
	XSS_EXITING_BITMAP, ENCLS_EXITING_BITMAP, PCONFIG_EXITING_BITMAP, ENCLV_EXITING_BITMAP,
};
static const u32 bitmap_controls[] = {
	PROC2_ENABLE_XSAVES_XRSTORS, PROC2_ENABLE_ENCLS_EXITING, PROC2_ENABLE_PCONFIG, PROC2_ENABLE_ENCLV_EXITING,
};

u8 exiting_code[MAX_INSTRUCTION_LENGTH + 2];
static u8 operand[PAGE_SIZE] ALIGNED(4096);
static u64 host_xss;

/* The state components that IA32_XSS may enable. */
static u64 supported_xss(void)
{
	const struct cpuid c = cpuid(0xd, 1);

	return has(FEATURE_XSAVES) ? (u64)c.edx << 32 | c.ecx : 0;
}

/* SGX may be switched off by the firmware: then ENCLS and ENCLV are #UD, whatever the controls are. */
static bool sgx_leaf_exists(u32 bit)
{
	return has(FEATURE_SGX) && cpuid(0x12, 0).eax & BIT(bit);
}

/* What makes an instruction exit that only exists with its need; the feature of one that exits by its need. */
static u32 needed_too(u32 reason)
{
	switch (reason) {
	case EXIT_MWAIT:
	case EXIT_MONITOR:
		return FEATURE_MONITOR;
	case EXIT_RDTSCP:
	case EXIT_UMWAIT:
	case EXIT_TPAUSE:
		return PROC_RDTSC_EXITING;
	case EXIT_INVPCID:
		return PROC_INVLPG_EXITING;
	default:
		return 0;
	}
}

bool exiting_instruction_exists(const struct exiting_instruction *instruction)
{
	if (instruction->reason == EXIT_XSAVES || instruction->reason == EXIT_XRSTORS)
		return has(instruction->need) && supported_xss();
	if (instruction->reason == EXIT_ENCLS || instruction->reason == EXIT_ENCLV)
		return has(instruction->need) && sgx_leaf_exists(instruction->reason == EXIT_ENCLS ? 0 : 5);
	if (needed_too(instruction->reason) && !has(needed_too(instruction->reason)))
		return false;
	return !instruction->need || has(instruction->need);
}

void exit_on_every_instruction(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(controls); i++)
		if (has(controls[i]))
			vmcs_set_controls(controls[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bitmaps); i++)
		if (has(bitmap_controls[i]))
			vmcs_write(bitmaps[i], ~0ull);
	vmcs_write(CR0_GUEST_HOST_MASK, ~0ull);
	vmcs_write(CR0_READ_SHADOW, CR0_TS);
	vmcs_write(CR4_GUEST_HOST_MASK, ~0ull);
	vmcs_write(CR4_READ_SHADOW, ~0ull);
	vmcs_write(GUEST_CR4, read_cr4() | (has(FEATURE_XSAVE) ? CR4_OSXSAVE : 0) | (has(FEATURE_SMX) ? CR4_SMXE : 0));
	if (supported_xss()) {
		host_xss = rdmsr(IA32_XSS);
		wrmsr(IA32_XSS, supported_xss());
	}
}

void exit_on_every_instruction_ends(void)
{
	if (supported_xss())
		wrmsr(IA32_XSS, host_xss);
}

struct outcome run_instruction(const struct exiting_instruction *instruction, const u8 *prefixes, size_t count)
{
	static const u8 ud2[] = { 0x0f, 0x0b };

	memcpy(exiting_code, prefixes, count);
	memcpy(exiting_code + count, instruction->bytes, instruction->length);
	memcpy(exiting_code + count + instruction->length, ud2, sizeof(ud2));
	/* Every leaf and every state component; VMFUNC has no leaf above 63. */
	guest.regs.rax = instruction->reason == EXIT_VMFUNC ? 63 : 0xffffffff;
	guest.regs.rcx = guest.regs.rdx = 0;
	/* RCX of these says which entries of the list there are; without any they do nothing, and do not exit. */
	if (instruction->reason == EXIT_RDMSRLIST || instruction->reason == EXIT_WRMSRLIST)
		guest.regs.rcx = BIT(0);
	guest.regs.rbx = guest.regs.rsi = guest.regs.rdi = (u64)operand;
	return guest_run_at(exiting_code);
}
