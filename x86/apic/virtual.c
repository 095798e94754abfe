/* SPDX-License-Identifier: BSD-2-Clause */
#include "virtual.h"

#include "libc/string.h"
#include "vmxtest/events.h"

volatile u32 taken_count;
volatile struct taken taken[4];

GUEST_ASM(guest_does_nothing, "nop\n ret");
GUEST_ASM(guest_sets_cr8, "mov %rcx, %cr8\n .globl guest_behind_cr8\n guest_behind_cr8: ret");
GUEST_ASM(guest_sets_if,
	  "sti\n mov $1, %eax\n .globl guest_behind_sti_shadow\n guest_behind_sti_shadow: nop\n cli\n ret");

static void take(struct exception_frame *frame)
{
	if (taken_count < ARRAY_SIZE(taken)) {
		taken[taken_count].vector = frame->vector;
		taken[taken_count].rip = frame->rip;
	}
	taken_count++;
}

bool vector_can_be_handled(u32 vector)
{
	return vector != VECTOR_AC && vector != VECTOR_CP && vector != 29 && vector != 30;
}

void use_virtual_interrupts(void)
{
	guest_run(guest_touches_tables);
	expect_guest_done();
	use_access_page();
	use_virtual_page();
	memset(virtual_page, 0, PAGE_SIZE);
	vmcs_set_controls(PIN_EXTERNAL_INTERRUPT_EXITING, PROC2_VIRTUAL_INTERRUPT_DELIVERY);
	for (u32 vector = 16; vector < 256; vector++)
		if (vector_can_be_handled(vector))
			interrupt_handle(vector, take);
}

void set_vector(u32 first, u32 vector)
{
	*virtual_register(first + vector / 32 * 16) |= 1u << vector % 32;
}

void expect_only_vectors(u32 first, u32 one, u32 other)
{
	for (u32 word = 0; word < 8; word++) {
		u32 expected = 0;

		if (one && one / 32 == word)
			expected |= 1u << one % 32;
		if (other && other / 32 == word)
			expected |= 1u << other % 32;
		if (*virtual_register(first + word * 16) != expected) {
			expect_eq(*virtual_register(first + word * 16), expected);
			return;
		}
	}
	check_passed();
}

/* The registers, that is: up to 400H. */
static void clear_registers(void)
{
	for (u32 offset = 0; offset < 0x400; offset += 8)
		*(volatile u64 *)(virtual_page + offset) = 0;
}

void set_pending(u32 vector)
{
	clear_registers();
	set_vector(APIC_IRR, vector);
	vmcs_write(GUEST_INTERRUPT_STATUS, vector);
}

void set_in_service(u32 vector, u32 below)
{
	clear_registers();
	set_vector(APIC_ISR, vector);
	if (below)
		set_vector(APIC_ISR, below);
	vmcs_write(GUEST_INTERRUPT_STATUS, vector << 8);
}

void set_eoi_exit_bitmap(u32 vector, bool exits)
{
	static const enum vmcs_field fields[] = {
		EOI_EXIT_BITMAP_0, EOI_EXIT_BITMAP_1, EOI_EXIT_BITMAP_2, EOI_EXIT_BITMAP_3,
	};

	for (u32 i = 0; i < ARRAY_SIZE(fields); i++) {
		const u64 bit = vector / 64 == i ? BIT(vector % 64) : 0;

		vmcs_write(fields[i], exits ? bit : ~bit);
	}
}

void run_and_take_interrupts(void (*function)(void))
{
	taken_count = 0;
	guest_run(function);
}
