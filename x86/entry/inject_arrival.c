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

void let_guest_use_apic(void)
{
	vmcs_use_msr_bitmap();
}

static void wait_for_event(void)
{
	for (int i = 0; i < 200; i++)
		cpu_relax();
}

void send_nmi(void)
{
	apic_send_ipi(apic_id(), APIC_DELIVERY_NMI);
	wait_for_event();
}

void send_interrupt(u8 vector)
{
	apic_send_ipi(apic_id(), APIC_DELIVERY_FIXED | vector);
	wait_for_event();
}

void set_guest_cpl(u32 cpl)
{
	vmcs_write(GUEST_CS_SELECTOR, cpl ? SELECTOR_USER_CODE64 : SELECTOR_CODE64);
	vmcs_write(GUEST_CS_ACCESS_RIGHTS, RIGHTS_ACCESSED_CODE | RIGHTS_L | RIGHTS_G | cpl << 5);
	vmcs_write(GUEST_CS_LIMIT, 0xffffffff);
	vmcs_write(GUEST_SS_SELECTOR, cpl ? SELECTOR_USER_DATA : SELECTOR_DATA);
	vmcs_write(GUEST_SS_ACCESS_RIGHTS, RIGHTS_ACCESSED_DATA | RIGHTS_DB | RIGHTS_G | cpl << 5);
	vmcs_write(GUEST_SS_LIMIT, 0xffffffff);		/* an exception from CPL 3 makes SS null */
}

void take_interrupt(u8 vector)
{
	interrupt_handle(vector, interrupt_counter);
	asm volatile("sti; nop; cli" : : : "memory");
	interrupt_handle(vector, NULL);
}
