/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC: priorities, delivery, EOI, IPIs, errors. */
#include "guest.h"

/* Between MOV to CR8 and accesses to the APIC: only a serializing instruction orders them ("Interaction of Task Priorities"). */
static void serialize(void)
{
	cpuid(0, 0);
}

TEST("guest.apic.tpr_cr8", "CR8 and the APIC's TPR are one")
{
	for (u64 n = 0; n < 16; n++) {
		CASE("class %u", n);
		write_cr8(n);
		serialize();
		expect_eq(apic_read(APIC_TPR), n << 4);
		expect_eq(read_cr8(), n);
	}
	for (u32 n = 0; n < 16; n++) {
		apic_write(APIC_TPR, n << 4);
		serialize();
		expect_eq(read_cr8(), n);
		serialize();
	}
	write_cr8(0);
}

TEST("guest.cr8.reserved", "CR8 refuses a 1 in each of bits 63:4")
{
	for (unsigned int bit = 4; bit < 64; bit++) {
		CASE("bit %u", bit);
		expect_cr_refused(8, BIT(bit) | 1);
	}
}

TEST("guest.apic.tpr_low", "the TPR keeps bits 3:0, which CR8 does not show, and MOV to CR8 clears")
{
	apic_write(APIC_TPR, 0x5a);
	expect_eq(apic_read(APIC_TPR), 0x5a);
	serialize();
	expect_eq(read_cr8(), 5);
	write_cr8(5);
	serialize();
	expect_eq(apic_read(APIC_TPR), 0x50);
	serialize();
	write_cr8(0);
}

TEST("guest.apic.ppr_tpr", "with no interrupt in service, the PPR is the TPR")
{
	for (u32 tpr = 0; tpr < 0x100; tpr += 0x11) {
		apic_write(APIC_TPR, tpr);
		CASE("TPR %#x", tpr);
		expect_eq(apic_read(APIC_PPR) & 0xf0, tpr & 0xf0);
	}
	apic_write(APIC_TPR, 0);
}

TEST("guest.apic.self_ipi", "an IPI to itself waits for IF and for the TPR")
{
	enum { VECTOR = 0x61 };

	interrupt_handle(VECTOR, interrupt_counter);
	expect_pend(VECTOR);
	expect_eq(interrupt_count[VECTOR], 0);		/* IF = 0 */
	write_cr8(VECTOR >> 4);				/* the same class: not above */
	let_interrupts_in();
	expect_eq(interrupt_count[VECTOR], 0);
	expect_requested(VECTOR);
	write_cr8((VECTOR >> 4) - 1);
	let_interrupts_in();
	expect_eq(interrupt_count[VECTOR], 1);
	expect_not_requested(VECTOR);
	let_interrupts_in();
	expect_eq(interrupt_count[VECTOR], 1);
	write_cr8(0);
}

TEST("guest.apic.all_vectors", "each vector from 32 to 254 can be requested and delivered")
{
	for (u32 vector = 32; vector < 255; vector++) {
		if (vector == VECTOR_USER_RETURN || vector == APIC_SPURIOUS_VECTOR)
			continue;
		CASE("vector %u", vector);
		expect_pend(vector);
		expect_eq(take_pending(vector), 1);
	}
}

static u8 order[16];
static u32 ordered;
static bool irr_seen, isr_seen;
static u32 ppr_seen;

static void notes_order(struct exception_frame *frame)
{
	if (ordered < ARRAY_SIZE(order))
		order[ordered] = frame->vector;
	ordered++;
	irr_seen = apic_requested(frame->vector);
	isr_seen = apic_in_service(frame->vector);
	ppr_seen = apic_read(APIC_PPR);
	apic_eoi();
}

TEST("guest.apic.order", "of several requests, the highest vector comes first")
{
	static const u8 vectors[] = { 0x43, 0x91, 0x42, 0xd0, 0x92, 0x61, 0x6f };
	static const u8 expected[] = { 0xd0, 0x92, 0x91, 0x6f, 0x61, 0x43, 0x42 };

	ordered = 0;
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		interrupt_handle(vectors[i], notes_order);
		require_pend(vectors[i]);
	}
	let_interrupts_in();
	expect_eq(ordered, ARRAY_SIZE(vectors));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		CASE("place %u", i);
		expect_eq(order[i], expected[i]);
	}
}

TEST("guest.apic.irr_isr", "delivery moves the request from IRR to ISR, and EOI ends it there")
{
	enum { VECTOR = 0x73 };

	interrupt_handle(VECTOR, notes_order);
	expect_not_requested(VECTOR);
	expect_pend(VECTOR);
	expect_not_in_service(VECTOR);
	let_interrupts_in();
	expect(!irr_seen, "the vector's bit in the IRR is 0 in the handler");
	expect(isr_seen, "the vector's bit in the ISR is 1 in the handler");
	expect_not_in_service(VECTOR);
}

TEST("guest.apic.ppr_isr", "with an interrupt in service of a class above the TPR's, the PPR is that class")
{
	interrupt_handle(0x7b, notes_order);
	apic_write(APIC_TPR, 0x35);
	require_pend(0x7b);
	let_interrupts_in();
	apic_write(APIC_TPR, 0);
	expect_eq(ppr_seen, 0x70);
}

TEST("guest.apic.merged", "a second request of a vector that is requested already is the same one")
{
	interrupt_handle(0x44, interrupt_counter);
	require_pend(0x44);
	require_pend(0x44);
	wait_for_nothing();		/* nothing shows when the second one has arrived */
	let_interrupts_in();
	expect_eq(interrupt_count[0x44], 1);
}

/* A handler at 61H that requests another vector and lets interrupts in before its EOI. */
static u8 nested_vector;
static u32 nested_before_eoi;

static void requests_nested(UNUSED struct exception_frame *frame)
{
	interrupt_pend(nested_vector);
	let_interrupts_in();
	nested_before_eoi = interrupt_count[nested_vector];
	apic_eoi();
}

static void check_nested(u8 vector, u32 expected)
{
	nested_vector = vector;
	interrupt_handle(0x61, requests_nested);
	if (vector != 0x61)
		interrupt_handle(vector, interrupt_counter);
	require_pend(0x61);
	let_interrupts_in();
	expect_eq(nested_before_eoi, expected);
	expect_eq(interrupt_count[vector], 1);
}

TEST("guest.apic.nested_above", "a request of a higher class interrupts a handler before its EOI")
{
	check_nested(0x70, 1);
}

TEST("guest.apic.nested_same", "a request of the same class waits for the EOI, though its vector be higher")
{
	check_nested(0x6f, 0);
}

TEST("guest.apic.nested_below", "a request of a lower class waits for the EOI")
{
	check_nested(0x5f, 0);
}

static u32 again;
static void requests_itself(struct exception_frame *frame)
{
	if (!again++)
		interrupt_pend(frame->vector);
	apic_eoi();
}

TEST("guest.apic.again", "a vector in service can be requested once more, and comes again after the EOI")
{
	again = 0;
	interrupt_handle(0x53, requests_itself);
	require_pend(0x53);
	let_interrupts_in();
	expect_eq(again, 2);
}

static bool low_before, high_before, low_after, high_after;

/* In 81H, which has interrupted 51H: both are in service; this EOI is the higher one's. */
static void ends_higher(UNUSED struct exception_frame *frame)
{
	low_before = apic_in_service(0x51);
	high_before = apic_in_service(0x81);
	apic_eoi();
	low_after = apic_in_service(0x51);
	high_after = apic_in_service(0x81);
}

static void requests_higher(UNUSED struct exception_frame *frame)
{
	interrupt_pend(0x81);
	let_interrupts_in();
	apic_eoi();
}

TEST("guest.apic.eoi_highest", "EOI ends the interrupt of the highest priority in service, and no other")
{
	interrupt_handle(0x51, requests_higher);
	interrupt_handle(0x81, ends_higher);
	require_pend(0x51);
	let_interrupts_in();
	expect(low_before, "51H is in service before the EOI");
	expect(high_before, "81H is in service before the EOI");
	expect(low_after, "51H is in service behind the EOI");
	expect(!high_after, "81H is in service no more behind the EOI");
	expect_not_in_service(0x51);
}

TEST("guest.apic.software_disable", "with SVR[8]=0, the LVT's masks are set and cannot be cleared")
{
	const u32 svr = apic_read(APIC_SVR);

	apic_write(APIC_LVT_TIMER, 0x55);
	apic_write(APIC_SVR, svr & ~0x100u);
	const u32 masked = apic_read(APIC_LVT_TIMER);
	apic_write(APIC_LVT_TIMER, 0x56);
	const u32 still = apic_read(APIC_LVT_TIMER);
	apic_write(APIC_SVR, svr);
	const u32 after = apic_read(APIC_LVT_TIMER);
	apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
	expect_eq(masked, APIC_LVT_MASKED | 0x55);
	expect_eq(still & APIC_LVT_MASKED, APIC_LVT_MASKED);
	expect_eq(after & APIC_LVT_MASKED, APIC_LVT_MASKED);
}

static bool kept_isr, kept_pending;

static void disables_in_service(struct exception_frame *frame)
{
	const u32 svr = apic_read(APIC_SVR);

	apic_write(APIC_SVR, svr & ~(u32)APIC_SVR_ENABLE);
	kept_isr = apic_in_service(frame->vector);
	kept_pending = apic_requested(0x44);
	apic_write(APIC_SVR, svr);
	apic_eoi();
}

TEST("guest.apic.disable_holds", "with SVR[8]=0 the APIC holds what is in IRR and ISR, and it comes when SVR[8] is 1 again")
{
	const u32 svr = apic_read(APIC_SVR);

	interrupt_handle(0x44, interrupt_counter);
	interrupt_handle(0xc1, interrupt_counter);
	require_pend(0x44);
	require_pend(0xc1);
	apic_write(APIC_SVR, svr & ~(u32)APIC_SVR_ENABLE);
	expect_requested(0x44);
	expect_requested(0xc1);
	apic_write(APIC_SVR, svr);
	expect_requested(0x44);
	let_interrupts_in();
	expect_eq(interrupt_count[0x44], 1);
	expect_eq(interrupt_count[0xc1], 1);

	CASE("in service");
	interrupt_handle(0x45, disables_in_service);
	require_pend(0x44);
	require_pend(0x45);
	let_interrupts_in();
	expect(kept_isr, "the vector's bit in the ISR is 1 while SVR[8]=0");
	expect(kept_pending, "a lower one's bit in the IRR is 1 while SVR[8]=0");
	expect_not_in_service(0x45);
	expect_eq(interrupt_count[0x44], 2);
}

TEST("guest.apic.disable_nmi", "with SVR[8]=0 the APIC still takes an NMI, and still sends an IPI")
{
	const u32 svr = apic_read(APIC_SVR);

	interrupt_handle(VECTOR_NMI, interrupt_counter);
	apic_write(APIC_SVR, svr & ~(u32)APIC_SVR_ENABLE);
	apic_send_ipi(apic_id(), APIC_DELIVERY_NMI);
	wait_until(interrupt_count[VECTOR_NMI], WAIT_MS);
	apic_write(APIC_SVR, svr);
	expect_eq(interrupt_count[VECTOR_NMI], 1);
}

/* Vectors 16 to 31 are the processor's, but the APIC takes them. */
enum { FIRST_LEGAL_VECTOR = 16, ESR_ILLEGAL_VECTOR = 0x60 };

static u32 low_vectors_taken;

static void takes_low_vector(UNUSED struct exception_frame *frame)
{
	low_vectors_taken++;
	apic_eoi();
}

/* Errors that the APIC found since it was asked last. */
static u32 errors_logged(void)
{
	apic_write(APIC_ESR, 0);
	return apic_read(APIC_ESR);
}

/* Send this processor the vector; returns the errors that its APIC found. One that is illegal is waited for by its error. */
static u32 errors_of_ipi(u8 vector)
{
	u32 errors = 0;

	low_vectors_taken = 0;
	interrupt_handle(vector, takes_low_vector);
	errors_logged();
	errors_logged();
	apic_send_ipi(apic_id(), APIC_DELIVERY_FIXED | vector);
	if (vector < FIRST_LEGAL_VECTOR)
		wait_until((errors |= errors_logged()) & ESR_ILLEGAL_VECTOR, SELF_MS);
	else
		wait_until(apic_requested(vector), SELF_MS);
	let_interrupts_in();
	interrupt_handle(vector, NULL);
	errors |= errors_logged();
	errors_logged();
	return errors;
}

TEST("guest.apic.illegal_vector", "an IPI of a vector below 16 is not delivered, one of vector 16 is")
{
	errors_of_ipi(FIRST_LEGAL_VECTOR - 5);
	expect_eq(low_vectors_taken, 0);
	errors_of_ipi(FIRST_LEGAL_VECTOR);
	expect_eq(low_vectors_taken, 1);
}

TEST("guest.apic.illegal_vector_esr", "an IPI of a vector below 16 sets ESR[5] or ESR[6], one of vector 16 does not")
{
	expect_one_set(errors_of_ipi(FIRST_LEGAL_VECTOR - 5), ESR_ILLEGAL_VECTOR);
	expect_eq(errors_of_ipi(FIRST_LEGAL_VECTOR) & ESR_ILLEGAL_VECTOR, 0);
}

/* The error interrupt itself has an illegal vector: that is an error, whose interrupt has an illegal vector. */
TEST("guest.apic.error_recursion", "an error interrupt of an illegal vector is not delivered, and what is sent behind it is")
{
	static const u8 vectors[] = { 1, 3, 4, 5, 6, 7, 9, 15 };	/* that a target delivers without an error code, should it do so */
	const u32 lvt = apic_read(APIC_LVT_ERROR);

	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		CASE("error vector %u", vectors[i]);
		interrupt_handle(vectors[i], takes_low_vector);
		apic_write(APIC_LVT_ERROR, vectors[i]);
		errors_of_ipi(FIRST_LEGAL_VECTOR - 1);
		expect_eq(low_vectors_taken, 0);
		errors_of_ipi(FIRST_LEGAL_VECTOR);
		expect_eq(low_vectors_taken, 1);
		apic_write(APIC_LVT_ERROR, lvt);
		interrupt_handle(vectors[i], NULL);
	}
	errors_logged();
	errors_logged();
}

TEST("guest.apic.version", "the version register says an integrated APIC with at least four LVT entries")
{
	const u32 version = apic_read(APIC_VERSION);

	expect_between(0x10, version & 0xff, 0x15);
	expect_between(3, version >> 16 & 0xff, 15);
}

TEST("guest.apic.logical", "an IPI to a logical destination arrives if it has a bit of the LDR in common",
     NEEDS(NEED_XAPIC_MODE))
{
	const u32 ldr = apic_read(APIC_LDR), dfr = apic_read(APIC_DFR);

	apic_write(APIC_DFR, 0xffffffff);		/* flat model */
	apic_write(APIC_LDR, 0x20000000);
	interrupt_handle(0x4d, interrupt_counter);
	for (u32 bit = 0; bit < 8; bit++) {
		interrupt_count[0x4d] = 0;
		apic_write(APIC_ICR_HIGH, BIT(bit) << 24);
		apic_write(APIC_ICR, 0x4d | APIC_ICR_ASSERT | 1 << 11);
		wait_until(apic_requested(0x4d), bit == 5 ? WAIT_MS : 10);
		let_interrupts_in();
		CASE("destination %#x", BIT(bit));
		expect_eq(interrupt_count[0x4d], bit == 5);
	}
	apic_write(APIC_LDR, ldr);
	apic_write(APIC_DFR, dfr);
}
