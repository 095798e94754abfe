/* SPDX-License-Identifier: BSD-2-Clause */
/* The state that a machine may be in when a loader hands it over: hostile.entry=, hostile.firmware=, hostile.tsc...= */
#include "hostile/internal.h"

#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/cr4.h"
#include "x86/feature.h"
#include "x86/interrupt.h"
#include "x86/page.h"
#include "x86/processor.h"
#include "x86/wait.h"

extern u32 hostile_cr0, hostile_cr4, hostile_efer, hostile_rflags;
extern const u8 main_text[] asm("main");
static u32 magic_of_loader, information_of_loader;

/* What the processor takes of it: one that knows no such MSR or value keeps its own. */
static void try_wrmsr(u32 msr, u64 value)
{
	(void)TRY(wrmsr(msr, value));
}

/* All bits of CR4 that code can live with but those that need long mode, or that QEMU takes without having them, and is lost. */
static void set_cr4(void)
{
	const u64 bits = CR4_HARMLESS & ~(u64)(CR4_PCIDE | CR4_SMXE | CR4_CET | CR4_UINTR | CR4_KL | CR4_LAM_SUP);

	for (u32 bit = 0; bit < 32; bit++)
		if ((BIT(bit) & bits) && !TRY(write_cr4(read_cr4() | BIT(bit))).raised)
			hostile_cr4 |= BIT(bit);
}

static void set_xcr0(void)
{
	if (!has_feature(FEATURE_XSAVE))
		return;
	write_cr4(read_cr4() | CR4_OSXSAVE);
	if (TRY(xsetbv(0, cpuid(0xd, 0).eax & 0xff)).raised)
		xsetbv(0, 7);
	hostile_cr4 |= CR4_OSXSAVE;
}

/* A breakpoint that a firmware's debugger left, where the image comes by: main(). */
static void set_debug_registers(void)
{
	write_dr0((u64)main_text);
	write_dr1(0x1000);
	write_dr2((u64)main_text);
	write_dr3(~0ull >> 20);
	write_dr6(0xffff0ff0 | 0xf);
	write_dr7(0x400 | 1);
}

static void set_msrs(void)
{
	static const struct {
		u32 msr;
		u64 value;
	} odd[] = {
		{ IA32_FS_BASE, 0x123456789000 }, { IA32_KERNEL_GS_BASE, 0xffff800012345678 },
		{ IA32_STAR, 0x0023001000000000 }, { IA32_LSTAR, 0xffffffff81000000 }, { IA32_CSTAR, 0xffffffff82000000 },
		{ IA32_FMASK, 0x47700 }, { IA32_TSC_AUX, 0x5a5 }, { IA32_SYSENTER_CS, 0x10 },
		{ IA32_SYSENTER_ESP, 0xffffffff83000000 }, { IA32_SYSENTER_EIP, 0xffffffff84000000 },
		{ IA32_DEBUGCTL, 1 }, { IA32_XSS, 0x100 }, { IA32_BNDCFGS, 0x1000 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
		try_wrmsr(odd[i].msr, odd[i].value);
}

/* As firmwares do it: what is not RAM is UC by default, RAM is WB, a part of it WT, the BIOS' area WP. */
static void set_mtrrs(void)
{
	const u64 mask = BIT(physical_address_width()) - 1;

	if (!has_feature(FEATURE_MTRR))
		return;
	for (u32 i = 0; i < 88; i += i == 0 ? 8 : 1)	/* FIX64K, FIX16K_80000, FIX16K_A0000, FIX4K_C0000... */
		if (i == 0 || i == 8 || i == 9 || (i >= 0x18 && i < 0x20))
			try_wrmsr(IA32_MTRR_FIX64K_00000 + i, i == 9 ? 0 : i >= 0x18 ? 0x0505050505050505 : 0x0606060606060606);
	try_wrmsr(IA32_MTRR_PHYSBASE0, 6);
	try_wrmsr(IA32_MTRR_PHYSMASK0, (mask & ~0x7fffffffull) | BIT(11));
	try_wrmsr(IA32_MTRR_PHYSBASE0 + 2, 0x2000000 | 4);
	try_wrmsr(IA32_MTRR_PHYSMASK0 + 2, (mask & ~0xffffffull) | BIT(11));
	try_wrmsr(IA32_MTRR_DEF_TYPE, BIT(11) | BIT(10));
}

static void keep_in_service(UNUSED struct exception_frame *frame)
{
}

static void set_lvt(void)
{
	const u32 entries = apic_read(APIC_VERSION) >> 16 & 0xff;

	apic_write(APIC_LVT_ERROR, VECTOR_FIRMWARE_LVT);
	if (entries >= 4)
		apic_write(APIC_LVT_PMI, VECTOR_FIRMWARE_LVT);
	if (entries >= 5)
		apic_write(APIC_LVT_THERMAL, VECTOR_FIRMWARE_LVT);
	apic_send_ipi(0xfe, 5);			/* an illegal vector: an error for ESR */
}

static void set_apic(void)
{
	apic_write(APIC_LVT_LINT0, 7 << 8);		/* ExtINT */
	apic_write(APIC_LVT_LINT1, 4 << 8);		/* NMI */
	apic_write(APIC_TIMER_DIVIDE, APIC_TIMER_DIVIDE_BY_1);
	apic_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
	apic_write(APIC_TPR, 0x20);
}

static void start_apic_timer(void)
{
	apic_write(APIC_TIMER_DIVIDE, APIC_TIMER_DIVIDE_BY_1);
	apic_write(APIC_LVT_TIMER, VECTOR_FIRMWARE_TIMER | 1 << 17);	/* periodic */
	apic_write(APIC_TIMER_INITIAL, 10000);
}

/* The vectors that a BIOS gives its 8259s; IRQ 0 is let through, and LINT0 takes what they say. */
static void start_pic(void)
{
	outb(0x20, 0x11);
	outb(0x21, 0x08);
	outb(0x21, 0x04);
	outb(0x21, 0x01);
	outb(0xa0, 0x11);
	outb(0xa1, 0x70);
	outb(0xa1, 0x02);
	outb(0xa1, 0x01);
	outb(0xa1, 0xff);
	outb(0x21, 0xfa);
	apic_write(APIC_LVT_LINT0, 7 << 8);
	hostile_pit_each(1193);
}

static void start_hpet(void)
{
	volatile u64 *hpet = (volatile u64 *)0xfed00000ull;

	if ((u32)(hpet[0] >> 32) == 0 || (u32)(hpet[0] >> 32) == ~0u)
		return;
	hpet[2] = 0;
	hpet[0xf0 / 8] = 0;
	hpet[0x100 / 8] = BIT(2) | BIT(3) | BIT(6);		/* enabled, periodic, its value can be set */
	hpet[0x108 / 8] = 1000000000000 / (hpet[0] >> 32);	/* a millisecond */
	hpet[0x108 / 8] = 1000000000000 / (hpet[0] >> 32);
	hpet[2] = BIT(0) | BIT(1);				/* on, in place of the PIT */
	hostile_ioapic(VECTOR_FIRMWARE_HPET, apic_id());
}

static void start_ioapic(void)
{
	hostile_ioapic(VECTOR_FIRMWARE_IOAPIC, apic_id());
	hostile_pit_each(1193);
}

/* In an NMI's handler, so that further ones are blocked, and one of those waits. */
static void go_on_in_nmi(UNUSED struct exception_frame *frame)
{
	apic_send_ipi(apic_id(), APIC_DELIVERY_NMI);
	hostile_enter_afresh(magic_of_loader, information_of_loader);
}

static void set_time(void)
{
	if (hostile.tsc)
		wrmsr(IA32_TIME_STAMP_COUNTER, hostile.tsc);
	if (hostile.tsc_adjust)
		try_wrmsr(IA32_TSC_ADJUST, hostile.tsc_adjust);
}

/* In this order: what changes the APIC's mode or place comes before what writes to it, NMI blocking last. */
static const struct {
	u64 *word, bit;
	void (*act)(void);
} acts[] = {
	{ &hostile.entry, ENTRY_XCR0, set_xcr0 },
	{ &hostile.entry, ENTRY_CR4, set_cr4 },
	{ &hostile.entry, ENTRY_DEBUG, set_debug_registers },
	{ &hostile.entry, ENTRY_MSRS, set_msrs },
	{ &hostile.entry, ENTRY_MTRRS, set_mtrrs },
	{ &hostile.entry, ENTRY_APIC, set_apic },
	{ &hostile.firmware, FIRMWARE_LVT, set_lvt },
	{ &hostile.firmware, FIRMWARE_PIC, start_pic },
	{ &hostile.firmware, FIRMWARE_IOAPIC, start_ioapic },
	{ &hostile.firmware, FIRMWARE_HPET, start_hpet },
	{ &hostile.firmware, FIRMWARE_TIMER, start_apic_timer },
};

static void take_one_for_service(void)
{
	interrupt_handle(VECTOR_FIRMWARE_IN_SERVICE, keep_in_service);
	apic_send_ipi_self(VECTOR_FIRMWARE_IN_SERVICE);
	for (int i = 0; i < 1000 && !apic_in_service(VECTOR_FIRMWARE_IN_SERVICE); i++)
		asm volatile("sti; nop; cli" : : : "memory");
}

void hostile_firmware(void)
{
	if (hostile.entry & ENTRY_APIC_BASE) {
		wrmsr(IA32_APIC_BASE, (rdmsr(IA32_APIC_BASE) & 0xfff) | 0xfef00000);
		apic_init();
	}
	if (hostile.entry & ENTRY_X2APIC && has_feature(FEATURE_X2APIC))
		apic_enable_x2apic();
	if (hostile.entry & ENTRY_IN_SERVICE)
		take_one_for_service();
	for (size_t i = 0; i < ARRAY_SIZE(acts); i++)
		if (*acts[i].word & acts[i].bit)
			acts[i].act();
	if (hostile.entry & ENTRY_PENDING)
		apic_send_ipi_self(VECTOR_FIRMWARE_PENDING);
	if (hostile.entry & ENTRY_PAT)
		wrmsr(IA32_PAT, 0x0007050407010006);
	if (hostile.entry & ENTRY_EFER)
		hostile_efer = EFER_SCE | (has_feature(FEATURE_NX) ? EFER_NXE : 0);
	if (hostile.entry & ENTRY_CR0)
		hostile_cr0 = CR0_CD | CR0_TS | CR0_EM | CR0_AM | CR0_WP;
	if (hostile.entry & ENTRY_RFLAGS)
		hostile_rflags = RFLAGS_FIXED | RFLAGS_ARITHMETIC | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_AC | BIT(21);
	set_time();
}

void hostile_leave(u32 magic, u32 information)
{
	magic_of_loader = magic;
	information_of_loader = information;
	if (hostile.entry & ENTRY_NMI) {
		interrupt_handle(VECTOR_NMI, go_on_in_nmi);
		apic_send_ipi(apic_id(), APIC_DELIVERY_NMI);
		delay_us(1000);
	}
	hostile_enter_afresh(magic, information);
}
