/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MOV CR, CLTS, LMSW, MOV DR, INVLPG. Which bits stick and which fault the
 * hypervisor asks its own processor: it tries the guest's value on itself, with
 * the bits that VMX operation fixes, and takes it back.
 */
#include "vmx/ept.h"
#include "vmxtest/under.h"
#include "x86/cr4.h"
#include "x86/page.h"

#define HIDDEN_CR4 ((u64)(CR4_VMXE | CR4_SMXE))		/* what goes with VMX and SMX, which CPUID denies */

static bool has_vpid;

void under_use_vpid(void)
{
	has_vpid = has(PROC2_ENABLE_VPID) && has(CAP_INVVPID_ALL_CONTEXT) && has(CAP_INVVPID_INDIVIDUAL_ADDRESS);
	if (!has_vpid)
		return;
	vmcs_set_controls(PROC2_ENABLE_VPID);
	vmcs_write(VPID, 1);
	vpid_flush_all();
}

/* Without a VPID each entry and each exit has flushed everything. */
void under_flush_all(void)
{
	if (has_vpid)
		vpid_flush_all();
}

void under_flush(u64 linear)
{
	const struct invvpid_descriptor descriptor = { .vpid = 1, .linear_address = linear };

	/* INVLPG of an address that is not canonical does nothing, INVVPID of one fails. */
	if (has_vpid && under_canonical(linear) &&
	    invvpid(INVVPID_INDIVIDUAL_ADDRESS, &descriptor, NULL).kind != OUTCOME_SUCCEED)
		under_give_up("INVVPID of an address does not succeed");
}

static u64 fixed_cr0(void)
{
	return vmx_capabilities()->cr0_fixed0 & ~(CR0_PG | CR0_PE);
}

static u64 fixed_cr4(void)
{
	return vmx_capabilities()->cr4_fixed0 | CR4_VMXE;
}

void under_hide_cr_bits(bool all)
{
	vmcs_write(CR0_READ_SHADOW, vmcs_read(GUEST_CR0));
	vmcs_write(CR4_READ_SHADOW, vmcs_read(GUEST_CR4) & ~HIDDEN_CR4);
	vmcs_write(CR0_GUEST_HOST_MASK, all ? ~0ull : fixed_cr0());
	vmcs_write(CR4_GUEST_HOST_MASK, all ? ~0ull : fixed_cr4() | HIDDEN_CR4);
}

/* The guest's CR0 becomes this, if its processor lets it. */
static bool load_cr0(u64 value)
{
	const u64 own = read_cr0(), fixed = fixed_cr0();
	volatile u64 got = 0;

	/* Of what the guest's CR4 asks for, and the host's does not. */
	if (!(value & CR0_WP) && under_cr4() & CR4_CET) {
		under_inject_code(VECTOR_GP, 0);
		return false;
	}
	const bool taken = UNDER_TRY(write_cr0(value | fixed); got = read_cr0());

	write_cr0(own);
	if (!taken)
		return false;
	vmcs_write(GUEST_CR0, got);
	vmcs_write(CR0_READ_SHADOW, (got & ~fixed) | (value & fixed));
	under_flush_all();
	return true;
}

static bool load_cr4(u64 value)
{
	const bool pcide_rises = value & CR4_PCIDE && !(under_cr4() & CR4_PCIDE);
	u64 got;

	if (value & HIDDEN_CR4 || (pcide_rises && vmcs_read(GUEST_CR3) & 0xfff) ||
	    (value & CR4_CET && !(under_cr0() & CR0_WP))) {
		under_inject_code(VECTOR_GP, 0);
		return false;
	}
	/* No CET in the host, whose CR0.WP may be 0: the bit itself is the same in both. */
	if (cr4_try(value | fixed_cr4(), &got).raised) {
		under_inject_code(VECTOR_GP, 0);
		return false;
	}
	vmcs_write(GUEST_CR4, got);
	vmcs_write(CR4_READ_SHADOW, (got & ~HIDDEN_CR4 & ~fixed_cr4()) | (value & fixed_cr4()));
	under_flush_all();
	return true;
}

static bool load_cr3(u64 value)
{
	const u64 no_flush = under_cr4() & CR4_PCIDE ? BIT(63) : 0;

	if (value & ~no_flush & ~(BIT(physical_address_width()) - 1)) {
		under_inject_code(VECTOR_GP, 0);
		return false;
	}
	vmcs_write(GUEST_CR3, value & ~no_flush);
	if (!(value & no_flush))
		under_flush_all();
	return true;
}

static bool load_cr8(u64 value)
{
	return UNDER_TRY(write_cr8(value));
}

static void store(u32 gpr, u64 value)
{
	under_set_gpr(gpr, under_in_64bit_mode() ? value : (u32)value);
}

/* Exit qualification (SDM Vol. 3C, "Exit Qualification for Control-Register Accesses"). */
enum { TO_CR, FROM_CR, CLTS, LMSW };

void under_cr_access(void)
{
	const u64 qualification = guest.outcome.qualification;
	const u32 cr = qualification & 0xf, gpr = qualification >> 8 & 0xf, msw = qualification >> 16 & 0xffff;
	bool done = true;

	switch (qualification >> 4 & 3) {
	case TO_CR:
		done = cr == 0 ? load_cr0(under_gpr(gpr)) : cr == 3 ? load_cr3(under_gpr(gpr)) :
		       cr == 4 ? load_cr4(under_gpr(gpr)) : load_cr8(under_gpr(gpr));
		break;
	case FROM_CR:
		store(gpr, cr == 3 ? vmcs_read(GUEST_CR3) : read_cr8());
		break;
	case CLTS:
		done = load_cr0(under_cr0() & ~(u64)CR0_TS);
		break;
	case LMSW:				/* it cannot clear PE */
		done = load_cr0((under_cr0() & ~0xeull) | (msw & 0xf));
	}
	if (done)
		under_retire();
}

/* ---- debug registers: DR0 to DR3 and DR6 are the guest's all the time, DR7 only while it runs */

enum { DR6_BD = BIT(13), DR7_ENABLES = 0xff, DR7_GD = BIT(13), DR7_AT_EXIT = 0x400 };

static bool load_dr7(u64 value)
{
	const u64 harmless = value & ~(u64)(DR7_ENABLES | DR7_GD);
	volatile u64 got = 0;

	if (!UNDER_TRY(write_dr7(harmless); got = read_dr7()))
		return false;
	write_dr7(DR7_AT_EXIT);
	vmcs_write(GUEST_DR7, got | (value & (DR7_ENABLES | DR7_GD)));
	return true;
}

static bool load_dr(u32 dr, u64 value)
{
	switch (dr) {
	case 0: return UNDER_TRY(write_dr0(value));
	case 1: return UNDER_TRY(write_dr1(value));
	case 2: return UNDER_TRY(write_dr2(value));
	case 3: return UNDER_TRY(write_dr3(value));
	case 6: return UNDER_TRY(write_dr6(value));
	default: return load_dr7(value);
	}
}

static u64 value_of_dr(u32 dr)
{
	return dr == 0 ? read_dr0() : dr == 1 ? read_dr1() : dr == 2 ? read_dr2() : dr == 3 ? read_dr3() :
	       dr == 6 ? read_dr6() : vmcs_read(GUEST_DR7);
}

/* The exit comes before all exceptions that MOV DR has, that for the CPL among them. */
void under_mov_dr(void)
{
	const u64 qualification = guest.outcome.qualification;
	const u32 number = qualification & 7, gpr = qualification >> 8 & 0xf;
	const bool alias = number == 4 || number == 5;
	const u32 dr = alias ? number + 2 : number;

	if (under_cpl()) {
		under_inject_code(VECTOR_GP, 0);
	} else if (alias && under_cr4() & CR4_DE) {
		under_inject(VECTOR_UD);
	} else if (vmcs_read(GUEST_DR7) & DR7_GD) {
		under_inject_debug(DR6_BD);
	} else if (qualification & BIT(4)) {
		store(gpr, value_of_dr(dr));
		under_retire();
	} else if (load_dr(dr, under_gpr(gpr))) {
		under_retire();
	}
}

void under_invlpg(void)
{
	under_flush(guest.outcome.qualification);
	under_retire();
}
