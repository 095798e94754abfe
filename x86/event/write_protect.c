/* SPDX-License-Identifier: BSD-2-Clause */
/* CR0.WP, CR4.SMEP and CR4.SMAP act by the register, not by the read shadow (SDM Vol. 3C, "Guest/Host Masks"). */
#include "event.h"

#define READ_ONLY	(PAGE_WINDOW + 0x1000)
#define USER		(PAGE_WINDOW + 0x2000)

static struct fault fault;

static void guest_writes_read_only(void)
{
	fault = TRY(*(volatile u8 *)READ_ONLY = 0xc3);
}

static void guest_reads_user(void)
{
	fault = TRY(*(volatile u8 *)USER);
}

static void guest_executes_user(void)
{
	fault = TRY(((void (*)(void))USER)());
}

/* Run with a bit of CR0 or CR4 as it really is, and as mask and shadow say. */
static void run(bool cr4, u64 bit, bool real, bool masked, bool shadow, void (*function)(void))
{
	const u64 value = cr4 ? read_cr4() : read_cr0();

	vmcs_write(cr4 ? GUEST_CR4 : GUEST_CR0, real ? value | bit : value & ~bit);
	vmcs_write(cr4 ? CR4_GUEST_HOST_MASK : CR0_GUEST_HOST_MASK, masked ? bit : 0);
	vmcs_write(cr4 ? CR4_READ_SHADOW : CR0_READ_SHADOW, shadow ? bit : 0);
	fault.raised = false;
	guest_run(function);
	expect_guest_done();
}

static const struct {
	const char *name;
	u32 need;
	bool cr4;
	u64 bit;
	void (*function)(void);
	u32 error_code;
} rights[] = {
	{ "CR0.WP", 0, false, CR0_WP, guest_writes_read_only, 3 },
	{ "CR4.SMEP", FEATURE_SMEP, true, CR4_SMEP, guest_executes_user, 0x11 },
	{ "CR4.SMAP", FEATURE_SMAP, true, CR4_SMAP, guest_reads_user, 1 },
};

TEST("feat.cr0.wp_smap", "CR0.WP, CR4.SMEP and CR4.SMAP act by their real bits, whatever the shadow says")
{
	u8 *page = page_alloc();

	*page = 0xc3;		/* RET */
	page_map(READ_ONLY, physical_address(page), PAGE_PRESENT);
	page_map(USER, physical_address(page), PAGE_PRESENT | PAGE_WRITE | PAGE_USER);
	for (u32 i = 0; i < ARRAY_SIZE(rights); i++) {
		if (rights[i].need && !has(rights[i].need))
			continue;
		for (u32 bits = 0; bits < 8; bits++) {
			const bool real = bits & 1;

			CASE("%s real %u, masked %u, shadow %u", rights[i].name, real, bits >> 1 & 1, bits >> 2);
			run(rights[i].cr4, rights[i].bit, real, bits & 2, bits & 4, rights[i].function);
			if (real)
				expect_fault(fault, VECTOR_PF, rights[i].error_code);
			else
				expect_no_fault(fault);
		}
		run(rights[i].cr4, 0, false, false, false, rights[i].function);
	}
}
