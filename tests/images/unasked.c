/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests that use a control which they have not asked for, each in another way, and their twins that have: the check
 * build fails the first, the build that people run none. On a processor that lacks the control only the twins are right.
 */
#include "vmxtest/entry.h"

static void guest_does_nothing(void)
{
}

static void use_pause_exiting(void)
{
	vmcs_set_controls(PROC_PAUSE_EXITING);
	guest_run(guest_does_nothing);
	expect_guest_done();
}

TEST("self.unasked.set", "a control that is set, and that nobody asked for")
{
	use_pause_exiting();
}

TEST("self.unasked.written", "the same, written into its field")
{
	vmcs_write(PRIMARY_PROC_CONTROLS, vmcs_read(PRIMARY_PROC_CONTROLS) | control_bit(PROC_PAUSE_EXITING));
	guest_run(guest_does_nothing);
	expect_guest_done();
}

TEST("self.unasked.needs_another", "the same, of a test that asks for another control", NEEDS(PROC_HLT_EXITING))
{
	use_pause_exiting();
}

TEST("self.unasked.prepared", "the same, of an entry that fails behind the checks on controls")
{
	vmcs_set_controls(PROC_PAUSE_EXITING);
	expect_outcome(entry_attempt(true), ACCEPTED);
}

TEST("self.asked.needs", "a control that is needed", NEEDS(PROC_PAUSE_EXITING))
{
	use_pause_exiting();
}

TEST("self.asked.has", "a control that is asked for in the test's middle")
{
	if (has(PROC_PAUSE_EXITING))
		use_pause_exiting();
	else
		expect(!has(PROC_PAUSE_EXITING), "the processor lacks the control");
}

TEST("self.asked.implied", "a control without which no processor has the one that is needed",
     NEEDS(PROC_NMI_WINDOW_EXITING))
{
	vmcs_set_controls(PIN_NMI_EXITING, PIN_VIRTUAL_NMIS, PROC_NMI_WINDOW_EXITING);
	guest_run(guest_does_nothing);
	expect_exit(EXIT_NMI_WINDOW);
}

TEST("self.asked.refused", "a control that is set, and refused as where it is lacking")
{
	vmcs_set_controls(PROC_PAUSE_EXITING);
	vmcs_write(PIN_BASED_CONTROLS, 0xffffffff);
	expect_outcome(entry_attempt(true), FAIL_VALID(VMERR_ENTRY_INVALID_CONTROLS));
}
