/* SPDX-License-Identifier: BSD-2-Clause */
#include "explore.h"

#include "vmxtest/vmxtest.h"
#include "x86/model.h"
#include "x86/page.h"
#include "x86/perfmon.h"
#include "x86/processor.h"

struct model_cpu explore_cpu;

/* Where the model's memory is. The same in each build's image, so that states are too. */
static u8 memory[6][PAGE_SIZE] ALIGNED(4096);

static u64 efer_bits(void)
{
	const u32 ecx = cpuid(0x80000001, 0).ecx, edx = cpuid(0x80000001, 0).edx;

	/* Two bits are another vendor's, and not reserved where CPUID has them. */
	return EFER_LME | EFER_LMA | (has(FEATURE_SYSCALL) ? EFER_SCE : 0) | (has(FEATURE_NX) ? EFER_NXE : 0) |
	       (ecx & BIT(2) ? BIT(12) : 0) | (edx & BIT(25) ? BIT(14) : 0);
}

/* A processor may drop reserved bits of access rights. */
static u64 bits_kept(u32 encoding)
{
	const u64 before = vmcs_read(encoding);
	u64 kept;

	vmcs_write(encoding, field_mask(encoding));
	kept = vmcs_read(encoding);
	vmcs_write(encoding, before);
	return kept;
}

static bool is_access_rights(u32 encoding)
{
	return encoding >= GUEST_ES_ACCESS_RIGHTS && encoding <= GUEST_TR_ACCESS_RIGHTS;
}

static void read_fields(struct model_state *baseline)
{
	for (u32 field = 0; field < MODEL_VMCS_FIELDS; field++) {
		const u32 encoding = model_encoding(field);

		explore_cpu.kept[field] = 0;
		if (encoding == HOST_RSP || !field_readable(field_find(encoding)))
			continue;
		baseline->value[field] = vmcs_read(encoding);
		if (field_type(encoding) != FIELD_READ_ONLY)
			explore_cpu.kept[field] = is_access_rights(encoding) ? bits_kept(encoding) : field_mask(encoding);
	}
	explore_cpu.kept[M_VTPR] = 0xff;	/* VM entry may clear the others */
	explore_cpu.kept[M_LINKED] = 0xffffffff;
	for (u32 field = M_MEMORY_PDPTE0; field < MODEL_FIELDS; field++)
		explore_cpu.kept[field] = field < M_LIST_INDEX0 || (field - M_LIST_INDEX0) % 3 == 2 ? ~0ull : 0xffffffff;
}

void explore_read_processor(struct model_state *baseline)
{
	const struct vmx_capabilities *const cap = vmx_capabilities();

	explore_cpu = (struct model_cpu){
		.basic = cap->basic, .misc = cap->misc, .cr0_fixed0 = cap->cr0_fixed0, .cr0_fixed1 = cap->cr0_fixed1,
		.cr4_fixed0 = cap->cr4_fixed0, .cr4_fixed1 = cap->cr4_fixed1, .ept_vpid = cap->ept_vpid, .vmfunc = cap->vmfunc,
		.revision = cap->revision, .cr3_targets = cap->cr3_targets, .physical_width = physical_address_width(),
		.linear_width = linear_address_width(), .efer_bits = efer_bits(), .counters = perf_global_ctrl_counters(),
		.sgx = has(FEATURE_SGX), .rtm = has(FEATURE_RTM), .fred = has(FEATURE_FRED), .bus_lock_detect = has(FEATURE_BUS_LOCK_DETECT),
		.lam = has(FEATURE_LAM), .known = processor_is_known(),
		.current_vmcs = physical_address(&vmcs_region), .linked_region = physical_address(memory[0]),
		.virtual_apic = physical_address(memory[1]), .pdptes = physical_address(memory[2]), .list = physical_address(memory[3]),
		.scratch = physical_address(memory[4]), .empty = physical_address(memory[5]),
	};
	for (u32 word = 0; word < CONTROL_WORDS; word++)
		explore_cpu.word[word] = cap->word[word];
	baseline->cpu = &explore_cpu;
	read_fields(baseline);
}
