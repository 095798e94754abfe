/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/apic.h"
#include "x86/processor.h"
#include "x86/wait.h"

enum { APIC_BASE_X2APIC = BIT(10), APIC_BASE_ENABLE = BIT(11) };

static u64 apic_base(void)
{
	return rdmsr(IA32_APIC_BASE);
}

static bool is_x2apic(u64 base)
{
	return base & APIC_BASE_X2APIC;
}

bool apic_is_x2apic(void)
{
	return is_x2apic(apic_base());
}

static u32 x2apic_msr(enum apic_register reg)
{
	return 0x800 + reg / 16;
}

static volatile u32 *xapic_register(u64 base, enum apic_register reg)
{
	return (volatile u32 *)((base & ~0xfffull) + reg);
}

u32 apic_read(enum apic_register reg)
{
	const u64 base = apic_base();

	HOSTILE_GAP();
	return is_x2apic(base) ? rdmsr(x2apic_msr(reg)) : *xapic_register(base, reg);
}

void apic_write(enum apic_register reg, u32 value)
{
	const u64 base = apic_base();

	if (is_x2apic(base))
		wrmsr(x2apic_msr(reg), value);
	else
		*xapic_register(base, reg) = value;
}

/* The entries of the local vector table, in the order in which processors got them: how many there are says the version. */
static const enum apic_register lvt[] = {
	APIC_LVT_TIMER, APIC_LVT_LINT0, APIC_LVT_LINT1, APIC_LVT_ERROR, APIC_LVT_PMI, APIC_LVT_THERMAL, APIC_LVT_CMCI,
};

void apic_init(void)
{
	wrmsr(IA32_APIC_BASE, apic_base() | APIC_BASE_ENABLE);

	/* Masked before the APIC is enabled by software: none may come in between. */
	const u32 last = apic_read(APIC_VERSION) >> 16 & 0xff;

	for (size_t i = 0; i < ARRAY_SIZE(lvt) && i <= last; i++)
		apic_write(lvt[i], APIC_LVT_MASKED);
	apic_write(APIC_TIMER_INITIAL, 0);
	apic_write(APIC_TIMER_DIVIDE, 0);
	apic_write(APIC_SVR, APIC_SVR_ENABLE | APIC_SPURIOUS_VECTOR);
	apic_write(APIC_ESR, 0);	/* one write shows the errors, the next one that there are no more */
	apic_write(APIC_ESR, 0);
	apic_write(APIC_TPR, 0);
}

void apic_enable_x2apic(void)
{
	wrmsr(IA32_APIC_BASE, apic_base() | APIC_BASE_X2APIC);
}

u32 apic_id(void)
{
	return apic_is_x2apic() ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

static bool vector_bit(enum apic_register first, u8 vector)
{
	return apic_read(first + vector / 32 * 0x10) >> vector % 32 & 1;
}

bool apic_in_service(u8 vector)
{
	return vector_bit(APIC_ISR, vector);
}

bool apic_requested(u8 vector)
{
	return vector_bit(APIC_IRR, vector);
}

bool apic_is_busy(void)
{
	for (u32 word = 0; word < 8; word++)
		if (apic_read(APIC_ISR + word * 0x10) || apic_read(APIC_IRR + word * 0x10))
			return true;
	return false;
}

static void send(u32 to_apic_id, u32 command)
{
	if (hostile_ipi(to_apic_id, command))
		return;
	command |= APIC_ICR_ASSERT;
	if (apic_is_x2apic()) {
		wrmsr(x2apic_msr(APIC_ICR), (u64)to_apic_id << 32 | command);
		return;
	}
	apic_write(APIC_ICR_HIGH, to_apic_id << 24);
	apic_write(APIC_ICR, command);
	wait_until(!(apic_read(APIC_ICR) & APIC_ICR_PENDING), WAIT_MS);
}

void apic_send_ipi(u32 to_apic_id, u32 delivery)
{
	send(to_apic_id, delivery);
}

void apic_send_ipi_self(u32 delivery)
{
	send(0, delivery | APIC_ICR_SELF);
}

void apic_send_ipi_others(u32 delivery)
{
	send(0, delivery | APIC_ICR_ALL_OTHERS);
}
