/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder have in common. */
#pragma once

#include "hostile/hostile.h"

/* The names that lists of words take: bit N of the word's value is the N-th. */
enum { ABSENT_PIT = BIT(0), ABSENT_CMOS = BIT(1), ABSENT_PM_TIMER = BIT(2), ABSENT_POST = BIT(3) };

enum {
	ENTRY_RFLAGS = BIT(0), ENTRY_DEBUG = BIT(1), ENTRY_XCR0 = BIT(2), ENTRY_EFER = BIT(3), ENTRY_CR4 = BIT(4),
	ENTRY_CR0 = BIT(5), ENTRY_MSRS = BIT(6), ENTRY_PAT = BIT(7), ENTRY_MTRRS = BIT(8), ENTRY_X2APIC = BIT(9),
	ENTRY_APIC = BIT(10), ENTRY_APIC_BASE = BIT(11), ENTRY_IN_SERVICE = BIT(12), ENTRY_PENDING = BIT(13), ENTRY_NMI = BIT(14),
};

enum {
	FIRMWARE_PIC = BIT(0), FIRMWARE_IOAPIC = BIT(1), FIRMWARE_HPET = BIT(2), FIRMWARE_TIMER = BIT(3),
	FIRMWARE_LVT = BIT(4),
};

/* The vectors on which a firmware's interrupts come. */
enum {
	VECTOR_FIRMWARE_IOAPIC = 0x70, VECTOR_FIRMWARE_TIMER = 0x72, VECTOR_FIRMWARE_LVT = 0x73,
	VECTOR_FIRMWARE_HPET = 0x74, VECTOR_FIRMWARE_PENDING = 0x75, VECTOR_FIRMWARE_IN_SERVICE = 0x76,
};

void hostile_width_before_entry(void);
void hostile_width_after_entry(void);

/* An address as this processor must get it, to judge as one of the width hostile.width. */
u64 hostile_address(u64 address);

/* So many NOPs, 31 at most, go before each VM entry (lib/vmx/enter.S). */
extern u64 hostile_nops;

/* A number that is as good as random and the same in each run. */
u64 hostile_random(void);

/* The strange state of hostile.entry and hostile.firmware; then the image begins again at its first instruction. */
void hostile_firmware(void);
void hostile_leave(u32 magic, u32 information) __attribute__((noreturn));
void hostile_enter_afresh(u32 magic, u32 information) __attribute__((noreturn));

/* The 8254's channel 0: one rise of its output after so many ticks, or one each so many. */
void hostile_pit_once(u16 ticks);
void hostile_pit_each(u16 ticks);

/* Where the PIT's channel 0 is wired to (both pins that are usual): the low half of a redirection entry; `to` in xAPIC mode. */
void hostile_ioapic(u32 low, u32 to_apic_id);
