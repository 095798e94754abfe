/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/lacks.h"
#include "vmx/use.h"
#include "vmx/vmcs.h"
#include "x86/page.h"
#include "x86/processor.h"

#include "libc/printf.h"

enum { FEATURE_CONTROL_LOCK = BIT(0), FEATURE_CONTROL_VMX_OUTSIDE_SMX = BIT(2) };

struct vmcs_region vmxon_region, vmcs_region;
struct outcome vmxon_while_unlocked;

static void prepare_control_registers(void)
{
	const struct vmx_capabilities *cap = vmx_capabilities();

	write_cr0((read_cr0() | cap->cr0_fixed0) & cap->cr0_fixed1);
	write_cr4((read_cr4() | cap->cr4_fixed0 | CR4_VMXE) & cap->cr4_fixed1);
}

/* Taken once, before the lock bit is set for good: with "VMX outside SMX" set, so that the lock bit alone refuses it. */
static void try_vmxon_unlocked(void)
{
	const u64 region = physical_address(&vmxon_region);
	const u64 cr4 = read_cr4();

	if (vmxon_while_unlocked.kind != OUTCOME_NONE)
		return;
	vmxon_region.revision = vmx_capabilities()->revision;
	prepare_control_registers();
	wrmsr(IA32_FEATURE_CONTROL, rdmsr(IA32_FEATURE_CONTROL) | FEATURE_CONTROL_VMX_OUTSIDE_SMX);
	vmxon_while_unlocked = vmxon(&region, NULL);
	if (vmxon_while_unlocked.kind == OUTCOME_SUCCEED)
		vmxoff(NULL);
	write_cr4(cr4);
}

bool vmx_usable(char *reason, size_t size)
{
	if (!has_feature(FEATURE_VMX)) {
		feature_format(reason, size, FEATURE_VMX);
		return false;
	}

	u64 control = rdmsr(IA32_FEATURE_CONTROL);

	if (!(control & FEATURE_CONTROL_LOCK)) {
		try_vmxon_unlocked();
		wrmsr(IA32_FEATURE_CONTROL, control | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX_OUTSIDE_SMX);
		control = rdmsr(IA32_FEATURE_CONTROL);
	}
	if (!(control & FEATURE_CONTROL_VMX_OUTSIDE_SMX)) {
		snprintf(reason, size, "VMX outside SMX (IA32_FEATURE_CONTROL[2]), which the firmware locked at 0");
		return false;
	}
	return true;
}

void vmx_on_with(struct vmcs_region *own)
{
	const u64 region = physical_address(own);
	static char reason[128];

	if (!vmx_usable(reason, sizeof(reason)))
		throw(reason);
	own->revision = vmx_capabilities()->revision;
	prepare_control_registers();
	if (vmxon(&region, NULL).kind != OUTCOME_SUCCEED)
		throw("VMXON does not succeed");
}

void vmx_on(void)
{
	vmx_on_with(&vmxon_region);
}

void vmx_off(void)
{
	if (vmxoff(NULL).kind != OUTCOME_SUCCEED)
		throw("VMXOFF does not succeed");
	write_cr4(read_cr4() & ~CR4_VMXE);
}

struct vmcs_region *vmcs_region_alloc(void)
{
	struct vmcs_region *region = page_alloc();

	region->revision = vmx_capabilities()->revision;
	return region;
}

void vmcs_reset(void)
{
	const u64 region = physical_address(&vmcs_region);

	if (vmclear(&region, NULL).kind != OUTCOME_SUCCEED)
		throw("VMCLEAR of the suite's VMCS does not succeed");
	vmcs_region.revision = vmx_capabilities()->revision;
	if (vmptrld(&region, NULL).kind != OUTCOME_SUCCEED)
		throw("VMPTRLD of the suite's VMCS does not succeed");
}

u64 vmcs_current(void)
{
	u64 current = 0;

	asm volatile("vmptrst %0" : "=m"(current) : : "cc", "memory");
	return current;
}

static void field_failed(const char *instruction, u32 field)
{
	static char message[128];
	const struct field_info *info = field_find(field);

	snprintf(message, sizeof(message), "%s of %s (%#x) does not succeed", instruction,
		 info ? info->name : "a field", field);
	throw(message);
}

/* Two are read where a check compares one field with another. */
static struct {
	u32 encoding;
	u64 value;
} last_reads[2] = { { .encoding = ~0u }, { .encoding = ~0u } };

bool vmcs_last_read(u64 value, u32 *encoding)
{
	for (size_t i = 0; i < ARRAY_SIZE(last_reads); i++) {
		*encoding = last_reads[i].encoding;
		if (last_reads[i].encoding != ~0u && last_reads[i].value == value)
			return true;
	}
	return false;
}

u64 vmcs_read(enum vmcs_field field)
{
	u64 value = 0;
	bool failed;

	asm volatile("vmread %2, %0" : "=rm"(value), "=@ccbe"(failed) : "r"(lacks_field(field)) : "memory");
	if (failed)
		field_failed("VMREAD", field);
	last_reads[1] = last_reads[0];
	last_reads[0].encoding = field;
	last_reads[0].value = value;
	return value;
}

void vmcs_write(enum vmcs_field field, u64 value)
{
	bool failed;

	asm volatile("vmwrite %1, %2" : "=@ccbe"(failed) : "rm"(value), "r"(lacks_field(field)) : "memory");
	if (failed)
		field_failed("VMWRITE", field);
	use_of_field(field);
}

static void change_control(u32 control, bool set)
{
	const enum control_word word = control_word(control);
	const enum vmcs_field field = control_words[word].field;
	const u64 value = vmcs_read(field);

	vmcs_write(field, set ? value | control_bit(control) : value & ~control_bit(control));
	if (set && control_word_activator[word])
		change_control(control_word_activator[word], true);
}

void vmcs_change_controls(const u32 *controls, bool set)
{
	for (; *controls; controls++)
		change_control(*controls, set);
}
