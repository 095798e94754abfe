/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/processor.h"
#include "x86/tables.h"

void (*cpu_fatal_hook)(const struct exception_frame *frame);

void cpu_load_tables(struct cpu *cpu)
{
	cpu->self = cpu;
	cpu->tss.rsp[0] = (u64)(cpu->user_entry_stack + sizeof(cpu->user_entry_stack));
	for (int i = 0; i < IST_STACKS; i++)
		cpu->tss.ist[i] = (u64)(cpu->ist_stack[i] + sizeof(cpu->ist_stack[i]));
	cpu->tss.iomap_base = sizeof(cpu->tss);
	tables_set_tss(cpu);

	write_gdtr(tables_gdtr());
	write_idtr(tables_idtr());
	write_ldtr(0);
	asm volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss; mov %1, %%fs; mov %1, %%gs"
		     : : "r"(SELECTOR_DATA), "r"(0) : "memory");
	wrmsr(IA32_GS_BASE, (u64)cpu);
	asm volatile("ltr %w0" : : "r"(SELECTOR_TSS(cpu->slot)) : "memory");
}

void cpu_init(void)
{
	tables_init();
	cpu_load_tables(cpu_number(0));
	apic_init();
	cpu_number(0)->apic_id = apic_id();
}

void cpu_fatal(const struct exception_frame *frame)
{
	if (cpu_fatal_hook)
		cpu_fatal_hook(frame);
	for (;;)
		asm volatile("cli; hlt");
}
