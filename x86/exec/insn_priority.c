/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults that come before a VM exit, and those that do not ("Relative Priority of Faults and VM Exits"). */
#include "insn.h"
#include "io.h"
#include "msr.h"

#include "libc/string.h"
#include "x86/cpu.h"

/* RAX: an address for those with an operand in memory, else a value; RCX and RDX 0 unless a test says other. */
static void set_registers(u64 rax, u64 rcx)
{
	guest.regs.rax = rax;
	guest.regs.rcx = rcx;
	guest.regs.rdx = 0;
}

/*
 * Instructions for CPL 0 alone, with the control that makes them exit. Not MOV DR: its exit is the one that comes before
 * the check of the CPL. INVPCID: below; XSAVES and XRSTORS: exit.xsaves.
 */
static const struct privileged {
	struct instruction instruction;
	u32 control, feature;		/* 0: none */
	bool memory;
	u8 vector;			/* 0: #GP */
} privileged[] = {
	{ { "RDMSR", BYTES(0x0f, 0x32), EXIT_RDMSR, 0 }, .control = 0 },
	{ { "WRMSR", BYTES(0x0f, 0x30), EXIT_WRMSR, 0 }, .control = 0 },
	{ { "HLT", BYTES(0xf4), EXIT_HLT, 0 }, .control = PROC_HLT_EXITING },
	{ { "INVLPG", BYTES(0x0f, 0x01, 0x3c, 0x25, 0x78, 0x56, 0x34, 0x12), EXIT_INVLPG, 0x12345678 },
	  .control = PROC_INVLPG_EXITING },
	{ { "INVD", BYTES(0x0f, 0x08), EXIT_INVD, 0 }, .control = 0 },
	{ { "WBINVD", BYTES(0x0f, 0x09), EXIT_WBINVD, 0 }, .control = PROC2_WBINVD_EXITING },
	{ { "CLTS", BYTES(0x0f, 0x06), EXIT_CR_ACCESS, 2 << 4 }, .control = 0 },
	{ { "LMSW AX", BYTES(0x0f, 0x01, 0xf0), EXIT_CR_ACCESS, 3 << 4 }, .control = 0 },
	{ { "MOV CR0, RCX", BYTES(0x0f, 0x22, 0xc1), EXIT_CR_ACCESS, 1 << 8 | 0 }, .control = 0 },
	{ { "MOV CR4, RCX", BYTES(0x0f, 0x22, 0xe1), EXIT_CR_ACCESS, 1 << 8 | 4 }, .control = 0 },
	{ { "MOV CR3, RCX", BYTES(0x0f, 0x22, 0xd9), EXIT_CR_ACCESS, 1 << 8 | 3 }, .control = PROC_CR3_LOAD_EXITING },
	{ { "MOV RCX, CR3", BYTES(0x0f, 0x20, 0xd9), EXIT_CR_ACCESS, 1 << 8 | 1 << 4 | 3 },
	  .control = PROC_CR3_STORE_EXITING },
	{ { "MOV CR8, RCX", BYTES(0x44, 0x0f, 0x22, 0xc1), EXIT_CR_ACCESS, 1 << 8 | 8 }, .control = PROC_CR8_LOAD_EXITING },
	{ { "MOV RCX, CR8", BYTES(0x44, 0x0f, 0x20, 0xc1), EXIT_CR_ACCESS, 1 << 8 | 1 << 4 | 8 },
	  .control = PROC_CR8_STORE_EXITING },
	{ { "RDPMC", BYTES(0x0f, 0x33), EXIT_RDPMC, 0 }, .control = PROC_RDPMC_EXITING },
	{ { "LGDT", BYTES(0x0f, 0x01, 0x10), EXIT_GDTR_IDTR, 0 }, .control = PROC2_DESCRIPTOR_TABLE_EXITING, .memory = true },
	{ { "LIDT", BYTES(0x0f, 0x01, 0x18), EXIT_GDTR_IDTR, 0 }, .control = PROC2_DESCRIPTOR_TABLE_EXITING, .memory = true },
	{ { "LLDT", BYTES(0x0f, 0x00, 0x10), EXIT_LDTR_TR, 0 }, .control = PROC2_DESCRIPTOR_TABLE_EXITING, .memory = true },
	{ { "LTR", BYTES(0x0f, 0x00, 0x18), EXIT_LDTR_TR, 0 }, .control = PROC2_DESCRIPTOR_TABLE_EXITING, .memory = true },
	{ { "MONITOR", BYTES(0x0f, 0x01, 0xc8), EXIT_MONITOR, 0 }, .control = PROC_MONITOR_EXITING, .memory = true,
	  .feature = FEATURE_MONITOR, .vector = VECTOR_UD },
	{ { "MWAIT", BYTES(0x0f, 0x01, 0xc9), EXIT_MWAIT, 0 }, .control = PROC_MWAIT_EXITING,
	  .feature = FEATURE_MONITOR, .vector = VECTOR_UD },
};

/* #GP(0), or #UD, at CPL 3, and the exit at CPL 0. */
static void check_privileged(const struct privileged *row)
{
	const struct instruction *instruction = &row->instruction;
	const u64 rax = row->memory ? (u64)instruction_operand : 0;

	if (row->control)
		vmcs_set_controls(row->control);
	CASE("%s at CPL 3", instruction->text);
	guest_set_cpl3();
	set_registers(rax, 0);
	instruction_run(instruction);
	expect_guest_fault(row->vector ? row->vector : VECTOR_GP, 0);
	CASE("%s at CPL 0", instruction->text);
	guest_set_cpl0();
	set_registers(rax, 0);
	instruction_run(instruction);
	expect_instruction_exit(instruction);
}

TEST("exit.prio.cpl_gp", "an instruction for CPL 0 raises #GP(0) or #UD at CPL 3 and does not exit, as it does at CPL 0")
{
	vmcs_write(CR0_GUEST_HOST_MASK, CR0_TS);
	vmcs_write(CR0_READ_SHADOW, CR0_TS);
	vmcs_write(CR4_GUEST_HOST_MASK, CR4_TSD);
	vmcs_write(CR4_READ_SHADOW, CR4_TSD);
	for (size_t i = 0; i < ARRAY_SIZE(privileged); i++)
		if ((!privileged[i].control || has(privileged[i].control)) && (!privileged[i].feature || has(privileged[i].feature)))
			check_privileged(&privileged[i]);
}

TEST("exit.prio.cpl_gp_invpcid", "INVPCID raises #GP(0) at CPL 3 and does not exit, as it does at CPL 0",
     NEEDS(PROC2_ENABLE_INVPCID, PROC_INVLPG_EXITING))
{
	static const struct privileged invpcid = {
		{ "INVPCID", BYTES(0x66, 0x0f, 0x38, 0x82, 0x08), EXIT_INVPCID, 0 }, .control = PROC_INVLPG_EXITING, .memory = true,
	};

	vmcs_set_controls(PROC2_ENABLE_INVPCID);
	check_privileged(&invpcid);
}

/* Forms that do not exist: the opcode of an instruction that would exit. */
static const struct instruction undefined[] = {
	{ "MOV CR1, RAX", BYTES(0x0f, 0x22, 0xc8), 0, 0 },
	{ "MOV CR5, RAX", BYTES(0x0f, 0x22, 0xe8), 0, 0 },
	{ "MOV RAX, CR5", BYTES(0x0f, 0x20, 0xe8), 0, 0 },
	{ "MOV CR9, RAX", BYTES(0x44, 0x0f, 0x22, 0xc8), 0, 0 },
	{ "LOCK MOV CR3, RAX", BYTES(0xf0, 0x0f, 0x22, 0xd8), 0, 0 },
	{ "LOCK MOV DR7, RAX", BYTES(0xf0, 0x0f, 0x23, 0xf8), 0, 0 },
	{ "LOCK CPUID", BYTES(0xf0, 0x0f, 0xa2), 0, 0 },
	{ "LOCK HLT", BYTES(0xf0, 0xf4), 0, 0 },
	{ "LOCK INVD", BYTES(0xf0, 0x0f, 0x08), 0, 0 },
	{ "LOCK WBINVD", BYTES(0xf0, 0x0f, 0x09), 0, 0 },
	{ "LOCK INVLPG", BYTES(0xf0, 0x0f, 0x01, 0x38), 0, 0 },
	{ "LOCK RDMSR", BYTES(0xf0, 0x0f, 0x32), 0, 0 },
	{ "LOCK WRMSR", BYTES(0xf0, 0x0f, 0x30), 0, 0 },
	{ "LOCK RDTSC", BYTES(0xf0, 0x0f, 0x31), 0, 0 },
	{ "LOCK RDPMC", BYTES(0xf0, 0x0f, 0x33), 0, 0 },
	{ "LOCK IN", BYTES(0xf0, 0xec), 0, 0 },
	{ "LOCK OUTSB", BYTES(0xf0, 0x6e), 0, 0 },
	{ "LOCK CLTS", BYTES(0xf0, 0x0f, 0x06), 0, 0 },
	{ "LOCK LGDT", BYTES(0xf0, 0x0f, 0x01, 0x10), 0, 0 },
	{ "LOCK SIDT", BYTES(0xf0, 0x0f, 0x01, 0x08), 0, 0 },
	{ "LOCK LLDT", BYTES(0xf0, 0x0f, 0x00, 0x10), 0, 0 },
	{ "LOCK STR", BYTES(0xf0, 0x0f, 0x00, 0x08), 0, 0 },
	{ "LOCK VMCALL", BYTES(0xf0, 0x0f, 0x01, 0xc1), 0, 0 },
	{ "LOCK VMLAUNCH", BYTES(0xf0, 0x0f, 0x01, 0xc2), 0, 0 },
	{ "LOCK VMXOFF", BYTES(0xf0, 0x0f, 0x01, 0xc4), 0, 0 },
	{ "LOCK VMREAD", BYTES(0xf0, 0x0f, 0x78, 0x08), 0, 0 },
	{ "LOCK VMPTRST", BYTES(0xf0, 0x0f, 0xc7, 0x38), 0, 0 },
	{ "VMREAD with 66H", BYTES(0x66, 0x0f, 0x78, 0xc8), 0, 0 },
	{ "VMWRITE with F3H", BYTES(0xf3, 0x0f, 0x79, 0xc8), 0, 0 },
};

TEST("exit.prio.ud_modrm", "an invalid form of an instruction raises #UD and does not exit")
{
	static const u32 controls[] = {
		PROC_HLT_EXITING, PROC_INVLPG_EXITING, PROC_RDTSC_EXITING, PROC_RDPMC_EXITING, PROC_MOV_DR_EXITING,
		PROC_CR3_LOAD_EXITING, PROC_CR3_STORE_EXITING, PROC_CR8_LOAD_EXITING, PROC_CR8_STORE_EXITING,
		PROC_UNCONDITIONAL_IO_EXITING, PROC2_WBINVD_EXITING, PROC2_DESCRIPTOR_TABLE_EXITING,
	};

	for (size_t i = 0; i < ARRAY_SIZE(controls); i++)
		if (has(controls[i]))
			vmcs_set_controls(controls[i]);
	vmcs_write(CR0_GUEST_HOST_MASK, CR0_TS);
	vmcs_write(CR0_READ_SHADOW, CR0_TS);
	for (u32 cpl = 0; cpl < 4; cpl += 3) {
		for (size_t i = 0; i < ARRAY_SIZE(undefined); i++) {
			/* At CPL 3 the manual leaves open which fault of MOV to and from these registers wins. */
			if (cpl == 3 && undefined[i].bytes[0] != 0xf0)
				continue;
			CASE("%s at CPL %u", undefined[i].text, cpl);
			if (cpl == 3)
				guest_set_cpl3();
			set_registers((u64)instruction_operand, 0);
			instruction_run(&undefined[i]);
			expect_guest_fault(VECTOR_UD, 0);
		}
	}
}

TEST("exit.prio.rdmsr_absent", "RDMSR of an MSR that does not exist exits where it is to exit, and else raises #GP(0)",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	u8 *bitmap = vmcs_use_msr_bitmap();
	u64 value;
	u32 tried = 0;

	msr_trap_faults();
	for (u32 n = 0; n < 0x4000; n += 0x55) {
		const u32 msr = n < 0x2000 ? n : 0xc0000000 + n - 0x2000;

		if (msr_value(msr, &value))
			continue;
		tried++;
		CASE("MSR %#x", msr);
		memset(bitmap, 0xff, PAGE_SIZE);
		msr_read(msr);
		expect_msr_exit(MSR_READ);
		vmcs_clear_controls(PROC_USE_MSR_BITMAPS);
		msr_read(msr);
		expect_msr_exit(MSR_READ);
		vmcs_set_controls(PROC_USE_MSR_BITMAPS);
		memset(bitmap, 0, PAGE_SIZE);
		msr_read(msr);
		expect_exit(EXIT_EXCEPTION_OR_NMI);
		expect_msr_passed();
	}
	CASE("MSR 40000000H, which no processor will have");
	msr_read(0x40000000);
	expect_msr_exit(MSR_READ);
	expect_at_least(tried, 11);
}

/* A TSS for the guest, with the permission of all ports denied. */
static u8 *make_guest_tss(void)
{
	u8 *tss = page_alloc_many(4);
	u8 *bitmap = tss + sizeof(struct tss);

	memcpy(tss, &this_cpu()->tss, sizeof(struct tss));
	((struct tss *)tss)->iomap_base = sizeof(struct tss);
	memset(bitmap, 0xff, PORTS / 8 + 1);
	vmcs_write(GUEST_TR_BASE, physical_address(tss));
	vmcs_write(GUEST_TR_LIMIT, sizeof(struct tss) + PORTS / 8);
	return bitmap;
}

/* A fault would leave the guest at CPL 0. */
static void run_at_cpl3(const struct io_form *form, u16 port, u64 rflags)
{
	guest_set_cpl3();
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | rflags);
	io_run(form, port);
}

TEST("exit.prio.io_perm", "IN and OUT that IOPL and the I/O permission bitmap refuse raise #GP(0) and do not exit",
     NEEDS(PROC_UNCONDITIONAL_IO_EXITING))
{
	u8 *permissions = make_guest_tss();

	vmcs_set_controls(PROC_UNCONDITIONAL_IO_EXITING);
	guest.regs.rcx = 1;
	guest.regs.rsi = guest.regs.rbx = (u64)instruction_operand;
	for (u32 f = 0; f < IO_FORMS; f++)
		for (u32 i = 0; i < HARMLESS_PORTS; i++) {
			const struct io_form *form = &io_forms[f];
			const u16 port = io_harmless_ports[i];

			/* Any port of the access that is refused refuses it. */
			for (u32 byte = 0; byte < io_width(form); byte++)
				bitmap_clear(permissions, port + byte);
			for (u32 byte = 0; byte < io_width(form); byte++) {
				CASE("%s at port %#x, port %#x denied", form->text, port, port + byte);
				bitmap_set(permissions, port + byte);
				run_at_cpl3(form, port, 0);
				expect_guest_fault(VECTOR_GP, 0);
				bitmap_clear(permissions, port + byte);
			}
			CASE("%s at port %#x, permitted", form->text, port);
			run_at_cpl3(form, port, 0);
			expect_io_exit(form, port);
			memset(permissions, 0xff, PORTS / 8);

			CASE("%s at port %#x, IOPL 3", form->text, port);
			run_at_cpl3(form, port, RFLAGS_IOPL);
			expect_io_exit(form, port);
		}
}

TEST("exit.prio.tsd", "RDTSC at CPL 3 with CR4.TSD 1 raises #GP(0) and does not exit", NEEDS(PROC_RDTSC_EXITING))
{
	static const struct instruction rdtsc_exits = { "RDTSC", BYTES(0x0f, 0x31), EXIT_RDTSC, 0 };
	const u64 cr4 = vmcs_read(GUEST_CR4) & ~(u64)CR4_TSD;

	vmcs_set_controls(PROC_RDTSC_EXITING);
	for (u32 cpl = 0; cpl < 4; cpl += 3)
		for (u32 tsd = 0; tsd < 2; tsd++) {
			CASE("CPL %u, CR4.TSD %u", cpl, tsd);
			if (cpl == 3)
				guest_set_cpl3();
			vmcs_write(GUEST_CR4, cr4 | (tsd ? CR4_TSD : 0));
			set_registers(0, 0);
			instruction_run(&rdtsc_exits);
			if (cpl == 3 && tsd)
				expect_guest_fault(VECTOR_GP, 0);
			else
				expect_instruction_exit(&rdtsc_exits);
		}
}

TEST("exit.prio.vmx_after_insn_bp", "an instruction breakpoint is delivered before the exit of the instruction",
     NEEDS(ENTRYCTL_LOAD_DEBUG_CONTROLS))
{
	static const struct instruction cpuid_exits = { "CPUID", BYTES(0x0f, 0xa2), EXIT_CPUID, 0 };
	const u64 dr0 = read_dr0(), dr6 = read_dr6();

	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	write_dr0((u64)instruction_code);
	for (u32 exits = 0; exits < 2; exits++) {
		CASE("#DB exits: %u", exits);
		vmcs_write(GUEST_DR7, 0x402);		/* G0: execution at DR0 */
		vmcs_write(EXCEPTION_BITMAP, exits ? BIT(VECTOR_DB) : 0);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
		set_registers(0, 0);
		instruction_run(&cpuid_exits);
		if (!exits) {
			expect_guest_fault(VECTOR_DB, 0);
			expect_eq(guest.fault.frame.rip, (u64)instruction_code);
			continue;
		}
		expect_exit(EXIT_EXCEPTION_OR_NMI, .qualification = 1, .rip = (u64)instruction_code);
		expect_eq(vmcs_read(EXIT_INTERRUPTION_INFORMATION) & 0xff, VECTOR_DB);
		vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_RF);	/* no breakpoint for one instruction */
		guest_resume();
		expect_exit(EXIT_CPUID, .rip = (u64)instruction_code);
	}
	write_dr0(dr0);
	write_dr6(dr6);
}
