/* SPDX-License-Identifier: BSD-2-Clause */
#include "load.h"

#include "libc/string.h"
#include "vmx/ept.h"

const char *const guest_mode_names[GUEST_MODES] = {
	"64-bit mode", "compatibility mode", "PAE paging", "32-bit paging", "virtual-8086 mode", "real mode", "no paging",
};

bool guest_mode_exists(enum guest_mode mode)
{
	return mode < MODE_REAL || has(PROC2_UNRESTRICTED_GUEST);
}

/* Protected mode without paging: 32-bit code, EPT as an identity map. */
static void set_unpaged(void)
{
	guest_set_real(0);
	for (u32 i = 0; i < 12; i += 2) {
		vmcs_write(GUEST_ES_SELECTOR + i, i == 2 ? SELECTOR_CODE32 : SELECTOR_DATA);
		vmcs_write(GUEST_ES_LIMIT + i, 0xffffffff);
		vmcs_write(GUEST_ES_ACCESS_RIGHTS + i, i == 2 ? RIGHTS_CODE32 : RIGHTS_DATA32);
	}
	vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) | CR0_PE);
}

void start_in(enum guest_mode mode)
{
	static void (*const set[GUEST_MODES])(void) = {
		[MODE_COMPATIBILITY] = guest_set_compatibility, [MODE_32BIT] = guest_set_32bit, [MODE_UNPAGED] = set_unpaged,
	};

	vmcs_reset();
	guest_baseline();
	if (mode == MODE_PAE)
		guest_set_pae();
	else if (mode == MODE_VIRTUAL_8086)
		guest_set_virtual_8086(low_page() >> 4);
	else if (mode == MODE_REAL)
		guest_set_real(low_page() >> 4);
	else if (set[mode])
		set[mode]();
}

bool guest_is_16bit(void)
{
	return !(vmcs_read(GUEST_CR0) & CR0_PE) || vmcs_read(GUEST_RFLAGS) & RFLAGS_VM;
}

struct outcome run_code(struct code code)
{
	enum { MOST = 128 };
	u8 *const low = (u8 *)low_page();
	const size_t size = code.end - code.start;
	u8 saved[MOST];
	struct outcome outcome;

	if (!guest_is_16bit())
		return guest_run_at(code.start);
	if (size > MOST)
		throw("too much 16-bit code");
	memcpy(saved, low, size);
	memcpy(low, code.start, size);
	outcome = guest_run_at(NULL);
	memcpy(low, saved, size);
	return outcome;
}

static struct {
	u32 index;
	u64 value;
} kept[32];
static u32 kept_count;

void msrs_keep_list(const u32 *msrs)
{
	for (kept_count = 0; *msrs; msrs++) {
		if (TRY(rdmsr(*msrs)).raised)
			continue;
		if (kept_count == ARRAY_SIZE(kept))
			throw("too many MSRs to keep");
		kept[kept_count].index = *msrs;
		kept[kept_count++].value = rdmsr(*msrs);
	}
}

void msrs_put_back(void)
{
	for (u32 i = 0; i < kept_count; i++)
		wrmsr(kept[i].index, kept[i].value);
}

CODE(code_rdmsr, "rdmsr");

u64 guest_reads_msr(u32 msr)
{
	guest.regs.rcx = msr;
	run_code(code_rdmsr);
	expect_code_ran();
	return (u32)guest.regs.rax | guest.regs.rdx << 32;
}

u64 canonical_value(u32 n)
{
	const u64 half = BIT(linear_address_width() - 1);
	const u64 bit = BIT(n / 4) & (half - 1);

	switch (n % 4) {
	case 0:
		return bit;
	case 1:
		return -half | bit;
	case 2:
		return half - 1 - bit;
	default:
		return ~bit;
	}
}

u64 pat_value(u32 n)
{
	static const u8 types[] = { 0, 1, 4, 5, 6, 7 };
	u64 pat = 0x00070006;

	for (u32 byte = 4; byte < 8; byte++)
		pat |= (u64)types[(n + byte * byte) % 6] << 8 * byte;
	return pat | (u64)types[(n + 1) % 6] << 8;
}

void need_flexible(u32 control)
{
	if (vmx_capabilities()->word[control_word(control)].must_be_1 & control_bit(control)) {
		char name[160];

		token_format(name, sizeof(name), control);
		skip("needs %s to be 0", name);
	}
}
