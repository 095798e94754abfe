/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The time-stamp counter in VMX non-root operation: RDTSC, RDTSCP, RDMSR and WRMSR
 * of IA32_TIME_STAMP_COUNTER (SDM Vol. 3C, "Changes to Instruction Behavior in VMX
 * Non-Root Operation").
 *
 * A guest leaves EAX:EDX in RSI:RDI, for which the whole registers are filled before.
 */
#include "vmxtest/vmxtest.h"
#include "x86/user.h"

#define READ_TSC(instruction)							\
	"mov $-1, %rax; mov $-1, %rdx\n" instruction "; mov %rax, %rsi; mov %rdx, %rdi; ret"

GUEST_ASM(guest_rdtsc, READ_TSC("rdtsc"));
GUEST_ASM(guest_rdtscp, READ_TSC("mov $-1, %rcx; rdtscp"));
GUEST_ASM(guest_rdmsr_tsc, READ_TSC("mov $0x10, %ecx; rdmsr"));
GUEST_ASM(guest_rdpid, "mov $-1, %rcx; rdpid %rcx; ret");

/* TSC_OFFSET values: each bit, each bit's complement, and what carries past 2^64. */
static u64 offset_number(u32 n)
{
	const u64 special[] = { 0, ~0ull, -rdtsc(), -rdtsc() - 1, ~rdtsc() - BIT(31), 0x123456789abcdef0 };

	return n < 64 ? BIT(n) : n < 128 ? ~BIT(n - 64) : special[n - 128];
}
#define OFFSETS 134

static struct fault user_fault;

static void user_rdtsc(void)
{
	rdtsc();
}

static void guest_user_rdtsc(void)
{
	user_fault = user_run(user_rdtsc);
}

static void user_rdtscp(void)
{
	u32 aux;

	rdtscp(&aux);
}

static void guest_user_rdtscp(void)
{
	user_fault = user_run(user_rdtscp);
}

static u64 guest_tsc(void)
{
	return guest.regs.rdi << 32 | guest.regs.rsi;
}

static u64 scaled(u64 tsc, u64 multiplier)
{
	return (unsigned __int128)tsc * multiplier >> 48;
}

/* The guest reads the scaled TSC plus the offset, modulo 2^64; the upper halves of RAX and RDX become 0. */
static void expect_tsc(void (*reader)(void), u64 multiplier, u64 offset)
{
	const u64 before = rdtsc();

	guest_run(reader);

	const u64 after = rdtsc();

	expect_guest_done();
	expect_eq(guest.regs.rsi >> 32, 0);
	expect_eq(guest.regs.rdi >> 32, 0);
	expect_between(scaled(before, multiplier), guest_tsc() - offset, scaled(after, multiplier));
}

#define UNSCALED BIT(48)

static void expect_offsets(void (*reader)(void))
{
	vmcs_set_controls(PROC_USE_TSC_OFFSETTING);
	WALK_OVER(n, 0, OFFSETS) {
		const u64 offset = offset_number(n);

		CASE("TSC offset %#lx", offset);
		vmcs_write(TSC_OFFSET, offset);
		expect_tsc(reader, UNSCALED, offset);
	}
}

TEST("exit.rdtsc.offset", "RDTSC returns TSC + TSC offset", NEEDS(PROC_USE_TSC_OFFSETTING))
{
	expect_offsets(guest_rdtsc);
}

TEST("exit.rdtsc.offset_negative", "A negative TSC offset makes the guest's TSC smaller than the host's",
     NEEDS(PROC_USE_TSC_OFFSETTING))
{
	vmcs_set_controls(PROC_USE_TSC_OFFSETTING);
	for (u64 size = rdtsc() / 2; size; size /= 2) {
		const u64 before = rdtsc();

		CASE("TSC offset -%#lx", size);
		vmcs_write(TSC_OFFSET, -size);
		guest_run(guest_rdtsc);
		expect_guest_done();
		expect_between(before - size, guest_tsc(), rdtsc() - size);
	}
}

TEST("exit.rdtsc.offset_off", "The TSC offset is not used when \"use TSC offsetting\" is 0")
{
	WALK_OVER(n, 0, OFFSETS) {
		CASE("TSC offset %#lx", offset_number(n));
		vmcs_write(TSC_OFFSET, offset_number(n));
		expect_tsc(guest_rdtsc, UNSCALED, 0);
	}

	if (!has(PROC2_ENABLE_RDTSCP))
		return;
	CASE("RDTSCP");
	vmcs_set_controls(PROC2_ENABLE_RDTSCP);
	vmcs_write(TSC_OFFSET, BIT(62));
	expect_tsc(guest_rdtscp, UNSCALED, 0);
	if (!has(PROC2_USE_TSC_SCALING))
		return;
	CASE("\"use TSC scaling\" without \"use TSC offsetting\"");
	vmcs_set_controls(PROC2_USE_TSC_SCALING);
	vmcs_write(TSC_MULTIPLIER, 5 * UNSCALED);
	expect_tsc(guest_rdtsc, UNSCALED, 0);
	expect_tsc(guest_rdtscp, UNSCALED, 0);
}

TEST("exit.rdtsc.offset_scope", "The host's TSC is not offset after the exit", NEEDS(PROC_USE_TSC_OFFSETTING))
{
	const u64 offsets[] = { BIT(62), -BIT(62), BIT(63) };

	vmcs_set_controls(PROC_USE_TSC_OFFSETTING);
	for (u32 i = 0; i < ARRAY_SIZE(offsets); i++) {
		const u64 before = rdtsc();

		CASE("TSC offset %#lx", offsets[i]);
		vmcs_write(TSC_OFFSET, offsets[i]);
		guest_run(guest_rdtsc);
		expect_guest_done();
		expect_between(before, rdtsc(), before + BIT(60));
		expect_between(before, rdmsr(IA32_TIME_STAMP_COUNTER), before + BIT(60));
	}
}

TEST("exit.rdtsc.exiting", "RDTSC exits when \"RDTSC exiting\" is 1, with TSC offsetting too",
     NEEDS(PROC_RDTSC_EXITING))
{
	for (u32 offsetting = 0; offsetting <= has(PROC_USE_TSC_OFFSETTING); offsetting++) {
		CASE("use TSC offsetting %u", offsetting);
		if (offsetting) {
			vmcs_set_controls(PROC_USE_TSC_OFFSETTING);
			vmcs_write(TSC_OFFSET, BIT(62));
		}
		vmcs_set_controls(PROC_RDTSC_EXITING);
		guest_run(guest_rdtsc);
		expect_exit(EXIT_RDTSC, .qualification = 0, .instruction_length = 2);
		expect_eq(guest.regs.rax, ~0ull);
		expect_eq(guest.regs.rdx, ~0ull);
		expect_eq(*(const u16 *)vmcs_read(GUEST_RIP), 0x310f);

		vmcs_clear_controls(PROC_RDTSC_EXITING);
		guest_resume();
		expect_guest_done();
	}

	CASE("CPL 3");
	user_pages_on();
	vmcs_set_controls(PROC_RDTSC_EXITING);
	guest_run(guest_user_rdtsc);
	expect_exit(EXIT_RDTSC, .qualification = 0, .instruction_length = 2);
	CASE("CPL 3, CR4.TSD = 1");
	vmcs_write(GUEST_CR4, read_cr4() | CR4_TSD);
	guest_run(guest_user_rdtsc);
	expect_guest_done();
	expect_fault(user_fault, VECTOR_GP, 0);
}

TEST("exit.rdtsc.rdmsr_tsc", "RDMSR of IA32_TIME_STAMP_COUNTER returns TSC + TSC offset",
     NEEDS(PROC_USE_TSC_OFFSETTING, PROC_USE_MSR_BITMAPS))
{
	vmcs_use_msr_bitmap();
	expect_offsets(guest_rdmsr_tsc);

	CASE("use TSC offsetting 0");
	vmcs_clear_controls(PROC_USE_TSC_OFFSETTING);
	vmcs_write(TSC_OFFSET, BIT(62));
	expect_tsc(guest_rdmsr_tsc, UNSCALED, 0);
	vmcs_set_controls(PROC_USE_TSC_OFFSETTING);
	if (has(PROC_RDTSC_EXITING)) {
		CASE("RDTSC exiting 1, which is not for RDMSR");
		vmcs_set_controls(PROC_RDTSC_EXITING);
		expect_tsc(guest_rdmsr_tsc, UNSCALED, BIT(62));
	}
}

/* Move the host's TSC by a distance; where there is IA32_TSC_ADJUST it moves along. */
static void move_tsc(u64 distance)
{
	wrmsr(IA32_TIME_STAMP_COUNTER, rdtsc() + distance);
}

/*
 * WRMSR of EBX:ESI to IA32_TIME_STAMP_COUNTER, then RDTSC: with so little between the
 * two, few of the low bits of the offset could be lost without notice.
 */
GUEST_ASM(guest_writes_tsc, "mov $0x10, %ecx; mov %ebx, %edx; mov %esi, %eax; wrmsr\n"
			    READ_TSC("rdtsc"));

TEST("exit.rdtsc.wrmsr_tsc", "WRMSR of IA32_TIME_STAMP_COUNTER writes the TSC itself, not less the offset",
     NEEDS(PROC_USE_TSC_OFFSETTING, PROC_USE_MSR_BITMAPS))
{
	const u64 distance = 0x3123456789aull;

	vmcs_use_msr_bitmap();
	vmcs_set_controls(PROC_USE_TSC_OFFSETTING);
	WALK_OVER(n, 0, OFFSETS) {
		const u64 offset = offset_number(n);
		const u64 adjust = has(FEATURE_TSC_ADJUST) ? rdmsr(IA32_TSC_ADJUST) : 0;
		const u64 value = rdtsc() + distance;

		CASE("TSC offset %#lx", offset);
		vmcs_write(TSC_OFFSET, offset);
		guest.regs.rbx = value >> 32;
		guest.regs.rsi = (u32)value;
		guest_run(guest_writes_tsc);

		const u64 after = rdtsc();

		move_tsc(-distance);
		expect_guest_done();
		expect_between(value, after, value + BIT(40));
		expect_between(value, guest_tsc() - offset, after);
		if (has(FEATURE_TSC_ADJUST))
			wrmsr(IA32_TSC_ADJUST, adjust);
	}
}

/* TSC_MULTIPLIER values, of which each bit tells when the TSC is large. */
static u64 multiplier_number(u32 n)
{
	const u64 special[] = { UNSCALED, UNSCALED + 1, UNSCALED - 1, 3 * UNSCALED / 2, UNSCALED / 3, 10 * UNSCALED / 7,
				0x007edcba98765432, 0x0055aa55aa55aa55 };

	return n < 56 ? BIT(n) : n < 104 ? UNSCALED | BIT(n - 56) : special[n - 104];
}
#define MULTIPLIERS 112

static void expect_scaled(void (*reader)(void))
{
	vmcs_set_controls(PROC_USE_TSC_OFFSETTING, PROC2_USE_TSC_SCALING);
	WALK_OVER(n, 0, MULTIPLIERS) {
		const u64 offset = n % 3 ? offset_number(n) : 0;

		CASE("TSC multiplier %#lx, TSC offset %#lx", multiplier_number(n), offset);
		vmcs_write(TSC_MULTIPLIER, multiplier_number(n));
		vmcs_write(TSC_OFFSET, offset);
		expect_tsc(reader, multiplier_number(n), offset);
	}

	/* The TSC scaled by 2^-48 stands still, which makes each bit of the offset exact. */
	vmcs_write(TSC_MULTIPLIER, 1);
	WALK_OVER(n, 0, OFFSETS) {
		const u64 offset = offset_number(n);

		CASE("TSC multiplier 1, TSC offset %#lx", offset);
		vmcs_write(TSC_OFFSET, offset);
		expect_tsc(reader, 1, offset);
	}
}

TEST("exit.rdtsc.scaling", "With \"use TSC scaling\" the guest's TSC is (TSC * multiplier >> 48) + offset",
     NEEDS(PROC_USE_TSC_OFFSETTING, PROC2_USE_TSC_SCALING))
{
	const u64 distance = 0x0123456789abcdef;
	const u64 adjust = has(FEATURE_TSC_ADJUST) ? rdmsr(IA32_TSC_ADJUST) : 0;

	if (has(PROC2_ENABLE_RDTSCP))
		vmcs_set_controls(PROC2_ENABLE_RDTSCP);
	if (has(PROC_USE_MSR_BITMAPS))
		vmcs_use_msr_bitmap();
	expect_scaled(guest_rdtsc);
	vmcs_write(TSC_OFFSET, 0);
	for (u32 n = 56; n < 64; n++) {
		CASE("TSC multiplier %#lx", BIT(n));
		vmcs_write(TSC_MULTIPLIER, BIT(n));
		expect_tsc(guest_rdtsc, BIT(n), 0);
	}

	/* A large TSC makes the low bits of the multiplier count, and the product wider than 64 bits. */
	move_tsc(distance);
	expect_scaled(guest_rdtsc);
	if (has(PROC2_ENABLE_RDTSCP))
		expect_scaled(guest_rdtscp);
	if (has(PROC_USE_MSR_BITMAPS))
		expect_scaled(guest_rdmsr_tsc);
	move_tsc(-distance);
	if (has(FEATURE_TSC_ADJUST))
		wrmsr(IA32_TSC_ADJUST, adjust);
}

TEST("exit.rdtscp.offset", "RDTSCP returns TSC + TSC offset, and IA32_TSC_AUX in ECX",
     NEEDS(PROC_USE_TSC_OFFSETTING, PROC2_ENABLE_RDTSCP))
{
	const u64 aux = rdmsr(IA32_TSC_AUX);

	vmcs_set_controls(PROC2_ENABLE_RDTSCP);
	expect_offsets(guest_rdtscp);
	for (u32 n = 0; n < 32; n++) {
		CASE("IA32_TSC_AUX %#x", ~(1u << n));
		wrmsr(IA32_TSC_AUX, ~(1u << n));
		guest_run(guest_rdtscp);
		expect_guest_done();
		expect_eq(guest.regs.rcx, ~(1u << n));
	}
	wrmsr(IA32_TSC_AUX, aux);
}

TEST("exit.rdtscp.exit", "RDTSCP exits when \"RDTSC exiting\" is 1, with a reason of its own",
     NEEDS(PROC_RDTSC_EXITING, PROC2_ENABLE_RDTSCP))
{
	vmcs_set_controls(PROC_RDTSC_EXITING, PROC2_ENABLE_RDTSCP);
	if (has(PROC_USE_TSC_OFFSETTING))
		vmcs_set_controls(PROC_USE_TSC_OFFSETTING);
	vmcs_write(TSC_OFFSET, BIT(62));
	guest_run(guest_rdtscp);
	expect_exit(EXIT_RDTSCP, .qualification = 0, .instruction_length = 3);
	expect_eq(guest.regs.rax, ~0ull);
	expect_eq(guest.regs.rcx, ~0ull);
	expect_eq(guest.regs.rdx, ~0ull);
	expect_eq(*(const u32 *)vmcs_read(GUEST_RIP) & 0xffffff, 0xf9010f);

	CASE("RDTSC");
	guest_run(guest_rdtsc);
	expect_exit(EXIT_RDTSC, .qualification = 0, .instruction_length = 2);
	CASE("RDTSC exiting 0");
	vmcs_clear_controls(PROC_RDTSC_EXITING);
	guest_run(guest_rdtscp);
	expect_guest_done();
	CASE("CPL 3, CR4.TSD = 1");
	user_pages_on();
	vmcs_set_controls(PROC_RDTSC_EXITING);
	vmcs_write(GUEST_CR4, read_cr4() | CR4_TSD);
	guest_run(guest_user_rdtscp);
	expect_guest_done();
	expect_fault(user_fault, VECTOR_GP, 0);
}

TEST("exit.rdtscp.ud", "RDTSCP and RDPID raise #UD when \"enable RDTSCP\" is 0", NEEDS(PROC2_ENABLE_RDTSCP))
{
	void (*const instructions[])(void) = { guest_rdtscp, guest_rdpid };

	user_pages_on();
	for (u32 i = 0; i < 1u + has(FEATURE_RDPID); i++) {
		CASE("%s, enable RDTSCP 1", i ? "RDPID" : "RDTSCP");
		vmcs_clear_controls(PROC_RDTSC_EXITING);
		vmcs_set_controls(PROC2_ENABLE_RDTSCP);
		guest_run(instructions[i]);
		expect_guest_done();
		expect_eq(guest.regs.rcx, rdmsr(IA32_TSC_AUX));

		CASE("%s, activate secondary controls 0", i ? "RDPID" : "RDTSCP");
		vmcs_clear_controls(PROC_ACTIVATE_SECONDARY_CONTROLS);
		guest_run(instructions[i]);
		expect_guest_fault(VECTOR_UD, 0);

		vmcs_set_controls(PROC_ACTIVATE_SECONDARY_CONTROLS);
		vmcs_clear_controls(PROC2_ENABLE_RDTSCP);
		for (u32 exiting = 0; exiting <= has(PROC_RDTSC_EXITING); exiting++) {
			CASE("%s, enable RDTSCP 0, RDTSC exiting %u", i ? "RDPID" : "RDTSCP", exiting);
			if (exiting)
				vmcs_set_controls(PROC_RDTSC_EXITING);
			guest_run(instructions[i]);
			expect_guest_fault(VECTOR_UD, 0);
		}
	}
	CASE("RDTSCP at CPL 3, CR4.TSD = 1");
	vmcs_write(GUEST_CR4, read_cr4() | CR4_TSD);
	guest_run(guest_user_rdtscp);
	expect_guest_done();
	expect_fault(user_fault, VECTOR_UD, 0);
}
