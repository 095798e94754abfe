/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmxtest/events.h"
#include "x86/cpu.h"
#include "x86/tables.h"

void guest_touches_tables(void)
{
	struct cpu *const cpu = this_cpu();

	*(volatile const u64 *)&gdt[SELECTOR_CODE64 / 8];
	for (u32 vector = 0; vector < 256; vector++)
		*(volatile const u8 *)&idt[vector];
	for (u32 i = 0; i < IST_STACKS; i++)
		for (u32 at = 0; at < sizeof(cpu->ist_stack[i]); at += sizeof(cpu->ist_stack[i]) - 1)
			*(volatile u8 *)&cpu->ist_stack[i][at] = 0;
}
