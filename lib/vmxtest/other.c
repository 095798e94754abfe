/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmxtest/other.h"
#include "vmxtest/vmxtest.h"
#include "x86/cpu.h"
#include "x86/wait.h"

static struct vmcs_region *on_region, *region;
static void (*volatile body)(void);
static struct fault body_fault;

static void run_there(UNUSED void *argument)
{
	const u64 vmcs_there = physical_address(region);

	vmx_on_with(on_region);
	body_fault = TRY(
		require_outcome(vmclear(&vmcs_there, NULL), SUCCEED);
		require_outcome(vmptrld(&vmcs_there, NULL), SUCCEED);
		guest_baseline();
		body();
	);
	vmclear(&vmcs_there, NULL);
	vmx_off();
}

void vmx_other_start(unsigned int n, void (*start)(void))
{
	on_region = vmcs_region_alloc();
	region = vmcs_region_alloc();
	body_fault = (struct fault){ .raised = false };
	body = start;
	on_cpu_start(n, run_there, NULL);
}

const struct vmcs_region *vmx_other_region(void)
{
	return region;
}

void vmx_other_end(unsigned int n)
{
	struct fault fault = { .raised = false };

	if (wait_for_other(on_cpu_done(n), WAIT_MS))
		fault = on_cpu_wait(n);
	cpu_init_ipi(n);
	if (body_fault.raised)
		fault = body_fault;
	if (fault.raised && fault.thrown)
		throw(fault.thrown);
	expect_no_fault(fault);
}
