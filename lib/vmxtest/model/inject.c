/* SPDX-License-Identifier: BSD-2-Clause */
/* The event to inject: the rules of "VM-Entry Control Fields". */
#include "vmxtest/model/look.h"

#include "vmx/decode.h"
#include "vmxtest/model/event.h"

bool holds_inject_type(const struct model_state *s) { return !injects(s, 1 << 8); }

bool holds_inject_other_reserved(const struct model_state *s)
{
	return !injects(s, INTERRUPTION_TYPE_OTHER) || may_be_1(s, PROC_MONITOR_TRAP_FLAG) || s->cpu->fred;
}

/* With FRED transitions also 1 and 2 (SYSCALL, SYSENTER). */
bool holds_inject_other_vector(const struct model_state *s)
{
	const u64 vector = event_vector(s);

	return !injects(s, INTERRUPTION_TYPE_OTHER) || vector == 0 || (s->cpu->fred && vector <= 2) || !holds_inject_other_reserved(s);
}

bool holds_inject_nmi_vector(const struct model_state *s) { return !injects(s, INTERRUPTION_TYPE_NMI) || event_vector(s) == 2; }
bool holds_inject_exception_vector(const struct model_state *s) { return !injects(s, INTERRUPTION_TYPE_HARDWARE) || event_vector(s) <= 31; }

static bool delivers_error_code(const struct model_state *s)
{
	return event(s) & INTERRUPTION_VALID && event(s) & INTERRUPTION_ERROR_CODE;
}

/* #DF, #TS, #NP, #SS, #GP, #PF, #AC. */
static bool has_error_code(u64 vector)
{
	return vector < 32 && (BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17)) >> vector & 1;
}

static bool in_real_mode(const struct model_state *s)
{
	return on(s, PROC2_UNRESTRICTED_GUEST) && !(v(s, M_GUEST_CR0) & 1);
}

/* IA32_VMX_BASIC[56]: a hardware exception may have one or not. */
static bool free_of_vectors(const struct model_state *s)
{
	return s->cpu->basic >> 56 & 1;
}

bool holds_inject_code_required(const struct model_state *s)
{
	return free_of_vectors(s) || !injects(s, INTERRUPTION_TYPE_HARDWARE) || !has_error_code(event_vector(s)) || in_real_mode(s) ||
	       delivers_error_code(s);
}

bool holds_inject_code_forbidden(const struct model_state *s)
{
	return !delivers_error_code(s) || (injects(s, INTERRUPTION_TYPE_HARDWARE) && (free_of_vectors(s) || has_error_code(event_vector(s))));
}

bool holds_inject_code_real_mode(const struct model_state *s) { return !delivers_error_code(s) || !in_real_mode(s); }

/* Bit 13 is that of nested exceptions where IA32_VMX_BASIC[58] has them. */
bool holds_inject_reserved(const struct model_state *s)
{
	return !(event(s) & INTERRUPTION_VALID) || !(event(s) & 0x7ffff000 & ~(u64)(s->cpu->basic >> 58 & 1 ? BIT(13) : 0));
}

bool holds_inject_code_high(const struct model_state *s)
{
	return !delivers_error_code(s) || !(v(s, M_VM_ENTRY_EXCEPTION_ERROR_CODE) & 0xffff0000);
}

/* Older editions of the manual have bit 15 too. */
bool holds_inject_code_bit15(const struct model_state *s)
{
	return !delivers_error_code(s) || !(v(s, M_VM_ENTRY_EXCEPTION_ERROR_CODE) & BIT(15));
}

static bool has_length(const struct model_state *s)
{
	return injects(s, INTERRUPTION_TYPE_SOFTWARE_INTERRUPT) || injects(s, INTERRUPTION_TYPE_PRIVILEGED) ||
	       injects(s, INTERRUPTION_TYPE_SOFTWARE_EXCEPTION);
}

bool holds_inject_length(const struct model_state *s) { return !has_length(s) || v(s, M_VM_ENTRY_INSTRUCTION_LENGTH) <= 15; }

bool holds_inject_length_zero(const struct model_state *s)
{
	return !has_length(s) || v(s, M_VM_ENTRY_INSTRUCTION_LENGTH) || s->cpu->misc >> 30 & 1;
}
