/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine that is stranger than the one at hand: docs/machines.md. Only the check build (make CHECK=1) has it; in the
 * images that people ship every hook below is nothing.
 *
 * A hook stands where the library meets the machine, and does in the machine's name what the words on the command line
 * say: hostile.NAME=VALUE (lib/hostile/words.c has the table). Without such a word it does nothing in a check build either.
 */
#pragma once

#include "libc/types.h"

struct cpuid;

#ifdef VMXCHECK_CHECK_BUILD

/* What the words said; 0: as it is. In .data: the second start of an image (hostile_boot) clears .bss. */
struct hostile {
	/* lib/hostile/hooks.h's: what an inline word of the library asks for before it calls a hook. */
	bool lies_in_cpuid, lies_in_msrs, lacks_ports, has_gaps;
	bool booted;
	u64 width, la57, hypervisor, pmu;
	u64 absent;			/* ABSENT_...: devices that do not answer */
	u64 ipi_delay, nmi_delay;	/* ticks of the PIT */
	u64 entry_delay;		/* microseconds */
	u64 late_start, late_work;	/* milliseconds, of processors but the first */
	u64 tsc, tsc_adjust, tsc_skew;
	u64 gaps, seed;			/* one in so many hooks takes 100 microseconds */
	u64 holes, low_holes;		/* KBytes: blocks of this size that alternate, RAM and none; below 1 MiB */
	u64 break_off;			/* one test in so many ends in its middle */
	u64 entry, firmware;		/* ENTRY_...: state that the image is entered with; what a firmware left on */
};
extern struct hostile hostile;

/* The words are read and, with such as need it, the image starts again as the guest of a bad firmware. */
void hostile_boot(const char *command_line, u32 magic, u32 information);

/* Is it a word of this folder? */
bool hostile_word(const char *word);

/* Answers in the processor's name. */
void hostile_lie_in_cpuid(u32 leaf, u32 subleaf, struct cpuid *answer);
bool hostile_lie_in_rdmsr(u32 msr, u64 *value);
bool hostile_lie_in_wrmsr(u32 msr, u64 value);
bool hostile_port_is_absent(u16 port);
void hostile_gap(void);

/* true: the interrupt will come later, the sender need do nothing. The destination, and the low half of an ICR. */
bool hostile_ipi(u32 to_apic_id, u32 command);

void hostile_before_entry(void);
void hostile_after_entry(void);

/* The operand of VMXON, VMCLEAR, VMPTRLD, INVEPT: a copy where a processor of another width takes its first word, an address, for another. */
const void *hostile_operand(const void *operand, size_t words);

/* The map is known but for what this takes away. */
void hostile_memory_map(void);

void hostile_processor_starts(void);
void hostile_processor_works(void);

/* At each check: does the test end here? */
void hostile_check(void);
void hostile_test_begins(const char *id);
void hostile_test_ends(void);
/* Was the last test ended in its middle? */
bool hostile_broke_off(void);

#else

static inline void hostile_boot(UNUSED const char *command_line, UNUSED u32 magic, UNUSED u32 information) { }
static inline bool hostile_word(UNUSED const char *word) { return false; }
static inline bool hostile_ipi(UNUSED u32 to_apic_id, UNUSED u32 command) { return false; }
static inline void hostile_before_entry(void) { }
static inline void hostile_after_entry(void) { }
static inline const void *hostile_operand(const void *operand, UNUSED size_t words) { return operand; }
static inline void hostile_memory_map(void) { }
static inline void hostile_processor_starts(void) { }
static inline void hostile_processor_works(void) { }
static inline void hostile_check(void) { }
static inline void hostile_test_begins(UNUSED const char *id) { }
static inline void hostile_test_ends(void) { }
static inline bool hostile_broke_off(void) { return false; }

#endif

/* The hooks in words that are inlined everywhere: a test of one byte, in the check build alone. */
#ifdef VMXCHECK_CHECK_BUILD
#define HOSTILE_CPUID(leaf, subleaf, answer) do { if (hostile.lies_in_cpuid) hostile_lie_in_cpuid(leaf, subleaf, answer); } while (0)
#define HOSTILE_RDMSR(msr, value) (hostile.lies_in_msrs && hostile_lie_in_rdmsr(msr, value))
#define HOSTILE_WRMSR(msr, value) (hostile.lies_in_msrs && hostile_lie_in_wrmsr(msr, value))
#define HOSTILE_INVENTS_MSR(msr) (hostile.lies_in_msrs && hostile_lie_in_rdmsr(msr, &(u64){ 0 }))
#define HOSTILE_ABSENT(port) (hostile.lacks_ports && hostile_port_is_absent(port))
#define HOSTILE_GAP() do { if (hostile.has_gaps) hostile_gap(); } while (0)
#else
#define HOSTILE_CPUID(leaf, subleaf, answer) do { } while (0)
#define HOSTILE_RDMSR(msr, value) false
#define HOSTILE_WRMSR(msr, value) false
#define HOSTILE_INVENTS_MSR(msr) false
#define HOSTILE_ABSENT(port) false
#define HOSTILE_GAP() do { } while (0)
#endif
