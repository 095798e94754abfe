/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What INVEPT ends (SDM Vol. 3C, "Invalidating Cached Translation Information"), and memory types. A processor may
 * drop a translation at any time: no test asks for a stale one.
 */
#include "window.h"

#include "libc/string.h"

static const struct {
	u32 type, capability;
} invept_types[] = {
	{ INVEPT_SINGLE_CONTEXT, CAP_INVEPT_SINGLE_CONTEXT },
	{ INVEPT_ALL_CONTEXT, CAP_INVEPT_ALL_CONTEXT },
};

static void invalidate(u32 type)
{
	/* All contexts: the descriptor's EPTP is not looked at. */
	const struct invept_descriptor descriptor = {
		.eptp = type == INVEPT_SINGLE_CONTEXT ? vmcs_read(EPT_POINTER) : 0,
	};

	expect_outcome(invept(type, &descriptor, NULL), SUCCEED);
}

TEST("ept.stale_until_invept", "Behind INVEPT lowered permissions and new addresses always apply",
     NEEDS(PROC2_ENABLE_EPT, CAP_INVEPT))
{
	u8 *other;

	use_window();
	other = page_alloc();
	memset(other, 0x5a, PAGE_SIZE);
	if (has(PROC2_ENABLE_VPID)) {
		/* Without it every VM entry would flush the combined mappings anyway. */
		vmcs_write(VPID, 0x1234);
		vmcs_set_controls(PROC2_ENABLE_VPID);
	}
	for (size_t i = 0; i < ARRAY_SIZE(invept_types); i++)
		for (unsigned int level = 1; level <= 3 && has(invept_types[i].capability); level++)
			for (enum access_kind access = 0; access < ACCESSES; access++) {
				u64 *entry = ept_entry(GUEST_PHYSICAL, level);
				const u64 saved = *entry;

				CASE("INVEPT type %u, level %u, %s", invept_types[i].type, level,
				     access_names[access]);
				expect_access_works(access, LINEAR);
				*entry &= ~(u64)EPT_RWX;
				guest.regs.rcx = RETS;
				guest_access(access, LINEAR);
				expect(guest_is_done() || guest.outcome.number == EXIT_EPT_VIOLATION,
				       "the guest goes on by the old entry, or exits by an EPT violation");
				invalidate(invept_types[i].type);
				expect_violation(access, 0, 0);
				*entry = saved;
				invalidate(invept_types[i].type);
			}

	/* Another page behind the same guest-physical address. */
	for (size_t i = 0; i < ARRAY_SIZE(invept_types); i++) {
		if (!has(invept_types[i].capability))
			continue;
		CASE("INVEPT type %u, another page", invept_types[i].type);
		expect_access_works(READ, LINEAR);
		ept_map(GUEST_PHYSICAL, physical_address(other), EPT_RWX | EPT_WB);
		guest_access(READ, LINEAR);
		expect_either(guest.regs.rcx, RETS, 0x5a5a5a5a5a5a5a5a);
		invalidate(invept_types[i].type);
		guest_access(READ, LINEAR);
		expect_guest_done();
		expect_eq(guest.regs.rcx, 0x5a5a5a5a5a5a5a5a);
		ept_map(GUEST_PHYSICAL, physical_address(window_page), EPT_RWX | EPT_WB);
		invalidate(invept_types[i].type);
	}
	if (has(CAP_INVVPID_ALL_CONTEXT))
		vpid_flush_all();
}

static volatile u64 before_change, after_invlpg, after_cr3;

static void guest_reads_before(void)
{
	before_change = *(const volatile u64 *)LINEAR;
}

static void guest_invalidates(void)
{
	const volatile u64 *window = (const volatile u64 *)LINEAR;

	invlpg(window);
	after_invlpg = *window;
	write_cr3(read_cr3());
	after_cr3 = *window;
}

TEST("ept.invlpg_no_guest_phys", "INVLPG and MOV CR3 need not end guest-physical mappings; INVEPT does",
     NEEDS(PROC2_ENABLE_EPT, CAP_INVEPT))
{
	u64 *other;

	use_window();
	other = page_alloc();
	*other = 0x1111;
	guest_run(guest_reads_before);
	expect_guest_done();
	expect_eq(before_change, RETS);
	ept_map(GUEST_PHYSICAL, physical_address(other), EPT_RWX | EPT_WB);
	guest_run(guest_invalidates);
	expect_guest_done();
	expect_either(after_invlpg, RETS, 0x1111);
	expect_either(after_cr3, RETS, 0x1111);
	ept_flush();
	guest_access(READ, LINEAR);
	expect_guest_done();
	expect_eq(guest.regs.rcx, 0x1111);
}

/* The memory types that the entries of IA32_PAT have for PCD and PWT, as EPT codes them: "uncacheable-" is UC to it. */
static u8 pat_type(u32 pcd_pwt)
{
	const u8 type = rdmsr(IA32_PAT) >> 8 * pcd_pwt & 7;

	return type == 7 ? 0 : type;
}

/*
 * Which type an access has cannot be seen without a clock, and one that the host does not use for the page has no promise
 * for the data that it writes. So: all are legal, and where the combination is write-back the data are the host's.
 */
TEST("ept.memtype.ipat", "Every memory type is legal with ignore PAT and without, whatever the guest's PAT",
     NEEDS(PROC2_ENABLE_EPT, FEATURE_PAT))
{
	static const u8 types[] = { 0, 1, 4, 5, 6 };
	enum { WRITE_BACK = 6 };

	use_window();
	write_back_window();
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		for (u64 ipat = 0; ipat <= EPT_IGNORE_PAT; ipat += EPT_IGNORE_PAT)
			for (u64 pat = 0; pat < 4; pat++) {
				CASE("memory type %u, IPAT %#x, guest PCD and PWT %u", types[i], ipat, pat);
				ept_map(GUEST_PHYSICAL, physical_address(window_page),
					EPT_RWX | ipat | (u64)types[i] << 3);
				page_map(LINEAR, GUEST_PHYSICAL, PAGE_PRESENT | PAGE_WRITE | pat << 3);
				ept_flush();
				expect_access_works(READ, LINEAR);
				expect_access_works(FETCH, LINEAR);
				if (types[i] != WRITE_BACK || (!ipat && pat_type(pat) != WRITE_BACK))
					continue;
				guest.regs.rcx = i << 32 | ipat << 8 | pat;
				guest_access(WRITE, LINEAR);
				expect_guest_done();
				expect_eq(*(volatile u64 *)window_page, i << 32 | ipat << 8 | pat);
				*(volatile u64 *)window_page = RETS;
				write_back_window();
			}
}
