/* SPDX-License-Identifier: BSD-2-Clause */
/* MOV to and from CR3, and the CR3-target values (SDM Vol. 3C, "CR3-Target Controls"). */
#include "cr.h"

#include "libc/string.h"

GUEST_ASM(guest_mov_to_cr3, "mov %rax, %cr3; ret");
GUEST_ASM(guest_mov_from_cr3, "mov $-1, %rcx; mov %cr3, %rcx; ret");

/* A copy of the paging structure's root: another valid value of CR3. */
static u64 another_root(void)
{
	return physical_address(memcpy(page_alloc(), (const void *)read_cr3(), PAGE_SIZE));
}

static u32 target_count(void)
{
	return vmx_capabilities()->cr3_targets < 4 ? vmx_capabilities()->cr3_targets : 4;
}

static void set_target(u32 k, u64 value)
{
	vmcs_write(CR3_TARGET_VALUE0 + 2 * k, value);
}

/* All targets this value, all of them considered. */
static void set_targets(u64 value)
{
	for (u32 k = 0; k < target_count(); k++)
		set_target(k, value);
	vmcs_write(CR3_TARGET_COUNT, target_count());
}

static void run_mov(u64 value)
{
	vmcs_write(GUEST_CR3, read_cr3());
	guest.regs.rax = value;
	guest_run(guest_mov_to_cr3);
}

static void expect_mov_exits(u64 value)
{
	run_mov(value);
	expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(3, MOV_TO_CR, REG_RAX), .instruction_length = 3,
		    .rip = (u64)guest_mov_to_cr3);
	expect_eq(vmcs_read(GUEST_CR3), read_cr3());
}

static void expect_mov_done(u64 value, u64 result)
{
	run_mov(value);
	expect_guest_done();
	expect_eq(vmcs_read(GUEST_CR3), result);
}

TEST("exit.cr3.load_exiting", "MOV to CR3 exits unless all 64 bits of its source equal a CR3-target value",
     NEEDS(PROC_CR3_LOAD_EXITING, LIMIT_CR3_TARGETS(1)))
{
	const u64 root = another_root();

	vmcs_set_controls(PROC_CR3_LOAD_EXITING);
	for (u32 n = 0; n < 64; n++) {
		CASE("the target values differ from the source in bit %u", n);
		set_targets(root ^ BIT(n));
		expect_mov_exits(root);
		CASE("the source is CR3, the target values differ from it in bit %u", n);
		set_targets(read_cr3() ^ BIT(n));
		expect_mov_exits(read_cr3());
		CASE("the source differs from the target values in bit %u, and may be refused", n);
		set_targets(root);
		expect_mov_exits(root ^ BIT(n));
	}
	CASE("equal");
	set_targets(root);
	expect_mov_done(root, root);
	CASE("equal, with PWT and PCD");
	set_targets(root | 0x18);
	expect_mov_done(root | 0x18, root | 0x18);
	CASE("equal, with a reserved bit: no exit, but #GP");
	set_targets(root | BIT(60));
	run_mov(root | BIT(60));
	expect_guest_fault(VECTOR_GP, 0);
	expect_eq(vmcs_read(GUEST_CR3), read_cr3());
}

/* The target value k alone matches, and so many are considered. */
static void set_match(u32 k, u32 count, u64 root)
{
	set_targets(0);
	set_target(k, root);
	vmcs_write(CR3_TARGET_COUNT, count);
}

TEST("exit.cr3.target_match", "MOV to CR3 of any of the CR3-target values that count does not exit",
     NEEDS(PROC_CR3_LOAD_EXITING, LIMIT_CR3_TARGETS(1)))
{
	const u64 root = another_root();
	u64 roots[4];

	vmcs_set_controls(PROC_CR3_LOAD_EXITING);
	for (u32 count = 1; count <= target_count(); count++)
		for (u32 k = 0; k < count; k++) {
			CASE("target value %u, count %u", k, count);
			set_match(k, count, root);
			expect_mov_done(root, root);
			expect_mov_exits(root + PAGE_SIZE);
		}

	CASE("each target value another root");
	for (u32 k = 0; k < target_count(); k++)
		set_target(k, roots[k] = another_root());
	for (u32 k = 0; k < target_count(); k++)
		expect_mov_done(roots[k], roots[k]);
	expect_mov_exits(root);
	expect_mov_exits(read_cr3());
}

TEST("exit.cr3.target_beyond_count", "A CR3-target value beyond the count does not prevent the exit",
     NEEDS(PROC_CR3_LOAD_EXITING, LIMIT_CR3_TARGETS(1)))
{
	const u64 root = another_root();

	vmcs_set_controls(PROC_CR3_LOAD_EXITING);
	for (u32 count = 0; count < target_count(); count++)
		for (u32 k = count; k < target_count(); k++) {
			CASE("target value %u, count %u", k, count);
			set_match(k, count, root);
			expect_mov_exits(root);
			CASE("target value %u, count %u", k, k + 1);
			vmcs_write(CR3_TARGET_COUNT, k + 1);
			expect_mov_done(root, root);
		}
}

TEST("exit.cr3.count_zero", "With a CR3-target count of 0 every MOV to CR3 exits", NEEDS(PROC_CR3_LOAD_EXITING))
{
	const u64 root = another_root();
	const u64 values[] = { root, 0, read_cr3(), root | 0x18, ~0ull };

	vmcs_set_controls(PROC_CR3_LOAD_EXITING);
	for (u32 i = 0; i < ARRAY_SIZE(values); i++) {
		CASE("CR3 %#lx, which is in all target values", values[i]);
		set_targets(values[i]);
		vmcs_write(CR3_TARGET_COUNT, 0);
		expect_mov_exits(values[i]);
	}
}

TEST("exit.cr3.load_off", "With \"CR3-load exiting\" 0 MOV to CR3 does not exit", NEEDS(PROC_CR3_LOAD_EXITING))
{
	const u64 root = another_root();

	if (!may_be_0(PROC_CR3_LOAD_EXITING))
		skip("needs \"CR3-load exiting\" that may be 0 (IA32_VMX_TRUE_PROCBASED_CTLS[15] = 0)");
	for (u32 count = 0; count <= target_count(); count++) {
		CASE("CR3-target count %u, no match", count);
		set_targets(0x5000);
		vmcs_write(CR3_TARGET_COUNT, count);
		expect_mov_done(root, root);
		expect_mov_done(root | 0x18, root | 0x18);
		expect_mov_done(read_cr3(), read_cr3());
	}
	if (has(PROC_CR3_STORE_EXITING)) {
		CASE("CR3-store exiting 1");
		vmcs_set_controls(PROC_CR3_STORE_EXITING);
		expect_mov_done(root, root);
	}
}

TEST("exit.cr3.store_exiting", "MOV from CR3 exits if \"CR3-store exiting\" is 1, and returns CR3 if it is 0",
     NEEDS(PROC_CR3_STORE_EXITING))
{
	const u64 roots[] = { read_cr3(), another_root(), another_root() | 0x18 };

	vmcs_set_controls(PROC_CR3_STORE_EXITING);
	for (u32 i = 0; i < ARRAY_SIZE(roots); i++) {
		CASE("CR3 %#lx", roots[i]);
		set_targets(roots[i]);		/* which are for MOV to CR3 only */
		vmcs_write(GUEST_CR3, roots[i]);
		guest_run(guest_mov_from_cr3);
		expect_exit(EXIT_CR_ACCESS, .qualification = CR_ACCESS(3, MOV_FROM_CR, REG_RCX),
			    .instruction_length = 3);
		expect_eq(guest.regs.rcx, ~0ull);
	}

	if (!may_be_0(PROC_CR3_STORE_EXITING))
		return;
	vmcs_clear_controls(PROC_CR3_STORE_EXITING);
	for (u32 loads = 0; loads < 2; loads++)
		for (u32 i = 0; i < ARRAY_SIZE(roots); i++) {
			CASE("CR3 %#lx, CR3-store exiting 0, CR3-load exiting %u", roots[i], loads);
			if (loads && has(PROC_CR3_LOAD_EXITING))
				vmcs_set_controls(PROC_CR3_LOAD_EXITING);
			vmcs_write(GUEST_CR3, roots[i]);
			guest_run(guest_mov_from_cr3);
			expect_guest_done();
			expect_eq(guest.regs.rcx, roots[i]);
		}
}

TEST("exit.cr3.pcid_bit63", "Bit 63 and the PCID of MOV to CR3's source count when it is compared with target values",
     NEEDS(PROC_CR3_LOAD_EXITING, LIMIT_CR3_TARGETS(1), FEATURE_PCID))
{
	const u64 root = another_root();

	vmcs_set_controls(PROC_CR3_LOAD_EXITING);
	vmcs_write(GUEST_CR4, read_cr4() | CR4_PCIDE);
	for (u32 pcid = 0; pcid < 0x1000; pcid = pcid ? pcid << 1 : 1) {
		const u64 value = root | pcid;

		CASE("PCID %#x, bit 63 in neither", pcid);
		set_targets(value);
		expect_mov_done(value, value);
		CASE("PCID %#x, bit 63 in the source", pcid);
		expect_mov_exits(value | BIT(63));
		CASE("PCID %#x, bit 63 in the target values", pcid);
		set_targets(value | BIT(63));
		expect_mov_exits(value);
		CASE("PCID %#x, bit 63 in both", pcid);
		expect_mov_done(value | BIT(63), value);
		CASE("PCID %#x in the target values, another in the source", pcid);
		expect_mov_exits((value ^ 0x123) | BIT(63));
	}
}
