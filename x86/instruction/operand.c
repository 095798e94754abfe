/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults of memory operands (SDM Vol. 3C, "VMX Instruction Reference", exceptions of each instruction). */
#include "instruction.h"

#include "libc/string.h"

/* What _fs below adds to the address: base of FS, an index of 64 bits times 8, a displacement. */
enum { FS_DISPLACEMENT = 0x123450 };
static const u64 fs_index = 0xfffffffffffff123;

/*
 * One instruction on an operand at an address, the same with RBP as the base, which
 * makes the segment SS, and through FS. All arithmetic flags are set before; the register is RAX.
 */
#define SET_FLAGS "pushfq; orq $0x8d5, (%%rsp); popfq; "
#define FORM(name, before, after)									\
static struct fault name(u64 address, u64 rax)								\
{													\
	return TRY(asm volatile(SET_FLAGS before "(%[a])" after						\
				: "+a"(rax) : [a] "D"(address) : "cc", "memory"));			\
}													\
													\
static struct fault name##_ss(u64 address, u64 rax)							\
{													\
	return TRY(asm volatile("xchg %[a], %%rbp; " SET_FLAGS before "(%%rbp)" after "; xchg %[a], %%rbp" \
				: "+a"(rax), [a] "+D"(address) : : "cc", "memory"));			\
}													\
													\
static struct fault name##_fs(u64 address, u64 rax)							\
{													\
	return TRY(asm volatile(SET_FLAGS before "%%fs:%c[d](%[a],%[i],8)" after			\
				: "+a"(rax)								\
				: [a] "D"(address), [i] "c"(fs_index), [d] "i"(FS_DISPLACEMENT)		\
				: "cc", "memory"));							\
}

FORM(do_vmxon, "vmxon ", "")
FORM(do_vmclear, "vmclear ", "")
FORM(do_vmptrld, "vmptrld ", "")
FORM(do_vmptrst, "vmptrst ", "")
FORM(do_vmread, "vmread %%rax, ", "")
FORM(do_vmwrite, "vmwrite ", ", %%rax")
FORM(do_invept, "invept ", ", %%rax")
FORM(do_invvpid, "invvpid ", ", %%rax")

static const struct form {
	const char *name;
	struct fault (*ds)(u64 address, u64 rax), (*ss)(u64 address, u64 rax), (*fs)(u64 address, u64 rax);
	u64 rax;
	u32 size;
	bool writes;
	bool outside;		/* of VMX operation: in it there are other reasons to fail */
	u32 need;
} forms[] = {
	{ "VMXON", do_vmxon, do_vmxon_ss, do_vmxon_fs, 0, 8, false, true, 0 },
	{ "VMCLEAR", do_vmclear, do_vmclear_ss, do_vmclear_fs, 0, 8, false, false, 0 },
	{ "VMPTRLD", do_vmptrld, do_vmptrld_ss, do_vmptrld_fs, 0, 8, false, false, 0 },
	{ "VMPTRST", do_vmptrst, do_vmptrst_ss, do_vmptrst_fs, 0, 8, true, false, 0 },
	{ "VMREAD", do_vmread, do_vmread_ss, do_vmread_fs, GUEST_RIP, 8, true, false, 0 },
	{ "VMWRITE", do_vmwrite, do_vmwrite_ss, do_vmwrite_fs, GUEST_RIP, 8, false, false, 0 },
	{ "INVEPT", do_invept, do_invept_ss, do_invept_fs, 1, 16, false, false, CAP_INVEPT_SINGLE_CONTEXT },
	{ "INVVPID", do_invvpid, do_invvpid_ss, do_invvpid_fs, 1, 16, false, false, CAP_INVVPID_SINGLE_CONTEXT },
};

enum { PF_WRITE = BIT(1), PF_PRESENT = BIT(0) };
enum { RIP_BEFORE = 0x13579bdf };

/* A VMCS that is active at VMXOFF may lose its data: VMCLEAR brings them into the region. */
static void begin_form(const struct form *form)
{
	const u64 region = physical_address(&vmcs_region);

	vmcs_write(GUEST_RIP, RIP_BEFORE);
	if (form->outside) {
		require_outcome(vmclear(&region, NULL), SUCCEED);
		vmx_off();
		write_cr4(read_cr4() | CR4_VMXE);
	}
}

/* The instruction had no effect: the same VMCS is current, its data are as before. */
static void end_form(const struct form *form)
{
	const u64 region = physical_address(&vmcs_region);
	u64 value = 0;

	if (form->outside) {
		expect_outcome(vmread(GUEST_RIP, &value, NULL), FAULTS(VECTOR_UD, 0));
		vmx_on();
		require_outcome(vmptrld(&region, NULL), SUCCEED);
	}
	expect_eq(vmcs_current(), region);
	expect_eq(vmcs_read(GUEST_RIP), RIP_BEFORE);
}

static bool possible(const struct form *form)
{
	return !form->need || has(form->need);
}

static void expect_page_fault(struct fault fault, u32 error_code, u64 address)
{
	expect_fault(fault, VECTOR_PF, error_code);
	expect_eq(fault.cr2, address);
}

/* All of the operand not present, its first half, its second half. */
TEST("insn.pf.mem_operand", "A memory operand on a page that is not present raises #PF and nothing else happens")
{
	const u64 page = physical_address(page_alloc());

	memset((void *)page, 0xff, PAGE_SIZE);	/* no pointer to a region */
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		const struct form *form = &forms[i];
		const u32 code = form->writes ? PF_WRITE : 0;
		const u64 second = PAGE_WINDOW + PAGE_SIZE, third = second + PAGE_SIZE;

		if (!possible(form))
			continue;
		page_window_reset();
		page_map(second, page, PAGE_PRESENT | PAGE_WRITE);
		begin_form(form);
		CASE("%s, no page", form->name);
		expect_page_fault(form->ds(PAGE_WINDOW, form->rax), code, PAGE_WINDOW);
		expect_page_fault(form->ss(PAGE_WINDOW + 8, form->rax), code, PAGE_WINDOW + 8);
		CASE("%s, first half on no page", form->name);
		expect_page_fault(form->ds(second - form->size / 2, form->rax), code, second - form->size / 2);
		CASE("%s, second half on no page", form->name);
		expect_page_fault(form->ds(third - form->size / 2, form->rax), code, third);
		end_form(form);
	}

	/* On the page that is there, to its last byte, there is no fault. */
	vmcs_write(GUEST_RIP, RIP_BEFORE);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		if (!possible(&forms[i]) || forms[i].outside)
			continue;
		const struct fault fault = forms[i].ds(PAGE_WINDOW + 2 * PAGE_SIZE - forms[i].size, forms[i].rax);

		CASE("%s, page present", forms[i].name);
		expect_no_fault(fault);
	}
	vmcs_reset();
}

TEST("insn.pf.fs_operand", "A memory operand is at the base of FS, plus base, scaled index and displacement")
{
	const u64 fs_base = 0x7654321000, sum = fs_base + 8 * fs_index + FS_DISPLACEMENT;

	const u64 before = rdmsr(IA32_FS_BASE);

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		const struct form *form = &forms[i];

		if (!possible(form))
			continue;
		begin_form(form);
		wrmsr(IA32_FS_BASE, fs_base);
		const struct fault fault = form->fs(PAGE_WINDOW + 8 - sum, form->rax);

		CASE("%s", form->name);
		expect_page_fault(fault, form->writes ? PF_WRITE : 0, PAGE_WINDOW + 8);
		end_form(form);
	}
	wrmsr(IA32_FS_BASE, before);
}

TEST("insn.pf.flags_preserved", "VMREAD and VMWRITE whose memory operand faults leave RFLAGS as it was")
{
	struct fault fault = do_vmread(PAGE_WINDOW, GUEST_RIP);

	CASE("VMREAD");
	expect_page_fault(fault, PF_WRITE, PAGE_WINDOW);
	expect_bits(fault.frame.rflags, RFLAGS_ARITHMETIC, RFLAGS_ARITHMETIC);
	fault = do_vmwrite(PAGE_WINDOW, GUEST_RIP);
	CASE("VMWRITE");
	expect_page_fault(fault, 0, PAGE_WINDOW);
	expect_bits(fault.frame.rflags, RFLAGS_ARITHMETIC, RFLAGS_ARITHMETIC);
}

/* On both sides of both boundaries; 48 or 57 bits of linear address. */
TEST("insn.gp.noncanonical", "A memory operand at a non-canonical address raises #GP(0), or #SS(0) through SS")
{
	const u32 width = read_cr4() & CR4_LA57 ? 57 : 48;
	const u64 addresses[] = {
		BIT(width - 1), ~BIT(width - 1) & ~7ull, BIT(63), 0x7ffffffffffffff0, 0xa5a5a5a5a5a5a5a5,
	};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		const struct form *form = &forms[i];

		if (!possible(form))
			continue;
		begin_form(form);
		for (size_t j = 0; j < ARRAY_SIZE(addresses); j++) {
			const struct fault ds = form->ds(addresses[j], form->rax);
			const struct fault ss = form->ss(addresses[j], form->rax);

			CASE("%s at %#lx", form->name, addresses[j]);
			expect_fault(ds, VECTOR_GP, 0);
			expect_fault(ss, VECTOR_SS, 0);
		}
		/* The last canonical addresses of the lower half are merely not mapped. */
		const struct fault fault = form->ds(BIT(width - 1) - form->size, form->rax);

		CASE("%s below the boundary", form->name);
		expect_page_fault(fault, form->writes ? PF_WRITE : 0, BIT(width - 1) - form->size);
		end_form(form);
	}
}

TEST("insn.vmptrst.ro_page", "VMPTRST and VMREAD to a read-only page raise #PF with W = 1 when CR0.WP is 1")
{
	u64 *page = page_alloc();
	const u64 cr0 = read_cr0();

	page[0] = 0x1234;
	page_map(PAGE_WINDOW, physical_address(page), PAGE_PRESENT);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		if (!forms[i].writes)
			continue;
		write_cr0(cr0 | CR0_WP);
		begin_form(&forms[i]);
		CASE("%s, CR0.WP = 1", forms[i].name);
		expect_page_fault(forms[i].ds(PAGE_WINDOW, forms[i].rax), PF_WRITE | PF_PRESENT, PAGE_WINDOW);
		expect_eq(page[0], 0x1234);

		write_cr0(cr0 & ~(u64)CR0_WP);
		const struct fault fault = forms[i].ds(PAGE_WINDOW, forms[i].rax);

		write_cr0(cr0);
		CASE("%s, CR0.WP = 0", forms[i].name);
		expect_no_fault(fault);
		expect_ne(page[0], 0x1234);
		page[0] = 0x1234;
		end_form(&forms[i]);
	}
}
