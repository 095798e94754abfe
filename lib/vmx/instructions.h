/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The VMX instructions. Each sets all arithmetic flags before, so that flags which
 * the instruction ought to clear are seen, and returns its outcome; a fault is one.
 * rflags, if not NULL, gets RFLAGS as the instruction left them.
 */
#pragma once

#include "vmx/outcome.h"
#include "x86/fault.h"

struct invept_descriptor {
	u64 eptp, reserved;
};

struct invvpid_descriptor {
	u64 vpid;		/* bits 63:16 are reserved */
	u64 linear_address;
};

struct outcome vmxon(const u64 *region_address, u64 *rflags);
struct outcome vmxoff(u64 *rflags);
struct outcome vmclear(const u64 *region_address, u64 *rflags);
struct outcome vmptrld(const u64 *region_address, u64 *rflags);
struct outcome vmptrst(u64 *region_address, u64 *rflags);
struct outcome vmread(u64 encoding, u64 *value, u64 *rflags);
struct outcome vmwrite(u64 encoding, u64 value, u64 *rflags);
struct outcome vmcall(u64 *rflags);
struct outcome vmlaunch(u64 *rflags);	/* only where it must fail: guest.h enters guests */
struct outcome vmresume(u64 *rflags);
struct outcome invept(u64 type, const struct invept_descriptor *descriptor, u64 *rflags);
struct outcome invvpid(u64 type, const struct invvpid_descriptor *descriptor, u64 *rflags);

/* VMsucceed, VMfailInvalid or VMfailValid by CF and ZF; reads the VM-instruction error. */
struct outcome outcome_from_rflags(u64 rflags);
struct outcome outcome_from_fault(const struct fault *fault);
