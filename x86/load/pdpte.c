/* SPDX-License-Identifier: BSD-2-Clause */
/* "Loading Page-Directory-Pointer-Table Entries": from the VMCS with EPT, from memory without. */
#include "load.h"

#include "libc/string.h"
#include "vmx/ept.h"

static const enum vmcs_field pdpte_fields[4] = { GUEST_PDPTE0, GUEST_PDPTE1, GUEST_PDPTE2, GUEST_PDPTE3 };

/*
 * A set of four page directories: the identity map, but one page in each GiB says which set and which GiB it is. The
 * page is beyond the memory of the image in the first GiB.
 */
enum { MARK_OFFSET = 0x3fe00000 };

struct directories {
	u64 *directory[4];
};

static u64 mark(u32 set, u32 i)
{
	return 0xd1d10000 + set * 16 + i;
}

static struct directories make_directories(u32 set)
{
	extern u64 boot_pd[2048];
	struct directories d;

	for (u32 i = 0; i < 4; i++) {
		u64 *const table = page_alloc(), *const page = page_alloc();

		d.directory[i] = memcpy(page_alloc(), boot_pd + 512 * i, PAGE_SIZE);
		d.directory[i][MARK_OFFSET >> 21] = physical_address(table) | PAGE_PRESENT | PAGE_WRITE;
		table[0] = physical_address(page) | PAGE_PRESENT | PAGE_WRITE;
		*page = mark(set, i);
	}
	return d;
}

static u64 pdpte(const struct directories *d, u32 i)
{
	return physical_address(d->directory[i]) | PAGE_PRESENT;
}

CODE(read_marks, ".code32\n"
		 "mov 0x3fe00000, %eax; mov 0x7fe00000, %ebx; mov 0xbfe00000, %ecx; mov 0xffe00000, %edx\n"
		 ".code64");

/* Set of directories that the guest sees in each GiB. */
static void expect_sets(const u32 sets[4])
{
	run_code(read_marks);
	expect_code_ran();
	expect_eq((u32)guest.regs.rax, mark(sets[0], 0));
	expect_eq((u32)guest.regs.rbx, mark(sets[1], 1));
	expect_eq((u32)guest.regs.rcx, mark(sets[2], 2));
	expect_eq((u32)guest.regs.rdx, mark(sets[3], 3));
}

TEST("entry.load.pdpte_vmcs", "a guest with PAE paging and EPT uses the PDPTEs of the VMCS, not those in memory at CR3",
     NEEDS(PROC2_ENABLE_EPT))
{
	struct directories in_vmcs, in_memory;
	u64 *memory;

	start_in(MODE_64BIT);
	vmcs_use_ept();
	memory = guest_set_pae();
	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);
	in_vmcs = make_directories(1);
	in_memory = make_directories(2);

	for (u32 n = 0; n < 16; n++) {
		u32 sets[4];

		CASE("PDPTEs of the VMCS of one set or the other: %#x", n);
		for (u32 i = 0; i < 4; i++) {
			const bool other = n & BIT(i);

			sets[i] = other ? 2 : 1;
			vmcs_write(pdpte_fields[i], pdpte(other ? &in_memory : &in_vmcs, i));
			memory[i] = pdpte(other ? &in_vmcs : &in_memory, i);
		}
		expect_sets(sets);
		CASE("none in memory: %#x", n);
		memset(memory, 0, PAGE_SIZE);
		expect_sets(sets);
	}
	/* Each bit of the address: EPT puts the directory there. */
	for (u32 bit = 12; bit < physical_address_width(); bit++)
		for (u32 i = 0; i < 4; i++) {
			const u64 address = bit < 32 ? BIT(bit) | BIT(32) : BIT(bit);

			CASE("PDPTE%u = %#lx", i, address | PAGE_PRESENT);
			for (u32 other = 0; other < 4; other++)
				vmcs_write(pdpte_fields[other], pdpte(&in_vmcs, other));
			ept_map(address, physical_address(in_memory.directory[i]), EPT_RWX | EPT_WB);
			ept_flush();
			vmcs_write(pdpte_fields[i], address | PAGE_PRESENT);
			expect_sets((const u32[]){ 1 + (i == 0), 1 + (i == 1), 1 + (i == 2), 1 + (i == 3) });
		}
	for (u32 i = 1; i < 4; i++) {
		CASE("PDPTE%u is not present in the VMCS", i);
		for (u32 other = 0; other < 4; other++) {
			vmcs_write(pdpte_fields[other], pdpte(&in_vmcs, other));
			memory[other] = pdpte(&in_vmcs, other);
		}
		vmcs_write(pdpte_fields[i], pdpte(&in_vmcs, i) & ~(u64)PAGE_PRESENT);
		run_code(read_marks);
		expect_exit(EXIT_EXCEPTION_OR_NMI, .interruption_error = 0, .qualification = (u64)i << 30 | MARK_OFFSET);
	}
}

static u64 *pdpt_in_use;
static u64 other_pdpte;

CODE(change_and_read, ".code32; mov %edi, (%esi); movl $0, 4(%esi); mov 0x7fe00000, %ebx; .code64");

TEST("entry.load.pdpte_mem", "a guest with PAE paging and no EPT uses the PDPTEs that VM entry loads from memory at CR3")
{
	struct directories in_memory, in_vmcs;
	u64 *page;

	start_in(MODE_PAE);
	vmcs_write(EXCEPTION_BITMAP, 0xffffffff);
	page = page_alloc();
	in_memory = make_directories(1);
	in_vmcs = make_directories(2);
	for (u32 i = 0; i < 4 && has(PROC2_ENABLE_EPT); i++)
		vmcs_write(pdpte_fields[i], pdpte(&in_vmcs, i));

	/* Tables are 32-byte aligned; around them there is another one. */
	for (u32 offset = 0; offset < PAGE_SIZE / 8; offset += 4)
		for (u32 n = 0; n < 16; n += 5) {
			u32 sets[4];

			for (u32 i = 0; i < PAGE_SIZE / 8; i++)
				page[i] = pdpte(n & BIT(i % 4) ? &in_memory : &in_vmcs, i % 4);
			for (u32 i = 0; i < 4; i++) {
				sets[i] = n & BIT(i) ? 2 : 1;
				page[offset + i] = pdpte(n & BIT(i) ? &in_vmcs : &in_memory, i);
			}
			vmcs_write(GUEST_CR3, physical_address(page + offset));
			CASE("CR3 = %#lx, %#x", physical_address(page + offset), n);
			expect_sets(sets);
		}

	CASE("what the guest writes there is for the next load of CR3");
	pdpt_in_use = page;
	vmcs_write(GUEST_CR3, physical_address(page));
	for (u32 i = 0; i < 4; i++)
		page[i] = pdpte(&in_memory, i);
	other_pdpte = pdpte(&in_vmcs, 1);
	guest.regs.rsi = physical_address(&pdpt_in_use[1]);
	guest.regs.rdi = other_pdpte;
	run_code(change_and_read);
	expect_code_ran();
	expect_eq((u32)guest.regs.rbx, mark(1, 1));
	CASE("and for the next VM entry");
	expect_sets((const u32[]){ 1, 2, 1, 1 });
}
