/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Loading Host Segment and Descriptor-Table Registers". Selectors, GDTR and IDTR are read at the exit. The rest of
 * a segment register shows in what the host can do with it: DS, ES, FS, GS and SS in compatibility mode, TR and LDTR
 * in what they lead to. The GDT has no part in an exit: what it holds for the selectors is something else.
 */
#include "hostload.h"

#include "libc/string.h"
#include "x86/tables.h"
#include "x86/user.h"

/* A segment that is of no use: 16 bytes at address 1, read-only, DPL 3, not present. */
#define USELESS_DESCRIPTOR 0x0000700000010010ull

static const struct {
	const char *name;
	enum vmcs_field field;
	size_t offset;
	bool may_be_0;
} selectors[] = {
	{ "ES", HOST_ES_SELECTOR, offsetof(struct exit_probe, es), true },
	{ "CS", HOST_CS_SELECTOR, offsetof(struct exit_probe, cs), false },
	{ "SS", HOST_SS_SELECTOR, offsetof(struct exit_probe, ss), true },
	{ "DS", HOST_DS_SELECTOR, offsetof(struct exit_probe, ds), true },
	{ "FS", HOST_FS_SELECTOR, offsetof(struct exit_probe, fs), true },
	{ "GS", HOST_GS_SELECTOR, offsetof(struct exit_probe, gs), true },
	{ "TR", HOST_TR_SELECTOR, offsetof(struct exit_probe, tr), false },
};

static void expect_selector(u32 i, u16 selector)
{
	CASE("%s selector %#x", selectors[i].name, selector);
	vmcs_write(selectors[i].field, selector);
	guest_run(guest_ends);
	expect_guest_done();
	expect_eq(*(const u16 *)((const u8 *)&exit_probe + selectors[i].offset), selector);
}

/* Each bit of each selector, with all the others as they were: nothing is loaded from the GDT. */
static void expect_selectors(const char *name)
{
	for (u32 i = 0; i < ARRAY_SIZE(selectors); i++) {
		if (strcmp(name, selectors[i].name))
			continue;
		const u16 home = vmcs_read(selectors[i].field);

		for (u32 bit = 3; bit < 16; bit++)
			expect_selector(i, BIT(bit));
		expect_selector(i, 0xfff8);
		if (selectors[i].may_be_0)
			expect_selector(i, 0);
		vmcs_write(selectors[i].field, home);
	}
}

TEST("hostload.cs", "CS is the host selector, for 64-bit code at CPL 0, from a guest of any mode")
{
	exit_probe_on();
	expect_selectors("CS");
	for (enum guest_mode mode = 0; mode < GUEST_MODES; mode++) {
		if (!guest_mode_exists(mode))
			continue;
		CASE("from %s", guest_mode_names[mode]);
		start_over();
		vmcs_write(HOST_CS_SELECTOR, 0x1238);
		vmcs_write(GUEST_CS_LIMIT, 0xffffffff);
		guest_run_mode(mode);
		expect_guest_done();
		expect_eq(exit_probe.cs, 0x1238);
		/* Not the base of the guest's CS, nor a limit: the probe has run. */
		expect_eq(exit_probe.rip, exit_probe_start);
	}
}

/*
 * u32 hostload_in_compatibility(u32 fragment, u32 offset, u32 value): jump to the fragment in compatibility mode with
 * EBX = offset and ECX = value; it jumps back with a result in EAX. The stack is not used in between.
 */
u32 hostload_in_compatibility(u32 fragment, u32 offset, u32 value);
asm(".pushsection .text\n.code64\n"
    "hostload_in_compatibility: push %rbx; push %rbp; mov %rsp, %rbp; mov %esi, %ebx; mov %edx, %ecx\n"
    "	pushq $0x30; push %rdi; lretq\n"			/* SELECTOR_CODE32 */
    ".code32\n"
    "hostload_compat_back: ljmp $0x08, $1f\n"			/* SELECTOR_CODE64 */
    ".code64\n"
    "1:	mov %rbp, %rsp; pop %rbp; pop %rbx; ret\n"
    ".code32\n"
#define FRAGMENTS(s)									\
    "hostload_read_" #s ": mov %" #s ":(%ebx), %eax; jmp hostload_compat_back\n"	\
    "hostload_write_" #s ": mov %ecx, %" #s ":(%ebx); jmp hostload_compat_back\n"
    FRAGMENTS(es) FRAGMENTS(ss) FRAGMENTS(ds) FRAGMENTS(fs) FRAGMENTS(gs)
    /* With the stack pointer at the offset: where does PUSH write? */
    "hostload_push: mov %ebx, %esp; push %ecx; mov %esp, %eax; jmp hostload_compat_back\n"
    ".code64\n.popsection");

#define SEGMENT(s, selector, base) { #s, hostload_read_##s, hostload_write_##s, selector, base }
#define DECLARE(s) extern const u8 hostload_read_##s[], hostload_write_##s[]
DECLARE(es);
DECLARE(ss);
DECLARE(ds);
DECLARE(fs);
DECLARE(gs);
extern const u8 hostload_push[];

static const struct data_segment {
	const char *name;
	const u8 *read, *write;
	enum vmcs_field selector, base;		/* base 0: none, it is 0 */
} data_segments[] = {
	SEGMENT(ss, HOST_SS_SELECTOR, 0),	/* the first: an exception makes SS good again */
	SEGMENT(es, HOST_ES_SELECTOR, 0),
	SEGMENT(ds, HOST_DS_SELECTOR, 0),
	SEGMENT(fs, HOST_FS_SELECTOR, HOST_FS_BASE),
	SEGMENT(gs, HOST_GS_SELECTOR, HOST_GS_BASE),
};

static u32 in_compatibility(const u8 *fragment, u32 offset, u32 value)
{
	return hostload_in_compatibility((u32)(u64)fragment, offset, value);
}

/* What the hook finds in each data segment, at the exit. */
static volatile u32 word;
static struct {
	struct fault read_fault, write_fault, end_fault;
	volatile u32 read, end;
	u32 written;
} seen[ARRAY_SIZE(data_segments)];
static volatile u32 pushed[4], pushed_esp;
static struct fault push_fault;
static u32 segment_base[ARRAY_SIZE(data_segments)];

/* Runs at the exit; the segment registers are as it loaded them. FS base and GS base are put back last: this_cpu(). */
static void look_through_segments(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(data_segments); i++) {
		const struct data_segment *segment = &data_segments[i];
		const u32 offset = (u32)(u64)&word - segment_base[i];

		word = 0x5eed0000 + i;
		seen[i].read_fault = TRY(seen[i].read = in_compatibility(segment->read, offset, 0));
		seen[i].write_fault = TRY(in_compatibility(segment->write, offset, 0xace00000 + i));
		seen[i].written = word;
		seen[i].end_fault = TRY(seen[i].end = in_compatibility(segment->read, 0xfffffffc, 0));
	}
	pushed[2] = 0;
	push_fault = TRY(pushed_esp = in_compatibility(hostload_push, (u32)(u64)&pushed[3], 0xfeedface));
}

/*
 * The guest's data segments differ from what an exit loads, and so do the descriptors that the host's selectors name.
 * GS has its selector in the GDT, and the right base for this_cpu(), which every TRY needs.
 */
static void prepare_data_segments(void)
{
	static const enum vmcs_field limits[] = { GUEST_ES_LIMIT, GUEST_SS_LIMIT, GUEST_DS_LIMIT, GUEST_FS_LIMIT, GUEST_GS_LIMIT };
	static const enum vmcs_field rights[] = {
		GUEST_ES_ACCESS_RIGHTS, GUEST_SS_ACCESS_RIGHTS, GUEST_DS_ACCESS_RIGHTS, GUEST_FS_ACCESS_RIGHTS,
		GUEST_GS_ACCESS_RIGHTS,
	};

	exit_probe_on();
	exit_probe_hook = look_through_segments;
	memset(seen, 0, sizeof(seen));
	memset(segment_base, 0, sizeof(segment_base));
	for (u32 i = 0; i < ARRAY_SIZE(limits); i++) {
		vmcs_write(limits[i], 0x10);
		vmcs_write(rights[i], rights[i] == GUEST_SS_ACCESS_RIGHTS ? 0x93 : 0x91);
	}
	vmcs_write(GUEST_DS_BASE, 0x1234567);
	vmcs_write(GUEST_ES_BASE, 0x89abcd);
	vmcs_write(HOST_ES_SELECTOR, 0x1238);	/* behind the limit of the GDT */
	vmcs_write(HOST_SS_SELECTOR, SELECTOR_SPARE);
	vmcs_write(HOST_DS_SELECTOR, SELECTOR_SPARE + 8);
	vmcs_write(HOST_FS_SELECTOR, 0xfff8);
	vmcs_write(HOST_GS_SELECTOR, SELECTOR_SPARE);
	vmcs_write(HOST_FS_BASE, 0x10000);
	segment_base[3] = 0x10000;
	segment_base[4] = vmcs_read(HOST_GS_BASE);
}

static u32 word_at(u32 address)
{
	return *(volatile u32 *)(u64)address;
}

TEST("hostload.data_segs", "ES, SS, DS, FS and GS are writable, expand-up segments of 4 GiB, whatever their descriptors are")
{
	const u64 old[2] = { gdt[SELECTOR_SPARE / 8], gdt[SELECTOR_SPARE / 8 + 1] };

	static const char *const names[] = { "ES", "SS", "DS", "FS", "GS" };

	for (u32 i = 0; i < ARRAY_SIZE(names); i++) {
		start_over();
		expect_selectors(names[i]);
	}
	gdt[SELECTOR_SPARE / 8] = gdt[SELECTOR_SPARE / 8 + 1] = USELESS_DESCRIPTOR;
	start_over();
	prepare_data_segments();
	guest_run(guest_ends);
	gdt[SELECTOR_SPARE / 8] = old[0];
	gdt[SELECTOR_SPARE / 8 + 1] = old[1];

	expect_guest_done();
	for (u32 i = 0; i < ARRAY_SIZE(data_segments); i++) {
		CASE("%s", data_segments[i].name);
		expect_no_fault(seen[i].read_fault);
		expect_eq(seen[i].read, 0x5eed0000 + i);
		expect_no_fault(seen[i].write_fault);
		expect_eq(seen[i].written, 0xace00000 + i);
		expect_no_fault(seen[i].end_fault);
		expect_eq(seen[i].end, word_at(0xfffffffc + segment_base[i]));
	}
	CASE("a push through SS uses ESP");
	expect_no_fault(push_fault);
	expect_eq(pushed_esp, (u32)(u64)&pushed[2]);
	expect_eq(pushed[2], 0xfeedface);
}

TEST("hostload.null_selectors", "ES, SS, DS, FS and GS are unusable if the host selector is null")
{
	prepare_data_segments();
	for (u32 i = 0; i < ARRAY_SIZE(data_segments); i++)
		vmcs_write(data_segments[i].selector, 0);
	guest_run(guest_ends);
	expect_guest_done();
	expect_eq(exit_probe.es | exit_probe.ss | exit_probe.ds | exit_probe.fs | exit_probe.gs, 0);
	for (u32 i = 0; i < ARRAY_SIZE(data_segments); i++) {
		CASE("%s", data_segments[i].name);
		if (data_segments[i].selector == HOST_SS_SELECTOR) {
			expect_fault(seen[i].read_fault, VECTOR_SS, 0);
			continue;		/* behind the exception SS is usable */
		}
		expect_fault(seen[i].read_fault, VECTOR_GP, 0);
		expect_fault(seen[i].write_fault, VECTOR_GP, 0);
		expect_eq(seen[i].written, 0x5eed0000 + i);
	}
	/* In 64-bit mode FS and GS work all the same: the host is alive. */
	expect_eq(exit_probe_msr(IA32_FS_BASE), 0x10000);
}

/*
 * A TSS of the test's own at the linear address, whose I/O bitmap lets CPL 3 use ports 0 to 47. Its last bytes are
 * the offset of the bitmap itself (60H, 0), and the byte behind a limit of 67H would allow ports 64 to 71.
 */
enum { PORT_ALLOWED = 0x2f, PORT_AT_LIMIT = 0x37, PORT_BEHIND_LIMIT = 0x40, BITMAP = 0x60 };

static void make_tss(void *at)
{
	struct tss *tss = at;

	*tss = this_cpu()->tss;
	memset((u8 *)at + BITMAP, 0, 6);
	tss->iomap_base = BITMAP;
	memset((u8 *)at + 0x68, 0, 8);
}

static struct fault allowed_fault, limit_fault, behind_fault;

static void user_reads_allowed(void) { inb(PORT_ALLOWED); }
static void user_reads_at_limit(void) { inb(PORT_AT_LIMIT); }
static void user_reads_behind(void) { inb(PORT_BEHIND_LIMIT); }

static void use_tss(void)
{
	allowed_fault = user_run(user_reads_allowed);
	limit_fault = user_run(user_reads_at_limit);
	behind_fault = user_run(user_reads_behind);
}

static void expect_tss_at(u64 base)
{
	CASE("TR base %#lx", base);
	vmcs_write(HOST_TR_BASE, base);
	allowed_fault.raised = limit_fault.raised = true;
	behind_fault.raised = false;
	guest_run(guest_ends);
	expect_guest_done();
	expect_no_fault(allowed_fault);
	expect_no_fault(limit_fault);
	expect_fault(behind_fault, VECTOR_GP, 0);
}

TEST("hostload.tr", "TR is the host selector and base, with a limit of 67H, whatever the descriptor is")
{
	u8 *pages = page_alloc_many(2);

	exit_probe_on();
	expect_selectors("TR");

	user_pages_on();
	exit_probe_hook = use_tss;
	vmcs_write(HOST_TR_SELECTOR, 0x1238);
	vmcs_write(GUEST_TR_LIMIT, 0x1fff);
	for (u32 offset = 0; offset < 4096; offset += 0x248) {
		make_tss(pages + offset);
		expect_tss_at((u64)pages + offset);
	}
	/* Other linear addresses of the same memory, which alone lead there. */
	make_tss(pages);
	for (u32 bit = 12; bit < 39; bit++) {
		page_map(PAGE_WINDOW | BIT(bit), physical_address(pages), PAGE_PRESENT | PAGE_WRITE | PAGE_USER);
		expect_tss_at(PAGE_WINDOW | BIT(bit));
	}
	/* The same table at other places of the PML4, high and low. */
	for (u32 slot = 2; slot < 512; slot *= 2) {
		u64 *pml4 = page_alloc();

		memcpy(pml4, (void *)read_cr3(), PAGE_SIZE);
		pml4[slot] = pml4[PAGE_WINDOW >> 39 & 511];
		vmcs_write(HOST_CR3, physical_address(pml4));
		expect_tss_at((u64)slot << 39 | (slot & 256 ? 0xffff000000000000 : 0) | BIT(12));
	}
}

static u16 guest_ldt_selector;
static struct fault ldt_fault;

static void load_es_from_ldt(void)
{
	ldt_fault = TRY(asm volatile("mov %0, %%es" : : "r"((u32)guest_ldt_selector)));
}

static struct fault guest_ldt_fault;

static void guest_loads_from_ldt(void)
{
	load_es_from_ldt();
	guest_ldt_fault = ldt_fault;
}

TEST("hostload.ldtr", "LDTR is 0 and unusable after the exit")
{
	u64 *ldt = page_alloc();

	for (u32 i = 0; i < 512; i++)
		ldt[i] = gdt[SELECTOR_DATA / 8];
	exit_probe_on();
	exit_probe_hook = load_es_from_ldt;
	for (u32 i = 0; i < 512; i = i * 2 + 1) {
		CASE("LDT selector %#x", i << 3 | 4);
		guest_ldt_selector = i << 3 | 4;
		vmcs_write(GUEST_LDTR_SELECTOR, SELECTOR_SPARE);
		vmcs_write(GUEST_LDTR_BASE, physical_address(ldt));
		vmcs_write(GUEST_LDTR_LIMIT, 0xfff);
		vmcs_write(GUEST_LDTR_ACCESS_RIGHTS, 0x82);
		vmcs_write(GUEST_ES_SELECTOR, SELECTOR_DATA);
		guest_run(guest_loads_from_ldt);
		expect_guest_done();
		expect_no_fault(guest_ldt_fault);
		expect_eq(vmcs_read(GUEST_LDTR_SELECTOR), SELECTOR_SPARE);
		expect_eq(exit_probe.ldtr, 0);
		expect_fault(ldt_fault, VECTOR_GP, guest_ldt_selector);
	}
}

static void expect_table_bases(u64 gdtr, u64 idtr)
{
	CASE("GDTR base %#lx, IDTR base %#lx", gdtr, idtr);
	vmcs_write(HOST_GDTR_BASE, gdtr);
	vmcs_write(HOST_IDTR_BASE, idtr);
	guest_run(guest_ends);
	expect_guest_done();
	expect_eq(exit_probe.gdtr.base, gdtr);
	expect_eq(exit_probe.gdtr.limit, 0xffff);
	expect_eq(exit_probe.idtr.base, idtr);
	expect_eq(exit_probe.idtr.limit, 0xffff);
}

TEST("hostload.gdtr_idtr", "GDTR and IDTR have the host's bases, and limits of FFFFH, whatever the guest's are")
{
	const u64 half = BIT(linear_address_width() - 1);

	exit_probe_on();
	for (u32 bit = 0; BIT(bit) < half; bit++) {
		vmcs_write(GUEST_GDTR_LIMIT, bit & 1 ? 0xff : 0x7fff);
		vmcs_write(GUEST_IDTR_LIMIT, bit & 2 ? 0 : 0x8000);
		expect_table_bases(BIT(bit), -half | BIT(bit));
		expect_table_bases(half - 1 - BIT(bit), ~BIT(bit));
		expect_table_bases(-half | BIT(bit), BIT(bit));
	}
}

TEST("hostload.cpl0", "the host runs at CPL 0, whatever the guest's CPL was")
{
	for (enum guest_mode mode = 0; mode < GUEST_MODES; mode++) {
		if (!guest_mode_exists(mode))
			continue;
		CASE("from %s", guest_mode_names[mode]);
		start_over();
		guest_run_mode(mode);
		expect_guest_done();
		/* The probe has read control registers, which only CPL 0 may. */
		expect_eq(exit_probe.cr0, read_cr0());
		expect_eq(exit_probe.cs, SELECTOR_CODE64);
		expect_eq(exit_probe.ss, SELECTOR_DATA);
	}
}

TEST("hostload.returns_ia32e", "a 64-bit host is back in 64-bit mode after the exit of a guest of any mode")
{
	for (enum guest_mode mode = 0; mode < GUEST_MODES; mode++) {
		if (!guest_mode_exists(mode))
			continue;
		CASE("from %s", guest_mode_names[mode]);
		start_over();
		guest.regs.r15 = 0x123456789abcdef0;
		guest_run_mode(mode);
		expect_guest_done();
		expect_bits(exit_probe_msr(IA32_EFER), EFER_LMA | EFER_LME, EFER_LMA | EFER_LME);
		expect_bits(exit_probe.cr0, CR0_PE | CR0_PG, CR0_PE | CR0_PG);
		expect_bits(exit_probe.cr4, CR4_PAE, CR4_PAE);
		/* With CS.L = 0 the probe could not have stored it. */
		expect_eq(exit_probe.regs.r15, 0x123456789abcdef0);
		expect_eq(exit_probe.cs, SELECTOR_CODE64);
	}
}
