/* SPDX-License-Identifier: BSD-2-Clause */
#include "window.h"

#include "libc/string.h"

u8 *window_page;
const char *const access_names[ACCESSES] = { "read", "write", "fetch" };

GUEST_ASM(guest_reads, "mov (%rbx), %rcx\n ret");
GUEST_ASM(guest_writes, "mov %rcx, (%rbx)\n ret");
GUEST_ASM(guest_jumps, "jmp *%rbx");

void restore_window(void)
{
	ept_map(GUEST_PHYSICAL, physical_address(window_page), EPT_RWX | EPT_WB);
	for (unsigned int level = 4; level > 1; level--)
		*ept_entry(GUEST_PHYSICAL, level) |= EPT_RWX;
	ept_flush();
}

void write_back_window(void)
{
	asm volatile("wbinvd" : : : "memory");
}

void use_window(void)
{
	if (physical_address_width() < 36)
		skip("needs a physical address of 36 bits (CPUID.80000008H:EAX[7:0])");
	window_page = page_alloc();
	memset(window_page, 0xc3, PAGE_SIZE);
	vmcs_use_ept();
	page_map(LINEAR, GUEST_PHYSICAL, PAGE_PRESENT | PAGE_WRITE);
	restore_window();
}

struct outcome guest_access(enum access_kind access, u64 linear)
{
	static void (*const functions[ACCESSES])(void) = { guest_reads, guest_writes, guest_jumps };

	guest.regs.rbx = linear;
	if (access == READ)
		guest.regs.rcx = 0;
	return guest_run(functions[access]);
}

u64 access_rip(enum access_kind access, u64 linear)
{
	return access == FETCH ? linear : access == READ ? (u64)guest_reads : (u64)guest_writes;
}

bool check_access_works(const char *file, u32 line, enum access_kind access, u64 linear)
{
	guest.regs.rcx = RETS;
	guest_access(access, linear);
	if (!check_guest_done(file, line))
		return false;
	return access != READ || check_equal(file, line, "what the guest read", guest.regs.rcx, RETS);
}

static bool check_ept_exit(const char *file, u32 line, u32 reason, enum access_kind access, u64 offset)
{
	struct expected_exit expected;

	for (size_t i = 0; i < sizeof(expected) / sizeof(u64); i++)
		((u64 *)&expected)[i] = NOT_LOOKED_AT;
	expected.physical = GUEST_PHYSICAL + offset;
	expected.rip = access_rip(access, LINEAR + offset);
	if (reason == EXIT_EPT_VIOLATION)
		expected.linear = LINEAR + offset;
	guest.regs.rcx = ~RETS;
	guest_access(access, LINEAR + offset);
	return check_exit(file, line, reason, &expected) &&
	       check_equal(file, line, "the page's memory", *(u64 *)(window_page + (offset & ~7ull)), RETS);
}

bool check_violation(const char *file, u32 line, enum access_kind access, u64 permissions, u64 offset)
{
	return check_ept_exit(file, line, EXIT_EPT_VIOLATION, access, offset) &&
	       check_bits(file, line, "exit qualification", vmcs_read(EXIT_QUALIFICATION), EPT_VIOLATION_DEFINED,
			  access_bit(access) | permissions << EPT_VIOLATION_PERMISSIONS_SHIFT |
			  EPT_VIOLATION_LINEAR_VALID | EPT_VIOLATION_FINAL);
}

bool check_misconfiguration(const char *file, u32 line, enum access_kind access, u64 offset)
{
	return check_ept_exit(file, line, EXIT_EPT_MISCONFIGURATION, access, offset);
}
