/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/interrupt.h"
#include "x86/processor.h"
#include "x86/selectors.h"
#include "x86/state.h"
#include "x86/tables.h"
#include "x86/wait.h"

#include "libc/string.h"

#define ACCESSORS(name, read_expression, write_statement)	\
static u64 get_##name(void) { return read_expression; }		\
static void set_##name(u64 value) { write_statement; }

static u64 sum(const void *table, size_t size)
{
	u64 total = 0;

	for (size_t i = 0; i < size / 8; i++)
		total = (total << 1 | total >> 63) ^ ((const u64 *)table)[i];
	return total;
}

/* Tables in memory, as they were: a test may end with any of them half done. Those of other processors are theirs. */
static u64 saved_gdt[SELECTOR_TSS(1) / 8];
static struct gate saved_idt[ARRAY_SIZE(idt)];
static struct tss saved_tss;

static void save_tables(void)
{
	memcpy(saved_gdt, gdt, sizeof(saved_gdt));
	memcpy(saved_idt, idt, sizeof(saved_idt));
	saved_tss = this_cpu()->tss;
}

static void reload_tables(void)
{
	memcpy(gdt, saved_gdt, sizeof(saved_gdt));
	memcpy(idt, saved_idt, sizeof(saved_idt));
	this_cpu()->tss = saved_tss;
	cpu_load_tables(this_cpu());
}

ACCESSORS(cr0, read_cr0(), write_cr0(value))
ACCESSORS(cr3, read_cr3(), write_cr3(value))
ACCESSORS(cr4, read_cr4(), write_cr4(value))
ACCESSORS(cr8, read_cr8(), write_cr8(value))
ACCESSORS(dr0, read_dr0(), write_dr0(value))
ACCESSORS(dr1, read_dr1(), write_dr1(value))
ACCESSORS(dr2, read_dr2(), write_dr2(value))
ACCESSORS(dr3, read_dr3(), write_dr3(value))
ACCESSORS(dr7, read_dr7(), write_dr7(value))
ACCESSORS(xcr0, read_cr4() & CR4_OSXSAVE ? xgetbv(0) : 0, if (read_cr4() & CR4_OSXSAVE) xsetbv(0, value))
ACCESSORS(rflags, read_rflags() & ~RFLAGS_ARITHMETIC, write_rflags(value))
ACCESSORS(gdtr_base, read_gdtr().base, (void)value; reload_tables())
ACCESSORS(idtr_base, read_idtr().base, (void)value; reload_tables())
ACCESSORS(tr, read_tr(), (void)value; reload_tables())
ACCESSORS(ldtr, read_ldtr(), write_ldtr(value))
ACCESSORS(segments, (u64)read_cs() << 48 | (u64)read_ss() << 32 | read_ds() << 16 | read_es(),
	  (void)value; reload_tables())
/* The TSS descriptors of other processors change when one of those starts. */
ACCESSORS(gdt, sum(gdt, SELECTOR_TSS(1)), (void)value; reload_tables())
ACCESSORS(idt, sum(idt, sizeof(idt)), (void)value; reload_tables())
ACCESSORS(tss, sum(&this_cpu()->tss, sizeof(struct tss)), (void)value; reload_tables())
ACCESSORS(apic_svr, apic_read(APIC_SVR), apic_write(APIC_SVR, value))
ACCESSORS(apic_timer, apic_read(APIC_LVT_TIMER), apic_write(APIC_LVT_TIMER, value))
ACCESSORS(apic_lint0, apic_read(APIC_LVT_LINT0), apic_write(APIC_LVT_LINT0, value))
ACCESSORS(apic_lint1, apic_read(APIC_LVT_LINT1), apic_write(APIC_LVT_LINT1, value))
ACCESSORS(apic_divide, apic_read(APIC_TIMER_DIVIDE), apic_write(APIC_TIMER_DIVIDE, value))
ACCESSORS(apic_initial, apic_read(APIC_TIMER_INITIAL), apic_write(APIC_TIMER_INITIAL, value))

/* CR4 before XCR0 (OSXSAVE), CR4 before the MSRs that a feature's bit guards. */
static const struct {
	const char *name;
	u64 (*get)(void);
	void (*set)(u64 value);
} items[] = {
	{ "CR0", get_cr0, set_cr0 },
	{ "CR3", get_cr3, set_cr3 },
	{ "CR4", get_cr4, set_cr4 },
	{ "CR8", get_cr8, set_cr8 },
	{ "DR7", get_dr7, set_dr7 },
	{ "DR0", get_dr0, set_dr0 },
	{ "DR1", get_dr1, set_dr1 },
	{ "DR2", get_dr2, set_dr2 },
	{ "DR3", get_dr3, set_dr3 },
	{ "XCR0", get_xcr0, set_xcr0 },
	{ "RFLAGS", get_rflags, set_rflags },
	{ "GDTR base", get_gdtr_base, set_gdtr_base },
	{ "IDTR base", get_idtr_base, set_idtr_base },
	{ "the GDT (sum)", get_gdt, set_gdt },
	{ "the IDT (sum)", get_idt, set_idt },
	{ "the TSS (sum)", get_tss, set_tss },
	{ "LDTR", get_ldtr, set_ldtr },
	{ "TR", get_tr, set_tr },
	{ "CS, SS, DS, ES", get_segments, set_segments },
	{ "the APIC's spurious-interrupt vector register", get_apic_svr, set_apic_svr },
	{ "the APIC's LVT timer", get_apic_timer, set_apic_timer },
	{ "the APIC's LVT LINT0", get_apic_lint0, set_apic_lint0 },
	{ "the APIC's LVT LINT1", get_apic_lint1, set_apic_lint1 },
	{ "the APIC's divide configuration", get_apic_divide, set_apic_divide },
	{ "the APIC's initial count", get_apic_initial, set_apic_initial },
};

/* MSRs by the manual's name; those that do not exist here are left out once. */
static const struct {
	u32 index;
	const char *name;
} msrs[] = {
#define ITEM(msr) { (u32)(msr), #msr }
	ITEM(IA32_EFER), ITEM(IA32_STAR), ITEM(IA32_LSTAR), ITEM(IA32_CSTAR), ITEM(IA32_FMASK), ITEM(IA32_FS_BASE),
	ITEM(IA32_GS_BASE), ITEM(IA32_KERNEL_GS_BASE), ITEM(IA32_TSC_AUX), ITEM(IA32_SYSENTER_CS),
	ITEM(IA32_SYSENTER_ESP), ITEM(IA32_SYSENTER_EIP), ITEM(IA32_PAT), ITEM(IA32_APIC_BASE),
	ITEM(IA32_DEBUGCTL), ITEM(IA32_PERF_GLOBAL_CTRL), ITEM(IA32_TSC_ADJUST), ITEM(IA32_XSS), ITEM(IA32_S_CET),
	ITEM(IA32_U_CET), ITEM(IA32_PL0_SSP), ITEM(IA32_INTERRUPT_SSP_TABLE_ADDR), ITEM(IA32_PKRS),
	ITEM(IA32_BNDCFGS), ITEM(IA32_MISC_ENABLE), ITEM(IA32_SPEC_CTRL),
#undef ITEM
};

static u64 saved[ARRAY_SIZE(items)];
static u64 saved_msrs[ARRAY_SIZE(msrs)];
static bool msr_exists[ARRAY_SIZE(msrs)];
static bool saved_is_current;

void state_forget(void)
{
	saved_is_current = false;
}

void state_save(void)
{
	static bool known;

	interrupt_handlers_reset();
	if (saved_is_current)
		return;
	saved_is_current = true;
	save_tables();
	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		saved[i] = items[i].get();
	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++) {
		if (!known)
			msr_exists[i] = !TRY(rdmsr(msrs[i].index)).raised;
		if (msr_exists[i])
			saved_msrs[i] = rdmsr(msrs[i].index);
	}
	if (!known) {			/* how long an NMI takes here, before a test needs it */
		interrupt_handle(VECTOR_NMI, interrupt_counter);
		nmi_timed();
		interrupt_handlers_reset();
	}
	known = true;
}

static void (*leaked)(const char *name, u64 before, u64 after);

static void leaked_interrupt(const char *where, u8 vector)
{
	leaked(where, 0, vector);
}

/* What the test has sent and left, however late it comes, and blocking by NMI. */
static void restore_interrupts(void)
{
	interrupt_handle(VECTOR_NMI, interrupt_counter);
	interrupts_drain(leaked_interrupt);
	if (interrupt_count[VECTOR_NMI])
		leaked("NMIs that pend", 0, interrupt_count[VECTOR_NMI]);
	if (!nmi_timed()) {
		leaked("blocking by NMI", 0, 1);
		nmi_unblock();
	}
	/* To the next test, which begins without handlers, none shall come: this one takes a last NMI that is late. */
	interrupt_handlers_reset();
	interrupt_handle(VECTOR_NMI, interrupt_counter);
}

void state_restore(void (*leak)(const char *name, u64 before, u64 after))
{
	leaked = leak;
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		const u64 now = items[i].get();

		if (now == saved[i])
			continue;
		leak(items[i].name, saved[i], now);
		items[i].set(saved[i]);
		saved[i] = items[i].get();	/* a target may not let it be put back: one test is enough to say so */
	}
	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++) {
		const u64 now = msr_exists[i] ? rdmsr(msrs[i].index) : 0;

		if (!msr_exists[i] || now == saved_msrs[i])
			continue;
		leak(msrs[i].name, saved_msrs[i], now);
		wrmsr(msrs[i].index, saved_msrs[i]);
		saved_msrs[i] = rdmsr(msrs[i].index);
	}
	/* A VM exit leaves limits of FFFFH in GDTR and IDTR: no leak, but no state to start from. */
	write_gdtr(tables_gdtr());
	write_idtr(tables_idtr());
	restore_interrupts();
}
