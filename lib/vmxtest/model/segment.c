/* SPDX-License-Identifier: BSD-2-Clause */
/* "Checks on Guest Segment Registers", in the manual's order. */
#include "vmxtest/model/look.h"

#include "vmx/rights.h"
#include "x86/processor.h"

#define RESERVED 0xfffe0f00ull
#define HIGH_HALF (~0ull << 32)

/* A register is the distance of its fields from those of ES: in each of the four kinds of fields the order is the same. */
enum segment { ES, CS, SS, DS, FS, GS, LDTR, TR };

static u64 selector(const struct model_state *s, enum segment r) { return v(s, M_GUEST_ES_SELECTOR + r); }
static u64 base(const struct model_state *s, enum segment r) { return v(s, M_GUEST_ES_BASE + r); }
static u64 limit(const struct model_state *s, enum segment r) { return v(s, M_GUEST_ES_LIMIT + r); }
static u64 rights(const struct model_state *s, enum segment r) { return v(s, M_GUEST_ES_ACCESS_RIGHTS + r); }

static u32 type(const struct model_state *s, enum segment r) { return rights(s, r) & 15; }
static u32 dpl(const struct model_state *s, enum segment r) { return rights(s, r) >> 5 & 3; }
static u32 rpl(const struct model_state *s, enum segment r) { return selector(s, r) & 3; }
static bool usable(const struct model_state *s, enum segment r) { return !(rights(s, r) & RIGHTS_NOT_USABLE); }
static bool v86(const struct model_state *s) { return v(s, M_GUEST_RFLAGS) & RFLAGS_VM; }
static bool unrestricted(const struct model_state *s) { return on(s, PROC2_UNRESTRICTED_GUEST); }

bool holds_tr_ti(const struct model_state *s) { return !(selector(s, TR) & 4); }
bool holds_ldtr_ti(const struct model_state *s) { return !usable(s, LDTR) || !(selector(s, LDTR) & 4); }
bool holds_ss_rpl(const struct model_state *s) { return v86(s) || unrestricted(s) || rpl(s, SS) == rpl(s, CS); }

/* A rule of each of some registers. */
typedef bool (*of_register)(const struct model_state *s, enum segment r);

static bool each(const struct model_state *s, enum segment first, enum segment last, of_register holds)
{
	for (enum segment r = first; r <= last; r++)
		if (!holds(s, r))
			return false;
	return true;
}

static bool v86_base(const struct model_state *s, enum segment r) { return base(s, r) == selector(s, r) << 4; }
static bool v86_limit(const struct model_state *s, enum segment r) { return limit(s, r) == 0xffff; }
static bool v86_rights(const struct model_state *s, enum segment r) { return rights(s, r) == 0xf3; }
bool holds_v86_base(const struct model_state *s) { return !v86(s) || each(s, ES, GS, v86_base); }
bool holds_v86_limit(const struct model_state *s) { return !v86(s) || each(s, ES, GS, v86_limit); }
bool holds_v86_rights(const struct model_state *s) { return !v86(s) || each(s, ES, GS, v86_rights); }

bool holds_base_tr_fs_gs(const struct model_state *s)
{
	return canonical(s, M_GUEST_TR_BASE) && canonical(s, M_GUEST_FS_BASE) && canonical(s, M_GUEST_GS_BASE);
}

bool holds_base_ldtr(const struct model_state *s) { return !usable(s, LDTR) || canonical(s, M_GUEST_LDTR_BASE); }
bool holds_base_cs(const struct model_state *s) { return !(base(s, CS) & HIGH_HALF); }

static bool base_low(const struct model_state *s, enum segment r) { return !usable(s, r) || !(base(s, r) & HIGH_HALF); }
bool holds_base_ss_ds_es(const struct model_state *s) { return base_low(s, SS) && base_low(s, DS) && base_low(s, ES); }

/* From here on: the guest is not virtual-8086. */
bool holds_cs_type(const struct model_state *s)
{
	return v86(s) || (type(s, CS) & 9) == 9 || (unrestricted(s) && type(s, CS) == 3);
}

bool holds_cs_type3(const struct model_state *s) { return v86(s) || !unrestricted(s) || type(s, CS) != 3 || dpl(s, CS) == 0; }
bool holds_ss_type(const struct model_state *s) { return v86(s) || !usable(s, SS) || type(s, SS) == 3 || type(s, SS) == 7; }

static bool is_data_register(enum segment r) { return r != CS && r != SS; }
static bool accessed(const struct model_state *s, enum segment r) { return !is_data_register(r) || !usable(s, r) || type(s, r) & 1; }

static bool readable(const struct model_state *s, enum segment r)
{
	return !is_data_register(r) || !usable(s, r) || !(type(s, r) & 8) || type(s, r) & 2;
}

bool holds_data_accessed(const struct model_state *s) { return v86(s) || each(s, ES, GS, accessed); }
bool holds_data_readable(const struct model_state *s) { return v86(s) || each(s, ES, GS, readable); }

/* "The register is CS or is usable." */
static bool counts(const struct model_state *s, enum segment r) { return r == CS || usable(s, r); }
static bool s_set(const struct model_state *s, enum segment r) { return !counts(s, r) || rights(s, r) & RIGHTS_S; }
static bool present(const struct model_state *s, enum segment r) { return !counts(s, r) || rights(s, r) & RIGHTS_P; }
static bool no_reserved(const struct model_state *s, enum segment r) { return !counts(s, r) || !(rights(s, r) & RESERVED); }
bool holds_seg_s(const struct model_state *s) { return v86(s) || each(s, ES, GS, s_set); }
bool holds_seg_p(const struct model_state *s) { return v86(s) || each(s, ES, GS, present); }
bool holds_seg_reserved(const struct model_state *s) { return v86(s) || each(s, ES, GS, no_reserved); }

bool holds_cs_dpl_nonconforming(const struct model_state *s)
{
	return v86(s) || (type(s, CS) & 13) != 9 || dpl(s, CS) == dpl(s, SS);
}

bool holds_cs_dpl_conforming(const struct model_state *s) { return v86(s) || (type(s, CS) & 13) != 13 || dpl(s, CS) <= dpl(s, SS); }
bool holds_ss_dpl_rpl(const struct model_state *s) { return v86(s) || unrestricted(s) || dpl(s, SS) == rpl(s, SS); }

/* CR0.PE is 1 without "unrestricted guest", or another rule is violated; so is CS not of type 3. */
bool holds_ss_dpl_zero(const struct model_state *s)
{
	return v86(s) || !unrestricted(s) || (type(s, CS) != 3 && v(s, M_GUEST_CR0) & CR0_PE) || dpl(s, SS) == 0;
}

static bool dpl_not_below_rpl(const struct model_state *s, enum segment r)
{
	return unrestricted(s) || !usable(s, r) || dpl(s, r) >= rpl(s, r);
}

static bool dpl_up_to_10(const struct model_state *s, enum segment r) { return !is_data_register(r) || type(s, r) > 10 || dpl_not_below_rpl(s, r); }
static bool dpl_of_11(const struct model_state *s, enum segment r) { return !is_data_register(r) || type(s, r) != 11 || dpl_not_below_rpl(s, r); }
bool holds_data_dpl(const struct model_state *s) { return v86(s) || each(s, ES, GS, dpl_up_to_10); }
bool holds_data_dpl_11(const struct model_state *s) { return v86(s) || each(s, ES, GS, dpl_of_11); }

bool holds_cs_db_l(const struct model_state *s)
{
	return v86(s) || !on(s, ENTRYCTL_IA32E_MODE_GUEST) || (rights(s, CS) & (RIGHTS_L | RIGHTS_DB)) != (RIGHTS_L | RIGHTS_DB);
}

static bool low_limit(const struct model_state *s, enum segment r) { return (limit(s, r) & 0xfff) == 0xfff || !(rights(s, r) & RIGHTS_G); }
static bool high_limit(const struct model_state *s, enum segment r) { return !(limit(s, r) & 0xfff00000) || rights(s, r) & RIGHTS_G; }
static bool low_limit_counts(const struct model_state *s, enum segment r) { return !counts(s, r) || low_limit(s, r); }
static bool high_limit_counts(const struct model_state *s, enum segment r) { return !counts(s, r) || high_limit(s, r); }
bool holds_seg_g_low(const struct model_state *s) { return v86(s) || each(s, ES, GS, low_limit_counts); }
bool holds_seg_g_high(const struct model_state *s) { return v86(s) || each(s, ES, GS, high_limit_counts); }

/* TR and LDTR, of any guest. */
bool holds_tr_type(const struct model_state *s) { return type(s, TR) == 11 || (type(s, TR) == 3 && !on(s, ENTRYCTL_IA32E_MODE_GUEST)); }
bool holds_tr_s(const struct model_state *s) { return !(rights(s, TR) & RIGHTS_S); }
bool holds_tr_p(const struct model_state *s) { return rights(s, TR) & RIGHTS_P; }
bool holds_tr_reserved(const struct model_state *s) { return !(rights(s, TR) & RESERVED); }
bool holds_tr_g(const struct model_state *s) { return low_limit(s, TR) && high_limit(s, TR); }
bool holds_tr_unusable(const struct model_state *s) { return usable(s, TR); }

bool holds_ldtr_type(const struct model_state *s) { return !usable(s, LDTR) || type(s, LDTR) == 2; }
bool holds_ldtr_s_p(const struct model_state *s) { return !usable(s, LDTR) || (rights(s, LDTR) & (RIGHTS_S | RIGHTS_P)) == RIGHTS_P; }

bool holds_ldtr_g(const struct model_state *s)
{
	return !usable(s, LDTR) || (low_limit(s, LDTR) && high_limit(s, LDTR) && !(rights(s, LDTR) & RESERVED));
}
