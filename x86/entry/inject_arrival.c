/* SPDX-License-Identifier: BSD-2-Clause */
#include "inject.h"

volatile struct arrival arrival;

static void take_down(struct exception_frame *frame)
{
	*(struct exception_frame *)&arrival.frame = *frame;
	arrival.rflags = read_rflags();
	arrival.count++;
}

void note_arrival(struct exception_frame *frame)
{
	take_down(frame);
	frame->rip = (u64)guest_start;
}

void note_arrival_and_call_host(struct exception_frame *frame)
{
	take_down(frame);
	guest_call_host(IN_HANDLER);
	frame->rip = (u64)guest_start;
}

void guest_does_nothing(void)
{
}

void inject(u32 information, u32 error_code, u32 length)
{
	arrival.count = 0;
	interrupt_handle(information & 0xff, note_arrival);
	vmcs_write(VM_ENTRY_INTERRUPTION_INFORMATION, information);
	vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, error_code);
	vmcs_write(VM_ENTRY_INSTRUCTION_LENGTH, length);
	guest_run(guest_does_nothing);
	interrupt_handle(information & 0xff, NULL);
}

void check_arrival(const char *file, u32 line, u32 vector, u64 rip)
{
	check_guest_done(file, line);
	check_equal(file, line, "arrivals", arrival.count, 1);
	check_equal(file, line, "vector", arrival.frame.vector, vector);
	check_equal(file, line, "RIP that was pushed", arrival.frame.rip, rip);
}

void set_guest_cpl(u32 cpl)
{
	vmcs_write(GUEST_CS_SELECTOR, cpl ? SELECTOR_USER_CODE64 : SELECTOR_CODE64);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE64 | cpl << 5);
	vmcs_write(GUEST_CS_LIMIT, 0xffffffff);
	vmcs_write(GUEST_SS_SELECTOR, cpl ? SELECTOR_USER_DATA : SELECTOR_DATA);
	vmcs_write(GUEST_SS_ACCESS_RIGHTS, RIGHTS_DATA32 | cpl << 5);
	vmcs_write(GUEST_SS_LIMIT, 0xffffffff);		/* an exception from CPL 3 makes SS null */
}
