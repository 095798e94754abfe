/* SPDX-License-Identifier: BSD-2-Clause */
/* Legal states of every mode. */
#include "vmxtest/model/generate.h"

#include "vmx/rights.h"
#include "vmxtest/model/look.h"
#include "x86/processor.h"

const char *const model_mode_names[MODEL_MODES] = {
	"64-bit mode", "compatibility mode", "32-bit paging", "PAE paging", "virtual-8086 mode", "real mode", "protected mode without paging",
};

static const u32 all_controls[] = {
#define CONTROL(word, bit, name, text) name,
#include "vmx/controls.def"
};

/* SMM; what the mode says; and controls about whose fields there are no rules. */
static const u32 left_alone[] = {
	ENTRYCTL_ENTRY_TO_SMM, ENTRYCTL_DEACTIVATE_DUAL_MONITOR_TREATMENT, ENTRYCTL_IA32E_MODE_GUEST, ENTRYCTL_LOAD_FRED,
	ENTRYCTL_LOAD_IA32_SPEC_CTRL, ENTRYCTL_ALLOW_SEAM_GUEST_TELEMETRY, EXITCTL2_LOAD_FRED, EXITCTL2_SAVE_FRED,
	EXITCTL2_LOAD_IA32_SPEC_CTRL, PROC2_PASID_TRANSLATION, PROC2_INSTRUCTION_TIMEOUT, PROC3_SEAM_GUEST_PHYSICAL_ADDRESS_WIDTH,
	PROC3_APIC_TIMER_VIRTUALIZATION, PROC3_VIRTUALIZE_IA32_SPEC_CTRL,
};

/* The controls of each word that a base may have or not. */
static u64 free_controls[CONTROL_WORDS];

static void find_free_controls(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_controls); i++)
		free_controls[control_word(all_controls[i])] |= control_bit(all_controls[i]);
	for (size_t i = 0; i < ARRAY_SIZE(left_alone); i++)
		free_controls[control_word(left_alone[i])] &= ~control_bit(left_alone[i]);
}

static void set_control(struct model_state *s, u32 control, bool set)
{
	const enum model_field field = word_field(control_word(control));
	const u64 bit = control_bit(control);

	if (set && !may_be_1(s, control))
		return;
	if (!set && s->cpu->word[control_word(control)].must_be_1 & bit)
		return;
	s->value[field] = set ? s->value[field] | bit : s->value[field] & ~bit;
}

static void random_controls(struct model_state *s, struct model_random *r)
{
	const u32 density = model_below(r, 4);

	for (u32 word = 0; word < CONTROL_WORDS; word++) {
		const struct control_range *range = &s->cpu->word[word];
		const u64 a = model_next(r), b = model_next(r);
		const u64 some = density == 0 ? a & b & model_next(r) : density == 1 ? a & b : density == 2 ? a : a | b;

		s->value[word_field(word)] = range->must_be_1 | (some & range->may_be_1 & free_controls[word]);
	}
	set_control(s, EXITCTL_HOST_ADDRESS_SPACE_SIZE, true);
	set_control(s, PIN_ACTIVATE_VMX_PREEMPTION_TIMER, true);
}

static const struct {
	u32 control, needed;
} dependencies[] = {
#define CONTROL_NEEDS(control, needed) { control, needed },
#include "vmx/control_needs.def"
	/* So that the host has its own value again. */
	{ ENTRYCTL_LOAD_IA32_EFER, EXITCTL_LOAD_IA32_EFER }, { ENTRYCTL_LOAD_IA32_PAT, EXITCTL_LOAD_IA32_PAT },
	{ ENTRYCTL_LOAD_IA32_PERF_GLOBAL_CTRL, EXITCTL_LOAD_IA32_PERF_GLOBAL_CTRL }, { ENTRYCTL_LOAD_CET_STATE, EXITCTL_LOAD_CET_STATE },
	{ ENTRYCTL_LOAD_PKRS, EXITCTL_LOAD_PKRS },
};

static void satisfy_dependencies(struct model_state *s)
{
	for (u32 turn = 0; turn < 3; turn++)
		for (size_t i = 0; i < ARRAY_SIZE(dependencies); i++)
			if (on(s, dependencies[i].control) && !on(s, dependencies[i].needed)) {
				set_control(s, PROC_ACTIVATE_SECONDARY_CONTROLS, true);
				set_control(s, dependencies[i].needed, true);
				if (!on(s, dependencies[i].needed))
					set_control(s, dependencies[i].control, false);
			}
	if (on(s, PROC2_VIRTUALIZE_X2APIC_MODE))
		set_control(s, PROC2_VIRTUALIZE_APIC_ACCESSES, false);
}

/* A page for every field that holds the address of one. */
static void set_addresses(struct model_state *s)
{
	static const u16 pages[] = {
		M_IO_BITMAP_A_ADDRESS, M_IO_BITMAP_B_ADDRESS, M_MSR_BITMAP_ADDRESS, M_APIC_ACCESS_ADDRESS, M_PML_ADDRESS,
		M_POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, M_EPTP_LIST_ADDRESS, M_VMREAD_BITMAP_ADDRESS, M_VMWRITE_BITMAP_ADDRESS,
		M_VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS, M_SUB_PAGE_PERMISSION_TABLE_POINTER, M_PID_POINTER_TABLE_ADDRESS,
		M_HLAT_POINTER, M_VM_EXIT_MSR_STORE_ADDRESS, M_VM_EXIT_MSR_LOAD_ADDRESS,
	};

	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		s->value[pages[i]] = s->cpu->scratch;
	s->value[M_VIRTUAL_APIC_ADDRESS] = s->cpu->virtual_apic;
	s->value[M_EPT_POINTER] = s->cpu->empty | 3 << 3 | (s->cpu->ept_vpid >> 14 & 1 ? 6 : 0);
	s->value[M_VM_ENTRY_MSR_LOAD_ADDRESS] = s->cpu->list;
	s->value[M_VM_ENTRY_MSR_LOAD_COUNT] = model_no_list ? 0 : 1;
	s->value[M_LIST_INDEX0] = (u32)IA32_FS_BASE;
	s->value[M_LIST_INDEX1] = s->value[M_LIST_INDEX2] = IA32_SYSENTER_CS;
	s->value[M_VPID] = 1;
	s->value[M_EXCEPTION_BITMAP] = 0xffffffff;
	s->value[M_VMX_PREEMPTION_TIMER_VALUE] = 0;
}

/* Of 48 bits, whatever the processor has: canonical to everybody. */
static u64 random_canonical(struct model_random *r)
{
	const u32 shift = 64 - 48 + model_below(r, 8) * 4;
	const u64 value = model_next(r);

	return (u64)((s64)(value << shift) >> shift);
}

enum { ES, CS, SS, DS, FS, GS, LDTR, TR };

static void set_segment(struct model_state *s, u32 r, u64 selector, u64 base, u64 limit, u64 rights)
{
	s->value[M_GUEST_ES_SELECTOR + r] = selector & 0xffff;
	s->value[M_GUEST_ES_BASE + r] = base;
	s->value[M_GUEST_ES_LIMIT + r] = limit;
	s->value[M_GUEST_ES_ACCESS_RIGHTS + r] = rights;
}

/* A limit for the rights: G is set where it must be. */
static u64 random_limit(struct model_random *r, u64 *rights)
{
	const u64 limit = model_next(r);

	switch (model_below(r, 3)) {
	case 0:
		*rights |= RIGHTS_G;
		return (limit & 0xffffffff) | 0xfff;
	case 1: return limit & 0xfffff;
	default: return 0xffff;
	}
}

static void random_segments(struct model_state *s, struct model_random *r, enum model_mode mode)
{
	static const u8 code[] = { 9, 11, 13, 15 }, data[] = { 1, 3, 5, 7, 11, 11, 13 | 2, 3 };
	const bool ia32e = mode == MODE_64BIT || mode == MODE_COMPATIBILITY, unrestricted = on(s, PROC2_UNRESTRICTED_GUEST);
	const u32 cpl = mode == MODE_REAL || model_chance(r, 2) ? 0 : model_below(r, 4);
	u64 rights = code[model_below(r, 4)] | RIGHTS_S | RIGHTS_P | cpl << 5;
	u64 ss = (model_chance(r, 2) ? 3 : 7) | RIGHTS_S | RIGHTS_P | cpl << 5;

	if (unrestricted && cpl == 0 && !model_chance(r, 3) && !ia32e)
		rights = 3 | RIGHTS_S | RIGHTS_P;
	if ((rights & 13) == 13)
		rights = (rights & ~(u64)0x60) | model_below(r, cpl + 1) << 5;
	rights |= mode == MODE_64BIT ? RIGHTS_L : model_chance(r, 2) ? RIGHTS_DB : 0;
	u64 limit = random_limit(r, &rights);

	set_segment(s, CS, 8 * model_below(r, 64) | cpl, model_next(r) >> 32, limit, rights);
	limit = random_limit(r, &ss);
	set_segment(s, SS, 8 * model_below(r, 64) | cpl, model_next(r) >> 32, limit, ss);
	for (u32 n = 0; n < 4; n++) {
		static const u8 registers[] = { ES, DS, FS, GS };
		u64 own = data[model_below(r, ARRAY_SIZE(data))] | RIGHTS_S | RIGHTS_P | 3 << 5;

		limit = random_limit(r, &own);
		if (model_chance(r, 5))
			own = (model_next(r) & 0xf0ff) | RIGHTS_NOT_USABLE;
		else if (model_chance(r, 2))
			own &= ~(u64)(model_below(r, 4) << 5);
		set_segment(s, registers[n], 8 * model_below(r, 64) | ((own & RIGHTS_NOT_USABLE) ? 0 : own >> 5 & model_below(r, 4)),
			    n < 2 ? model_next(r) >> 32 : random_canonical(r), limit, own);
	}
	if (model_chance(r, 2))
		set_segment(s, LDTR, 8 * model_below(r, 64), random_canonical(r), 0xffff, 2 | RIGHTS_P);
	set_segment(s, TR, 8 * model_below(r, 64), random_canonical(r), 0x67, (!ia32e && model_chance(r, 2) ? 3 : 11) | RIGHTS_P);
}

static void virtual_8086_segments(struct model_state *s, struct model_random *r)
{
	for (u32 n = ES; n <= GS; n++) {
		const u64 selector = model_next(r) & 0xffff;

		set_segment(s, n, selector, selector << 4, 0xffff, 0xf3);
	}
	set_segment(s, TR, 8, random_canonical(r), 0x67, 11 | RIGHTS_P);
}

static void random_control_registers(struct model_state *s, struct model_random *r, enum model_mode mode)
{
	const struct model_cpu *cpu = s->cpu;
	const bool ia32e = mode == MODE_64BIT || mode == MODE_COMPATIBILITY;
	const u64 free0 = CR0_MP | CR0_EM | CR0_TS | CR0_WP | CR0_AM | CR0_NW | CR0_CD;
	const u64 free4 = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT |
			  CR4_UMIP | CR4_FSGSBASE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_CET;
	u64 cr0 = (s->value[M_GUEST_CR0] & ~free0) | (model_next(r) & free0 & (cpu->cr0_fixed1 | CR0_NW | CR0_CD));
	u64 cr4 = (s->value[M_GUEST_CR4] & ~(free4 | CR4_PCIDE | CR4_LA57)) | (model_next(r) & free4 & cpu->cr4_fixed1);

	cr0 |= cpu->cr0_fixed0 & ~(CR0_PE | CR0_PG);
	if (mode == MODE_REAL)
		cr0 &= ~(CR0_PE | CR0_PG);
	if (mode == MODE_UNPAGED)
		cr0 &= ~CR0_PG;
	if (mode == MODE_32BIT)
		cr4 &= ~(u64)CR4_PAE;
	if ((mode == MODE_V86 || mode == MODE_REAL || mode == MODE_UNPAGED) && model_chance(r, 2))
		cr4 &= ~(u64)CR4_PAE;
	if (ia32e && model_chance(r, 2))
		cr4 |= CR4_PCIDE & cpu->cr4_fixed1;
	if (cr4 & CR4_CET)
		cr0 |= CR0_WP;
	s->value[M_GUEST_CR0] = cr0;
	s->value[M_GUEST_CR4] = cr4 | (cpu->cr4_fixed0 & ~(u64)CR4_PAE);
	s->value[M_GUEST_CR3] = cr4 & CR4_PAE && !ia32e ? cpu->pdptes : cpu->empty;
}

static void random_registers(struct model_state *s, struct model_random *r, enum model_mode mode)
{
	const bool ia32e = mode == MODE_64BIT || mode == MODE_COMPATIBILITY;
	const u64 flags = RFLAGS_ARITHMETIC | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_AC | RFLAGS_TF;
	u64 pat = 0;

	s->value[M_GUEST_RFLAGS] = RFLAGS_FIXED | (model_next(r) & flags) | (mode == MODE_V86 ? RFLAGS_VM : 0);
	s->value[M_GUEST_RIP] = mode == MODE_64BIT ? random_canonical(r) : model_next(r) >> 32;
	s->value[M_GUEST_RSP] = model_next(r);
	s->value[M_GUEST_DR7] = 0x400;
	s->value[M_GUEST_IA32_DEBUGCTL] = model_chance(r, 3) ? 2 : 0;
	s->value[M_GUEST_IA32_SYSENTER_ESP] = random_canonical(r);
	s->value[M_GUEST_IA32_SYSENTER_EIP] = random_canonical(r);
	s->value[M_GUEST_GDTR_BASE] = random_canonical(r);
	s->value[M_GUEST_IDTR_BASE] = random_canonical(r);
	s->value[M_GUEST_GDTR_LIMIT] = model_next(r) & 0xffff;
	s->value[M_GUEST_IDTR_LIMIT] = 0;
	for (u32 byte = 0; byte < 8; byte++) {
		static const u8 types[] = { 0, 1, 4, 5, 6, 7 };

		pat |= (u64)types[model_below(r, 6)] << 8 * byte;
	}
	if (on(s, ENTRYCTL_LOAD_IA32_PAT))
		s->value[M_GUEST_IA32_PAT] = pat;
	s->value[M_GUEST_IA32_EFER] = (model_next(r) & s->cpu->efer_bits & (EFER_SCE | EFER_NXE)) | (ia32e ? EFER_LMA | EFER_LME : 0);
	if ((mode == MODE_REAL || mode == MODE_UNPAGED) && model_chance(r, 3))
		s->value[M_GUEST_IA32_EFER] |= EFER_LME;
	s->value[M_GUEST_IA32_PERF_GLOBAL_CTRL] = 0;
}

static void random_memory(struct model_state *s, struct model_random *r)
{
	s->value[M_VTPR] = model_below(r, 16) << 4;
	s->value[M_TPR_THRESHOLD] = model_below(r, (s->value[M_VTPR] >> 4) + 1);
	s->value[M_LINKED] = s->cpu->revision | (on(s, PROC2_VMCS_SHADOWING) ? BIT(31) : 0);
	s->value[M_VMCS_LINK_POINTER] = model_chance(r, 2) ? s->cpu->linked_region : ~0ull;
	for (u32 i = 0; i < 4; i++) {
		s->value[M_MEMORY_PDPTE0 + i] = s->value[M_GUEST_PDPTE0 + i] = 0;
		s->value[M_LIST_VALUE0 + 3 * (i % MODEL_LIST)] = 0;
	}
}

/* Only bits that the fields have. */
static void keep_what_exists(struct model_state *s)
{
	for (u32 field = 0; field < MODEL_VMCS_FIELDS; field++)
		s->value[field] &= s->cpu->kept[field];
}

enum model_mode model_base(struct model_state *s, u64 seed, u64 block)
{
	struct model_random r = { .state = seed * 0xd1342543de82ef95 + block * 0x2545f4914f6cdd1d };
	u32 mode = model_below(&r, MODEL_MODES);

	if (!free_controls[WORD_PIN])
		find_free_controls();
	random_controls(s, &r);
	if (mode == MODE_REAL || mode == MODE_UNPAGED) {
		if (!may_be_1(s, PROC2_UNRESTRICTED_GUEST))
			mode = MODE_32BIT;
		set_control(s, PROC_ACTIVATE_SECONDARY_CONTROLS, true);
		set_control(s, PROC2_UNRESTRICTED_GUEST, true);
	}
	set_control(s, ENTRYCTL_IA32E_MODE_GUEST, mode == MODE_64BIT || mode == MODE_COMPATIBILITY);
	satisfy_dependencies(s);
	set_addresses(s);
	s->value[M_VM_FUNCTION_CONTROLS] = on(s, PROC2_ENABLE_EPT) && model_chance(&r, 2) ? s->cpu->vmfunc & 1 : 0;
	random_control_registers(s, &r, mode);
	random_registers(s, &r, mode);
	if (mode == MODE_V86)
		virtual_8086_segments(s, &r);
	else
		random_segments(s, &r, mode);
	random_memory(s, &r);
	keep_what_exists(s);
	return mode;
}
