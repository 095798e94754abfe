/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hypervisor of under= shares the image with its guest, and guests rewrite
 * gates, handlers and the TSS, or are in the midst of an NMI on its stack. So the
 * hypervisor has all of these for itself.
 */
#include "vmxtest/under.h"
#include "x86/cpu.h"
#include "x86/interrupt.h"
#include "x86/tables.h"

#include "libc/string.h"

enum { TSS_ENTRY = SELECTOR_SPARE / 8, OWN_GDT_ENTRIES = TSS_ENTRY + 2 };

static struct cpu own_cpu;
static u64 own_gdt[OWN_GDT_ENTRIES] ALIGNED(16);
static struct gate own_idt[256] ALIGNED(16);
static const interrupt_handler own_handlers[256] = { [VECTOR_NMI] = under_nmi_in_host };

void under_use_own_tables(void)
{
	const u64 tss = (u64)&own_cpu.tss;

	own_cpu.self = &own_cpu;
	own_cpu.apic_id = this_cpu()->apic_id;
	own_cpu.handlers = own_handlers;
	for (int i = 0; i < IST_STACKS; i++)
		own_cpu.tss.ist[i] = (u64)(own_cpu.ist_stack[i] + sizeof(own_cpu.ist_stack[i]));
	own_cpu.tss.iomap_base = sizeof(own_cpu.tss);

	memcpy(own_idt, idt, sizeof(own_idt));
	memcpy(own_gdt, gdt, TSS_ENTRY * sizeof(own_gdt[0]));
	own_gdt[TSS_ENTRY] = (sizeof(own_cpu.tss) - 1) | (tss & 0xffffff) << 16 | 0x8bull << 40 |
			     (tss >> 24 & 0xff) << 56;
	own_gdt[TSS_ENTRY + 1] = tss >> 32;

	vmcs_write(HOST_GDTR_BASE, (u64)own_gdt);
	vmcs_write(HOST_IDTR_BASE, (u64)own_idt);
	vmcs_write(HOST_TR_SELECTOR, TSS_ENTRY * 8);
	vmcs_write(HOST_TR_BASE, tss);
	vmcs_write(HOST_GS_BASE, (u64)&own_cpu);
}

void under_return_tables(void)
{
	struct recovery *recovery = recovery_current();

	cpu_load_tables(cpu_number(0));
	recovery_set(recovery);
}
