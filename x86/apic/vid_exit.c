/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM exit in the midst of virtual-interrupt delivery, which goes through the IDT as any interrupt. */
#include "virtual.h"

#include "vmx/ept.h"
#include "x86/tables.h"

/* A page of its own: the gates. */
static struct gate *own_idt;

static void use_own_idt(void)
{
	own_idt = page_alloc();
	for (u32 vector = 0; vector < 256; vector++)
		own_idt[vector] = idt[vector];
	vmcs_write(GUEST_IDTR_BASE, physical_address(own_idt));
	vmcs_write(GUEST_IDTR_LIMIT, PAGE_SIZE - 1);
}

#define VECTORING_DEFINED (~BIT(12))

static void deliver_without(u32 vector, const void *page)
{
	u64 *const entry = ept_entry(physical_address(page), 1), whole = *entry;

	*entry = 0;
	ept_flush();
	set_pending(vector);
	run_and_take_interrupts(guest_does_nothing);
	*entry = whole;
	ept_flush();
	expect_exit(EXIT_EPT_VIOLATION, .rip = (u64)guest_start);
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), VECTORING_DEFINED,
		    INTERRUPTION_VALID | INTERRUPTION_TYPE_EXTERNAL | vector);
	expect_eq(taken_count, 0);
	expect_eq(vmcs_read(GUEST_INTERRUPT_STATUS), vector << 8);	/* it has left RVI */
	expect_only_vectors(APIC_IRR, 0, 0);
	expect_only_vectors(APIC_ISR, vector, 0);

	/* The hypervisor's way to go on: inject what was on its way. */
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, vmcs_read(IDT_VECTORING_INFORMATION) & VECTORING_DEFINED);
	guest_resume();
	expect_guest_done();
	expect_eq(taken_count, 1);
	expect_eq(taken[0].vector, vector);
	expect_eq(taken[0].rip, (u64)guest_start);
}

TEST("apic.vid.exit_amid", "An EPT violation in the midst of virtual-interrupt delivery shows type 0 and the vector",
     NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_VIRTUAL_INTERRUPT_DELIVERY, PROC2_ENABLE_EPT))
{
	use_virtual_interrupts();
	vmcs_use_ept();
	use_own_idt();
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	for (u32 vector = 32; vector < 256; vector += 37) {
		CASE("vector %#x", vector);
		deliver_without(vector, own_idt);
	}
}

/* VM entry itself writes VPPR. */
static void expect_all_but_ppr_filled(void)
{
	refill_register(APIC_PPR);
	expect_virtual_page_filled();
}

/* Does a write of the register go to the virtual-APIC page? "APIC-register virtualization" is 0. */
static bool write_is_virtualized(u32 reg)
{
	return reg == APIC_TPR || reg == APIC_EOI || reg == APIC_ICR;
}

TEST("apic.vid.no_regvirt", "Without APIC-register virtualization a write to 080H, 0B0H and 300H and a read of 080H is virtualized; "
     "others exit", NEEDS(PROC2_VIRTUALIZE_APIC_ACCESSES, PROC_USE_TPR_SHADOW, PROC2_VIRTUAL_INTERRUPT_DELIVERY))
{
	use_virtual_interrupts();
	for (u32 reg = 0; reg < PAGE_SIZE; reg += 16) {
		CASE("offset %#x", reg);
		fill_virtual_page();
		vmcs_write(GUEST_INTERRUPT_STATUS, 0);
		guest_read_at(ACCESS_32, GUEST_APIC + reg);
		if (reg == APIC_TPR) {
			expect_guest_done();
			expect_eq((u32)guest.regs.rcx, *virtual_register(reg));
		} else {
			expect_exit(EXIT_APIC_ACCESS, .qualification = ACCESS_READ | reg, .rip = (u64)ACCESS_32->read);
		}
		expect_all_but_ppr_filled();
		if (reg == APIC_EOI || reg == APIC_TPR)
			continue;		/* they do more: apic.vid.eoi, apic.tprshadow.* */
		guest_write_at(ACCESS_32, GUEST_APIC + reg, 0x12345678);
		if (write_is_virtualized(reg)) {
			expect_exit(EXIT_APIC_WRITE, .qualification = reg, .rip = (u64)ACCESS_32->behind_write);
			expect_eq(*virtual_register(reg), 0x12345678);
			refill_register(reg);
		} else {
			expect_exit(EXIT_APIC_ACCESS, .qualification = ACCESS_WRITE | reg, .rip = (u64)ACCESS_32->write);
		}
		expect_all_but_ppr_filled();
	}
	for (u32 reg = APIC_TPR; reg <= APIC_EOI; reg += APIC_EOI - APIC_TPR) {
		CASE("a write to %#x", reg);
		set_in_service(0x51, 0);
		set_eoi_exit_bitmap(0x51, false);
		guest_write_at(ACCESS_32, GUEST_APIC + reg, 0);
		expect_guest_done();
	}
	expect_access_page_untouched();
}
