/* SPDX-License-Identifier: BSD-2-Clause */
#include "registers.h"
#include "libc/string.h"
#include "x86/tables.h"

#define GETTER(name, expression) static u64 get_##name(void) { return expression; }
GETTER(cr0, read_cr0())
GETTER(cr2, read_cr2())
GETTER(cr3, read_cr3())
GETTER(cr4, read_cr4())
GETTER(cr8, read_cr8())
GETTER(dr0, read_dr0())
GETTER(dr1, read_dr1())
GETTER(dr2, read_dr2())
GETTER(dr3, read_dr3())
GETTER(dr6, read_dr6())
GETTER(dr7, read_dr7())
GETTER(es, read_es())
GETTER(cs, read_cs())
GETTER(ss, read_ss())
GETTER(ds, read_ds())
GETTER(fs, read_fs())
GETTER(gs, read_gs())
GETTER(tr, read_tr())
GETTER(ldtr, read_ldtr())
GETTER(gdtr_base, read_gdtr().base)
GETTER(gdtr_limit, read_gdtr().limit)
GETTER(idtr_base, read_idtr().base)
GETTER(idtr_limit, read_idtr().limit)

#define NO_FIELD 0

/* A register; the host-state field that a VM exit loads it from, or the value that it always gets. */
static const struct {
	const char *name;
	u64 (*get)(void);
	u32 msr, field, control;	/* control: the VM-exit control without which the field is not loaded */
	u64 fixed;			/* with no field: FIXED_BY_EXIT | value */
} rows[] = {
#define FIXED_BY_EXIT BIT(63)
	{ "CR0", get_cr0, 0, HOST_CR0, 0, 0 },
	{ "CR2", get_cr2, 0, NO_FIELD, 0, 0 },
	{ "CR3", get_cr3, 0, HOST_CR3, 0, 0 },
	{ "CR4", get_cr4, 0, HOST_CR4, 0, 0 },
	{ "CR8", get_cr8, 0, NO_FIELD, 0, 0 },
	{ "DR0", get_dr0, 0, NO_FIELD, 0, 0 },
	{ "DR1", get_dr1, 0, NO_FIELD, 0, 0 },
	{ "DR2", get_dr2, 0, NO_FIELD, 0, 0 },
	{ "DR3", get_dr3, 0, NO_FIELD, 0, 0 },
	{ "DR6", get_dr6, 0, NO_FIELD, 0, 0 },
	{ "DR7", get_dr7, 0, NO_FIELD, 0, FIXED_BY_EXIT | 0x400 },
	{ "ES", get_es, 0, HOST_ES_SELECTOR, 0, 0 },
	{ "CS", get_cs, 0, HOST_CS_SELECTOR, 0, 0 },
	{ "SS", get_ss, 0, HOST_SS_SELECTOR, 0, 0 },
	{ "DS", get_ds, 0, HOST_DS_SELECTOR, 0, 0 },
	{ "FS", get_fs, 0, HOST_FS_SELECTOR, 0, 0 },
	{ "GS", get_gs, 0, HOST_GS_SELECTOR, 0, 0 },
	{ "TR", get_tr, 0, HOST_TR_SELECTOR, 0, 0 },
	{ "LDTR", get_ldtr, 0, NO_FIELD, 0, FIXED_BY_EXIT | 0 },
	{ "GDTR base", get_gdtr_base, 0, HOST_GDTR_BASE, 0, 0 },
	{ "GDTR limit", get_gdtr_limit, 0, NO_FIELD, 0, FIXED_BY_EXIT | 0xffff },
	{ "IDTR base", get_idtr_base, 0, HOST_IDTR_BASE, 0, 0 },
	{ "IDTR limit", get_idtr_limit, 0, NO_FIELD, 0, FIXED_BY_EXIT | 0xffff },
	{ "FS base", NULL, IA32_FS_BASE, HOST_FS_BASE, 0, 0 },
	{ "GS base", NULL, IA32_GS_BASE, HOST_GS_BASE, 0, 0 },
	{ "IA32_SYSENTER_CS", NULL, IA32_SYSENTER_CS, HOST_IA32_SYSENTER_CS, 0, 0 },
	{ "IA32_SYSENTER_ESP", NULL, IA32_SYSENTER_ESP, HOST_IA32_SYSENTER_ESP, 0, 0 },
	{ "IA32_SYSENTER_EIP", NULL, IA32_SYSENTER_EIP, HOST_IA32_SYSENTER_EIP, 0, 0 },
	{ "IA32_EFER", NULL, IA32_EFER, HOST_IA32_EFER, EXITCTL_LOAD_IA32_EFER, 0 },
	{ "IA32_PAT", NULL, IA32_PAT, HOST_IA32_PAT, EXITCTL_LOAD_IA32_PAT, 0 },
	{ "IA32_DEBUGCTL", NULL, IA32_DEBUGCTL, NO_FIELD, 0, FIXED_BY_EXIT | 0 },
	{ "IA32_KERNEL_GS_BASE", NULL, IA32_KERNEL_GS_BASE, NO_FIELD, 0, 0 },
	{ "IA32_STAR", NULL, (u32)IA32_STAR, NO_FIELD, 0, 0 },
	{ "IA32_LSTAR", NULL, IA32_LSTAR, NO_FIELD, 0, 0 },
	{ "IA32_FMASK", NULL, IA32_FMASK, NO_FIELD, 0, 0 },
};
_Static_assert(ARRAY_SIZE(rows) <= REGISTERS, "struct registers has too few values");

static bool exists(u32 row)
{
	static u8 known[ARRAY_SIZE(rows)];

	if (!known[row])
		known[row] = rows[row].msr && TRY(rdmsr(rows[row].msr)).raised ? 2 : 1;
	return known[row] == 1;
}

struct registers registers_read(void)
{
	struct registers now = { { 0 } };

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		if (exists(i))
			now.value[i] = rows[i].get ? rows[i].get() : rdmsr(rows[i].msr);
	return now;
}

void check_registers(const char *file, u32 line, const struct registers *before)
{
	const struct registers now = registers_read();

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		check_equal(file, line, rows[i].name, now.value[i], before->value[i]);
}

/* CR0 bits that no VM exit changes: ET, NW, CD, and those that are reserved. */
#define CR0_LOADED (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_PG)

void check_host_loaded(const char *file, u32 line)
{
	const struct registers now = registers_read();

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!exists(i) || (rows[i].control && !has(rows[i].control)))
			continue;
		if (rows[i].field)
			check_bits(file, line, rows[i].name, now.value[i], rows[i].get == get_cr0 ? CR0_LOADED : ~0ull,
				   vmcs_read(rows[i].field));
		else if (rows[i].fixed)
			check_equal(file, line, rows[i].name, now.value[i], rows[i].fixed & ~FIXED_BY_EXIT);
	}
}

static void *copy_of(u64 page)
{
	return memcpy(page_alloc(), (const void *)(page & PAGE_ADDRESS_MASK), PAGE_SIZE);
}

void guest_state_make_different(void)
{
	static const enum vmcs_field data_selectors[] = {
		GUEST_ES_SELECTOR, GUEST_DS_SELECTOR, GUEST_FS_SELECTOR, GUEST_GS_SELECTOR,
	};

	vmcs_write(GUEST_CR0, read_cr0() ^ CR0_TS ^ CR0_MP ^ CR0_WP);
	vmcs_write(GUEST_CR3, physical_address(copy_of(read_cr3())));
	vmcs_write(GUEST_CR4, read_cr4() ^ CR4_TSD ^ CR4_MCE);
	vmcs_set_controls(ENTRYCTL_LOAD_DEBUG_CONTROLS);
	vmcs_write(GUEST_DR7, 0x700);
	for (u32 i = 0; i < ARRAY_SIZE(data_selectors); i++)
		vmcs_write(data_selectors[i], 0x1000 + 8 * i);
	vmcs_write(GUEST_CS_SELECTOR, 0x2000);
	vmcs_write(GUEST_SS_SELECTOR, 0x2008);
	vmcs_write(GUEST_TR_SELECTOR, 0x2010);
	vmcs_write(GUEST_LDTR_SELECTOR, 0x2018);
	vmcs_write(GUEST_FS_BASE, 0x123456789000);
	vmcs_write(GUEST_GS_BASE, 0xffff923456789000);
	vmcs_write(GUEST_GDTR_BASE, 0xffffa23456789000);
	vmcs_write(GUEST_IDTR_BASE, 0xffffb23456789000);
	vmcs_write(GUEST_GDTR_LIMIT, 0x1234);
	vmcs_write(GUEST_IDTR_LIMIT, 0x2345);
	vmcs_write(GUEST_IA32_SYSENTER_CS, 0x7898);
	vmcs_write(GUEST_IA32_SYSENTER_ESP, 0xffffc23456789000);
	vmcs_write(GUEST_IA32_SYSENTER_EIP, 0xffffd23456789000);
	if (has(ENTRYCTL_LOAD_IA32_EFER) && has(EXITCTL_LOAD_IA32_EFER)) {
		vmcs_set_controls(ENTRYCTL_LOAD_IA32_EFER, EXITCTL_LOAD_IA32_EFER);
		vmcs_write(GUEST_IA32_EFER, rdmsr(IA32_EFER) ^ EFER_SCE);
	}
	if (has(ENTRYCTL_LOAD_IA32_PAT) && has(EXITCTL_LOAD_IA32_PAT)) {
		vmcs_set_controls(ENTRYCTL_LOAD_IA32_PAT, EXITCTL_LOAD_IA32_PAT);
		vmcs_write(GUEST_IA32_PAT, 0x0706050401000604);
	}
}

static u64 host_fields[ARRAY_SIZE(rows)];

void host_state_make_different(void)
{
	u64 *gs_page;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].field && field_exists(field_find(rows[i].field)))
			host_fields[i] = vmcs_read(rows[i].field);

	vmcs_write(HOST_CR0, read_cr0() ^ CR0_TS ^ CR0_AM);
	vmcs_write(HOST_CR3, physical_address(copy_of(read_cr3())));
	vmcs_write(HOST_CR4, read_cr4() ^ CR4_DE ^ CR4_PCE);
	vmcs_write(HOST_ES_SELECTOR, 0x3000);
	vmcs_write(HOST_CS_SELECTOR, 0x3008);
	vmcs_write(HOST_SS_SELECTOR, 0x3010);
	vmcs_write(HOST_DS_SELECTOR, 0x3018);
	vmcs_write(HOST_FS_SELECTOR, 0x3020);
	vmcs_write(HOST_GS_SELECTOR, 0x3028);
	vmcs_write(HOST_TR_SELECTOR, 0x3030);
	vmcs_write(HOST_FS_BASE, 0x345678901000);
	/* The host finds its own data by the first quadword at GS base. */
	gs_page = page_alloc();
	*gs_page = (u64)this_cpu();
	vmcs_write(HOST_GS_BASE, (u64)gs_page);
	vmcs_write(HOST_GDTR_BASE, (u64)memcpy(page_alloc(), gdt, sizeof(gdt)));
	vmcs_write(HOST_IDTR_BASE, (u64)memcpy(page_alloc(), idt, sizeof(idt)));
	vmcs_write(HOST_IA32_SYSENTER_CS, 0x89a8);
	vmcs_write(HOST_IA32_SYSENTER_ESP, 0xffffe23456789000);
	vmcs_write(HOST_IA32_SYSENTER_EIP, 0xfffff23456789000);
	if (has(EXITCTL_LOAD_IA32_EFER)) {
		vmcs_set_controls(EXITCTL_LOAD_IA32_EFER);
		vmcs_write(HOST_IA32_EFER, rdmsr(IA32_EFER) ^ EFER_SCE);
	}
	if (has(EXITCTL_LOAD_IA32_PAT)) {
		vmcs_set_controls(EXITCTL_LOAD_IA32_PAT);
		vmcs_write(HOST_IA32_PAT, 0x0606060606060606);
	}
}

void host_state_put_back(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].field && field_exists(field_find(rows[i].field)))
			vmcs_write(rows[i].field, host_fields[i]);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, 0);
	CASE("the host state is put back");
	expect_outcome(entry_attempt(true), ACCEPTED);
}
