/* SPDX-License-Identifier: BSD-2-Clause */
/* How an event goes through the IDT: gates, stacks, flags, and what goes wrong on the way. */
#include "guest.h"

#include "libc/string.h"

/* Error-code bits of a fault of the IDT. */
enum { EXT = 1, IDT = 2 };

enum { V = 0x62 };

static void call_v(void)
{
	asm volatile("int %0" : : "i"(V) : "memory");
}

static void restore(u8 vector)
{
	idt[vector] = gate_to(interrupt_entries + vector * INTERRUPT_ENTRY_SIZE, 0, 0);
}

TEST("guest.idt.int_n", "INT n saves the address behind it and has no error code")
{
	const struct fault fault = TRY(asm volatile("int %0; after_int_n:" : : "i"(V)));
	extern const u8 after_int_n[];

	expect_fault(fault, V, 0);
	expect_eq(fault.frame.rip, (u64)after_int_n);
	expect_eq(fault.frame.cs, SELECTOR_CODE64);
	expect_eq(fault.frame.ss, SELECTOR_DATA);
}

TEST("guest.idt.not_present", "an exception that finds a gate with P=0 raises #NP with its index and EXT=1")
{
	idt[VECTOR_UD].type &= 0x7f;
	const struct fault fault = TRY(asm volatile("at_np: ud2"));
	extern const u8 at_np[];
	restore(VECTOR_UD);
	expect_fault(fault, VECTOR_NP, VECTOR_UD << 3 | IDT | EXT);
	expect_eq(fault.frame.rip, (u64)at_np);
}

TEST("guest.idt.not_present_int", "INT n that finds a gate with P=0 raises #NP with its index and EXT=0")
{
	idt[V].type &= 0x7f;
	const struct fault fault = TRY(asm volatile("at_np_int: int %0" : : "i"(V)));
	extern const u8 at_np_int[];
	restore(V);
	expect_fault(fault, VECTOR_NP, V << 3 | IDT);
	expect_eq(fault.frame.rip, (u64)at_np_int);
}

TEST("guest.idt.limit", "a vector beyond the IDT's limit raises #GP with its index")
{
	struct table_register idtr = tables_idtr();

	idtr.limit = V * 16 + 14;		/* the last byte of the gate is missing */
	write_idtr(idtr);
	struct fault fault = TRY(call_v());
	write_idtr(tables_idtr());
	expect_fault(fault, VECTOR_GP, V << 3 | IDT);

	idtr.limit = V * 16 + 15;
	write_idtr(idtr);
	fault = TRY(call_v());
	write_idtr(tables_idtr());
	expect_fault(fault, V, 0);
}

TEST("guest.idt.type", "a gate of any type but a 64-bit interrupt or trap gate raises #GP with its index")
{
	for (u8 type = 0; type < 32; type++) {
		idt[V].type = 0x80 | type;
		const struct fault fault = TRY(call_v());

		interrupts_off();
		CASE("type %#x", type);
		if (type == 0xe || type == 0xf)
			expect_fault(fault, V, 0);
		else
			expect_fault(fault, VECTOR_GP, V << 3 | IDT);
	}
	restore(V);
}

TEST("guest.idt.dpl", "INT n and INT3 at CPL 3 raise #GP with the index if the gate's DPL is below 3")
{
	user_pages_on();
	for (u8 dpl = 0; dpl < 4; dpl++) {
		idt[V].type = 0x8e | dpl << 5;
		const struct fault fault = user_run(call_v);

		CASE("DPL %u", dpl);
		if (dpl == 3)
			expect_fault(fault, V, 0);
		else
			expect_fault(fault, VECTOR_GP, V << 3 | IDT);
	}
	restore(V);
}

CODE(user_int3, "int3");

TEST("guest.idt.dpl_bp", "INT3 at CPL 3 obeys the DPL of gate 3")
{
	user_pages_on();
	struct fault fault = user_run(user_int3);
	expect_fault(fault, VECTOR_GP, VECTOR_BP << 3 | IDT);
	idt[VECTOR_BP].type |= 3 << 5;
	fault = user_run(user_int3);
	restore(VECTOR_BP);
	expect_fault(fault, VECTOR_BP, 0);
}

CODE(user_int1, ".byte 0xf1");
CODE(user_ud2, "ud2");

TEST("guest.idt.dpl_hardware", "an exception at CPL 3 does not look at the gate's DPL")
{
	user_pages_on();
	const struct fault fault = user_run(user_ud2);
	expect_fault(fault, VECTOR_UD, 0);
}

TEST("guest.idt.dpl_int1", "INT1 at CPL 3 does not look at the gate's DPL")
{
	user_pages_on();
	const struct fault fault = user_run(user_int1);
	expect_fault(fault, VECTOR_DB, 0);
}

static u64 handler_rflags;
static u64 handler_top;
static u16 handler_ss, handler_cs;

static void notes_state(struct exception_frame *frame)
{
	handler_rflags = read_rflags();
	handler_top = (u64)(frame + 1);
	handler_ss = read_ss();
	handler_cs = read_cs();
}

/* INT n with these flags; the flags that it saves. */
static u64 saved_rflags;

static void notes_state_and_returns(struct exception_frame *frame)
{
	notes_state(frame);
	saved_rflags = frame->rflags;
	frame->rflags = RFLAGS_FIXED;
}

static void call_v_with(u64 rflags)
{
	interrupt_handle(V, notes_state_and_returns);
	asm volatile("pushq %0; popfq; int %1" : : "r"(rflags), "i"(V) : "memory", "cc");
}

TEST("guest.idt.interrupt_gate", "an interrupt gate clears IF, NT, RF, VM and TF, and saves the flags as they were")
{
	call_v_with(RFLAGS_IF | RFLAGS_NT | RFLAGS_AC | RFLAGS_CF | RFLAGS_IOPL | RFLAGS_FIXED);
	expect_bits(handler_rflags, RFLAGS_IF | RFLAGS_NT | RFLAGS_TF | RFLAGS_RF | RFLAGS_VM, 0);
	expect_bits(handler_rflags, RFLAGS_AC | RFLAGS_IOPL, RFLAGS_AC | RFLAGS_IOPL);
	expect_eq(saved_rflags, RFLAGS_IF | RFLAGS_NT | RFLAGS_AC | RFLAGS_CF | RFLAGS_IOPL | RFLAGS_FIXED);
}

TEST("guest.idt.trap_gate", "a trap gate leaves IF alone")
{
	idt[V].type = 0x8f;
	call_v_with(RFLAGS_IF | RFLAGS_FIXED);
	const u64 on = handler_rflags;
	call_v_with(RFLAGS_FIXED);
	restore(V);
	expect_eq(on & RFLAGS_IF, RFLAGS_IF);
	expect_eq(handler_rflags & RFLAGS_IF, 0);
	expect_eq(saved_rflags, RFLAGS_FIXED);
}

TEST("guest.idt.saved_flags", "each flag that POPF can set is in the saved image")
{
	for (unsigned int bit = 0; bit < 22; bit++) {
		const u64 flag = BIT(bit) & (RFLAGS_ARITHMETIC | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT |
				RFLAGS_AC | BIT(21));

		CASE("bit %u", bit);
		call_v_with(flag | RFLAGS_FIXED);
		expect_eq(saved_rflags, flag | RFLAGS_FIXED);
	}
}

static u64 frame_rsp, frame_ss, frame_cs;

static void notes_frame(struct exception_frame *frame)
{
	notes_state(frame);
	frame_rsp = frame->rsp;
	frame_ss = frame->ss;
	frame_cs = frame->cs;
}

TEST("guest.idt.alignment", "the frame is aligned to 16 bytes, whatever RSP, which is saved as it was")
{
	interrupt_handle(V, notes_frame);
	for (u64 i = 0; i < 16; i++) {
		u64 rsp;

		asm volatile("mov %%rsp, %%rbx\n\t"
			     "sub $256, %%rsp\n\t"
			     "and $-16, %%rsp\n\t"
			     "sub %2, %%rsp\n\t"
			     "mov %%rsp, %0\n\t"
			     "int %1\n\t"
			     "mov %%rbx, %%rsp"
			     : "=&r"(rsp) : "i"(V), "r"(i) : "rbx", "memory", "cc");
		CASE("RSP %u below a multiple of 16", i);
		expect_eq(handler_top & 15, 0);
		expect_between(rsp - 15, handler_top, rsp);
		expect_eq(frame_rsp, rsp);
	}
}

static u64 own_rsp;
static void calls_with_odd_rsp(void)
{
	asm volatile("mov %%rsp, %%rbx; sub $131, %%rsp; mov %%rsp, %0; int %1; mov %%rbx, %%rsp"
		     : "=m"(own_rsp) : "i"(V) : "rbx", "memory", "cc");
}

TEST("guest.idt.same_stack", "without a change of CPL, SS and RSP are saved, and SS stays")
{
	interrupt_handle(V, notes_frame);
	calls_with_odd_rsp();
	expect_eq(frame_rsp, own_rsp);
	expect_eq(frame_ss, SELECTOR_DATA);
	expect_eq(frame_cs, SELECTOR_CODE64);
	expect_eq(handler_ss, SELECTOR_DATA);
	expect_eq(handler_cs, SELECTOR_CODE64);
}

TEST("guest.idt.rsp0", "from CPL 3, the frame is at the TSS's RSP0, SS is null, and the user's SS and RSP are saved")
{
	user_pages_on();
	idt[V].type |= 3 << 5;
	interrupt_handle(V, notes_frame);
	const struct fault fault = user_run(calls_with_odd_rsp);
	restore(V);
	expect_no_fault(fault);
	expect_eq(handler_top, this_cpu()->tss.rsp[0]);
	expect_eq(handler_ss, 0);
	expect_eq(handler_cs, SELECTOR_CODE64);
	expect_eq(frame_ss, SELECTOR_USER_DATA);
	expect_eq(frame_cs, SELECTOR_USER_CODE64);
	expect_eq(frame_rsp, own_rsp);
}

TEST("guest.idt.rsp0_align", "an RSP0 that is not aligned is rounded down to 16 bytes")
{
	struct tss *tss = &this_cpu()->tss;
	const u64 before = tss->rsp[0];

	user_pages_on();
	idt[V].type |= 3 << 5;
	interrupt_handle(V, notes_frame);
	tss->rsp[0] = before - 1;
	const struct fault fault = user_run(calls_with_odd_rsp);
	tss->rsp[0] = before;
	restore(V);
	expect_no_fault(fault);
	expect_eq(handler_top, before - 16);
}

static u8 other_stack[4096] ALIGNED(16);

TEST("guest.idt.ist", "a gate's IST field takes the stack from that entry of the TSS, at any CPL")
{
	struct tss *tss = &this_cpu()->tss;

	user_pages_on();
	for (u8 i = 1; i <= 7; i++) {
		const u64 before = tss->ist[i - 1];

		tss->ist[i - 1] = (u64)other_stack + 4096 - 64 * i;
		idt[V].ist = i;
		idt[V].type |= 3 << 5;
		interrupt_handle(V, notes_frame);
		CASE("IST %u", i);
		calls_with_odd_rsp();
		expect_eq(handler_top, (u64)other_stack + 4096 - 64 * i);
		const struct fault fault = user_run(calls_with_odd_rsp);
		expect_no_fault(fault);
		expect_eq(handler_top, (u64)other_stack + 4096 - 64 * i);
		expect_eq(handler_ss, 0);
		tss->ist[i - 1] = before;
		restore(V);
	}
}

TEST("guest.idt.ist_ss", "an IST stack without a change of CPL leaves SS alone")
{
	idt[V].ist = 7;
	this_cpu()->tss.ist[6] = (u64)other_stack + 4096;
	interrupt_handle(V, notes_frame);
	calls_with_odd_rsp();
	this_cpu()->tss.ist[6] = 0;
	restore(V);
	expect_eq(handler_top, (u64)other_stack + 4096);
	expect_eq(handler_ss, SELECTOR_DATA);
}

TEST("guest.idt.ist_align", "an IST pointer that is not aligned is rounded down to 16 bytes")
{
	struct tss *tss = &this_cpu()->tss;

	idt[V].ist = 7;
	interrupt_handle(V, notes_frame);
	tss->ist[6] = (u64)other_stack + 4095;
	calls_with_odd_rsp();
	tss->ist[6] = 0;
	restore(V);
	expect_eq(handler_top, (u64)other_stack + 4080);
}

/* A spare TSS with a limit, of the same contents as this processor's. */
static struct fault with_tss_limit(u32 limit, void (*function)(void))
{
	static struct tss copy ALIGNED(16);
	const u64 base = (u64)&copy;

	copy = this_cpu()->tss;
	copy.ist[6] = (u64)other_stack + 4096;
	gdt[SELECTOR_SPARE / 8] = limit | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	gdt[SELECTOR_SPARE / 8 + 1] = base >> 32;
	asm volatile("ltr %w0" : : "r"(SELECTOR_SPARE) : "memory");
	const struct fault fault = TRY(function());
	gdt[SELECTOR_SPARE / 8] = gdt[SELECTOR_SPARE / 8 + 1] = 0;
	cpu_load_tables(this_cpu());
	return fault;
}

TEST("guest.idt.tss_limit", "#TS with the TSS's selector if the stack pointer is beyond the TSS's limit")
{
	const u32 end = offsetof(struct tss, ist[7]);

	idt[V].ist = 7;
	struct fault fault = with_tss_limit(end - 1, call_v);
	expect_fault(fault, V, 0);
	fault = with_tss_limit(end - 2, call_v);
	expect_fault(fault, VECTOR_TS, SELECTOR_SPARE);
	restore(V);
}

TEST("guest.idt.null_selector", "a gate with a null selector raises #GP(0)")
{
	for (u16 selector = 0; selector < 4; selector++) {
		idt[V].selector = selector;
		const struct fault fault = TRY(call_v());
		CASE("selector %u", selector);
		expect_fault(fault, VECTOR_GP, 0);
	}
	restore(V);
}

TEST("guest.idt.selector", "a gate to data, to code that is not 64-bit, or beyond the GDT raises #GP with the selector")
{
	static const u16 selectors[] = { SELECTOR_DATA, SELECTOR_CODE32, SELECTOR_CODE16, SELECTOR_USER_CODE64,
			0x5000 };

	for (size_t i = 0; i < ARRAY_SIZE(selectors); i++) {
		idt[V].selector = selectors[i];
		const struct fault fault = TRY(call_v());
		CASE("selector %#x", selectors[i]);
		expect_fault(fault, VECTOR_GP, selectors[i] & ~3);
	}
	restore(V);
}

TEST("guest.idt.code_not_present", "a gate to a code segment with P=0 raises #NP with the selector")
{
	gdt[SELECTOR_SPARE / 8] = gdt[SELECTOR_CODE64 / 8] & ~BIT(47);
	idt[V].selector = SELECTOR_SPARE;
	struct fault fault = TRY(call_v());
	expect_fault(fault, VECTOR_NP, SELECTOR_SPARE);
	gdt[SELECTOR_SPARE / 8] |= BIT(47);
	fault = TRY(call_v());
	expect_fault(fault, V, 0);
	gdt[SELECTOR_SPARE / 8] = 0;
	restore(V);
}

TEST("guest.idt.offset", "a gate to an address that is not canonical raises #GP(0)")
{
	idt[V].offset_63_32 = NOT_CANONICAL >> 32;
	const struct fault fault = TRY(call_v());
	restore(V);
	expect_fault(fault, VECTOR_GP, 0);
}
