/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/interrupt.h"
#include "x86/selectors.h"

#include "libc/printf.h"
#include "libc/string.h"

static interrupt_handler handlers[256];
volatile u32 interrupt_count[256];

void interrupt_dispatch(struct exception_frame *frame);
void recovery_link(struct recovery *recovery);

void interrupt_handle(u8 vector, interrupt_handler handler)
{
	handlers[vector] = handler;
	interrupt_count[vector] = 0;
}

void interrupt_handlers_reset(void)
{
	memset(handlers, 0, sizeof(handlers));
}

void interrupt_counter(struct exception_frame *frame)
{
	interrupt_count[frame->vector]++;
	if (frame->vector >= 32)
		apic_eoi();
}

struct recovery *recovery_current(void)
{
	return this_cpu()->recovery;
}

void recovery_set(struct recovery *recovery)
{
	this_cpu()->recovery = recovery;
}

void recovery_link(struct recovery *recovery)
{
	recovery->fault.raised = false;
	recovery->outer = recovery_current();
	recovery_set(recovery);
}

void recovery_end(struct recovery *recovery)
{
	recovery_set(recovery->outer);
}

/* Make the interrupted code go on behind its TRY, with the fault as the value. */
static void recover(struct recovery *recovery, struct exception_frame *frame, const char *thrown)
{
	struct fault *fault = &recovery->fault;

	fault->raised = true;
	fault->vector = frame->vector;
	fault->error_code = frame->error_code;
	fault->cr2 = frame->vector == VECTOR_PF ? read_cr2() : 0;
	fault->thrown = thrown;
	fault->frame = *frame;
	recovery_set(recovery->outer);

	frame->rax = 1;
	frame->rbx = recovery->rbx;
	frame->rbp = recovery->rbp;
	frame->r12 = recovery->r12;
	frame->r13 = recovery->r13;
	frame->r14 = recovery->r14;
	frame->r15 = recovery->r15;
	frame->rsp = recovery->rsp;
	frame->rip = recovery->rip;
	frame->cs = SELECTOR_CODE64;
	frame->ss = SELECTOR_DATA;
	frame->rflags = RFLAGS_FIXED | (frame->rflags & RFLAGS_IF);
}

/*
 * Instructions that may fault without a TRY: pairs in the section .fixups. The
 * code goes on at the landing, with RAX = bit 63 | vector << 32 | error code.
 */
extern const struct fixup {
	u64 rip, landing;
} fixups_start[], fixups_end[];

static bool fix_up(struct exception_frame *frame)
{
	for (const struct fixup *fixup = fixups_start; fixup < fixups_end; fixup++) {
		if (frame->rip != fixup->rip || frame->vector >= 32)
			continue;
		frame->rip = fixup->landing;
		frame->rax = BIT(63) | frame->vector << 32 | (u32)frame->error_code;
		return true;
	}
	return false;
}

void nmi_unblock(void)
{
	asm volatile("mov %%rsp, %%rax\n\t"
		     "pushq %0\n\t"
		     "pushq %%rax\n\t"
		     "pushfq\n\t"
		     "pushq %1\n\t"
		     "pushq $1f\n\t"
		     "iretq\n"
		     "1:"
		     : : "i"(SELECTOR_DATA), "i"(SELECTOR_CODE64) : "rax", "memory", "cc");
}

/* The software vector of throw(): its message is in this_cpu()->thrown. */
enum { VECTOR_THROW = 0xff };

void interrupt_dispatch(struct exception_frame *frame)
{
	struct cpu *cpu = this_cpu();
	const interrupt_handler handler = cpu->handlers ? cpu->handlers[frame->vector] : handlers[frame->vector];
	const char *thrown = NULL;

	cpu->nmis += frame->vector == VECTOR_NMI;
	cpu->interrupts += frame->vector >= 32;
	if (frame->vector == VECTOR_WAKE && cpu->number != 0) {
		cpu_wake_up(cpu, frame);
		return;
	}
	if (frame->vector == VECTOR_THROW && cpu->thrown) {
		thrown = cpu->thrown;
		cpu->thrown = NULL;
	} else if (handler) {
		handler(frame);
		return;
	}
	/* A spurious interrupt may come whenever the TPR rises past a request; it wants no EOI. */
	if (!thrown && (frame->vector == APIC_SPURIOUS_VECTOR || fix_up(frame)))
		return;
	if (!cpu->recovery)
		cpu_fatal(frame);
	/* A software interrupt has no EOI, and in a guest reading the APIC may exit. */
	if (frame->vector >= 32 && frame->vector != VECTOR_USER_RETURN && !thrown && apic_in_service(frame->vector))
		apic_eoi();
	recover(cpu->recovery, frame, thrown);
}

void throw(const char *message)
{
	this_cpu()->thrown = message;
	asm volatile("int %0" : : "i"(VECTOR_THROW) : "memory");
	__builtin_unreachable();
}

const char *vector_name(unsigned int vector)
{
	static const char *const names[32] = {
		[VECTOR_DE] = "#DE", [VECTOR_DB] = "#DB", [VECTOR_NMI] = "NMI", [VECTOR_BP] = "#BP",
		[VECTOR_OF] = "#OF", [VECTOR_BR] = "#BR", [VECTOR_UD] = "#UD", [VECTOR_NM] = "#NM",
		[VECTOR_DF] = "#DF", [VECTOR_TS] = "#TS", [VECTOR_NP] = "#NP", [VECTOR_SS] = "#SS",
		[VECTOR_GP] = "#GP", [VECTOR_PF] = "#PF", [VECTOR_MF] = "#MF", [VECTOR_AC] = "#AC",
		[VECTOR_MC] = "#MC", [VECTOR_XM] = "#XM", [VECTOR_VE] = "#VE", [VECTOR_CP] = "#CP",
	};
	static char other[16];

	if (vector < ARRAY_SIZE(names) && names[vector])
		return names[vector];
	snprintf(other, sizeof(other), "vector %u", vector);
	return other;
}

void fault_format(char *to, size_t size, const struct fault *fault)
{
	if (!fault->raised)
		snprintf(to, size, "no fault");
	else if (fault->thrown)
		snprintf(to, size, "%s", fault->thrown);
	else if (fault->vector == VECTOR_PF)
		snprintf(to, size, "#PF(%#x) at %#lx", fault->error_code, fault->cr2);
	else
		snprintf(to, size, "%s(%#x)", vector_name(fault->vector), fault->error_code);
}
