/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/modes.h"
#include "x86/selectors.h"
#include "x86/user.h"

/* Segment access rights: accessed, present, G; L or D for code. */
enum {
	RIGHTS_CODE64 = 0xa09b, RIGHTS_CODE32 = 0xc09b, RIGHTS_DATA = 0xc093, RIGHTS_DPL3 = 3 << 5,
};

static void set_cs_ss(u16 cs, u32 cs_rights, u16 ss, u32 ss_rights)
{
	vmcs_write(GUEST_CS_SELECTOR, cs);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, cs_rights);
	vmcs_write(GUEST_SS_SELECTOR, ss);
	vmcs_write(GUEST_SS_ACCESS_RIGHTS, ss_rights);
}

void guest_set_cpl3(void)
{
	user_pages_on();
	set_cs_ss(SELECTOR_USER_CODE64, RIGHTS_CODE64 | RIGHTS_DPL3, SELECTOR_USER_DATA, RIGHTS_DATA | RIGHTS_DPL3);
}

void guest_set_cpl0(void)
{
	set_cs_ss(SELECTOR_CODE64, RIGHTS_CODE64, SELECTOR_DATA, RIGHTS_DATA);
}

void guest_set_compatibility(void)
{
	set_cs_ss(SELECTOR_CODE32, RIGHTS_CODE32, SELECTOR_DATA, RIGHTS_DATA);
}
