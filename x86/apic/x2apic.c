/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Virtualize x2APIC mode": RDMSR and WRMSR of 800H-8FFH (SDM Vol. 3C, "Virtualizing MSR-Based APIC Accesses").
 * The mode of the processor's own APIC does not matter.
 */
#include "virtual.h"

enum { X2APIC_TPR = 0x808, X2APIC_EOI = 0x80b, X2APIC_SELF_IPI = 0x83f };

static u8 *msr_bitmap;

GUEST_ASM(guest_reads_msr, "rdmsr\n vmcall");
GUEST_ASM(guest_writes_msr, "wrmsr\n behind_wrmsr: ret");
extern const u8 behind_wrmsr[];

static void use_x2apic_mode(void)
{
	use_virtual_page();
	msr_bitmap = vmcs_use_msr_bitmap();
	vmcs_set_controls(PROC2_VIRTUALIZE_X2APIC_MODE);
}

static void run_rdmsr(u32 msr)
{
	guest.regs.rax = guest.regs.rdx = ~0ull;
	guest.regs.rcx = 0xffffffff00000000 | msr;
	guest_run(guest_reads_msr);
}

static u64 value_read(void)
{
	return guest.regs.rdx << 32 | (u32)guest.regs.rax;
}

static void run_wrmsr(u32 msr, u64 value)
{
	guest.regs.rax = 0xffffffff00000000 | (u32)value;
	guest.regs.rdx = 0xffffffff00000000 | value >> 32;
	guest.regs.rcx = msr;
	guest_run(guest_writes_msr);
}

TEST("apic.x2apic.tpr", "RDMSR 808H returns VTPR; WRMSR 808H sets it, and exits behind if below the threshold",
     NEEDS(PROC_USE_TPR_SHADOW, PROC2_VIRTUALIZE_X2APIC_MODE, PROC_USE_MSR_BITMAPS))
{
	use_x2apic_mode();
	WALK_OVER(value, 0, 256) {
		CASE("VTPR %#x", value);
		*(volatile u64 *)virtual_register(APIC_TPR) = value;
		run_rdmsr(X2APIC_TPR);
		expect_exit(EXIT_VMCALL);
		expect_eq(value_read(), value);
		expect_eq(guest.regs.rdx >> 32, 0);
		expect_eq(guest.regs.rax >> 32, 0);
	}
	for (u32 threshold = 0; threshold < 16; threshold++)
		for (u32 class = 0; class < 16; class++) {
			const u32 value = class << 4 | (threshold ^ class);

			CASE("threshold %u, WRMSR %#x", threshold, value);
			vmcs_write(TPR_THRESHOLD, threshold);
			*virtual_register(APIC_TPR) = 0xff;
			run_wrmsr(X2APIC_TPR, value);
			if (class < threshold)
				expect_exit(EXIT_TPR_BELOW_THRESHOLD, .qualification = 0, .rip = (u64)behind_wrmsr);
			else
				expect_guest_done();
			expect_eq(*virtual_register(APIC_TPR), value);
			expect_eq(read_cr8(), 0);
		}
}

TEST("apic.x2apic.tpr_gp", "WRMSR 808H with any of bits 63:8 set raises #GP(0), and VTPR stays",
     NEEDS(PROC_USE_TPR_SHADOW, PROC2_VIRTUALIZE_X2APIC_MODE, PROC_USE_MSR_BITMAPS))
{
	use_x2apic_mode();
	vmcs_write(TPR_THRESHOLD, 8);
	*virtual_register(APIC_TPR) = 0xf5;
	for (u32 bit = 8; bit < 64; bit++) {
		CASE("bit %u", bit);
		run_wrmsr(X2APIC_TPR, BIT(bit) | 0x13);
		expect_guest_fault(VECTOR_GP, 0);
		expect_eq(*virtual_register(APIC_TPR), 0xf5);
	}
	for (u32 bit = 0; bit < 8; bit++) {
		CASE("bit %u", bit);
		run_wrmsr(X2APIC_TPR, BIT(bit) | 0x80);
		expect_guest_done();
		expect_eq(*virtual_register(APIC_TPR), BIT(bit) | 0x80);
	}
}

TEST("apic.x2apic.bitmap_first", "A set bit of the MSR bitmap exits before anything is virtualized",
     NEEDS(PROC_USE_TPR_SHADOW, PROC2_VIRTUALIZE_X2APIC_MODE, PROC_USE_MSR_BITMAPS))
{
	use_x2apic_mode();
	vmcs_write(TPR_THRESHOLD, 8);
	*virtual_register(APIC_TPR) = 0x80;

	bitmap_set(msr_bitmap, msr_bitmap_position(X2APIC_TPR, MSR_READ));
	run_rdmsr(X2APIC_TPR);
	expect_exit(EXIT_RDMSR, .instruction_length = 2, .rip = (u64)guest_reads_msr);
	expect_eq(guest.regs.rax, ~0ull);
	run_wrmsr(X2APIC_TPR, 0x90);
	expect_guest_done();
	expect_eq(*virtual_register(APIC_TPR), 0x90);

	bitmap_clear(msr_bitmap, msr_bitmap_position(X2APIC_TPR, MSR_READ));
	bitmap_set(msr_bitmap, msr_bitmap_position(X2APIC_TPR, MSR_WRITE));
	run_wrmsr(X2APIC_TPR, 0x10);
	expect_exit(EXIT_WRMSR, .instruction_length = 2, .rip = (u64)guest_writes_msr);
	/* Even with a value that would raise #GP. */
	run_wrmsr(X2APIC_TPR, 0x100);
	expect_exit(EXIT_WRMSR);
	expect_eq(*virtual_register(APIC_TPR), 0x90);
	*((volatile u32 *)virtual_register(APIC_TPR) + 1) = 0;
	run_rdmsr(X2APIC_TPR);
	expect_exit(EXIT_VMCALL);
	expect_eq(value_read(), 0x90);

	/* With no bitmap every RDMSR and WRMSR exits. */
	vmcs_clear_controls(PROC_USE_MSR_BITMAPS);
	run_rdmsr(X2APIC_TPR);
	expect_exit(EXIT_RDMSR);
	run_wrmsr(X2APIC_TPR, 0x90);
	expect_exit(EXIT_WRMSR);
}

TEST("apic.x2apic.regs", "With register virtualization RDMSR 800H-8FFH reads 8 bytes of the virtual-APIC page",
     NEEDS(PROC_USE_TPR_SHADOW, PROC2_VIRTUALIZE_X2APIC_MODE, PROC2_APIC_REGISTER_VIRTUALIZATION,
	   PROC_USE_MSR_BITMAPS))
{
	use_x2apic_mode();
	vmcs_set_controls(PROC2_APIC_REGISTER_VIRTUALIZATION);
	for (u32 msr = 0x800; msr < 0x900; msr++) {
		CASE("MSR %#x", msr);
		run_rdmsr(msr);
		expect_exit(EXIT_VMCALL);
		expect_eq(value_read(), *(u64 *)(virtual_page + (msr & 0xff) * 16));
	}
	expect_virtual_page_filled();
	if (apic_is_x2apic())
		return;

	/* WRMSR, but of the TPR, and the neighbours are the processor's own: in xAPIC mode a #GP. */
	for (u32 msr = 0x800; msr < 0x900; msr++) {
		if (msr == X2APIC_TPR)
			continue;
		CASE("WRMSR %#x", msr);
		run_wrmsr(msr, 0);
		expect_guest_fault(VECTOR_GP, 0);
	}
	/* 900H is an MSR like any other: it is there if it is there in the host. */
	if (may(MAY_SWEEP_MSRS)) {
		u64 own = 0;
		const struct fault fault = TRY(own = rdmsr(0x900));

		CASE("RDMSR 900H");
		run_rdmsr(0x900);
		if (fault.raised) {
			expect_guest_fault(VECTOR_GP, 0);
		} else {
			expect_exit(EXIT_VMCALL);
			expect_eq(value_read(), own);
		}
	}

	/* And without register virtualization RDMSR of all but the TPR. */
	vmcs_clear_controls(PROC2_APIC_REGISTER_VIRTUALIZATION);
	for (u32 msr = 0x800; msr < 0x900; msr++) {
		CASE("RDMSR %#x without APIC-register virtualization", msr);
		run_rdmsr(msr);
		if (msr == X2APIC_TPR)
			expect_exit(EXIT_VMCALL);
		else
			expect_guest_fault(VECTOR_GP, 0);
	}
	expect_virtual_page_filled();
}

static void use_x2apic_interrupts(void)
{
	use_virtual_interrupts();
	vmcs_clear_controls(PROC2_VIRTUALIZE_APIC_ACCESSES);
	msr_bitmap = vmcs_use_msr_bitmap();
	vmcs_set_controls(PROC2_VIRTUALIZE_X2APIC_MODE);
}

/* With a bit of the EOI-exit bitmap that is this, while all others are not. */
static void end_vectors_by_msr(bool exits)
{
	for (u32 vector = 18; vector < 256; vector += 7) {
		CASE("EOI of vector %#x, bitmap bit %u", vector, exits);
		set_in_service(vector, 17);
		set_eoi_exit_bitmap(vector, exits);
		run_wrmsr(X2APIC_EOI, 0);
		if (exits)
			expect_exit(EXIT_VIRTUALIZED_EOI, .qualification = vector, .rip = (u64)behind_wrmsr);
		else
			expect_guest_done();
		expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), 17 << 8);
		expect_eq(*virtual_register(APIC_PPR), 0x10);
		expect_only_vectors(APIC_ISR, 17, 0);
	}
}

static void expect_eoi_by_msr(void)
{
	end_vectors_by_msr(false);
	set_in_service(0x91, 0);
	for (u32 bit = 0; bit < 64; bit++) {
		CASE("EOI, bit %u", bit);
		run_wrmsr(X2APIC_EOI, BIT(bit));
		expect_guest_fault(VECTOR_GP, 0);
		expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), 0x91 << 8);
	}
}

static void expect_self_ipi_by_msr(void)
{
	WALK_OVER(vector, 0, 256) {
		CASE("self-IPI, vector %#x", vector);
		set_pending(0x80);
		run_wrmsr(X2APIC_SELF_IPI, vector);
		if (vector < 16)
			expect_exit(EXIT_APIC_WRITE, .qualification = APIC_SELF_IPI, .rip = (u64)behind_wrmsr);
		else
			expect_guest_done();
		expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), vector > 0x80 ? vector : 0x80);
		expect_only_vectors(APIC_IRR, 0x80, vector < 16 ? 0 : vector);
	}
	for (u32 bit = 8; bit < 64; bit++) {
		CASE("self-IPI, bit %u", bit);
		set_pending(0x80);
		run_wrmsr(X2APIC_SELF_IPI, BIT(bit) | 0x90);
		expect_guest_fault(VECTOR_GP, 0);
		expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), 0x80);
	}
}

TEST("apic.x2apic.eoi_exit", "WRMSR 80BH exits behind the EOI if the vector's bit of the EOI-exit bitmap is 1",
     NEEDS(PROC_USE_TPR_SHADOW, PROC2_VIRTUALIZE_X2APIC_MODE, PROC2_VIRTUAL_INTERRUPT_DELIVERY, PROC_USE_MSR_BITMAPS))
{
	use_x2apic_interrupts();
	end_vectors_by_msr(true);
}

TEST("apic.x2apic.eoi_selfipi", "With virtual-interrupt delivery WRMSR 80BH is an EOI and 83FH a self-IPI",
     NEEDS(PROC_USE_TPR_SHADOW, PROC2_VIRTUALIZE_X2APIC_MODE, PROC2_VIRTUAL_INTERRUPT_DELIVERY, PROC_USE_MSR_BITMAPS))
{
	use_x2apic_interrupts();
	expect_eoi_by_msr();
	expect_self_ipi_by_msr();

	/* The interrupt to self comes at once where the guest lets it. */
	CASE("IF = 1");
	set_pending(16);
	*virtual_register(APIC_TPR) = 0x20;
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	taken_count = 0;
	run_wrmsr(X2APIC_SELF_IPI, 0x31);
	expect_guest_done();
	expect_eq(taken_count, 1);
	expect_eq(taken[0].rip, (u64)behind_wrmsr);

	/* Without the control they are the processor's own: in xAPIC mode a #GP. */
	if (apic_is_x2apic())
		return;
	vmcs_clear_controls(PROC2_VIRTUAL_INTERRUPT_DELIVERY);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	run_wrmsr(X2APIC_EOI, 0);
	expect_guest_fault(VECTOR_GP, 0);
	run_wrmsr(X2APIC_SELF_IPI, 0x31);
	expect_guest_fault(VECTOR_GP, 0);
}
