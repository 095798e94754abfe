/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The small hypervisor that an image becomes with under=vmx: what its files share.
 *
 *	under.c			the words of under=, the table of handlers, the loop
 *	under_host.c		tables of its own, so that a guest may do to the image's what it likes
 *	under_register.c	general registers, the end of an emulated instruction, injection
 *	under_event.c		exceptions, NMIs, interrupts, HLT
 *	under_cr.c		control and debug registers
 *	under_msr.c		RDMSR, WRMSR, CPUID, XSETBV
 *	under_io.c		IN, OUT, INS, OUTS
 *	under_memory.c		the guest's memory, by its page tables; operands
 *	under_table.c		LGDT, SGDT, LIDT, SIDT, LLDT, SLDT, LTR, STR; INVPCID
 *	under_ept.c		an EPT that forgets
 *
 * A handler emulates what exited, then either under_retire()s the instruction or
 * injects an exception; or it does neither, and the guest tries again.
 */
#pragma once

#include "vmx/decode.h"
#include "vmx/guest.h"
#include "x86/processor.h"

/* Give the guest no more: the reason ends the image. */
void under_give_up(const char *reason);

/* ---- under_host.c */

/* The VMCS's host state: own GDT, IDT, TSS and struct cpu. Own handlers take NMIs. */
void under_use_own_tables(void);

/* Back to the image's, once the guest has ended. */
void under_return_tables(void);

/* ---- under_register.c */

u64 under_gpr(u32 number);
void under_set_gpr(u32 number, u64 value);

/* The guest's value in EDX:EAX. */
u64 under_edx_eax(void);
void under_set_edx_eax(u64 value);

u32 under_cpl(void);
bool under_in_64bit_mode(void);

/* CR0 and CR4 as the guest believes they are. */
u64 under_cr0(void);
u64 under_cr4(void);

/*
 * The instruction is done: RIP moves behind it, and what ends with an instruction ends: RF, blocking by STI and MOV
 * SS; a single step comes due. What a step of a REP needs is the same without the first.
 */
void under_retire(void);
void under_retire_step(void);

/* Debug conditions (DR6's bits 3:0) that the emulated instruction met: they come due when it is retired. */
void under_note_breakpoints(u64 linear, u32 size, bool write, bool io);

/* Exceptions for the guest, by the next entry. */
void under_inject(u8 vector);
void under_inject_code(u8 vector, u32 error_code);
void under_inject_page_fault(u64 linear, u32 error_code);
void under_inject_debug(u64 conditions);	/* DR6's bits */

/* Run the statements in the host; a fault in them is the guest's #GP(0). True: there was none. */
#define UNDER_TRY(...)					\
({							\
	const bool raised_ = TRY(__VA_ARGS__).raised;	\
							\
	if (raised_)					\
		under_inject_code(VECTOR_GP, 0);	\
	!raised_;					\
})

/* ---- under_memory.c: false: the access faults, and the exception is injected */

bool under_read(u64 linear, void *to, u32 size, bool user);
bool under_write(u64 linear, const void *from, u32 size, bool user);
bool under_may_write(u64 linear, u32 size, bool user);
bool under_canonical(u64 linear);

/* Has the instruction that exited this legacy prefix? For what no field says. */
bool under_has_prefix(u8 prefix);

/* The linear address of a memory operand, by the instruction information and the displacement (the qualification). */
u64 under_operand(u32 information);

/* ---- under_event.c */

void under_intercept_events(void);
void under_prepare_entry(void);		/* before each entry: what waits is injected, or its window opened */
void under_nmi_in_host(struct exception_frame *frame);
void under_unblock_nmis(void);		/* behind each exit */
void under_block_nmis_again(u64 information);

void under_exception(void);
void under_external_interrupt(void);
void under_interrupt_window(void);
void under_nmi_window(void);
void under_hlt(void);

/* ---- the other handlers, by file */

void under_hide_cr_bits(bool all);
void under_cr_access(void);
void under_mov_dr(void);
void under_invlpg(void);

u64 under_efer(void);		/* the guest's */
void under_use_msr_controls(bool intercept);
void under_use_io_controls(void);
void under_cpuid(void);
void under_rdmsr(void);
void under_wrmsr(void);
void under_xsetbv(void);

void under_io(void);

void under_gdtr_idtr(void);
void under_ldtr_tr(void);
void under_invpcid(void);

void under_use_forgetful_ept(void);
void under_ept_violation(void);
void under_ept_tick(void);		/* at each exit */

/* Translations of the guest: of all addresses, or one (INVVPID where it has a VPID). */
void under_use_vpid(void);
void under_flush_all(void);
void under_flush(u64 linear);
