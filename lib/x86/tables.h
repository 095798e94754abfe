/* SPDX-License-Identifier: BSD-2-Clause */
/* GDT, IDT and TSS (SDM Vol. 3A, "Segment Descriptors", "IDT Descriptors"). */
#pragma once

#include "x86/cpu.h"
#include "x86/selectors.h"

struct gate {
	u16 offset_15_0;
	u16 selector;
	u8 ist;
	u8 type;		/* 8EH: present, DPL 0, interrupt gate */
	u16 offset_31_16;
	u32 offset_63_32;
	u32 reserved;
};

#define GDT_ENTRIES	((SELECTOR_TSS(MAX_CPUS)) / 8)

extern u64 gdt[GDT_ENTRIES];
extern struct gate idt[256];

/* Fill GDT and IDT; once. */
void tables_init(void);

/* Point the TSS descriptor of a processor at its TSS, not busy. */
void tables_set_tss(const struct cpu *cpu);

/* What GDTR and IDTR hold. */
struct table_register tables_gdtr(void);
struct table_register tables_idtr(void);

/* A gate that leads to entry, through the interrupt stack ist (0: none), for a DPL. */
struct gate gate_to(const void *entry, u8 ist, u8 dpl);

/* Base address of the segment that a GDT descriptor names; system descriptors are 16 bytes. */
u64 descriptor_base(u16 selector);
u32 descriptor_limit(u16 selector);
