/* SPDX-License-Identifier: BSD-2-Clause */
/* "Saving Control Registers, Debug Registers, and MSRs" (SDM Vol. 3C). */
#include "hostload.h"

#include "libc/string.h"
#include "machine/memory.h"
#include "x86/cr4.h"
#include "x86/page.h"
#include "x86/perfmon.h"

#define POISON 0x5eed5eed5eed5eedull

static u64 guest_value;
static u32 guest_msr;

static void guest_writes_cr0(void) { write_cr0(guest_value); }
static void guest_writes_cr3(void) { write_cr3(guest_value); }
static void guest_writes_cr4(void) { write_cr4(guest_value); }
static void guest_writes_dr7(void) { write_dr7(guest_value); }
static void guest_writes_msr(void) { wrmsr(guest_msr, guest_value); }

static void save_cr0(u64 value)
{
	guest_value = value;
	vmcs_write(GUEST_CR0, read_cr0());
	guest_run(guest_writes_cr0);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_CR0), value);
}

static void save_cr4(u64 value)
{
	guest_value = value;
	vmcs_write(GUEST_CR4, read_cr4());
	guest_run(guest_writes_cr4);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_CR4), value);
}

/* Bits that a guest may change at will. */
static u64 cr0_free(void)
{
	return CR0_MP | CR0_EM | CR0_TS | CR0_WP | CR0_AM | (may(MAY_TURN_CACHES_OFF) ? CR0_CD : 0);
}

static u64 cr4_free(void)
{
	return vmx_capabilities()->cr4_fixed1 & ~vmx_capabilities()->cr4_fixed0 & CR4_HARMLESS;
}

TEST("save.cr", "CR0, CR3 and CR4 are saved, the real ones: masks and read shadows have no part in it")
{
	const u64 cr0 = read_cr0(), cr4 = read_cr4();

	exit_probe_on();
	for (u32 bit = 0; bit < 32; bit++) {
		CASE("bit %u changed", bit);
		if (cr0_free() & BIT(bit))
			save_cr0(cr0 ^ BIT(bit));
		if (cr4_free() & BIT(bit))
			save_cr4(cr4 ^ BIT(bit));
	}

	/* Masked bits are the host's business, and the others are what the guest wrote. */
	CASE("masked bits with another read shadow");
	vmcs_write(GUEST_CR0, cr0);
	vmcs_write(GUEST_CR4, cr4);
	vmcs_write(CR0_GUEST_HOST_MASK, ~(u64)CR0_TS);
	vmcs_write(CR0_READ_SHADOW, cr0 ^ (CR0_MP | CR0_WP | CR0_AM));
	vmcs_write(CR4_GUEST_HOST_MASK, ~(u64)CR4_TSD);
	vmcs_write(CR4_READ_SHADOW, cr4 ^ (CR4_DE | CR4_VMXE));
	guest_value = (cr0 ^ (CR0_MP | CR0_WP | CR0_AM)) | CR0_TS;
	guest_run(guest_writes_cr0);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_CR0), cr0 | CR0_TS);
	guest_value = (cr4 ^ (CR4_DE | CR4_VMXE)) | CR4_TSD;
	guest_run(guest_writes_cr4);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_CR4), cr4 | CR4_TSD);
	expect_eq(vmcs_read(CR0_READ_SHADOW), cr0 ^ (CR0_MP | CR0_WP | CR0_AM));
	expect_eq(vmcs_read(CR4_READ_SHADOW), cr4 ^ (CR4_DE | CR4_VMXE));
	expect_eq(vmcs_read(GUEST_CR3), read_cr3());

	for (enum guest_mode mode = MODE_COMPATIBILITY; mode < GUEST_MODES; mode++) {
		if (!guest_mode_exists(mode))
			continue;
		CASE("%s", guest_mode_names[mode]);
		start_over();
		guest_run_mode(mode);
		expect_guest_done();
		expect_bits(vmcs_read(GUEST_CR0), CR0_PE | CR0_PG, mode == MODE_REAL ? 0 : CR0_PE | CR0_PG);
		expect_bits(vmcs_read(GUEST_CR4), CR4_PAE, mode == MODE_32BIT ? 0 : CR4_PAE);
	}
}

/* The host's page tables once more, at a page of the test's own. */
static void expect_cr3_saved(u64 page, u64 flags)
{
	CASE("CR3 %#lx", page | flags);
	memcpy((void *)page, (void *)read_cr3(), PAGE_SIZE);
	guest_value = page | flags;
	vmcs_write(GUEST_CR3, read_cr3());
	guest_run(guest_writes_cr3);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_CR3), page | flags);
}

static void expect_cr3_values_saved(void)
{
	const u64 pages = (u64)page_alloc_many(16);

	for (u32 i = 0; i < 16; i++)
		expect_cr3_saved(pages + i * PAGE_SIZE, 0);
	expect_cr3_saved(pages, PAGE_PWT);
	expect_cr3_saved(pages, PAGE_PCD);
	for (u64 bit = BIT(16); bit < MEMORY_LIMIT; bit <<= 1) {
		const void *const page = page_alloc_within(bit, 2 * bit, 1, PAGE_SIZE);

		if (page)
			expect_cr3_saved(physical_address(page), 0);
	}
}

TEST("save.cr3_guest_write", "a MOV to CR3 that does not exit shows in the saved CR3")
{
	const u64 load = control_bit(PROC_CR3_LOAD_EXITING);

	if (control_value_allowed(WORD_PROC, vmcs_read(PRIMARY_PROC_CONTROLS) & ~load)) {
		vmcs_clear_controls(PROC_CR3_LOAD_EXITING);
		expect_cr3_values_saved();
		if (!has(FEATURE_PCID))
			return;
		vmcs_write(GUEST_CR4, read_cr4() | CR4_PCIDE);
		for (u32 bit = 0; bit < 12; bit++)
			expect_cr3_saved((u64)page_alloc(), BIT(bit));
		vmcs_write(GUEST_CR4, read_cr4());
	}
	if (!has(LIMIT_CR3_TARGETS(1)))
		return;
	CASE("a CR3-target value");
	vmcs_set_controls(PROC_CR3_LOAD_EXITING);
	guest_value = (u64)page_alloc();
	memcpy((void *)guest_value, (void *)read_cr3(), PAGE_SIZE);
	vmcs_write(CR3_TARGET_VALUE0, guest_value);
	vmcs_write(CR3_TARGET_COUNT, 1);
	vmcs_write(GUEST_CR3, read_cr3());
	guest_run(guest_writes_cr3);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_CR3), guest_value);
}

/* DR7 bits that may be 1 each by itself: enables (of breakpoints at 0), GD, R/W and LEN. Bit 10 is always 1. */
#define DR7_BITS 0xffff23ffull

/* Not every processor has each bit of IA32_DEBUGCTL, and some ignore a write of those that they lack. */
static u64 debugctl_written;

static void guest_writes_debug_controls(void)
{
	write_dr7(guest_value);
	if (!guest_msr)
		return;
	wrmsr(guest_msr, 2);
	debugctl_written = rdmsr(guest_msr);
}

static bool save_debug_can_be_off(void)
{
	return control_value_allowed(WORD_EXITCTL,
				     vmcs_read(VM_EXIT_CONTROLS) & ~control_bit(EXITCTL_SAVE_DEBUG_CONTROLS));
}

TEST("save.debug_on", "\"save debug controls\" saves DR7 and IA32_DEBUGCTL", NEEDS(EXITCTL_SAVE_DEBUG_CONTROLS))
{
	exit_probe_on();
	guest_msr = 0;
	vmcs_set_controls(EXITCTL_SAVE_DEBUG_CONTROLS);
	for (u32 load = 0; load < 2; load++)
		for (u32 bit = 0; bit < 32; bit++) {
			if (!(DR7_BITS & BIT(bit)))
				continue;
			CASE("load debug controls %u, DR7 bit %u", load, bit);
			if (load)
				vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
			guest_value = 0x400 | BIT(bit);
			vmcs_write(GUEST_DR7, 0x400);
			guest_run(guest_writes_dr7);
			expect_guest_done();
			expect_eq(vmcs_read(GUEST_DR7), guest_value);
		}

	CASE("DR7 of the host, which the guest left alone");
	if (control_value_allowed(WORD_ENTRYCTL, vmcs_read(VM_ENTRY_CONTROLS) & ~control_bit(ENTRYCTL_LOAD_DEBUG_CONTROLS))) {
		vmcs_clear_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
		write_dr7(0x500);
		vmcs_write(GUEST_DR7, POISON);
		guest_run(guest_ends);
		expect_guest_done();
		expect_eq(vmcs_read(GUEST_DR7), 0x500);
	}
	if (!exit_probe_has_msr(IA32_DEBUGCTL))
		return;
	CASE("IA32_DEBUGCTL");
	vmcs_use_msr_bitmap();
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	guest_msr = IA32_DEBUGCTL;
	vmcs_write(GUEST_IA32_DEBUGCTL, 1);
	vmcs_write(GUEST_DR7, 0x400);
	guest_run(guest_writes_debug_controls);
	guest_msr = 0;
	expect_guest_done();
	expect_ne(debugctl_written, 1);
	expect_eq(vmcs_read(GUEST_IA32_DEBUGCTL), debugctl_written);
}

TEST("save.debug_off", "without \"save debug controls\" the fields of DR7 and IA32_DEBUGCTL stay as they are")
{
	if (!save_debug_can_be_off())
		skip("needs VM-exit control \"save debug controls\" to be 0 (IA32_VMX_TRUE_EXIT_CTLS[2])");
	exit_probe_on();
	guest_msr = 0;
	vmcs_clear_controls(EXITCTL_SAVE_DEBUG_CONTROLS);
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	if (exit_probe_has_msr(IA32_DEBUGCTL)) {
		vmcs_use_msr_bitmap();
		guest_msr = IA32_DEBUGCTL;
	}
	vmcs_write(GUEST_IA32_DEBUGCTL, 1);
	for (u32 bit = 0; bit < 32; bit++) {
		if (!(DR7_BITS & BIT(bit) & ~BIT(13)))		/* GD would stop the guest's own write */
			continue;
		CASE("DR7 bit %u in the field", bit);
		vmcs_write(GUEST_DR7, 0x400 | BIT(bit));
		guest_value = 0x400 | (BIT(bit) ^ 0x300);
		guest_run(guest_writes_debug_controls);
		expect_guest_done();
		expect_eq(vmcs_read(GUEST_DR7), 0x400 | BIT(bit));
		expect_eq(vmcs_read(GUEST_IA32_DEBUGCTL), 1);
	}
	guest_msr = 0;
}

/* Fields have whole MSRs, but for UINV, which is bits 39:32 of one. */
static void expect_msr_saved(u32 msr, enum vmcs_field field, u64 before, u64 value)
{
	guest_msr = msr;
	guest_value = value << (field == GUEST_UINV ? 32 : 0);
	CASE("MSR %#x = %#lx", msr, guest_value);
	vmcs_write(field, before);
	guest_run(guest_writes_msr);
	expect_guest_done();
	expect_eq(vmcs_read(field), value);
}

TEST("save.sysenter", "IA32_SYSENTER_CS, ESP and EIP are saved", NEEDS(PROC_USE_MSR_BITMAPS))
{
	exit_probe_on();
	vmcs_use_msr_bitmap();
	for (u32 bit = 0; bit < 47; bit++) {
		const u64 value = bit & 1 ? ~BIT(bit) : BIT(bit);

		expect_msr_saved(IA32_SYSENTER_ESP, GUEST_IA32_SYSENTER_ESP, ~value, value);
		expect_msr_saved(IA32_SYSENTER_EIP, GUEST_IA32_SYSENTER_EIP, ~value, value);
	}
	for (u32 bit = 0; bit < 16; bit++)
		expect_msr_saved(IA32_SYSENTER_CS, GUEST_IA32_SYSENTER_CS, (u16)~BIT(bit), BIT(bit));
}

/* Memory types in turn; the lower bytes keep WB first and UC third and fourth, which are in use. */
static u64 pat_number(u32 n)
{
	static const u8 types[] = { 0, 1, 4, 5, 6, 7 };
	u64 pat = 0x00070006;

	for (u32 byte = 4; byte < 8; byte++)
		pat |= (u64)types[(n + byte * byte) % 6] << 8 * byte;
	return pat | (u64)types[(n + 1) % 6] << 8;
}

TEST("save.pat_on", "\"save IA32_PAT\" saves IA32_PAT; without it the field stays as it is",
     NEEDS(EXITCTL_SAVE_IA32_PAT, PROC_USE_MSR_BITMAPS, FEATURE_PAT))
{
	exit_probe_on();
	vmcs_use_msr_bitmap();
	for (u32 load = 0; load <= has(ENTRYCTL_LOAD_IA32_PAT); load++)
		for (u32 n = 0; n < 6; n++) {
			/* A field that is not loaded may hold anything. */
			const u64 before = load ? pat_number(n + 1) : POISON;

			if (load)
				vmcs_set_controls(ENTRYCTL_LOAD_IA32_PAT);
			vmcs_set_controls(EXITCTL_SAVE_IA32_PAT);
			expect_msr_saved(IA32_PAT, GUEST_IA32_PAT, before, pat_number(n));

			CASE("not saved");
			vmcs_clear_controls(EXITCTL_SAVE_IA32_PAT);
			vmcs_write(GUEST_IA32_PAT, before);
			guest_run(guest_writes_msr);
			expect_guest_done();
			expect_eq(vmcs_read(GUEST_IA32_PAT), before);
		}
}

TEST("save.efer_on", "\"save IA32_EFER\" saves IA32_EFER; without it the field stays as it is",
     NEEDS(EXITCTL_SAVE_IA32_EFER, PROC_USE_MSR_BITMAPS, FEATURE_SYSCALL, FEATURE_NX))
{
	const u64 home = rdmsr(IA32_EFER);

	for (u32 load = 0; load <= has(ENTRYCTL_LOAD_IA32_EFER); load++)
		for (u32 n = 0; n < 4; n++) {
			const u64 value = home ^ (n & 1 ? EFER_SCE : 0) ^ (n & 2 ? EFER_NXE : 0);
			const u64 before = load ? home ^ EFER_SCE ^ (n & 1 ? 0 : EFER_NXE) : POISON;

			start_over();
			vmcs_use_msr_bitmap();
			if (load)
				vmcs_set_controls(ENTRYCTL_LOAD_IA32_EFER);
			vmcs_set_controls(EXITCTL_SAVE_IA32_EFER);
			expect_msr_saved(IA32_EFER, GUEST_IA32_EFER, before, value);

			CASE("not saved");
			vmcs_clear_controls(EXITCTL_SAVE_IA32_EFER);
			vmcs_write(GUEST_IA32_EFER, before);
			guest_run(guest_writes_msr);
			expect_guest_done();
			expect_eq(vmcs_read(GUEST_IA32_EFER), before);
		}
	for (enum guest_mode mode = MODE_COMPATIBILITY; mode < GUEST_MODES; mode++) {
		const u64 ia32e = mode == MODE_COMPATIBILITY ? EFER_LMA | EFER_LME : 0;

		if (!guest_mode_exists(mode))
			continue;
		CASE("%s", guest_mode_names[mode]);
		start_over();
		vmcs_set_controls(EXITCTL_SAVE_IA32_EFER);
		guest_run_mode(mode);
		expect_guest_done();
		/* VM entry that makes CR0.PG 0 leaves LME as it was. */
		expect_bits(vmcs_read(GUEST_IA32_EFER), mode == MODE_REAL ? ~(u64)EFER_LME : ~0ull,
			    (home & ~(u64)(EFER_LMA | EFER_LME)) | ia32e);
	}
}

TEST("save.pgc_on", "\"save IA32_PERF_GLOBAL_CTL\" saves IA32_PERF_GLOBAL_CTRL; without it the field stays as it is",
     NEEDS(EXITCTL_SAVE_IA32_PERF_GLOBAL_CTL, PROC_USE_MSR_BITMAPS))
{
	const u64 counters = perf_global_ctrl_counters();

	if (!perf_global_ctrl_exists() || !counters)
		skip("needs IA32_PERF_GLOBAL_CTRL, which this processor does not have");
	exit_probe_on();
	if (!exit_probe_has_msr(IA32_PERF_GLOBAL_CTRL) || !counters)
		skip("needs IA32_PERF_GLOBAL_CTRL, which this processor does not have");
	vmcs_use_msr_bitmap();
	for (u32 bit = 0; bit < 64; bit++) {
		if (!(counters & BIT(bit)))
			continue;
		vmcs_set_controls(EXITCTL_SAVE_IA32_PERF_GLOBAL_CTL);
		expect_msr_saved(IA32_PERF_GLOBAL_CTRL, GUEST_IA32_PERF_GLOBAL_CTRL, POISON, BIT(bit));

		CASE("not saved");
		vmcs_clear_controls(EXITCTL_SAVE_IA32_PERF_GLOBAL_CTL);
		vmcs_write(GUEST_IA32_PERF_GLOBAL_CTRL, POISON);
		guest_run(guest_writes_msr);
		expect_guest_done();
		expect_eq(vmcs_read(GUEST_IA32_PERF_GLOBAL_CTRL), POISON);
	}
}

TEST("save.unconditional_ext", "state with an entry control that loads it is saved even if the control is 0",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	static const struct {
		u32 control, msr;
		enum vmcs_field field;
		u64 value;
	} extensions[] = {
		{ ENTRYCTL_LOAD_CET_STATE, IA32_S_CET, GUEST_IA32_S_CET, 0x345678901003 },
		{ ENTRYCTL_LOAD_CET_STATE, IA32_S_CET, GUEST_IA32_S_CET, 0xfffff80000000002 },
		{ ENTRYCTL_LOAD_CET_STATE, IA32_INTERRUPT_SSP_TABLE_ADDR, GUEST_IA32_INTERRUPT_SSP_TABLE_ADDR, 0x123456789a8 },
		{ ENTRYCTL_LOAD_CET_STATE, IA32_INTERRUPT_SSP_TABLE_ADDR, GUEST_IA32_INTERRUPT_SSP_TABLE_ADDR, ~7ull },
		{ ENTRYCTL_LOAD_PKRS, IA32_PKRS, GUEST_IA32_PKRS, 0xa5a55a5a },
		{ ENTRYCTL_LOAD_IA32_BNDCFGS, IA32_BNDCFGS, GUEST_IA32_BNDCFGS, 0x1003 },
		{ ENTRYCTL_LOAD_IA32_RTIT_CTL, IA32_RTIT_CTL, GUEST_IA32_RTIT_CTL, 0x2000 },
		{ ENTRYCTL_LOAD_GUEST_IA32_LBR_CTL, IA32_LBR_CTL, GUEST_IA32_LBR_CTL, 2 },
		{ ENTRYCTL_LOAD_UINV, IA32_UINTR_MISC, GUEST_UINV, 0xa5 },
	};
	u32 checked = 0;

	exit_probe_on();
	vmcs_use_msr_bitmap();
	for (u32 i = 0; i < ARRAY_SIZE(extensions); i++)
		for (u32 load = 0; load < 2; load++) {
			if (!has(extensions[i].control) || !exit_probe_has_msr(extensions[i].msr))
				continue;
			if (load)
				vmcs_set_controls(extensions[i].control);
			expect_msr_saved(extensions[i].msr, extensions[i].field, load ? 0 : POISON, extensions[i].value);
			vmcs_clear_controls(extensions[i].control);
			checked++;
		}
	if (!checked)
		skip("needs VM-entry control \"load CET state\", \"load PKRS\" or another of that kind");
}

/* XMM registers and the x87 control word: the library is compiled without them. */
static u8 guest_xmm[16][16] ALIGNED(16), host_xmm[16][16] ALIGNED(16);
static u16 guest_fcw, host_fcw;

#define EACH_XMM(action) action(0) action(1) action(2) action(3) action(4) action(5) action(6) action(7) \
	action(8) action(9) action(10) action(11) action(12) action(13) action(14) action(15)
#define LOAD_XMM(n)  asm volatile("movdqa %0, %%xmm" #n : : "m"(guest_xmm[n]));
#define STORE_XMM(n) asm volatile("movdqa %%xmm" #n ", %0" : "=m"(host_xmm[n]));

static void guest_loads_fpu(void)
{
	EACH_XMM(LOAD_XMM)
	asm volatile("fldcw %0" : : "m"(guest_fcw));
}

GUEST_ASM(save_gprs, "mov $0x1010101010101010, %rax; mov $0x2020202020202020, %rbx; mov $0x3030303030303030, %rcx\n"
		     "mov $0x4040404040404040, %rdx; mov $0x5050505050505050, %rsi; mov $0x6060606060606060, %rdi\n"
		     "mov $0x7070707070707070, %rbp; mov $0x8080808080808080, %r8; mov $0x9090909090909090, %r9\n"
		     "mov $0xa0a0a0a0a0a0a0a0, %r10; mov $0xb0b0b0b0b0b0b0b0, %r11; mov $0xc0c0c0c0c0c0c0c0, %r12\n"
		     "mov $0xd0d0d0d0d0d0d0d0, %r13; mov $0xe0e0e0e0e0e0e0e0, %r14; mov $0xf0f0f0f0f0f0f0f0, %r15\n"
		     "vmcall");

TEST("save.gprs_not_saved", "general registers but RSP, and the FPU's, are the guest's at the exit")
{
	const u16 fcw = 0x37f;
	const u64 *regs = (const u64 *)&exit_probe.regs;

	exit_probe_on();
	guest_run_at(save_gprs);
	expect_exit(EXIT_VMCALL);
	for (u32 i = 0; i < sizeof(struct guest_registers) / 8; i++) {
		CASE("general register %u", i);
		expect_eq(regs[i], 0x1010101010101010ull * (i + 1));
	}

	/* Each bit of each register, in the course of the rounds. */
	for (u32 round = 0; round < 16; round++) {
		for (u32 i = 0; i < sizeof(guest_xmm); i++)
			((u8 *)guest_xmm)[i] = i * 7 + round * 29 + i / 16;
		guest_fcw = 0x37f ^ (round & 0xf) << 8;
		guest_run(guest_loads_fpu);
		EACH_XMM(STORE_XMM)
		asm volatile("fnstcw %0" : "=m"(host_fcw));
		asm volatile("fldcw %0" : : "m"(fcw));
		CASE("round %u", round);
		expect_guest_done();
		expect_bytes(host_xmm, guest_xmm, sizeof(guest_xmm));
		expect_eq(host_fcw, guest_fcw);
	}
}
