/* SPDX-License-Identifier: BSD-2-Clause */
#include "hostload.h"

#include "libc/string.h"
#include "vmxtest/low.h"

extern const u8 hostload_vmcall[];
asm(".pushsection .text\nhostload_vmcall: vmcall; ud2\n.popsection");

const char *const guest_mode_names[GUEST_MODES] = {
	"64-bit mode", "CPL 1", "CPL 2", "CPL 3", "compatibility mode", "32-bit paging", "PAE paging",
	"virtual-8086 mode", "real mode",
};

bool guest_mode_exists(enum guest_mode mode)
{
	return mode != MODE_REAL || has(PROC2_UNRESTRICTED_GUEST);
}

static void set_cpl(u64 cpl)
{
	guest_set_cpl3();
	vmcs_write(GUEST_CS_SELECTOR, SELECTOR_CODE64 | cpl);
	vmcs_write(GUEST_SS_SELECTOR, SELECTOR_DATA | cpl);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE64 | cpl << 5);
	vmcs_write(GUEST_SS_ACCESS_RIGHTS, RIGHTS_DATA32 | cpl << 5);
}

static void set_mode(enum guest_mode mode)
{
	switch (mode) {
	case MODE_CPL1:
	case MODE_CPL2:
	case MODE_CPL3:
		set_cpl(mode - MODE_CPL1 + 1);
		break;
	case MODE_COMPATIBILITY:
		guest_set_compatibility();
		break;
	case MODE_32BIT:
		guest_set_32bit();
		break;
	case MODE_PAE:
		guest_set_pae();
		break;
	case MODE_VIRTUAL_8086:
		guest_set_virtual_8086(low_page() >> 4);
		break;
	case MODE_REAL:
		guest_set_real(low_page() >> 4);
		break;
	default:
		break;
	}
}

void guest_run_mode(enum guest_mode mode)
{
	u8 *const low = (u8 *)low_page();
	const bool sixteen_bit = mode == MODE_VIRTUAL_8086 || mode == MODE_REAL;
	u8 saved[3];

	set_mode(mode);
	memcpy(saved, low, sizeof(saved));
	memcpy(low, hostload_vmcall, sizeof(saved));
	guest.regs.rax = GUEST_DONE;
	guest_run_at(sixteen_bit ? NULL : hostload_vmcall);
	memcpy(low, saved, sizeof(saved));
}

void start_over(void)
{
	vmcs_reset();
	guest_baseline();
	exit_probe_on();
}
