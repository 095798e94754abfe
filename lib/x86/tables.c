/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/interrupt.h"
#include "x86/tables.h"

u64 gdt[GDT_ENTRIES] ALIGNED(16) = {
	[SELECTOR_CODE64 / 8]	   = 0x00af9b000000ffff,
	[SELECTOR_DATA / 8]	   = 0x00cf93000000ffff,
	[SELECTOR_USER_CODE32 / 8] = 0x00cffb000000ffff,
	[SELECTOR_USER_DATA / 8]   = 0x00cff3000000ffff,
	[SELECTOR_USER_CODE64 / 8] = 0x00affb000000ffff,
	[SELECTOR_CODE32 / 8]	   = 0x00cf9b000000ffff,
	[SELECTOR_CODE16 / 8]	   = 0x00009b000000ffff,
	[SELECTOR_DATA16 / 8]	   = 0x000093000000ffff,
};

struct gate idt[256] ALIGNED(16);

struct gate gate_to(const void *entry, u8 ist, u8 dpl)
{
	const u64 offset = (u64)entry;

	return (struct gate){
		.offset_15_0 = offset,
		.offset_31_16 = offset >> 16,
		.offset_63_32 = offset >> 32,
		.selector = SELECTOR_CODE64,
		.ist = ist,
		.type = 0x8e | dpl << 5,
	};
}

void tables_init(void)
{
	static const u8 ist[32] = { [VECTOR_NMI] = IST_NMI, [VECTOR_DF] = IST_DF, [VECTOR_MC] = IST_MC };

	for (unsigned int vector = 0; vector < ARRAY_SIZE(idt); vector++)
		idt[vector] = gate_to(interrupt_entries + vector * INTERRUPT_ENTRY_SIZE,
				      vector < ARRAY_SIZE(ist) ? ist[vector] : 0,
				      vector == VECTOR_USER_RETURN ? 3 : 0);
}

void tables_set_tss(const struct cpu *cpu)
{
	const u64 base = (u64)&cpu->tss;
	const u64 limit = sizeof(cpu->tss) - 1;
	u64 *descriptor = &gdt[SELECTOR_TSS(cpu->slot) / 8];

	descriptor[0] = limit | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	descriptor[1] = base >> 32;
}

struct table_register tables_gdtr(void)
{
	return (struct table_register){ sizeof(gdt) - 1, (u64)gdt };
}

struct table_register tables_idtr(void)
{
	return (struct table_register){ sizeof(idt) - 1, (u64)idt };
}

u64 descriptor_base(u16 selector)
{
	const u64 *descriptor = &gdt[selector / 8];
	u64 base = (descriptor[0] >> 16 & 0xffffff) | (descriptor[0] >> 56) << 24;

	if (!(descriptor[0] & BIT(44)))		/* S = 0: a system descriptor */
		base |= descriptor[1] << 32;
	return base;
}

u32 descriptor_limit(u16 selector)
{
	const u64 descriptor = gdt[selector / 8];
	const u32 limit = (descriptor & 0xffff) | (descriptor >> 32 & 0xf0000);

	return descriptor & BIT(55) ? limit << 12 | 0xfff : limit;
}
