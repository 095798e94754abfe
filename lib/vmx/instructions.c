/* SPDX-License-Identifier: BSD-2-Clause */
#include "hostile/hostile.h"
#include "vmx/controls.h"
#include "vmx/ept.h"
#include "vmx/fields.h"
#include "vmx/instructions.h"
#include "vmx/lacks.h"
#include "x86/processor.h"

#define SET_ARITHMETIC_FLAGS "pushfq; orq $0x8d5, (%%rsp); popfq; "
#define GET_FLAGS "; pushfq; popq %[flags]"

struct outcome outcome_from_rflags(u64 rflags)
{
	u64 error = 0;

	if (rflags & RFLAGS_CF)
		return FAIL_INVALID;
	if (!(rflags & RFLAGS_ZF))
		return SUCCEED;
	asm volatile("vmread %1, %0" : "=r"(error) : "r"((u64)VM_INSTRUCTION_ERROR) : "cc", "memory");
	return FAIL_VALID((u32)error);
}

struct outcome outcome_from_fault(const struct fault *fault)
{
	return FAULTS(fault->vector, fault->error_code);
}

static struct outcome outcome_of(const struct fault *fault, u64 flags, u64 *rflags)
{
	if (fault->raised)
		return outcome_from_fault(fault);
	if (rflags)
		*rflags = flags;
	return outcome_from_rflags(flags);
}

/* Execute one instruction: text, its outputs beside the flags, and its inputs. */
#define EXECUTE(text, outputs, inputs)								\
({												\
	volatile u64 flags_ = 0;								\
	const struct fault fault_ = TRY({							\
		u64 after_;									\
		asm volatile(SET_ARITHMETIC_FLAGS text GET_FLAGS				\
			     : [flags] "=&r"(after_) outputs : inputs : "cc", "memory");	\
		flags_ = after_;								\
	});											\
	outcome_of(&fault_, flags_, rflags);							\
})
#define AND ,

struct outcome vmxon(const u64 *region_address, u64 *rflags)
{
	return EXECUTE("vmxon (%1)", , "r"(hostile_operand(region_address, 1)));
}

struct outcome vmxoff(u64 *rflags)
{
	return EXECUTE("vmxoff", , );
}

struct outcome vmclear(const u64 *region_address, u64 *rflags)
{
	return EXECUTE("vmclear (%1)", , "r"(hostile_operand(region_address, 1)));
}

struct outcome vmptrld(const u64 *region_address, u64 *rflags)
{
	return EXECUTE("vmptrld (%1)", , "r"(hostile_operand(lacks_region(region_address), 1)));
}

struct outcome vmptrst(u64 *region_address, u64 *rflags)
{
	return EXECUTE("vmptrst (%1)", , "r"(region_address));
}

struct outcome vmread(u64 encoding, u64 *value, u64 *rflags)
{
	volatile u64 result = *value;
	const u64 seen = lacks_field(encoding);
	const struct outcome outcome = EXECUTE("vmread %2, %1", AND "+m"(result), "r"(seen));

	*value = result;
	return outcome;
}

struct outcome vmwrite(u64 encoding, u64 value, u64 *rflags)
{
	const u64 seen = lacks_field(encoding);

	return EXECUTE("vmwrite %2, %1", , "r"(seen) AND "r"(value));
}

struct outcome vmcall(u64 *rflags)
{
	return EXECUTE("vmcall", , );
}

struct outcome vmlaunch(u64 *rflags)
{
	lacks_before_entry();

	const struct outcome outcome = EXECUTE("vmlaunch", , );

	lacks_after_entry();
	return outcome;
}

struct outcome vmresume(u64 *rflags)
{
	lacks_before_entry();

	const struct outcome outcome = EXECUTE("vmresume", , );

	lacks_after_entry();
	return outcome;
}

struct outcome invept(u64 type, const struct invept_descriptor *descriptor, u64 *rflags)
{
	if (lacks_token(CAP_INVEPT))
		return EXECUTE("ud2", , );
	if (type == INVEPT_SINGLE_CONTEXT)
		descriptor = hostile_operand(descriptor, sizeof(*descriptor) / sizeof(u64));
	return EXECUTE("invept (%2), %1", , "r"(type) AND "r"(descriptor));
}

struct outcome invvpid(u64 type, const struct invvpid_descriptor *descriptor, u64 *rflags)
{
	if (lacks_token(CAP_INVVPID))
		return EXECUTE("ud2", , );
	return EXECUTE("invvpid (%2), %1", , "r"(type) AND "r"(descriptor));
}
