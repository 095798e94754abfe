/* SPDX-License-Identifier: BSD-2-Clause */
/* IDT-vectoring information (SDM Vol. 3C, "Information About VM Exits That Occur During Event Delivery"). */
#include "info_delivery.h"

#include "libc/string.h"
#include "x86/selectors.h"
#include "x86/tables.h"

static u64 information_of(const struct event *event)
{
	return INTERRUPTION_VALID | event->type | event->vector;
}

/* Every event with everything that may strike it. */
#define FOR_EACH_STRIKE(event, strike)									\
	for (enum strike_kind strike = STRIKE_IDT; strike < STRIKES; strike++)				\
		if (strike_applies(strike, event))

TEST("info.idtv.valid", "An exit during the delivery of an event has its vector and type in IDT-vectoring information")
{
	delivery_begin();
	FOR_EACH_EVENT(event) {
		FOR_EACH_STRIKE(event, strike) {
			CASE("%s, %s", event->name, strike_names[strike]);
			deliver(event, strike);
			expect_strike(event, strike);
			expect_idt_vectoring(information_of(event));
		}
	}
}

TEST("info.idtv.errcode", "Bit 11 and the IDT-vectoring error code are those of the exception on its way")
{
	delivery_begin();
	FOR_EACH_EVENT(event) {
		FOR_EACH_STRIKE(event, strike) {
			CASE("%s, %s", event->name, strike_names[strike]);
			deliver(event, strike);
			expect_strike(event, strike);
			expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_ERROR_CODE,
				    event->type & INTERRUPTION_ERROR_CODE);
			if (event->type & INTERRUPTION_ERROR_CODE)
				expect_eq(vmcs_read(IDT_VECTORING_ERROR_CODE), event->error_code);
		}
		/* Each bit that an injected error code may have. */
		for (u32 bit = 0; event->injected && event->error_code && bit < 15; bit++) {
			struct event other = *event;

			other.error_code = BIT(bit);
			CASE("%s, error code %#x", event->name, other.error_code);
			deliver(&other, STRIKE_IDT_LIMIT);
			expect_strike(&other, STRIKE_IDT_LIMIT);
			expect_idt_vectoring(information_of(&other));
			expect_eq(vmcs_read(IDT_VECTORING_ERROR_CODE), other.error_code);
		}
	}
}
