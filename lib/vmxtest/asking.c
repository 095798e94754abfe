/* SPDX-License-Identifier: BSD-2-Clause */
/* What the check build's words of lib/tap are about: controls and capabilities, which it does not know. */
#include "tap/tap.h"
#include "vmx/controls.h"
#include "vmx/lacks.h"

#ifdef VMXCHECK_CHECK_BUILD

bool tap_lacks(const char *names, size_t length)
{
	return lacks_parse(names, length);
}

const char *tap_token_name(u32 token)
{
	return token_name(token);
}

#endif
