/* SPDX-License-Identifier: BSD-2-Clause */
/* The MSRs that say which controls may be 0 and which 1 (SDM Vol. 3, Appendix A.2 to A.5). */
#include "vmxtest/vmxtest.h"

/* A capability MSR of a 32-bit word: what may be 0, what may be 1. */
static u32 must_be_1(u32 msr)
{
	return rdmsr(msr);
}

static u32 may_be_1(u32 msr)
{
	return rdmsr(msr) >> 32;
}

TEST("cap.ctls.subset", "No control has both settings forbidden: what must be 1 may be 1")
{
	const bool true_msrs = rdmsr(IA32_VMX_BASIC) & BIT(55);

	for (u32 msr = IA32_VMX_PINBASED_CTLS; msr <= IA32_VMX_ENTRY_CTLS; msr++) {
		CASE("MSR %#lx", msr);
		expect_eq(must_be_1(msr) & ~may_be_1(msr), 0);
	}
	for (u32 msr = IA32_VMX_TRUE_PINBASED_CTLS; true_msrs && msr <= IA32_VMX_TRUE_ENTRY_CTLS; msr++) {
		CASE("MSR %#lx", msr);
		expect_eq(must_be_1(msr) & ~may_be_1(msr), 0);
	}
	if (has(PROC_ACTIVATE_SECONDARY_CONTROLS)) {
		CASE("MSR %#lx", IA32_VMX_PROCBASED_CTLS2);
		expect_eq(must_be_1(IA32_VMX_PROCBASED_CTLS2) & ~may_be_1(IA32_VMX_PROCBASED_CTLS2), 0);
	}
}

/* The default1 class, written out here: the table in lib/vmx/controls.def is what other tests rely on. */
#define DEFAULT1_PIN	0x00000016
#define DEFAULT1_PROC	0x0401e172
#define DEFAULT1_EXIT	0x00036dff
#define DEFAULT1_ENTRY	0x000011ff

static void expect_default1(enum control_word word, u32 msr, u32 class)
{
	expect_bits(must_be_1(msr), class, class);
	expect_bits(may_be_1(msr), class, class);
	expect_eq(control_words[word].default1, class);
}

TEST("cap.pin.default1", "IA32_VMX_PINBASED_CTLS reports the default1 class (00000016H) as 1")
{
	expect_default1(WORD_PIN, IA32_VMX_PINBASED_CTLS, DEFAULT1_PIN);
}

TEST("cap.proc.default1", "IA32_VMX_PROCBASED_CTLS reports the default1 class (0401E172H) as 1")
{
	expect_default1(WORD_PROC, IA32_VMX_PROCBASED_CTLS, DEFAULT1_PROC);
}

TEST("cap.exit.default1", "IA32_VMX_EXIT_CTLS reports the default1 class (00036DFFH, with bit 2) as 1")
{
	expect_default1(WORD_EXITCTL, IA32_VMX_EXIT_CTLS, DEFAULT1_EXIT);
}

TEST("cap.entry.default1", "IA32_VMX_ENTRY_CTLS reports the default1 class (000011FFH) as 1")
{
	expect_default1(WORD_ENTRYCTL, IA32_VMX_ENTRY_CTLS, DEFAULT1_ENTRY);
}

static const struct {
	u32 msr, true_msr, default1;
} with_true_msr[] = {
	{ IA32_VMX_PINBASED_CTLS, IA32_VMX_TRUE_PINBASED_CTLS, DEFAULT1_PIN },
	{ IA32_VMX_PROCBASED_CTLS, IA32_VMX_TRUE_PROCBASED_CTLS, DEFAULT1_PROC },
	{ IA32_VMX_EXIT_CTLS, IA32_VMX_TRUE_EXIT_CTLS, DEFAULT1_EXIT },
	{ IA32_VMX_ENTRY_CTLS, IA32_VMX_TRUE_ENTRY_CTLS, DEFAULT1_ENTRY },
};

TEST("cap.true.only_default1_differs", "A TRUE MSR and the one without TRUE differ in what must be 1 of default1 alone",
     NEEDS(CAP_BASIC_TRUE_CONTROLS))
{
	for (size_t i = 0; i < ARRAY_SIZE(with_true_msr); i++) {
		CASE("MSRs %#lx and %#lx", with_true_msr[i].msr, with_true_msr[i].true_msr);
		expect_eq(must_be_1(with_true_msr[i].msr),
			  must_be_1(with_true_msr[i].true_msr) | with_true_msr[i].default1);
	}
}

TEST("cap.true.high_equal", "A TRUE MSR and the one without TRUE agree on what may be 1",
     NEEDS(CAP_BASIC_TRUE_CONTROLS))
{
	for (size_t i = 0; i < ARRAY_SIZE(with_true_msr); i++) {
		CASE("MSRs %#lx and %#lx", with_true_msr[i].msr, with_true_msr[i].true_msr);
		expect_eq(may_be_1(with_true_msr[i].true_msr), may_be_1(with_true_msr[i].msr));
	}
}

TEST("cap.ctls2.low_zero", "Every secondary processor-based control may be 0",
     NEEDS(PROC_ACTIVATE_SECONDARY_CONTROLS))
{
	expect_eq(must_be_1(IA32_VMX_PROCBASED_CTLS2), 0);
}

/* No guest is to run: its state is refused last. */
static void expect_mask_of_allowed_1(enum control_word word, u32 activate)
{
	const u64 mask = rdmsr(control_words[word].msr);

	vmcs_write(GUEST_RFLAGS, 0);
	vmcs_set_controls(activate);
	vmcs_write(control_words[word].field, 0);
	expect_outcome(guest_enter(), ENTRY_FAILS(EXIT_INVALID_GUEST_STATE, 0));
	for (u32 bit = 0; bit < 64; bit++) {
		if (mask & BIT(bit))
			continue;
		CASE("bit %u", bit);
		vmcs_write(control_words[word].field, BIT(bit));
		expect_outcome(guest_enter(), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
	}
}

TEST("cap.ctls3.format", "IA32_VMX_PROCBASED_CTLS3 is the 64-bit mask of the tertiary controls that may be 1",
     NEEDS(PROC_ACTIVATE_TERTIARY_CONTROLS))
{
	expect_mask_of_allowed_1(WORD_PROC3, PROC_ACTIVATE_TERTIARY_CONTROLS);
}

TEST("cap.exit2.format", "IA32_VMX_EXIT_CTLS2 is the 64-bit mask of the secondary VM-exit controls that may be 1",
     NEEDS(EXITCTL_ACTIVATE_SECONDARY_CONTROLS))
{
	expect_mask_of_allowed_1(WORD_EXITCTL2, EXITCTL_ACTIVATE_SECONDARY_CONTROLS);
}
