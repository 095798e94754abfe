/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest-linear and guest-physical address (SDM Vol. 3C, "Basic VM-Exit Information"). */
#include "vmx/ept.h"
#include "vmx/modes.h"
#include "vmxtest/vmxtest.h"

#include "libc/string.h"

GUEST_ASM(guest_reads, "mov (%rbx), %cl; ret");
GUEST_ASM(guest_writes, "mov %cl, (%rbx); ret");
GUEST_ASM(guest_jumps, "jmp *%rbx");

static void run(enum access_kind access, u64 linear)
{
	static void (*const functions[])(void) = { guest_reads, guest_writes, guest_jumps };

	guest.regs.rbx = linear;
	guest_run(functions[access]);
}

/* A violation by the access itself: bit 7, and bit 8 for the final translation. */
static void expect_violation(u64 linear, u64 physical, enum access_kind access)
{
	expect_exit(EXIT_EPT_VIOLATION, .linear = linear, .physical = physical);
	expect_bits(vmcs_read(EXIT_QUALIFICATION), 7 | EPT_VIOLATION_LINEAR_VALID | EPT_VIOLATION_FINAL,
		    BIT(access) | EPT_VIOLATION_LINEAR_VALID | EPT_VIOLATION_FINAL);
}

/* Offsets in a page: each bit, all but each bit, the ends. */
static u64 offset_of(u32 i)
{
	return i < 12 ? BIT(i) : i < 24 ? 0xfff & ~BIT(i - 12) : i == 24 ? 0 : 0xfff;
}
enum { OFFSETS = 26 };

/* Pages of the window: each address bit of it that can be 1. */
#define LINEAR_BITS 39
#define SOME_PHYSICAL 0x5a54321000ull

TEST("info.gla.ept", "An EPT violation gives the guest-linear address, and bit 7 says so", NEEDS(PROC2_ENABLE_EPT))
{
	const u64 physical = SOME_PHYSICAL & (BIT(physical_address_width()) - 1);

	vmcs_use_ept();
	for (u32 bit = 12; bit < LINEAR_BITS; bit++) {
		const u64 page = PAGE_WINDOW + BIT(bit);

		page_map(page, physical, PAGE_PRESENT | PAGE_WRITE | PAGE_ACCESSED | PAGE_DIRTY);
		for (enum access_kind access = 0; access < ACCESSES; access++) {
			CASE("page %#lx, access %u", page, access);
			run(access, page + 0xabc);
			expect_violation(page + 0xabc, physical + 0xabc, access);
		}
		page_window_reset();
	}
	page_map(PAGE_WINDOW, physical, PAGE_PRESENT | PAGE_WRITE | PAGE_ACCESSED | PAGE_DIRTY);
	for (u32 i = 0; i < OFFSETS; i++)
		for (enum access_kind access = 0; access < ACCESSES; access++) {
			CASE("offset %#lx, access %u", offset_of(i), access);
			run(access, PAGE_WINDOW + offset_of(i));
			expect_violation(PAGE_WINDOW + offset_of(i), physical + offset_of(i), access);
		}
}

/* The guest's paging structures that lead to a page, one after the other: the linear address is still the access's. */
TEST("info.gla.ept_walk", "So it does where a guest paging structure is what may not be read: bit 8 is 0",
     NEEDS(PROC2_ENABLE_EPT))
{
	const u64 linear = PAGE_WINDOW + 0x123456789a;

	vmcs_use_ept();
	page_map(linear & ~0xfffull, physical_address(page_alloc()), PAGE_PRESENT | PAGE_WRITE);
	for (u32 level = 1; level < 4; level++)
		for (enum access_kind access = 0; access < ACCESSES; access++) {
			const u64 entry = physical_address(page_entry(linear, level));

			CASE("level %u, access %u", level, access);
			*ept_entry(entry & ~0xfffull, 1) &= ~(u64)EPT_RWX;
			ept_flush();
			run(access, linear);
			expect_exit(EXIT_EPT_VIOLATION, .linear = linear, .physical = entry);
			/* A read of the entry, or a write to it for its accessed flag. */
			expect_bits(vmcs_read(EXIT_QUALIFICATION), EPT_VIOLATION_FETCH | EPT_VIOLATION_LINEAR_VALID |
				    EPT_VIOLATION_FINAL, EPT_VIOLATION_LINEAR_VALID);
			*ept_entry(entry & ~0xfffull, 1) |= EPT_RWX;
			ept_flush();
		}
}

/* 32-bit code at PAE paging: MOV to CR3 reads the PDPTEs, which no linear address leads to. */
asm(".pushsection .text; .code32; guest_loads_cr3: mov %eax, %cr3; vmcall; .code64; .popsection");
extern const u8 guest_loads_cr3[];

TEST("info.gla.pdptes", "An EPT violation by the load of PDPTEs has bit 7 = 0: there is no linear address",
     NEEDS(PROC2_ENABLE_EPT))
{
	const u64 *const pdpt = guest_set_pae();
	u64 *const other = page_alloc();

	vmcs_use_ept();
	if (vmx_capabilities()->word[WORD_PROC].must_be_1 & control_bit(PROC_CR3_LOAD_EXITING))
		skip("\"CR3-load exiting\" cannot be 0");
	for (u32 offset = 0; offset < PAGE_SIZE; offset += 0x3e0) {
		for (u32 i = 0; i < 4; i++)
			other[offset / 8 + i] = pdpt[i];
		for (u32 readable = 0; readable < 2; readable++) {
			u64 *const entry = ept_entry(physical_address(other), 1);

			CASE("PDPT at offset %#x, readable %u", offset, readable);
			*entry = (*entry & ~(u64)EPT_RWX) | (readable ? EPT_RWX : 0);
			ept_flush();
			guest.regs.rax = physical_address(other) + offset;
			guest_run_at(guest_loads_cr3);
			if (readable) {
				expect_exit(EXIT_VMCALL, .rip = (u64)guest_loads_cr3 + 3);
				expect_eq(vmcs_read(GUEST_CR3), physical_address(other) + offset);
				vmcs_write(GUEST_CR3, physical_address(pdpt));
				continue;
			}
			expect_exit(EXIT_EPT_VIOLATION, .rip = (u64)guest_loads_cr3);
			expect_bits(vmcs_read(GUEST_PHYSICAL_ADDRESS), ~0x1full, physical_address(other) + offset);
			expect_bits(vmcs_read(EXIT_QUALIFICATION), 7 | EPT_VIOLATION_LINEAR_VALID, EPT_VIOLATION_READ);
		}
	}
}

TEST("info.gpa.ept",
     "EPT violations and misconfigurations give the guest-physical address, with the offset in the page",
     NEEDS(PROC2_ENABLE_EPT))
{
	const u32 width = physical_address_width();

	vmcs_use_ept();
	/* The identity map ends at 4 GiB: these pages are not there, or are misconfigured (W without R). */
	for (u32 bit = 32; bit < (width < 48 ? width : 48); bit++)
		for (u32 misconfigured = 0; misconfigured < 2; misconfigured++)
			for (u32 low = 12; low < 32; low++) {
				const u64 page = BIT(bit) | BIT(low), offset = offset_of(low % OFFSETS);
				const enum access_kind access = low % ACCESSES;

				page_map(PAGE_WINDOW, page, PAGE_PRESENT | PAGE_WRITE | PAGE_ACCESSED | PAGE_DIRTY);
				ept_map(page, 0, misconfigured ? EPT_WRITE | EPT_WB : 0);
				ept_flush();
				CASE("page %#lx, misconfigured %u, access %u", page, misconfigured, access);
				run(access, PAGE_WINDOW + offset);
				if (misconfigured)		/* its qualification has tests of its own */
					expect_exit(EXIT_EPT_MISCONFIGURATION, .physical = page + offset);
				else
					expect_violation(PAGE_WINDOW + offset, page + offset, access);
				ept_map(page, 0, 0);
			}
	for (u32 misconfigured = 0; misconfigured < 2; misconfigured++) {
		const u64 page = BIT(33);

		page_map(PAGE_WINDOW, page, PAGE_PRESENT | PAGE_WRITE | PAGE_ACCESSED | PAGE_DIRTY);
		ept_map(page, 0, misconfigured ? EPT_WRITE | EPT_WB : 0);
		ept_flush();
		for (u32 i = 0; i < OFFSETS; i++)
			for (enum access_kind access = 0; access < ACCESSES; access++) {
				CASE("offset %#lx, misconfigured %u, access %u", offset_of(i), misconfigured, access);
				run(access, PAGE_WINDOW + offset_of(i));
				expect_exit(misconfigured ? EXIT_EPT_MISCONFIGURATION : EXIT_EPT_VIOLATION,
					    .physical = page + offset_of(i));
			}
	}
}

/* LMSW, INS and OUTS ------------------------------------------------------------------ */

#define FS_BASE 0x0000200012340000ull
#define GS_BASE 0xffffa00023450000ull

/* What LMSW reads: PE and MP set wherever a word begins, which is not the shadow. */
static u8 words[128];

struct string_or_lmsw {
	const char *text;
	u8 bytes[9];
	u8 length;
	u32 reason;
	u64 base, index_register;	/* base + the part of RBX, RSI or RDI that the address size leaves */
	u64 address_mask;
};

/* Offsets from RBX; RSI and RDI as they are. */
#define RSI 0x00005ba987659ef0ull
#define RDI 0xffff9234567887a0ull

TEST("info.gla.lmsw_string", "LMSW from memory, INS and OUTS give the linear address of their operand",
     NEEDS(PROC_UNCONDITIONAL_IO_EXITING))
{
	static const struct string_or_lmsw cases[] = {
		{ "INSB", { 0x6c }, 1, EXIT_IO, 0, RDI, ~0ull },
		{ "INSD by EDI", { 0x67, 0x6d }, 2, EXIT_IO, 0, RDI, 0xffffffff },
		{ "REP INSW", { 0x66, 0xf3, 0x6d }, 3, EXIT_IO, 0, RDI, ~0ull },
		{ "OUTSB", { 0x6e }, 1, EXIT_IO, 0, RSI, ~0ull },
		{ "OUTSD by ESI", { 0x67, 0x6f }, 2, EXIT_IO, 0, RSI, 0xffffffff },
		{ "OUTSB from FS", { 0x64, 0x6e }, 2, EXIT_IO, FS_BASE, RSI, ~0ull },
		{ "REP OUTSW from GS by ESI", { 0x65, 0x67, 0xf3, 0x66, 0x6f }, 5, EXIT_IO, GS_BASE, RSI, 0xffffffff },
		{ "LMSW (RBX)", { 0x0f, 0x01, 0x33 }, 3, EXIT_CR_ACCESS, 0, (u64)words, ~0ull },
		{ "LMSW 30H(RBX)", { 0x0f, 0x01, 0x73, 0x30 }, 4, EXIT_CR_ACCESS, 0, (u64)words + 0x30, ~0ull },
		{ "LMSW 9(EBX)", { 0x67, 0x0f, 0x01, 0x73, 9 }, 5, EXIT_CR_ACCESS, 0, (u64)words + 9, ~0ull },
		{ "LMSW 8(RBX, RCX, 2)", { 0x0f, 0x01, 0x74, 0x4b, 8 }, 5, EXIT_CR_ACCESS, 0, (u64)words + 18, ~0ull },
		{ "LMSW from FS", { 0x64, 0x0f, 0x01, 0x33 }, 4, EXIT_CR_ACCESS, 0x20, (u64)words, ~0ull },
	};
	static u8 code[12];

	memset(words, 3, sizeof(words));
	vmcs_set_controls(PROC_UNCONDITIONAL_IO_EXITING);
	vmcs_write(CR0_GUEST_HOST_MASK, CR0_MP);
	vmcs_write(CR0_READ_SHADOW, 0);
	vmcs_write(GUEST_GS_BASE, GS_BASE);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct string_or_lmsw *const c = &cases[i];

		CASE("%s", c->text);
		for (u32 n = 0; n < sizeof(code); n++)
			code[n] = n < c->length ? c->bytes[n] : 0xf4;
		vmcs_write(GUEST_FS_BASE, c->reason == EXIT_IO ? FS_BASE : 0x20);
		guest.regs.rbx = (u64)words;
		guest.regs.rcx = 5;
		guest.regs.rdx = 0x1234;
		guest.regs.rsi = RSI;
		guest.regs.rdi = RDI;
		guest_run_at(code);
		expect_exit(c->reason, .linear = c->base + (c->index_register & c->address_mask), .rip = (u64)code,
			    .instruction_length = c->length);
	}
}
