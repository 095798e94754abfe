/* SPDX-License-Identifier: BSD-2-Clause */
/* "Loading Guest RIP, RSP, RFLAGS, and SSP": these, and no other general register, nor FPU, SSE, AVX or XCR0. */
#include "load.h"

#include "libc/string.h"
#include "x86/monitor.h"
#include "x86/page.h"

/* The guest stores each register before it changes any. */
struct seen {
	struct guest_registers regs;
	u64 rsp;
};
extern struct seen load_seen;
struct seen load_seen;

GUEST_ASM(guest_stores_registers,
	  "mov %rax, load_seen(%rip); mov %rbx, load_seen+8(%rip); mov %rcx, load_seen+16(%rip)\n"
	  "mov %rdx, load_seen+24(%rip); mov %rsi, load_seen+32(%rip); mov %rdi, load_seen+40(%rip)\n"
	  "mov %rbp, load_seen+48(%rip); mov %r8, load_seen+56(%rip); mov %r9, load_seen+64(%rip)\n"
	  "mov %r10, load_seen+72(%rip); mov %r11, load_seen+80(%rip); mov %r12, load_seen+88(%rip)\n"
	  "mov %r13, load_seen+96(%rip); mov %r14, load_seen+104(%rip); mov %r15, load_seen+112(%rip)\n"
	  "mov %rsp, load_seen+120(%rip); vmcall");

enum { GPRS = sizeof(struct guest_registers) / 8 };

static void check_gprs(void)
{
	WALK_OVER(n, 0, 128) {
		struct guest_registers regs;
		u64 *const values = (u64 *)&regs, *const read = (u64 *)&load_seen.regs;

		for (u32 i = 0; i < GPRS; i++)
			values[i] = n & 1 ? ~BIT((n / 2 + 7 * i) % 64) : BIT((n / 2 + 7 * i) % 64);
		guest.regs = regs;
		vmcs_write(GUEST_RIP, (u64)guest_stores_registers);
		vmcs_write(GUEST_RSP, 0x1122334455667788 + n);
		guest_enter();
		expect_exit(EXIT_VMCALL);
		for (u32 i = 0; i < GPRS; i++) {
			CASE("general register %u, pass %u", i, n);
			expect_eq(read[i], values[i]);
		}
		expect_eq(load_seen.rsp, 0x1122334455667788 + n);
	}
}

/* The state that XSAVE (components 0 to 2) or FXSAVE stores. */
enum { AREA_SIZE = 1024, XSAVE_HEADER = 512 };
extern u8 load_state_given[AREA_SIZE], load_state_found[AREA_SIZE];
u8 load_state_given[AREA_SIZE] ALIGNED(64), load_state_found[AREA_SIZE] ALIGNED(64);

GUEST_ASM(guest_stores_fxsave, "fxsave64 load_state_found(%rip); vmcall");
GUEST_ASM(guest_stores_xsave, "xor %edx, %edx; mov $7, %eax; xsave64 load_state_found(%rip); vmcall");
CODE(read_xcr0, "xor %ecx, %ecx; xgetbv");

static void fill_state(u32 n)
{
	memset(load_state_given, 0, sizeof(load_state_given));
	memset(load_state_found, 0, sizeof(load_state_found));
	for (u32 i = 32; i < 416; i++)		/* ST0-7, XMM0-15 */
		if (i >= 160 || i % 16 < 10)
			load_state_given[i] = n * 37 + i * 11;
	*(u16 *)load_state_given = n & 1 ? 0x37f : 0xf7f;		/* FCW */
	*(u16 *)(load_state_given + 2) = (n % 8) << 11;			/* FSW: TOP */
	load_state_given[4] = 0xff >> n % 8;				/* FTW, abridged */
	*(u32 *)(load_state_given + 24) = n & 2 ? 0x1f80 : 0x7fbf;	/* MXCSR */
}

/* MXCSR_MASK and what is behind XMM15 are the processor's or nobody's. */
static void expect_same_state(u32 size)
{
	for (u32 i = 0; i < size; i++) {
		if ((i >= 28 && i < 32) || (i >= 416 && i < 576) || (i >= 5 && i < 24))
			continue;
		if (i >= 32 && i < 160 && i % 16 >= 10)
			continue;
		CASE("byte %u of the XSAVE area", i);
		expect_eq(load_state_found[i], load_state_given[i]);
	}
}

static void run_stores(void (*guest_stores)(void))
{
	guest_run_at(guest_stores);
	expect_exit(EXIT_VMCALL);
}

static void leave_fpu_clean(void)
{
	static const u32 mxcsr = 0x1f80;

	asm volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
}

static void check_fpu(void)
{
	const u64 cr4 = read_cr4();

	if (!has(FEATURE_FXSR) || !has(FEATURE_SSE2))
		return;
	write_cr4(cr4 | CR4_OSFXSR | CR4_OSXMMEXCPT);
	vmcs_write(GUEST_CR4, read_cr4());
	vmcs_write(HOST_CR4, read_cr4());
	for (u32 n = 0; n < 8; n++) {
		fill_state(n);
		asm volatile("fxrstor64 %0" : : "m"(load_state_given));
		run_stores(guest_stores_fxsave);
		expect_same_state(416);
	}
	leave_fpu_clean();
	write_cr4(cr4);
}

static void check_xsave(void)
{
	const u64 cr4 = read_cr4(), xcr0[] = { 1, 3, 7 };

	if (!has(FEATURE_XSAVE))
		return;
	write_cr4(cr4 | CR4_OSFXSR | CR4_OSXSAVE);
	vmcs_write(GUEST_CR4, read_cr4());
	vmcs_write(HOST_CR4, read_cr4());
	for (u32 i = 0; i < ARRAY_SIZE(xcr0); i++) {
		if (xcr0[i] & ~(u64)cpuid(0xd, 0).eax)
			continue;
		CASE("XCR0 = %#lx", xcr0[i]);
		xsetbv(0, xcr0[i]);
		run_code(read_xcr0);
		expect_code_ran();
		expect_eq((u32)guest.regs.rax, xcr0[i]);
		expect_eq((u32)guest.regs.rdx, 0);
		if (xcr0[i] != 7)
			continue;
		for (u32 n = 0; n < 4; n++) {
			fill_state(n);
			*(u64 *)(load_state_given + XSAVE_HEADER) = 7;
			for (u32 byte = 576; byte < 832; byte++)	/* the upper halves of YMM0-15 */
				load_state_given[byte] = n * 53 + byte * 7;
			asm volatile("xrstor64 %0" : : "m"(load_state_given), "a"(7), "d"(0));
			run_stores(guest_stores_xsave);
			expect_same_state(832);
		}
	}
	leave_fpu_clean();
	xsetbv(0, 1);
	write_cr4(cr4);
}

TEST("entry.load.gpr_fpu_not_loaded",
     "general registers but RSP, x87, SSE and AVX state and XCR0 pass through VM entry as they are")
{
	check_gprs();
	check_fpu();
	check_xsave();
}

/* 16 places, 16 bytes apart, each of which says where it is: RAX = RIP, RBX = RSP. */
GUEST_ASM(load_places, ".balign 4096\n load_places_: .rept 16\n lea 0(%rip), %rax; mov %rsp, %rbx; vmcall; .balign 16\n .endr\n"
		       ".balign 4096");
extern const u8 load_places_[];
enum { LEA_LENGTH = 7 };

static void try_rip_rsp(u64 rip, u64 rsp)
{
	CASE("RIP = %#lx, RSP = %#lx", rip, rsp);
	vmcs_write(GUEST_RIP, rip);
	vmcs_write(GUEST_RSP, rsp);
	guest_enter();
	expect_exit(EXIT_VMCALL);
	expect_eq(guest.regs.rax, rip + LEA_LENGTH);
	expect_eq(guest.regs.rbx, rsp);
}

static void check_rip_rsp(void)
{
	const u64 rsp = (u64)guest_stack + GUEST_STACK_SIZE, page = physical_address(load_places_);
	const u64 half = BIT(paged_address_width() - 1);
	u64 *pml4 = page_alloc();

	for (u32 i = 0; i < 16; i++)
		try_rip_rsp(page + 16 * i, rsp - i);
	for (u32 bit = 0; bit < 64; bit++) {
		try_rip_rsp(page, BIT(bit));
		try_rip_rsp(page + 16, ~BIT(bit));
	}
	/* Each bit of RIP: by other linear addresses of the page, in the window and, by other PML4s, everywhere. */
	for (u32 bit = 12; bit < 39; bit++) {
		page_map(PAGE_WINDOW | BIT(bit), page, PAGE_PRESENT);
		try_rip_rsp(PAGE_WINDOW | BIT(bit) | 16 * (bit % 16), rsp);
	}
	memcpy(pml4, (void *)(read_cr3() & PAGE_ADDRESS_MASK), PAGE_SIZE);
	for (u32 slot = 2; slot < 512; slot = slot * 2 + (slot & 1))
		pml4[slot] = pml4[PAGE_WINDOW >> 39 & 511];
	pml4[511] = pml4[PAGE_WINDOW >> 39 & 511];
	vmcs_write(GUEST_CR3, physical_address(pml4));
	for (u32 bit = 40; BIT(bit) < half; bit++)
		try_rip_rsp(BIT(bit) | BIT(14) | 16 * (bit % 16), rsp);
	page_map(PAGE_WINDOW, page, PAGE_PRESENT);
	page_map(PAGE_WINDOW | 0x7ffffff000, page, PAGE_PRESENT);
	try_rip_rsp(0xffffffffffffff00 & ~0xfffull, rsp);
	try_rip_rsp(0xffffff8000000000 | 0xf0, rsp);
	vmcs_write(GUEST_CR3, read_cr3());
}

CODE(read_rflags_only, "pushfq; pop %rax");

/* TF traps behind the first instruction; RF is not pushed; VM is another mode, and VIP and VIF are for CPL 3. */
#define RFLAGS_CHOSEN	(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_IF | RFLAGS_DF | RFLAGS_OF |	\
			 RFLAGS_IOPL | RFLAGS_NT | RFLAGS_AC | BIT(19) | BIT(20) | BIT(21))

static void try_rflags(u64 rflags)
{
	CASE("RFLAGS = %#lx", rflags);
	vmcs_write(GUEST_RFLAGS, rflags);
	run_code(read_rflags_only);
	expect_code_ran();
	expect_eq(guest.regs.rax, rflags);
}

static void check_rflags(void)
{
	for (u32 bit = 0; bit < 22; bit++)
		if (RFLAGS_CHOSEN & BIT(bit)) {
			try_rflags(RFLAGS_FIXED | BIT(bit));
			try_rflags((RFLAGS_FIXED | RFLAGS_CHOSEN) & ~BIT(bit));
		}
	CASE("RFLAGS.TF");
	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_DB));
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_TF);
	run_code(read_rflags_only);
	expect_exit(EXIT_EXCEPTION_OR_NMI, .rip = (u64)read_rflags_only.start + 1, .qualification = BIT(14));
	vmcs_write(EXCEPTION_BITMAP, 0);
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
}

TEST("entry.load.rip_rsp_rflags", "the first guest instruction is the one at RIP, with RSP and RFLAGS as in their fields")
{
	check_rip_rsp();
	check_rflags();
}

static void guest_mwaits(void)
{
	asm volatile("mwait" : : "a"(0), "c"(0) : "memory");
}

/* A guest that waits is stopped by its watchdog. */
TEST("entry.load.monitor_cleared", "VM entry ends address-range monitoring: MWAIT in the guest does not wait for what the host monitors",
     NEEDS(FEATURE_MONITOR, FEATURE_MTRR))
{
	const u64 memory_types = memory_make_write_back();

	if (!mwait_can_wait()) {
		wrmsr(IA32_MTRR_DEF_TYPE, memory_types);
		skip("needs an MWAIT that waits, which this one does not behind a MONITOR in the host");
	}
	for (u32 n = 0; n < 4; n++) {
		CASE("VM entry %u", n);
		monitor_arm();
		guest_run(guest_mwaits);
		expect_guest_done();
	}
	wrmsr(IA32_MTRR_DEF_TYPE, memory_types);
}
