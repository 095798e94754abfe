/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exits due to events: interruption information and error code (SDM Vol. 3C, "Information for VM Exits Due to Vectored
 * Events"; "Information About NMI Unblocking Due to IRET").
 */
#include "vmx/ept.h"
#include "vmxtest/events.h"
#include "vmxtest/raiser.h"
#include "x86/selectors.h"

enum { TYPE_AND_VECTOR = INTERRUPTION_TYPE_MASK | 0xff };

static void do_nothing(void)
{
}

static void guest_sends_nmi(void)
{
	nmi_arrives();
}

/* An interrupt that the host has pending exits at once and is acknowledged. */
static void exit_by_interrupt(u8 vector)
{
	CASE("external interrupt %#x", vector);
	require_pend(vector);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	guest_run(do_nothing);
	expect_exit(EXIT_EXTERNAL_INTERRUPT);
	apic_eoi();
}

/* Every vectored event that exits: mask says which bits of the information must be as expected. */
static void check_all_events(u64 mask)
{
	const u64 without_12 = mask & ~(u64)INTERRUPTION_NMI_UNBLOCKING;
	const bool exiting = vmcs_read(PIN_BASED_CONTROLS) & BIT(0);

	raisers_begin();
	FOR_EACH_RAISER(raiser) {
		CASE("%s, CPL %u, type %#x", vector_name(raiser->vector), raiser->cpl, raiser->type);
		raise(raiser, BIT(raiser->vector));
		expect_exit(EXIT_EXCEPTION_OR_NMI);
		expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), mask,
			    INTERRUPTION_VALID | raiser->type | raiser->vector);
	}
	raisers_end();
	guest_set_cpl(0);
	vmcs_write(GUEST_CR0, read_cr0());

	if (has(PIN_NMI_EXITING) && has(PROC_USE_MSR_BITMAPS)) {
		CASE("NMI");
		let_guest_use_apic();
		vmcs_set_controls(PIN_NMI_EXITING);
		guest_run(guest_sends_nmi);
		expect_exit(EXIT_EXCEPTION_OR_NMI);
		expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), without_12, NMI_INFORMATION);
		nmi_unblock();
		vmcs_write(GUEST_INTERRUPTIBILITY_STATE, 0);
	}
	if (has(PIN_EXTERNAL_INTERRUPT_EXITING) && has(EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT)) {
		vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING, EXITCTL_ACKNOWLEDGE_INTERRUPT_ON_EXIT);
		/* The library has three for itself: its watchdog, the spurious one and that of throw(). */
		for (u32 vector = 32; vector < 0xee; vector++) {
			exit_by_interrupt(vector);
			expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), without_12,
				    INTERRUPTION_VALID | INTERRUPTION_TYPE_EXTERNAL | vector);
		}
		if (!exiting)
			vmcs_clear_controls(PIN_EXTERNAL_INTERRUPT_EXITING);
	}
}

TEST("info.intr.type",
     "Interruption information has the event's type and vector: interrupt, NMI and three of exceptions")
{
	check_all_events(INTERRUPTION_VALID | TYPE_AND_VECTOR);
}

TEST("info.intr.reserved", "Bits 30:13 of the interruption information are 0")
{
	/* Bit 13 has a meaning with FRED. */
	check_all_events(0x7fffc000 | (has(FEATURE_FRED) ? 0 : BIT(13)));
}

/* The selector that a guest loads is its error code, but for RPL. */
GUEST_ASM(guest_loads_es, "mov %ebx, %es; ret");
GUEST_ASM(guest_int_80, "int $0x80; ret");

static void check_error_code(u8 vector, u32 error_code)
{
	if (!expect_exit(EXIT_EXCEPTION_OR_NMI, .interruption_error = error_code))
		return;
	expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), ~(u64)INTERRUPTION_NMI_UNBLOCKING,
		    INTERRUPTION_VALID | HARDWARE_CODE | vector);
}

TEST("info.intr.error_code", "The error code is there where bit 11 of the information is 1; its upper bits are 0")
{
	raisers_begin();
	FOR_EACH_RAISER(raiser) {
		const bool has_code = raiser->type & INTERRUPTION_ERROR_CODE;

		CASE("%s, CPL %u", vector_name(raiser->vector), raiser->cpl);
		raise(raiser, BIT(raiser->vector));
		expect_exit(EXIT_EXCEPTION_OR_NMI);
		expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), INTERRUPTION_ERROR_CODE,
			    raiser->type & INTERRUPTION_ERROR_CODE);
		if (has_code)
			expect_eq(vmcs_read(EXIT_INTERRUPTION_ERROR_CODE), raiser->error_code);
	}
	raisers_end();
	guest_set_cpl(0);
	vmcs_write(GUEST_CR0, read_cr0());

	/* Selectors beyond the GDT, in either table, with each RPL. */
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_GP));
	for (u32 selector = 0x400; selector < 0x10000; selector += 0x31b) {
		CASE("selector %#x", selector);
		guest.regs.rbx = selector;
		guest_run(guest_loads_es);
		check_error_code(VECTOR_GP, selector & ~3u);
	}

	/* An IDT that ends too early: the vector, and bit 1. EXT is 0 for INT n, 1 for an exception. */
	CASE("INT 80H beyond the IDT");
	vmcs_write(GUEST_IDTR_LIMIT, 0x7f);
	guest_run(guest_int_80);
	check_error_code(VECTOR_GP, 0x80 << 3 | 2);
	CASE("#UD beyond the IDT");
	vmcs_write(GUEST_IDTR_LIMIT, 0x0f);
	guest_run(raise_ud);
	check_error_code(VECTOR_GP, VECTOR_UD << 3 | 2 | 1);
	CASE("#DF");
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_DF));
	guest_run(raise_ud);
	check_error_code(VECTOR_DF, 0);
}

/*
 * NMI unblocking due to IRET. The guest's stack, and its GDT, are pages of the window. RBX is RSP at the IRET, whose
 * frame leads to RDX (where a VMCALL is) or to nothing.
 */
#define STACK		(PAGE_WINDOW + 0x1000)
#define TABLE		(PAGE_WINDOW + 0x2000)
#define NOWHERE		(PAGE_WINDOW + 0x3000)
#define NON_CANONICAL	0x0000800000000000ull

GUEST_ASM(guest_iret_from, "mov %rbx, %rsp; iret_at: iretq");
GUEST_ASM(guest_reads_from, "read_at: mov (%rbx), %rax; ret");
extern const u8 iret_at[], read_at[];

static u64 *iret_frame;
static u64 table_page;

static void map_stack_and_table(void)
{
	u64 *const table = page_alloc();

	iret_frame = page_alloc();
	table_page = physical_address(table);
	page_map(STACK, physical_address(iret_frame), PAGE_PRESENT | PAGE_WRITE | PAGE_ACCESSED | PAGE_DIRTY);
	page_map(TABLE, table_page, PAGE_PRESENT | PAGE_WRITE | PAGE_ACCESSED | PAGE_DIRTY);
	table[SELECTOR_CODE64 / 8] = 0x00af9b000000ffff;
	table[SELECTOR_DATA / 8] = 0x00cf93000000ffff;
	iret_frame[0] = NOWHERE;
	iret_frame[1] = SELECTOR_CODE64;
	iret_frame[2] = RFLAGS_FIXED;
	iret_frame[3] = (u64)(guest_stack + GUEST_STACK_SIZE);
	iret_frame[4] = SELECTOR_DATA;
}

struct unblocking_case {
	const char *name;
	void (*function)(void);
	u64 rbx;		/* its stack, or what it reads */
	u64 gdt;		/* 0: the host's */
	const u8 *rip;		/* of the exit; NULL: NOWHERE */
	u8 vector;		/* of the fault */
	bool iret;		/* it is an access of IRET itself */
};

static void use_gdt(u64 base)
{
	vmcs_write(GUEST_GDTR_BASE, base ? base : read_gdtr().base);
}

/* VM entry with bit 3 = 0 does so too, and has tests of its own: here nothing shall depend on it. */
static void end_blocking(void)
{
	use_gdt(0);
	vmcs_write(EXCEPTION_BITMAP, 0);
	guest_run(nmi_unblock);
	expect_guest_done();
	nmi_unblock();
}

static void set_blocking(u32 blocked)
{
	vmcs_write(GUEST_INTERRUPTIBILITY_STATE, blocked);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
}

/* Two things to look at, which tests of their own do. */
static enum { UNBLOCKING_BIT, SAVED_STATE } looking_at;

/* An IRET that has begun ends the blocking, nothing else does. */
static void expect_saved_state(const struct unblocking_case *c, u32 blocked)
{
	expect_eq(vmcs_read(GUEST_INTERRUPTIBILITY_STATE), c->function == guest_iret_from ? 0 : blocked);
}

static void check_unblocking_fault(const struct unblocking_case *c, u32 blocked)
{
	const bool unblocks = c->iret && blocked;

	set_blocking(blocked);
	use_gdt(c->gdt);
	guest.regs.rbx = c->rbx;
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_PF) | BIT(VECTOR_SS) | BIT(VECTOR_GP));
	guest_run(c->function);
	expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = c->rip ? (u64)c->rip : NOWHERE);
	if (looking_at == SAVED_STATE)
		expect_saved_state(c, blocked);
	else
		expect_eq(vmcs_read(EXIT_INTERRUPTION_INFORMATION), INTERRUPTION_VALID | HARDWARE_CODE | c->vector |
			  (unblocks ? INTERRUPTION_NMI_UNBLOCKING : 0));
}

static void check_faults(void)
{
	static const struct unblocking_case cases[] = {
		{ "IRET from a page that is not there", guest_iret_from, NOWHERE, 0, iret_at, VECTOR_PF, true },
		{ "IRET from a non-canonical stack", guest_iret_from, NON_CANONICAL, 0, iret_at, VECTOR_SS, true },
		{ "IRET with a GDT that is not there", guest_iret_from, STACK, NOWHERE, iret_at, VECTOR_PF, true },
		{ "the fetch behind IRET", guest_iret_from, STACK, TABLE, NULL, VECTOR_PF, false },
		{ "a read", guest_reads_from, NOWHERE, 0, read_at, VECTOR_PF, false },
		{ "a non-canonical read", guest_reads_from, NON_CANONICAL, 0, read_at, VECTOR_GP, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (u32 blocked = 0; blocked <= INTERRUPTIBILITY_NMI; blocked += INTERRUPTIBILITY_NMI) {
			CASE("%s, interruptibility state %#x", cases[i].name, blocked);
			check_unblocking_fault(&cases[i], blocked);
		}
		end_blocking();
	}
}

/* Where the bit is defined: without NMI exiting the real blocking counts, with virtual NMIs the virtual one. */
static void look_at_faults(u32 what)
{
	looking_at = what;
	map_stack_and_table();
	check_faults();
	vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
	check_faults();
}

TEST("info.intr.nmi_unblock", "Bit 12 of the information is 1 for a fault of an IRET that ended blocking by NMI",
     NEEDS(PIN_VIRTUAL_NMIS, PIN_NMI_EXITING))
{
	look_at_faults(UNBLOCKING_BIT);
}

TEST("save.intr_iret_fault", "the exit by a fault of an IRET that ended blocking by NMI saves bit 3 as 0",
     NEEDS(PIN_VIRTUAL_NMIS, PIN_NMI_EXITING))
{
	look_at_faults(SAVED_STATE);
}

static void check_violation(const struct unblocking_case *c, u32 blocked, u64 page)
{
	set_blocking(blocked);
	use_gdt(c->gdt);
	guest.regs.rbx = c->rbx;
	guest_run(c->function);
	expect_exit(EXIT_EPT_VIOLATION, .rip = c->rip ? (u64)c->rip : NOWHERE);
	/* In which order IRET reads its frame is its own. */
	expect_bits(vmcs_read(GUEST_PHYSICAL_ADDRESS), ~0xfffull, page);
	if (looking_at == SAVED_STATE)
		expect_saved_state(c, blocked);
	else
		expect_bits(vmcs_read(EXIT_QUALIFICATION), BIT(12), c->iret && blocked ? BIT(12) : 0);
}

static void check_violations(void)
{
	static const struct unblocking_case cases[] = {
		{ "IRET from a page without read permission", guest_iret_from, STACK, 0, iret_at, 0, true },
		{ "IRET with a GDT without read permission", guest_iret_from, STACK, TABLE, iret_at, 0, true },
		{ "the fetch behind IRET", guest_iret_from, STACK, TABLE, NULL, 0, false },
		{ "a read", guest_reads_from, STACK, 0, read_at, 0, false },
	};
	const u64 nowhere = physical_address(page_alloc());
	const u64 pages[] = { physical_address(iret_frame), table_page, nowhere, physical_address(iret_frame) };

	page_map(NOWHERE, nowhere, PAGE_PRESENT);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (u32 blocked = 0; blocked <= INTERRUPTIBILITY_NMI; blocked += INTERRUPTIBILITY_NMI) {
			CASE("%s, interruptibility state %#x", cases[i].name, blocked);
			*ept_entry(pages[i], 1) &= ~(u64)EPT_RWX;
			ept_flush();
			check_violation(&cases[i], blocked, pages[i]);
			*ept_entry(pages[i], 1) |= EPT_RWX;
			ept_flush();
		}
		end_blocking();
	}
	*page_entry(NOWHERE, 1) = 0;
}

static void look_at_violations(u32 what)
{
	looking_at = what;
	map_stack_and_table();
	vmcs_use_ept();
	check_violations();
	vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS);
	check_violations();
}

TEST("info.intr.nmi_unblock_ept", "So is bit 12 of the qualification of an EPT violation of such an IRET",
     NEEDS(PIN_VIRTUAL_NMIS, PIN_NMI_EXITING, PROC2_ENABLE_EPT))
{
	look_at_violations(UNBLOCKING_BIT);
}

TEST("save.intr_iret_ept", "the exit by an EPT violation of an IRET that ended blocking by NMI saves bit 3 as 0",
     NEEDS(PIN_VIRTUAL_NMIS, PIN_NMI_EXITING, PROC2_ENABLE_EPT))
{
	look_at_violations(SAVED_STATE);
}
