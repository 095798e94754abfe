/* SPDX-License-Identifier: BSD-2-Clause */
#include "info_ways.h"
#include "vmx/ept.h"
#include "vmx/modes.h"
#include "vmxtest/events.h"
#include "x86/tables.h"

#include "libc/string.h"

#define INFORMATION(type, vector) (INTERRUPTION_VALID | INTERRUPTION_TYPE_##type | (vector))

GUEST_ASM(way_does_nothing, "nop; ret");
GUEST_ASM(way_ud, "ud2");
GUEST_ASM(way_write, "mov %ecx, (%rbx); ret");
GUEST_ASM(way_cr8, "mov %rcx, %cr8; ret");
/* 32-bit code: the descriptor of the one TSS is no other, so the operand is all that a far JMP needs. */
GUEST_ASM(way_jmp_tss, ".code32; ljmp $0x48, $0; .code64");

static struct outcome run_nothing(void)
{
	return guest_run(way_does_nothing);
}

static struct outcome run_ud(void)
{
	return guest_run(way_ud);
}

/* An interrupt waits in the host, and is taken there behind the exit. */
static void pend_interrupt(void)
{
	require_pend(TEST_VECTOR);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
}

static void prepare_interrupt(void)
{
	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	pend_interrupt();
}

static void take_interrupt(void)
{
	take_pending(TEST_VECTOR);
}

static void prepare_acknowledged_interrupt(void)
{
	vmcs_set_controls(EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT);
	prepare_interrupt();
}

static void end_interrupt(void)
{
	apic_eoi();
	take_interrupt();
}

static void prepare_nmi(void)
{
	let_guest_use_apic();
	vmcs_set_controls(PIN_NMI_EXITING);
}

static void send_nmi_to_self(void)
{
	nmi_arrives();
}

static struct outcome run_nmi(void)
{
	return guest_run(send_nmi_to_self);
}

static void prepare_ud(void)
{
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_UD));
}

static void prepare_triple_fault(void)
{
	vmcs_write(GUEST_IDTR_LIMIT, 0);
}

static void prepare_interrupt_window(void)
{
	vmcs_set_controls(PROC_INTERRUPT_WINDOW_EXITING);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
}

static void prepare_nmi_window(void)
{
	vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS, PROC_NMI_WINDOW_EXITING);
}

static void prepare_task_switch(void)
{
	guest_set_pae();
	gdt[SELECTOR_SPARE / 8] = gdt[SELECTOR_TSS(0) / 8];
	gdt[SELECTOR_SPARE / 8] &= ~BIT(41);		/* not busy */
}

static struct outcome run_task_switch(void)
{
	return guest_run_at(way_jmp_tss);
}

static void clean_task_switch(void)
{
	gdt[SELECTOR_SPARE / 8] = 0;
}

static void prepare_timer(void)
{
	vmcs_write(VMX_PREEMPTION_TIMER_VALUE, 0);
}

static void prepare_mtf(void)
{
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, INTERRUPTION_VALID | INTERRUPTION_TYPE_OTHER);
}

static void prepare_threshold(void)
{
	*(u32 *)(vmcs_use_tpr_shadow(5) + APIC_TPR) = 0x50;
}

static struct outcome run_threshold(void)
{
	guest.regs.rcx = 4;
	return guest_run(way_cr8);
}

/* Pages of the window: the operand of way_write. */
static struct outcome write_window(u64 offset)
{
	guest.regs.rbx = PAGE_WINDOW + offset;
	guest.regs.rcx = 0x12345678;
	return guest_run(way_write);
}

static void prepare_apic_access(void)
{
	page_map(PAGE_WINDOW, physical_address(vmcs_use_apic_access_page()), PAGE_PRESENT | PAGE_WRITE);
}

static struct outcome run_apic_access(void)
{
	return write_window(0x320);
}

static void prepare_apic_write(void)
{
	vmcs_use_tpr_shadow(0);
	vmcs_set_controls(PROC2_APIC_REGISTER_VIRTUALIZATION);
	prepare_apic_access();
}

static void prepare_eoi(void)
{
	u8 *const page = vmcs_use_tpr_shadow(0);

	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING, PROC2_VIRTUAL_INTERRUPT_DELIVERY);
	vmcs_write(EOI_EXIT_BITMAP_1, BIT(TEST_VECTOR - 64));
	vmcs_write(GUEST_INTERRUPT_STATUS, TEST_VECTOR << 8);
	page[APIC_ISR + TEST_VECTOR / 32 * 16 + TEST_VECTOR % 32 / 8] = 1 << TEST_VECTOR % 8;
	prepare_apic_access();
}

static struct outcome run_eoi(void)
{
	return write_window(APIC_EOI);
}

/* A page that the guest may do anything with, but for these bits of its EPT entry. */
static u64 prepare_ept_page(u64 flags)
{
	const u64 page = physical_address(page_alloc());

	vmcs_use_ept();
	page_map(PAGE_WINDOW, page, PAGE_PRESENT | PAGE_WRITE | PAGE_ACCESSED | PAGE_DIRTY);
	ept_map(page, page, flags);
	ept_flush();
	return page;
}

static void prepare_violation(void)
{
	prepare_ept_page(EPT_READ | EPT_EXECUTE | EPT_WB);
}

static void prepare_misconfiguration(void)
{
	prepare_ept_page(EPT_WRITE | EPT_WB);
}

static struct outcome run_ept(void)
{
	return write_window(0x678);
}

/* The log is full before the guest's first write, which is that of its stack. */
static void prepare_log_full(void)
{
	vmcs_use_ept();
	vmcs_write(EPT_POINTER, vmcs_read(EPT_POINTER) | EPTP_ACCESSED_DIRTY);
	vmcs_write(PML_ADDRESS, physical_address(page_alloc()));
	vmcs_write(PML_INDEX, 0xffff);
	vmcs_set_controls(PROC2_ENABLE_PML);
}

/* A page with sub-page permissions, and a table of them that has none: a miss. */
static void prepare_sub_page(void)
{
	prepare_ept_page(EPT_READ | EPT_EXECUTE | EPT_WB | BIT(61));
	vmcs_write(SUB_PAGE_PERMISSION_TABLE_POINTER, physical_address(page_alloc()));
	vmcs_set_controls(PROC2_SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT);
}

static void prepare_bad_state(void)
{
	vmcs_write(GUEST_RFLAGS, 0);
}

/* The third entry is an MSR that may not be in the list. */
static void prepare_bad_msr(void)
{
	static const u64 value[3][2] = { { IA32_SYSENTER_CS, 0 }, { IA32_SYSENTER_CS, 0 }, { IA32_FS_BASE, 0 } };
	void *const list = page_alloc();

	memcpy(list, value, sizeof(value));
	vmcs_write(VM_ENTRY_MSR_LOAD_ADDRESS, physical_address(list));
	vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, ARRAY_SIZE(value));
}

#define WAY(name_, reason_, prepare_, run_, ...) \
	{ .name = name_, .reason = reason_, .prepare = prepare_, .run = run_, ##__VA_ARGS__ }

const struct way ways[] = {
	WAY("#UD", EXIT_EXCEPTION_OR_NMI, prepare_ud, run_ud, .interruption = INFORMATION(HARDWARE, VECTOR_UD)),
	WAY("NMI", EXIT_EXCEPTION_OR_NMI, prepare_nmi, run_nmi, .needs = { PIN_NMI_EXITING, PROC_USE_MSR_BITMAPS },
	    .clean = nmi_unblock, .interruption = INFORMATION(NMI, VECTOR_NMI)),
	WAY("external interrupt", EXIT_EXTERNAL_INTERRUPT, prepare_interrupt, run_nothing,
	    .needs = { PIN_EXTERNAL_INTERRUPT_EXITING }, .clean = take_interrupt),
	WAY("acknowledged interrupt", EXIT_EXTERNAL_INTERRUPT, prepare_acknowledged_interrupt, run_nothing,
	    .needs = { PIN_EXTERNAL_INTERRUPT_EXITING, EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT }, .clean = end_interrupt,
	    .interruption = INFORMATION(EXTERNAL, TEST_VECTOR)),
	WAY("triple fault", EXIT_TRIPLE_FAULT, prepare_triple_fault, run_ud),
	WAY("interrupt window", EXIT_INTERRUPT_WINDOW, prepare_interrupt_window, run_nothing,
	    .needs = { PROC_INTERRUPT_WINDOW_EXITING }),
	WAY("NMI window", EXIT_NMI_WINDOW, prepare_nmi_window, run_nothing,
	    .needs = { PROC_NMI_WINDOW_EXITING, PIN_VIRTUAL_NMIS }),
	WAY("task switch", EXIT_TASK_SWITCH, prepare_task_switch, run_task_switch, .clean = clean_task_switch,
	    .qualification = 2u << 30 | SELECTOR_SPARE),
	WAY("VMX-preemption timer", EXIT_PREEMPTION_TIMER, prepare_timer, run_nothing,
	    .needs = { PIN_ACTIVATE_VMX_PREEMPTION_TIMER }),
	WAY("monitor trap flag", EXIT_MONITOR_TRAP_FLAG, prepare_mtf, run_nothing, .needs = { PROC_MONITOR_TRAP_FLAG }),
	WAY("TPR below threshold", EXIT_TPR_BELOW_THRESHOLD, prepare_threshold, run_threshold,
	    .needs = { PROC_USE_TPR_SHADOW }),
	WAY("APIC access", EXIT_APIC_ACCESS, prepare_apic_access, run_apic_access,
	    .needs = { PROC2_VIRTUALIZE_APIC_ACCESSES }, .qualification = 1 << 12 | 0x320),
	WAY("APIC write", EXIT_APIC_WRITE, prepare_apic_write, run_apic_access,
	    .needs = { PROC2_VIRTUALIZE_APIC_ACCESSES, PROC2_APIC_REGISTER_VIRTUALIZATION }, .qualification = 0x320),
	WAY("virtualized EOI", EXIT_VIRTUALIZED_EOI, prepare_eoi, run_eoi,
	    .needs = { PROC2_VIRTUALIZE_APIC_ACCESSES, PROC2_VIRTUAL_INTERRUPT_DELIVERY },
	    .qualification = TEST_VECTOR, .apart = true),
	WAY("EPT violation", EXIT_EPT_VIOLATION, prepare_violation, run_ept, .needs = { PROC2_ENABLE_EPT },
	    .qualification = NOT_LOOKED_AT),
	WAY("EPT misconfiguration", EXIT_EPT_MISCONFIGURATION, prepare_misconfiguration, run_ept,
	    .needs = { PROC2_ENABLE_EPT }, .qualification = NOT_LOOKED_AT),
	WAY("page-modification log full", EXIT_PAGE_MODIFICATION_LOG_FULL, prepare_log_full, run_nothing,
	    .needs = { PROC2_ENABLE_EPT, PROC2_ENABLE_PML }, .qualification = NOT_LOOKED_AT),
	WAY("SPP-related event", EXIT_SPP_RELATED_EVENT, prepare_sub_page, run_ept,
	    .needs = { PROC2_SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT }, .qualification = NOT_LOOKED_AT),
	WAY("invalid guest state", EXIT_INVALID_GUEST_STATE, prepare_bad_state, run_nothing, .entry_failure = true),
	WAY("MSR loading", EXIT_MSR_LOADING, prepare_bad_msr, run_nothing, .qualification = 3, .entry_failure = true),
};

const size_t way_count = ARRAY_SIZE(ways);

bool way_exists(const struct way *way)
{
	for (u32 i = 0; i < WAY_NEEDS; i++)
		if (way->needs[i] && !has(way->needs[i]))
			return false;
	return true;
}

void way_run(const struct way *way, void (*poison)(void))
{
	const u64 mark = page_mark();

	vmcs_reset();
	guest_baseline();
	way->prepare();
	if (poison)
		poison();
	way->run();
	if (way->clean)
		way->clean();
	page_window_reset();
	page_release(mark);
}

bool check_way(const char *file, u32 line, const struct way *way)
{
	const struct outcome wanted = way->entry_failure ? ENTRY_FAILS(way->reason, way->qualification)
							 : EXITS(way->reason);

	return check_outcome(file, line, way->name, guest.outcome, wanted) &&
	       check_equal(file, line, "exit reason", vmcs_read(EXIT_REASON),
			   way->reason | (way->entry_failure ? BIT(31) : 0));
}
