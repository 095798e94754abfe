/* SPDX-License-Identifier: BSD-2-Clause */
#include "x86/asked.h"

#ifdef VMXCHECK_CHECK_BUILD

#include "x86/processor.h"

u64 (*vmx_msr_seen)(u32 msr, u64 value);

/* A bit a token: eight words of 64 controls, then 256 features and 256 capabilities. */
enum { CONTROLS = 512, NUMBERED = 256, TOKENS = CONTROLS + 2 * NUMBERED };
enum { CLASS_CONTROL = 1, CLASS_FEATURE = 4, CLASS_CAPABILITY = 5 };

static u64 asked[TOKENS / 64], unasked[TOKENS / 64];
static bool ignore;

static u32 position(u32 token)
{
	switch (token >> 28) {
	case CLASS_CONTROL: return (token >> 8 & 7) * 64 + (token & 63);
	case CLASS_FEATURE: return CONTROLS + (token & 0xff);
	case CLASS_CAPABILITY: return CONTROLS + NUMBERED + (token & 0xff);
	default: return TOKENS;	/* a need of another kind, which nothing watches */
	}
}

static u32 token_at(u32 i)
{
	if (i < CONTROLS)
		return (u32)CLASS_CONTROL << 28 | (i / 64) << 8 | i % 64;
	if (i < CONTROLS + NUMBERED)
		return (u32)CLASS_FEATURE << 28 | (i - CONTROLS);
	return (u32)CLASS_CAPABILITY << 28 | (i - CONTROLS - NUMBERED);
}

/* Several processors may do it at once. */
static void add(u64 *set, u32 i)
{
	__atomic_fetch_or(&set[i / 64], BIT(i % 64), __ATOMIC_RELAXED);
}

static bool is_in(const u64 *set, u32 i)
{
	return set[i / 64] & BIT(i % 64);
}

static u32 next(const u64 *set, u32 token)
{
	for (u32 i = token ? position(token) + 1 : 0; i < TOKENS; i++)
		if (is_in(set, i))
			return token_at(i);
	return 0;
}

void token_asked(u32 token)
{
	const u32 i = position(token);

	if (i < TOKENS && !is_in(asked, i))
		add(asked, i);
}

void token_used(u32 token)
{
	const u32 i = position(token);

	if (i < TOKENS && !is_in(asked, i) && !ignore)
		add(unasked, i);
}

void asked_begin(void)
{
	for (u32 i = 0; i < TOKENS / 64; i++)
		asked[i] = unasked[i] = 0;
}

void asked_ignore(void)
{
	ignore = true;
}

u32 asked_next(u32 token)
{
	return next(asked, token);
}

u32 unasked_next(u32 token)
{
	return next(unasked, token);
}

#endif
