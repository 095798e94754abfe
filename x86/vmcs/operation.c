/* SPDX-License-Identifier: BSD-2-Clause */
/* VMX operation itself: entering and leaving it, and what it allows ("Introduction to VMX Operation"). */
#include "vmxtest/vmxtest.h"
#include "x86/user.h"

static void leave_vmx_operation(void)
{
	const u64 own = physical_address(&vmcs_region);

	require_outcome(vmclear(&own, NULL), SUCCEED);
	require_outcome(vmxoff(NULL), SUCCEED);
}

static void return_to_vmx_operation(void)
{
	vmx_on();
	vmcs_reset();
}

static struct outcome try_vmxon(void)
{
	const u64 region = physical_address(&vmxon_region);
	const struct outcome outcome = vmxon(&region, NULL);

	if (outcome.kind == OUTCOME_SUCCEED)
		vmxoff(NULL);
	return outcome;
}

TEST("vmxop.cr4.vmxe_set_required", "VMXON with CR4.VMXE = 0 is #UD")
{
	struct outcome without, with;

	leave_vmx_operation();
	write_cr4(read_cr4() & ~(u64)CR4_VMXE);
	without = try_vmxon();
	write_cr4(read_cr4() | CR4_VMXE);
	with = try_vmxon();
	return_to_vmx_operation();
	expect_outcome(without, FAULTS(VECTOR_UD, 0));
	expect_outcome(with, SUCCEED);
}

TEST("vmxop.vmxoff.cr4_vmxe_clearable", "behind VMXOFF CR4.VMXE can be cleared")
{
	struct fault fault;
	u64 cr4;

	leave_vmx_operation();
	fault = TRY(write_cr4(read_cr4() & ~(u64)CR4_VMXE));
	cr4 = read_cr4();
	return_to_vmx_operation();
	expect_no_fault(fault);
	expect_eq(cr4 & CR4_VMXE, 0);
}

static void expect_cr4_refused(u64 value)
{
	const u64 before = read_cr4();
	const struct fault fault = TRY(write_cr4(value));

	expect_fault(fault, VECTOR_GP, 0);
	expect_eq(read_cr4(), before);
}

static void expect_cr0_refused(u64 value)
{
	const u64 before = read_cr0();
	const struct fault fault = TRY(write_cr0(value));

	expect_fault(fault, VECTOR_GP, 0);
	expect_eq(read_cr0(), before);
}

TEST("vmxop.cr4.vmxe_clear_gp", "in VMX root operation CR4.VMXE cannot be cleared: #GP(0)")
{
	expect_cr4_refused(read_cr4() & ~(u64)CR4_VMXE);
}

TEST("vmxop.cr0.pg_clear_gp", "in VMX root operation CR0.PG, PE and, where it is fixed, NE cannot be cleared: #GP(0)")
{
	const u64 cr0 = read_cr0();

	/* PE and PG cannot be cleared in 64-bit mode in any case. NE was fixed on the first processors: FIXED0 says. */
	if (vmx_capabilities()->cr0_fixed0 & CR0_NE) {
		CASE("NE");
		expect_cr0_refused(cr0 & ~(u64)CR0_NE);
		CASE("NE and WP");
		expect_cr0_refused((cr0 & ~(u64)CR0_NE) ^ CR0_WP);
	} else {
		note("CR0.NE may be 0 in VMX operation (IA32_VMX_CR0_FIXED0[5])");
	}
	CASE("PE");
	expect_cr0_refused(cr0 & ~(u64)CR0_PE);
	CASE("PG");
	expect_cr0_refused(cr0 & ~(u64)CR0_PG);
	CASE("PE and PG");
	expect_cr0_refused(cr0 & ~(u64)(CR0_PE | CR0_PG));
}

TEST("vmxop.cr.fixed_gp", "in VMX root operation MOV to CR0 and CR4 refuses unsupported bit values: #GP(0)")
{
	const struct vmx_capabilities *c = vmx_capabilities();
	const u64 cr0 = read_cr0(), cr4 = read_cr4();
	const u64 flexible[] = { CR0_MP, CR0_EM, CR0_TS, CR0_WP, CR0_AM };

	for (u32 bit = 0; bit < 64; bit++) {
		CASE("CR0 bit %u", bit);
		if ((c->cr0_fixed0 & BIT(bit)) || (!(c->cr0_fixed1 & BIT(bit))))
			expect_cr0_refused(cr0 ^ BIT(bit));
		CASE("CR4 bit %u", bit);
		if ((c->cr4_fixed0 & BIT(bit)) || (!(c->cr4_fixed1 & BIT(bit))))
			expect_cr4_refused(cr4 ^ BIT(bit));
	}
	for (u32 i = 0; i < ARRAY_SIZE(flexible); i++) {
		if (flexible[i] & (c->cr0_fixed0 | ~c->cr0_fixed1))
			continue;
		CASE("CR0 bits %#lx", flexible[i]);
		write_cr0(cr0 ^ flexible[i]);
		expect_eq(read_cr0(), cr0 ^ flexible[i]);
	}
	write_cr0(cr0);
	if (CR4_TSD & (c->cr4_fixed0 | ~c->cr4_fixed1))
		return;
	CASE("CR4.TSD");
	write_cr4(cr4 ^ CR4_TSD);
	expect_eq(read_cr4(), cr4 ^ CR4_TSD);
	write_cr4(cr4);
}

/* Bits that can have the wrong value outside VMX operation, in 64-bit mode: NE above all. */
static u64 clearable_fixed_bits(void)
{
	return vmx_capabilities()->cr0_fixed0 & ~(u64)(CR0_PE | CR0_PG) & 0xffffffff;
}

TEST("vmxop.vmxon.bad_cr", "VMXON with an unsupported bit value in CR0 or CR4 is #GP(0)")
{
	const u64 cr0 = read_cr0();
	struct outcome bad[32], good;

	leave_vmx_operation();
	for (u32 bit = 0; bit < 32; bit++) {
		if (!(clearable_fixed_bits() & BIT(bit)))
			continue;
		write_cr0(cr0 & ~BIT(bit));
		bad[bit] = try_vmxon();
		write_cr0(cr0);
	}
	good = try_vmxon();
	return_to_vmx_operation();
	expect_outcome(good, SUCCEED);
	for (u32 bit = 0; bit < 32; bit++) {
		CASE("CR0 bit %u is 0", bit);
		if (clearable_fixed_bits() & BIT(bit))
			expect_outcome(bad[bit], FAULTS(VECTOR_GP, 0));
	}
}

GUEST_ASM(guest_reads_cs, "mov %cs, %ebx; ret");
GUEST_ASM(guest_reads_cr0, "mov %cr0, %rax; ret");
GUEST_ASM(guest_reads_efer, "mov $0xc0000080, %ecx; rdmsr; ret");
GUEST_ASM(guest_reads_dr7, "mov %dr7, %rax; ret");
GUEST_ASM(guest_clears_ts, "clts; ret");
GUEST_ASM(guest_flushes_cache, "wbinvd; ret");
GUEST_ASM(guest_masks_interrupts, "cli; ret");
GUEST_ASM(guest_loads_idtr, "sub $16, %rsp; sidt (%rsp); lidt (%rsp); add $16, %rsp; ret");

static void (*const privileged[])(void) = {
	guest_reads_cr0, guest_reads_dr7, guest_clears_ts, guest_flushes_cache, guest_masks_interrupts,
	guest_loads_idtr,
};

/* CPL is SS.DPL; CS and SS agree with it. */
static void set_guest_cpl(u32 cpl)
{

	vmcs_write(GUEST_CS_SELECTOR, 0x2000 | cpl);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE64 | cpl << 5);
	vmcs_write(GUEST_SS_SELECTOR, 0x2008 | cpl);
	vmcs_write(GUEST_SS_ACCESS_RIGHTS, RIGHTS_DATA32 | cpl << 5);
}

TEST("vmxop.modes", "a guest runs at any CPL: with SS.DPL above 0 privileged instructions are #GP(0)")
{
	user_pages_on();
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_GP));
	for (u32 cpl = 0; cpl < 4; cpl++) {
		CASE("CPL %u", cpl);
		set_guest_cpl(cpl);
		guest_run(guest_reads_cs);
		expect_guest_done();
		expect_eq((u16)guest.regs.rbx, 0x2000 | cpl);
		expect_eq(vmcs_read(GUEST_SS_ACCESS_RIGHTS) >> 5 & 3, cpl);
		for (u32 i = 0; i < ARRAY_SIZE(privileged); i++) {
			CASE("CPL %u, privileged instruction %u", cpl, i);
			guest_run(privileged[i]);
			if (cpl == 0)
				expect_guest_done();
			else
				expect_exit(EXIT_EXCEPTION_OR_NMI, .interruption = 0x80000b0d, .interruption_error = 0);
		}
	}
}

static struct {
	u64 cr0, cr3, cr4, cr8, dr7, rflags;
} in_guest;

static void guest_looks_around(void)
{
	in_guest.cr0 = read_cr0();
	in_guest.cr3 = read_cr3();
	in_guest.cr4 = read_cr4();
	in_guest.cr8 = read_cr8();
	in_guest.dr7 = read_dr7();
	in_guest.rflags = read_rflags();
}

TEST("vmxop.nonroot.undetectable", "no register shows that software runs in VMX non-root operation")
{
	u8 *bitmap = has(PROC_USE_MSR_BITMAPS) ? vmcs_use_msr_bitmap() : NULL;

	guest_run(guest_looks_around);
	expect_guest_done();
	expect_eq(in_guest.cr0, read_cr0());
	expect_eq(in_guest.cr3, read_cr3());
	expect_eq(in_guest.cr4, read_cr4());
	expect_eq(in_guest.cr8, read_cr8());
	expect_eq(in_guest.dr7, 0x400);
	expect_eq(in_guest.rflags & ~(u64)RFLAGS_ARITHMETIC, RFLAGS_FIXED);
	if (!bitmap)
		return;
	guest_run(guest_reads_efer);
	expect_guest_done();
	expect_eq((u32)guest.regs.rdx, rdmsr(IA32_EFER) >> 32);
}

/* Whether it aborts is the processor's choice; that it does all or nothing is not. */
TEST("vmxop.rtm.abort", "a VMX instruction in a transaction is done, or aborts it and leaves nothing",
     NEEDS(FEATURE_RTM))
{
	for (u32 i = 0; i < 16; i++) {
		u64 stored = 0x5aa5c33c;
		u32 status = 0xffffffff;

		asm volatile("xbegin 1f; vmptrst %1; xend; 1:" : "+a"(status), "+m"(stored) : : "memory", "cc");
		expect_eq(stored, status == 0xffffffff ? physical_address(&vmcs_region) : 0x5aa5c33c);
	}
}
