/* SPDX-License-Identifier: BSD-2-Clause */
#include "explore.h"

#include "vmxtest/modelled.h"
#include "vmxtest/vmxtest.h"
#include "x86/page.h"

struct model_cpu explore_cpu;

/* Where the model's memory is. The same in each build's image, so that states are too. */
static u8 memory[6][PAGE_SIZE] ALIGNED(4096);

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
	modelled_processor(&explore_cpu);
	explore_cpu.linked_region = physical_address(memory[0]);
	explore_cpu.virtual_apic = physical_address(memory[1]);
	explore_cpu.pdptes = physical_address(memory[2]);
	explore_cpu.list = physical_address(memory[3]);
	explore_cpu.scratch = physical_address(memory[4]);
	explore_cpu.empty = physical_address(memory[5]);
	baseline->cpu = &explore_cpu;
	read_fields(baseline);
}
