/* SPDX-License-Identifier: BSD-2-Clause */
/* What a processor promises to any kernel, on the subjects that VMX touches. Needs no VMX. */
#include "tap/plain.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/interrupt.h"
#include "x86/page.h"
#include "x86/user.h"

/* Error-code bits of a page fault. */
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16 };

#define WINDOW_PAGE ((volatile u64 *)PAGE_WINDOW)

extern const u8 ud_instruction[], bp_instruction[], div_instruction[];

TEST("guest.exc.error_code", "exceptions push their error code and the right RIP")
{
	struct fault fault = TRY(asm volatile("ud_instruction: ud2"));

	expect_fault(fault, VECTOR_UD, 0);
	expect_eq(fault.frame.rip, (u64)ud_instruction);

	fault = TRY(asm volatile("bp_instruction: int3"));
	expect_fault(fault, VECTOR_BP, 0);
	expect_eq(fault.frame.rip, (u64)bp_instruction + 1);

	fault = TRY(asm volatile("xor %%ecx, %%ecx; xor %%edx, %%edx; div_instruction: div %%ecx" : : "a"(1) : "rcx", "rdx"));
	expect_fault(fault, VECTOR_DE, 0);
	expect_eq(fault.frame.rip, (u64)div_instruction);

	/* A selector beyond the GDT's limit: the error code is the selector without its RPL. */
	fault = TRY(asm volatile("mov %w0, %%fs" : : "r"(0xfff3)));
	expect_fault(fault, VECTOR_GP, 0xfff0);
}

TEST("guest.pf.not_present", "an access to a page that is not present gives P=0 and CR2")
{
	static const u64 offsets[] = { 0, 1, 0x7f8, 0xff8, 0x123456789000 & 0x7fffffffff };

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		volatile u8 *address = (volatile u8 *)(PAGE_WINDOW + offsets[i]);

		CASE("offset %#lx", offsets[i]);
		struct fault fault = TRY((void)*address);
		expect_fault(fault, VECTOR_PF, 0);
		expect_eq(fault.cr2, (u64)address);
		fault = TRY(*address = 1);
		expect_fault(fault, VECTOR_PF, PF_W);
		expect_eq(fault.cr2, (u64)address);
	}
}

TEST("guest.pf.write", "a supervisor write to a read-only page faults if CR0.WP is 1")
{
	u64 *page = page_alloc();
	struct fault fault;

	page_map(PAGE_WINDOW, physical_address(page), PAGE_PRESENT);
	fault = TRY(*WINDOW_PAGE = 1);
	expect_fault(fault, VECTOR_PF, PF_P | PF_W);
	expect_eq(fault.cr2, PAGE_WINDOW);
	expect_eq(page[0], 0);

	write_cr0(read_cr0() & ~(u64)CR0_WP);
	fault = TRY(*WINDOW_PAGE = 2);
	write_cr0(read_cr0() | CR0_WP);
	expect_no_fault(fault);
	expect_eq(page[0], 2);
}

static void user_reads_window(void)
{
	(void)*WINDOW_PAGE;
}

static void user_writes_window(void)
{
	*WINDOW_PAGE = 3;
}

TEST("guest.pf.user", "a user access to a supervisor page gives U/S=1")
{
	u64 *page = page_alloc();
	struct fault fault;

	user_pages_on();
	page_map(PAGE_WINDOW, physical_address(page), PAGE_PRESENT | PAGE_WRITE);
	fault = user_run(user_reads_window);
	expect_fault(fault, VECTOR_PF, PF_P | PF_U);
	expect_eq(fault.cr2, PAGE_WINDOW);
	fault = user_run(user_writes_window);
	expect_fault(fault, VECTOR_PF, PF_P | PF_W | PF_U);

	page_map(PAGE_WINDOW, physical_address(page), PAGE_PRESENT | PAGE_WRITE | PAGE_USER);
	invlpg(WINDOW_PAGE);
	fault = user_run(user_writes_window);
	expect_no_fault(fault);
	expect_eq(page[0], 3);
}

TEST("guest.pf.reserved", "a reserved bit in a paging-structure entry gives RSVD=1")
{
	u64 *page = page_alloc();

	for (unsigned int bit = physical_address_width(); bit < 52; bit++) {
		page_map(PAGE_WINDOW, physical_address(page) | BIT(bit), PAGE_PRESENT | PAGE_WRITE);
		invlpg(WINDOW_PAGE);
		CASE("bit %u of the PTE", bit);
		const struct fault fault = TRY((void)*WINDOW_PAGE);
		expect_fault(fault, VECTOR_PF, PF_P | PF_RSVD);
	}
	page_map(PAGE_WINDOW, physical_address(page), PAGE_PRESENT | PAGE_WRITE);
	invlpg(WINDOW_PAGE);
	const struct fault fault = TRY((void)*WINDOW_PAGE);
	expect_no_fault(fault);
}

TEST("guest.pf.fetch", "a fetch from a page with XD gives I/D=1", NEEDS(FEATURE_NX))
{
	u8 *page = page_alloc();
	void (*const code)(void) = (void (*)(void))PAGE_WINDOW;
	struct fault fault;

	page[0] = 0xc3;		/* ret */
	page_map(PAGE_WINDOW, physical_address(page), PAGE_PRESENT | PAGE_WRITE | PAGE_NX);
	fault = TRY(code());
	expect_fault(fault, VECTOR_PF, PF_P | PF_I);
	expect_eq(fault.cr2, PAGE_WINDOW);
	fault = TRY((void)*WINDOW_PAGE);
	expect_no_fault(fault);

	page_map(PAGE_WINDOW, physical_address(page), PAGE_PRESENT | PAGE_WRITE);
	invlpg(WINDOW_PAGE);
	fault = TRY(code());
	expect_no_fault(fault);
}

TEST("guest.cr2.rw", "CR2 keeps what was written until a page fault")
{
	static const u64 values[] = { 0, ~0ull, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa };

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		write_cr2(values[i]);
		expect_eq(read_cr2(), values[i]);
		const struct fault fault = TRY(asm volatile("ud2"));
		expect_fault(fault, VECTOR_UD, 0);
		expect_eq(read_cr2(), values[i]);
	}
	const struct fault fault = TRY((void)*WINDOW_PAGE);
	expect_fault(fault, VECTOR_PF, 0);
	expect_eq(read_cr2(), PAGE_WINDOW);
}

TEST("guest.cr0.ts", "CLTS clears TS alone; TS makes x87 instructions raise #NM")
{
	const u64 cr0 = read_cr0();
	struct fault fault;

	write_cr0(cr0 | CR0_TS);
	expect_eq(read_cr0(), cr0 | CR0_TS);
	fault = TRY(asm volatile("fnop"));
	expect_fault(fault, VECTOR_NM, 0);
	asm volatile("clts");
	expect_eq(read_cr0(), cr0 & ~(u64)CR0_TS);
	fault = TRY(asm volatile("fnop"));
	expect_no_fault(fault);
	write_cr0(cr0);
}

/* #GP(0), and the register as it was. */
#define expect_cr_refused(n, value)			\
do {							\
	const u64 before_ = read_cr##n();		\
	const struct fault fault_ = TRY(write_cr##n(value)); \
							\
	expect_fault(fault_, VECTOR_GP, 0);		\
	expect_eq(read_cr##n(), before_);		\
} while (0)

TEST("guest.cr0.reserved", "CR0 refuses NW without CD, and bits 63:32")
{
	const u64 cr0 = read_cr0();

	expect_cr_refused(0, (cr0 & ~(u64)CR0_CD) | CR0_NW);
	for (unsigned int bit = 32; bit < 64; bit++) {
		CASE("bit %u", bit);
		expect_cr_refused(0, cr0 | BIT(bit));
	}
	write_cr0(cr0 ^ CR0_AM);
	expect_eq(read_cr0(), cr0 ^ CR0_AM);
	write_cr0(cr0);
}

TEST("guest.cr4.reserved", "CR4 refuses reserved bits and PAE=0 in IA-32e mode")
{
	const u64 cr4 = read_cr4();

	expect_cr_refused(4, cr4 & ~(u64)CR4_PAE);
	for (unsigned int bit = 33; bit < 64; bit++) {		/* bit 32 may be FRED */
		CASE("bit %u", bit);
		expect_cr_refused(4, cr4 | BIT(bit));
	}
	write_cr4(cr4 ^ CR4_TSD);
	expect_eq(read_cr4(), cr4 ^ CR4_TSD);
	write_cr4(cr4);
}

TEST("guest.tsc.monotone", "the TSC never goes back, by whichever instruction it is read")
{
	const bool has_rdtscp = has_feature(FEATURE_RDTSCP);
	u64 last = rdtsc();
	u32 aux;

	for (int i = 0; i < 1000; i++) {
		const u64 by_msr = rdmsr(IA32_TIME_STAMP_COUNTER);
		const u64 by_rdtscp = has_rdtscp ? rdtscp(&aux) : by_msr;
		const u64 now = rdtsc();

		expect(last <= by_msr);
		expect(by_msr <= by_rdtscp);
		expect(by_rdtscp <= now);
		last = now;
	}
}

static void user_reads_tsc(void)
{
	rdtsc();
}

TEST("guest.tsc.tsd", "CR4.TSD keeps RDTSC from CPL 3 alone")
{
	struct fault fault;

	user_pages_on();
	fault = user_run(user_reads_tsc);
	expect_no_fault(fault);
	write_cr4(read_cr4() | CR4_TSD);
	fault = user_run(user_reads_tsc);
	const struct fault at_cpl0 = TRY(rdtsc());
	write_cr4(read_cr4() & ~(u64)CR4_TSD);
	expect_fault(fault, VECTOR_GP, 0);
	expect_no_fault(at_cpl0);
}

#define PRIVILEGED(name, text) static void user_##name(void) { asm volatile(text : : "a"(0), "c"(0), "d"(0) : "memory"); }
PRIVILEGED(hlt, "hlt")
PRIVILEGED(cli, "cli")
PRIVILEGED(read_cr0, "mov %%cr0, %%rax")
PRIVILEGED(write_cr3, "mov %%rax, %%cr3")
PRIVILEGED(read_dr7, "mov %%dr7, %%rax")
PRIVILEGED(write_dr0, "mov %%rax, %%dr0")
PRIVILEGED(lgdt, "lgdt (%%rsp)")
PRIVILEGED(lidt, "lidt (%%rsp)")
PRIVILEGED(ltr, "ltr %%ax")
PRIVILEGED(lldt, "lldt %%ax")
PRIVILEGED(rdmsr, "rdmsr")
PRIVILEGED(wrmsr, "wrmsr")
PRIVILEGED(invlpg, "invlpg (%%rsp)")
PRIVILEGED(wbinvd, "wbinvd")
PRIVILEGED(in, "in %%dx, %%al")
PRIVILEGED(clts, "clts")
PRIVILEGED(lmsw, "lmsw %%ax")

TEST("guest.cpl3.privileged", "privileged instructions raise #GP at CPL 3")
{
	static const struct {
		const char *name;
		void (*execute)(void);
	} instructions[] = {
		{ "HLT", user_hlt }, { "CLI", user_cli }, { "MOV from CR0", user_read_cr0 },
		{ "MOV to CR3", user_write_cr3 }, { "MOV from DR7", user_read_dr7 }, { "MOV to DR0", user_write_dr0 },
		{ "LGDT", user_lgdt }, { "LIDT", user_lidt }, { "LTR", user_ltr }, { "LLDT", user_lldt },
		{ "RDMSR", user_rdmsr }, { "WRMSR", user_wrmsr }, { "INVLPG", user_invlpg },
		{ "WBINVD", user_wbinvd }, { "IN", user_in }, { "CLTS", user_clts }, { "LMSW", user_lmsw },
	};

	user_pages_on();
	for (size_t i = 0; i < ARRAY_SIZE(instructions); i++) {
		CASE("%s", instructions[i].name);
		const struct fault fault = user_run(instructions[i].execute);
		expect_fault(fault, VECTOR_GP, 0);
		expect_eq(fault.frame.cs & 3, 3);
	}
}

TEST("guest.apic.tpr_cr8", "CR8 and the APIC's TPR are one")
{
	for (u64 n = 0; n < 16; n++) {
		CASE("class %u", n);
		write_cr8(n);
		expect_eq(apic_read(APIC_TPR), n << 4);
		expect_eq(read_cr8(), n);
	}
	for (u32 n = 0; n < 16; n++) {
		apic_write(APIC_TPR, n << 4);
		expect_eq(read_cr8(), n);
	}
	const struct fault fault = TRY(write_cr8(16));
	expect_fault(fault, VECTOR_GP, 0);
	write_cr8(0);
}

static void let_interrupts_in(void)
{
	interrupts_on();
	for (int i = 0; i < 1000; i++)
		cpu_relax();
	interrupts_off();
}

TEST("guest.apic.self_ipi", "an IPI to itself waits for IF and for the TPR")
{
	enum { VECTOR = 0x61 };

	interrupt_handle(VECTOR, interrupt_counter);
	apic_send_ipi_self(APIC_DELIVERY_FIXED | VECTOR);
	expect_eq(interrupt_count[VECTOR], 0);		/* IF = 0 */
	write_cr8(VECTOR >> 4);				/* the same class: not above */
	let_interrupts_in();
	expect_eq(interrupt_count[VECTOR], 0);
	expect(apic_requested(VECTOR));
	write_cr8((VECTOR >> 4) - 1);
	let_interrupts_in();
	expect_eq(interrupt_count[VECTOR], 1);
	expect(!apic_requested(VECTOR));
	let_interrupts_in();
	expect_eq(interrupt_count[VECTOR], 1);
	write_cr8(0);
}

static volatile u32 nmi_depth, nmi_deepest, nmi_total;

static void nmi_sends_nmi(UNUSED struct exception_frame *frame)
{
	nmi_depth++;
	nmi_total++;
	if (nmi_depth > nmi_deepest)
		nmi_deepest = nmi_depth;
	if (nmi_total == 1)
		apic_send_ipi(apic_id(), APIC_DELIVERY_NMI);
	for (int i = 0; i < 1000; i++)
		cpu_relax();
	nmi_depth--;
}

TEST("guest.nmi.iret_unblocks", "an NMI during an NMI waits for the IRET")
{
	nmi_depth = nmi_deepest = nmi_total = 0;
	interrupt_handle(VECTOR_NMI, nmi_sends_nmi);
	apic_send_ipi(apic_id(), APIC_DELIVERY_NMI);
	for (int i = 0; i < 10000 && nmi_total < 2; i++)
		cpu_relax();
	expect_eq(nmi_total, 2);
	expect_eq(nmi_deepest, 1);
}

static void note_apic_id(void *id)
{
	*(u32 *)id = apic_id();
}

TEST("guest.smp.call", "every other processor starts, and runs what it is asked to", NEEDS(NEED_CPUS(2)))
{
	for (u32 n = 0; n < cpus_online(); n++) {
		u32 id = ~0u;
		const struct fault fault = on_cpu(n, note_apic_id, &id);

		CASE("processor %u", n);
		expect_no_fault(fault);
		expect_eq(id, cpu_number(n)->apic_id);
		for (u32 other = 0; other < n; other++)
			expect(id != cpu_number(other)->apic_id);
	}
}
