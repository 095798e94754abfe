/* SPDX-License-Identifier: BSD-2-Clause */
/* AVX instructions that fault, or exit, in their middle. */
#include "errata.h"

#include "libc/string.h"

/* In the host and in the guest, which has its CR4 from the VMCS and XCR0 from the host. */
static u64 cr4_before, xcr0_before;

static void avx_on(void)
{
	cr4_before = read_cr4();
	write_cr4(cr4_before | CR4_OSXSAVE);
	xcr0_before = xgetbv(0);
	xsetbv(0, 7);
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_OSXSAVE);
	vmcs_write(HOST_CR4, vmcs_read(HOST_CR4) | CR4_OSXSAVE);
}

static void avx_off(void)
{
	xsetbv(0, xcr0_before);
	write_cr4(cr4_before);
}

#define NEEDS_AVX(...) NEEDS(FEATURE_XSAVE, FEATURE_AVX, __VA_ARGS__)

enum { MXCSR_RESET = 0x1f80, MXCSR_FLAGS = 0x3f };

/* A third, which no half-precision number is. */
static struct fault store_half(volatile u64 *to)
{
	const u32 mxcsr = MXCSR_RESET, third = 0x3eaaaaab;

	return TRY(asm volatile("ldmxcsr %1\n\t vmovd %2, %%xmm0\n\t vcvtps2ph $0, %%xmm0, %0" : "=m"(*to) : "m"(mxcsr), "r"(third)));
}

static u32 mxcsr_flags(void)
{
	u32 mxcsr;

	asm volatile("stmxcsr %0" : "=m"(mxcsr));
	return mxcsr & MXCSR_FLAGS;
}

TEST("errata.vcvtps2ph_fault", "VCVTPS2PH whose store faults leaves the flags of MXCSR", NEEDS_AVX(FEATURE_F16C))
{
	volatile u64 *const to = (volatile u64 *)PAGE_WINDOW;
	struct fault fault;

	page_entry(PAGE_WINDOW, 1);
	avx_on();
	fault = store_half(to);
	expect_fault(fault, VECTOR_PF, 2);
	expect_eq(mxcsr_flags(), 0);
	probe_page(0);
	fault = store_half(to);
	expect_no_fault(fault);
	expect_eq(mxcsr_flags(), BIT(5));		/* PE */
	asm volatile("ldmxcsr %0" : : "m"((const u32){ MXCSR_RESET }));
	avx_off();
}

/* Four elements from these addresses into XMM1, whose upper half in YMM1 is all ones before; the mask is XMM2. */
static struct {
	u32 index[4], loaded[4], upper[4], mask[4];
} gathered;

static const u8 all_ones[32] = { [0 ... 31] = 0xff };

static struct fault gather(u64 base)
{
	const struct fault fault = TRY(asm volatile("vmovdqu %1, %%ymm1\n\t vmovdqu %1, %%xmm2\n\t vmovdqu %0, %%xmm3\n\t"
						    "vgatherdps %%xmm2, (%2,%%xmm3,1), %%xmm1"
						    : : "m"(gathered.index), "m"(all_ones), "r"(base) : "memory"));

	asm volatile("vmovdqu %%xmm1, %0\n\t vextracti128 $1, %%ymm1, %1\n\t vmovdqu %%xmm2, %2"
		     : "=m"(gathered.loaded), "=m"(gathered.upper), "=m"(gathered.mask));
	return fault;
}

TEST("errata.gather_first_element", "a gather whose first element faults leaves all of its destination", NEEDS_AVX(FEATURE_AVX2))
{
	u32 *page;
	struct fault fault;

	page_entry(PAGE_WINDOW, 1);
	memset(gathered.index, 0, sizeof(gathered.index));
	avx_on();
	fault = gather(PAGE_WINDOW);
	expect_fault(fault, VECTOR_PF, 0);
	expect_bytes((const u8 *)gathered.upper, all_ones, 16);
	expect_bytes((const u8 *)gathered.loaded, all_ones, 16);
	page = probe_page(0);
	*page = 0x12345678;
	fault = gather(PAGE_WINDOW);
	expect_no_fault(fault);
	expect_filled(gathered.upper, 0, 16, 0);
	expect_eq(gathered.loaded[3], 0x12345678);
	avx_off();
}

GUEST_ASM(guest_gathers, "vmovdqu (%rdx), %ymm1\n vmovdqu (%rdx), %xmm2\n vmovdqu (%rcx), %xmm3\n"
	  "vgatherdps %xmm2, (%rbx,%xmm3,1), %xmm1\n ret");

TEST("errata.gather_violation", "a gather that exits at an element has done those before it, and says so in its mask",
     NEEDS_AVX(FEATURE_AVX2, PROC2_ENABLE_EPT))
{
	u32 *const pages[2] = { probe_page(0), probe_page(1) };

	vmcs_use_ept();
	for (u32 i = 0; i < 4; i++) {
		pages[0][i] = 0x1000 + i;
		gathered.index[i] = i < 2 ? 4 * i : PAGE_SIZE + 4 * i;
	}
	avx_on();
	for (enum violation_way way = 0; way < VIOLATION_WAYS; way++) {
		probe_no_violation(0, pages[0]);
		probe_violation(way, 1, pages[1]);
		guest.regs.rbx = PAGE_WINDOW;
		guest.regs.rdx = (u64)all_ones;
		guest.regs.rcx = (u64)gathered.index;
		guest_run(guest_gathers);
		asm volatile("vmovdqu %%xmm1, %0\n\t vmovdqu %%xmm2, %1" : "=m"(gathered.loaded), "=m"(gathered.mask));
		CASE("by %s", violation_ways[way]);
		if (!expect_probe_violation(way))
			continue;
		for (u32 i = 0; i < 4; i++) {
			expect_eq(gathered.mask[i], i < 2 ? 0 : 0xffffffff);
			if (i < 2)
				expect_eq(gathered.loaded[i], 0x1000 + i);
		}
	}
	avx_off();
}

/* The code is at the end of the first page, and what it stores is there and on the second one. */
TEST("errata.vmaskmov_split", "VMASKMOV across pages, from code on the first one, sets the dirty flag of EPT for both and goes on",
     NEEDS_AVX(PROC2_ENABLE_EPT, CAP_EPT_ACCESSED_AND_DIRTY_FLAGS, MAY_STOP))
{
	static const u8 code[] = { 0xc4, 0xe2, 0x6d, 0x2e, 0x0b, 0xc3 };	/* vmaskmovps %ymm1, %ymm2, (%rbx); ret */
	u8 *const pages[2] = { probe_page(0), probe_page(1) };

	vmcs_use_ept();
	vmcs_write(EPT_POINTER, vmcs_read(EPT_POINTER) | EPTP_ACCESSED_DIRTY);
	memcpy(pages[0], code, sizeof(code));
	for (u32 before = 4; before < 32; before += 4) {
		CASE("%u bytes on the first page", before);
		memset(pages[0] + 64, 0, PAGE_SIZE - 64);
		memset(pages[1], 0, PAGE_SIZE);
		for (u32 i = 0; i < 2; i++)
			*ept_entry(physical_address(pages[i]), 1) &= ~(u64)(EPT_ACCESSED | EPT_DIRTY);
		ept_flush();
		avx_on();
		asm volatile("vmovdqu %0, %%ymm1\n\t vmovdqu %0, %%ymm2" : : "m"(all_ones));
		guest.regs.rbx = PAGE_WINDOW + PAGE_SIZE - before;
		guest_run((void (*)(void))PAGE_WINDOW);
		avx_off();
		expect_guest_done();
		expect_filled(pages[0], PAGE_SIZE - before, PAGE_SIZE, 0xff);
		expect_filled(pages[1], 0, 32 - before, 0xff);
		expect_filled(pages[1], 32 - before, 64, 0);
		for (u32 i = 0; i < 2; i++)
			expect_bits(*ept_entry(physical_address(pages[i]), 1), EPT_DIRTY, EPT_DIRTY);
	}
}
