/* SPDX-License-Identifier: BSD-2-Clause */
/* "Saving RIP, RSP, RFLAGS, and SSP" (SDM Vol. 3C): the instruction pointer and the stack pointer. */
#include "hostload.h"

#include "libc/string.h"
#include "vmx/bitmaps.h"
#include "vmx/ept.h"
#include "x86/apic.h"
#include "x86/interrupt.h"
#include "x86/page.h"

static const u8 stop[] = { 0x0f, 0x01, 0xc1 };

/* Instructions that exit before they have done anything, with the control or the exception that makes them. */
static const struct {
	const char *text;
	u32 length;
	u8 bytes[8];
	u32 reason;
	u32 control;			/* 0: none */
	u32 exception;			/* bits of the exception bitmap */
} fault_like[] = {
	{ "CPUID", 2, { 0x0f, 0xa2 }, EXIT_CPUID, 0, 0 },
	{ "VMCALL", 3, { 0x0f, 0x01, 0xc1 }, EXIT_VMCALL, 0, 0 },
	{ "VMXOFF", 3, { 0x0f, 0x01, 0xc4 }, EXIT_VMXOFF, 0, 0 },
	{ "INVD", 2, { 0x0f, 0x08 }, EXIT_INVD, 0, 0 },
	{ "RDMSR", 2, { 0x0f, 0x32 }, EXIT_RDMSR, 0, 0 },
	{ "WRMSR", 2, { 0x0f, 0x30 }, EXIT_WRMSR, 0, 0 },
	{ "HLT", 1, { 0xf4 }, EXIT_HLT, PROC_HLT_EXITING, 0 },
	{ "RDTSC", 2, { 0x0f, 0x31 }, EXIT_RDTSC, PROC_RDTSC_EXITING, 0 },
	{ "PAUSE", 2, { 0xf3, 0x90 }, EXIT_PAUSE, PROC_PAUSE_EXITING, 0 },
	{ "MOV to CR3", 3, { 0x0f, 0x22, 0xd8 }, EXIT_CR_ACCESS, PROC_CR3_LOAD_EXITING, 0 },
	{ "MOV from CR3", 3, { 0x0f, 0x20, 0xd8 }, EXIT_CR_ACCESS, PROC_CR3_STORE_EXITING, 0 },
	{ "MOV to DR7", 3, { 0x0f, 0x23, 0xf8 }, EXIT_MOV_DR, PROC_MOV_DR_EXITING, 0 },
	{ "INVLPG", 3, { 0x0f, 0x01, 0x38 }, EXIT_INVLPG, PROC_INVLPG_EXITING, 0 },
	{ "IN", 1, { 0xec }, EXIT_IO, PROC_UNCONDITIONAL_IO_EXITING, 0 },
	{ "REP OUTSB", 2, { 0xf3, 0x6e }, EXIT_IO, PROC_UNCONDITIONAL_IO_EXITING, 0 },
	{ "RDPMC", 2, { 0x0f, 0x33 }, EXIT_RDPMC, PROC_RDPMC_EXITING, 0 },
	{ "WBINVD", 2, { 0x0f, 0x09 }, EXIT_WBINVD, PROC2_WBINVD_EXITING, 0 },
	{ "SGDT", 3, { 0x0f, 0x01, 0x00 }, EXIT_GDTR_IDTR, PROC2_DESCRIPTOR_TABLE_EXITING, 0 },
	{ "UD2", 2, { 0x0f, 0x0b }, EXIT_EXCEPTION_OR_NMI, 0, BIT(VECTOR_UD) },
	{ "INT3", 1, { 0xcc }, EXIT_EXCEPTION_OR_NMI, 0, BIT(VECTOR_BP) },
	{ "MOV from a page that is not present", 3, { 0x48, 0x8b, 0x06 }, EXIT_EXCEPTION_OR_NMI, 0, BIT(VECTOR_PF) },
	{ "MOV through an address that is not canonical", 3, { 0x48, 0x8b, 0x07 }, EXIT_EXCEPTION_OR_NMI, 0, BIT(VECTOR_GP) },
};

static void expect_rip_saved(u32 i, u8 *code, u64 alias)
{
	CASE("%s at %#lx", fault_like[i].text, alias + (u64)code);
	memcpy(code, fault_like[i].bytes, fault_like[i].length);
	memcpy(code + fault_like[i].length, stop, sizeof(stop));	/* lest a guest run away that does not exit */
	guest.regs.rax = (u64)code;
	guest.regs.rcx = 1;
	guest.regs.rsi = PAGE_WINDOW;
	guest.regs.rdi = BIT(62);
	guest_run_at((void *)(alias + (u64)code));
	expect_exit(fault_like[i].reason, .rip = alias + (u64)code);
}

TEST("save.rip_fault_like", "an exit that an instruction or a fault causes saves the RIP of the instruction")
{
	u8 *const code = page_alloc_many(2);
	const u64 repeating = page_tables_that_repeat();

	for (u32 i = 0; i < ARRAY_SIZE(fault_like); i++) {
		if (fault_like[i].control && !has(fault_like[i].control))
			continue;
		vmcs_write(GUEST_CR3, read_cr3());
		vmcs_write(EXCEPTION_BITMAP, fault_like[i].exception);
		if (fault_like[i].control)
			vmcs_set_controls(fault_like[i].control);
		for (u32 offset = 1; offset <= PAGE_SIZE; offset *= 2)	/* the last but one crosses the page's end */
			expect_rip_saved(i, code + (offset == PAGE_SIZE ? PAGE_SIZE - 1 : offset), 0);
		if (fault_like[i].control)
			vmcs_clear_controls(fault_like[i].control);
	}
	/* High addresses; there every page is present. */
	vmcs_write(GUEST_CR3, repeating);
	for (u32 i = 0; i < 6; i++)
		for (u32 bit = 30; bit < paged_address_width(); bit++)
			expect_rip_saved(i, code, BIT(bit) | (bit == paged_address_width() - 1 ? -BIT(bit) : 0));
}

extern const u8 save_behind_cr8[], save_behind_tpr[], save_behind_eoi[], save_behind_icr[];
GUEST_ASM(save_mov_cr8, "mov %rax, %cr8; save_behind_cr8: nop; ret");
GUEST_ASM(save_write_tpr, "movl %eax, 0x80(%rbx); save_behind_tpr: nop; ret");
GUEST_ASM(save_write_eoi, "movl %eax, 0xb0(%rbx); save_behind_eoi: nop; ret");
GUEST_ASM(save_write_icr, "movl %eax, 0x300(%rbx); save_behind_icr: nop; ret");
GUEST_ASM(save_nops, "nop; nop; ret");		/* behind a CALL */

TEST("save.rip_trap_like", "exits behind an instruction (TPR threshold, APIC write, monitor trap flag) save the next RIP",
     NEEDS(PROC_USE_TPR_SHADOW))
{
	u8 *apic = vmcs_use_tpr_shadow(3);

	for (u32 class = 0; class < 3; class++) {
		CASE("MOV to CR8, class %u", class);
		*(u32 *)(apic + APIC_TPR) = 0x40;
		guest.regs.rax = class;
		guest_run(save_mov_cr8);
		expect_exit(EXIT_TPR_BELOW_THRESHOLD, .rip = (u64)save_behind_cr8);
	}
	if (has(PROC2_VIRTUALIZE_APIC_ACCESSES)) {
		u8 *access = vmcs_use_apic_access_page();

		page_map(PAGE_WINDOW, physical_address(access), PAGE_PRESENT | PAGE_WRITE);
		guest.regs.rbx = PAGE_WINDOW;
		CASE("MOV to the TPR in memory");
		*(u32 *)(apic + APIC_TPR) = 0x40;
		guest.regs.rax = 0x20;
		guest_run(save_write_tpr);
		expect_exit(EXIT_TPR_BELOW_THRESHOLD, .rip = (u64)save_behind_tpr);
	}
	if (has(PROC2_VIRTUALIZE_APIC_ACCESSES) && has(PROC2_APIC_REGISTER_VIRTUALIZATION)) {
		CASE("MOV to the ICR in memory");
		vmcs_set_controls(PROC2_APIC_REGISTER_VIRTUALIZATION);
		*(u32 *)(apic + APIC_TPR) = 0x40;	/* below the threshold VM entry would exit */
		guest.regs.rax = 0xffff;
		guest_run(save_write_icr);
		expect_exit(EXIT_APIC_WRITE, .rip = (u64)save_behind_icr);
	}
	/* Whether the monitor trap flag exits at all is the business of other tests. */
	if (has(PROC_MONITOR_TRAP_FLAG)) {
		CASE("monitor trap flag");
		vmcs_set_controls(PROC_MONITOR_TRAP_FLAG);
		guest_run(save_nops);
		if (guest.outcome.number == EXIT_MONITOR_TRAP_FLAG)
			expect_exit(EXIT_MONITOR_TRAP_FLAG, .rip = (u64)save_nops);
	}
}

TEST("save.rip_eoi", "a virtualized EOI saves the RIP behind the write to the EOI register",
     NEEDS(PROC_USE_TPR_SHADOW, PROC2_VIRTUALIZE_APIC_ACCESSES, PROC2_VIRTUAL_INTERRUPT_DELIVERY))
{
	u8 *const apic = vmcs_use_tpr_shadow(0);

	page_map(PAGE_WINDOW, physical_address(vmcs_use_apic_access_page()), PAGE_PRESENT | PAGE_WRITE);
	guest.regs.rbx = PAGE_WINDOW;
	vmcs_set_controls(PROC2_VIRTUAL_INTERRUPT_DELIVERY, PIN_EXTERNAL_INTERRUPT_EXITING);
	vmcs_write(EOI_EXIT_BITMAP_1, ~0ull);
	vmcs_write(GUEST_INTERRUPT_STATUS, 0x51 << 8);
	*(u32 *)(apic + APIC_ISR + 0x51 / 32 * 16) = 1u << 0x51 % 32;
	guest_run(save_write_eoi);
	expect_exit(EXIT_VIRTUALIZED_EOI, .rip = (u64)save_behind_eoi);
}

/* Instructions that use the stack, whose access faults: RAX is an address that can be read. */
static const struct {
	const char *text;
	u32 length;
	u8 bytes[6];
	bool reads;			/* the stack; the others write below it */
	bool short_access;		/* of two bytes, or perhaps */
} stack_users[] = {
	{ "PUSH RAX", 1, { 0x50 }, false, false },
	{ "PUSH AX", 2, { 0x66, 0x50 }, false, true },
	{ "PUSH imm8", 2, { 0x6a, 0x12 }, false, false },
	{ "PUSH imm32", 5, { 0x68, 0x12, 0x34, 0x56, 0x78 }, false, false },
	{ "PUSH mem", 2, { 0xff, 0x30 }, false, false },
	{ "PUSH FS", 2, { 0x0f, 0xa0 }, false, false },
	{ "PUSHF", 1, { 0x9c }, false, false },
	{ "CALL rel32", 5, { 0xe8, 0x00, 0x00, 0x00, 0x00 }, false, false },
	{ "CALL RAX", 2, { 0xff, 0xd0 }, false, false },
	{ "CALL mem", 2, { 0xff, 0x10 }, false, false },
	{ "ENTER 16, 0", 4, { 0xc8, 0x10, 0x00, 0x00 }, false, false },
	{ "ENTER 16, 3", 4, { 0xc8, 0x10, 0x00, 0x03 }, false, false },
	{ "POP RAX", 1, { 0x58 }, true, false },
	{ "POP RSP", 1, { 0x5c }, true, false },
	{ "POPF", 1, { 0x9d }, true, false },
	{ "POP FS", 2, { 0x0f, 0xa1 }, true, true },
	{ "RET", 1, { 0xc3 }, true, false },
	{ "RET 8", 3, { 0xc2, 0x08, 0x00 }, true, false },
	{ "IRETQ", 2, { 0x48, 0xcf }, true, false },
};

/* Three pages: the stack is in the middle one; below it and above there may be none. */
#define STACK_PAGE (PAGE_WINDOW + PAGE_SIZE)

static void enter_at(u64 rip, u64 rsp)
{
	vmcs_write(GUEST_RIP, rip);
	vmcs_write(GUEST_RSP, rsp);
	guest_enter();
}

static void expect_rsp_rolled_back(u8 *code, u32 reason)
{
	/* The first byte that is missing is one of the eight; ENTER 16, 3 reads and writes more than that. */
	static const u32 distances[] = { 0, 1, 4, 7 };

	for (u32 i = 0; i < ARRAY_SIZE(stack_users); i++)
		for (u32 d = 0; d < ARRAY_SIZE(distances); d++) {
			const u64 rsp = stack_users[i].reads ? STACK_PAGE + PAGE_SIZE - distances[d]
							     : STACK_PAGE + distances[d];

			if (stack_users[i].short_access && distances[d] > 1)
				continue;
			CASE("exit %u, %s, RSP %#lx", reason, stack_users[i].text, rsp);
			memcpy(code, stack_users[i].bytes, stack_users[i].length);
			memcpy(code + stack_users[i].length, stop, sizeof(stop));
			guest.regs.rax = (u64)code;
			guest.regs.rbp = (u64)code + 256;
			enter_at((u64)code, rsp);
			expect_exit(reason, .rip = (u64)code);
			expect_eq(vmcs_read(GUEST_RSP), rsp);
			expect_eq(guest.regs.rbp, (u64)code + 256);
			expect_eq(guest.regs.rax, (u64)code);
		}
}

TEST("save.rsp_fault_rollback", "a fault or an EPT violation in an instruction that uses the stack saves RSP as it was")
{
	u8 *const code = page_alloc(), *const stack = page_alloc_many(3);

	guest_run(guest_ends);
	expect_guest_done();
	page_map(STACK_PAGE, physical_address(stack + PAGE_SIZE), PAGE_PRESENT | PAGE_WRITE);
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_PF));
	vmcs_write(PAGE_FAULT_ERROR_CODE_MASK, 0);
	vmcs_write(PAGE_FAULT_ERROR_CODE_MATCH, 0);
	expect_rsp_rolled_back(code, EXIT_EXCEPTION_OR_NMI);

	/* The twin: an instruction that succeeds saves the new RSP. */
	memcpy(code, "\x50\x0f\x01\xc1", 4);		/* PUSH RAX; VMCALL */
	for (u32 bit = 3; bit < 12; bit++) {
		CASE("PUSH that succeeds, RSP %#lx", STACK_PAGE + BIT(bit));
		enter_at((u64)code, STACK_PAGE + BIT(bit));
		expect_exit(EXIT_VMCALL);
		expect_eq(vmcs_read(GUEST_RSP), STACK_PAGE + BIT(bit) - 8);
	}
	memcpy(code, "\x48\x89\xc4\x0f\x01\xc1", 6);	/* MOV RSP, RAX; VMCALL */
	for (u32 bit = 0; bit < 64; bit++) {
		CASE("MOV to RSP, bit %u", bit);
		guest.regs.rax = bit & 1 ? ~BIT(bit) : BIT(bit);
		enter_at((u64)code, STACK_PAGE);
		expect_exit(EXIT_VMCALL);
		expect_eq(vmcs_read(GUEST_RSP), guest.regs.rax);
	}

	if (!has(PROC2_ENABLE_EPT))
		return;
	page_map(PAGE_WINDOW, physical_address(stack), PAGE_PRESENT | PAGE_WRITE);
	page_map(STACK_PAGE + PAGE_SIZE, physical_address(stack + 2 * PAGE_SIZE), PAGE_PRESENT | PAGE_WRITE);
	vmcs_use_ept();
	*ept_entry(physical_address(stack), 1) = 0;
	*ept_entry(physical_address(stack + 2 * PAGE_SIZE), 1) = 0;
	ept_flush();
	expect_rsp_rolled_back(code, EXIT_EPT_VIOLATION);
}
