/* SPDX-License-Identifier: BSD-2-Clause */
/* EPT violations by accesses to the page itself (SDM Vol. 3C, "EPT Violations"; exit qualification). */
#include "window.h"

#include "libc/string.h"

/* Set the permissions of the window's entry at a level and nothing else of it. */
static void set_permissions(unsigned int level, u64 permissions)
{
	u64 *entry = ept_entry(GUEST_PHYSICAL, level);

	*entry = (*entry & ~(u64)EPT_RWX) | permissions;
}

/* Level 4's entry maps the whole guest, its code too: it keeps RWX in tests that need the guest to run. */
enum { LEVELS = 3 };

TEST("ept.viol.notpresent", "An entry with bits 2:0 = 0 gives a violation by every access", NEEDS(PROC2_ENABLE_EPT))
{
	static const u64 offsets[] = { 0, 1, 0x7f8, 0x800, 0xaa3, 0xff8 };

	use_window();
	for (unsigned int level = 1; level <= LEVELS; level++) {
		set_permissions(level, 0);
		ept_flush();
		for (enum access_kind access = 0; access < ACCESSES; access++)
			for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
				CASE("level %u, %s, offset %#x", level, access_names[access], offsets[i]);
				expect_violation(access, 0, offsets[i]);
			}
		set_permissions(level, EPT_RWX);
		ept_flush();
		for (enum access_kind access = 0; access < ACCESSES; access++) {
			CASE("level %u present, %s", level, access_names[access]);
			expect_access_works(access, LINEAR);
		}
	}

	/* Without its PML4E the guest cannot fetch its first instruction; the guest's own PML4 is read before. */
	CASE("level 4");
	set_permissions(4, 0);
	ept_flush();
	guest_access(READ, LINEAR);
	expect_exit(EXIT_EPT_VIOLATION, .physical = read_cr3());
	expect_bits(vmcs_read(EXIT_QUALIFICATION), EPT_VIOLATION_DEFINED,
		    EPT_VIOLATION_READ | EPT_VIOLATION_LINEAR_VALID);
}

/* Each access to the window with these permissions in the PTE: exits if and only if its own is missing. */
static void expect_permission_decides(u64 permissions)
{
	set_permissions(1, permissions);
	ept_flush();
	for (enum access_kind access = 0; access < ACCESSES; access++) {
		CASE("permissions %u, %s", permissions, access_names[access]);
		if (permissions & access_bit(access)) {
			expect_access_works(access, LINEAR + 0x450);
			if (access == WRITE)
				*(u64 *)(window_page + 0x450) = RETS;
		} else {
			expect_violation(access, permissions, 0x450);
		}
	}
}

TEST("ept.viol.read", "A read of an execute-only page gives a violation with bit 0",
     NEEDS(PROC2_ENABLE_EPT, CAP_EPT_EXECUTE_ONLY))
{
	use_window();
	expect_permission_decides(EPT_EXECUTE);
	expect_permission_decides(EPT_RWX);
}

TEST("ept.viol.write", "A write to a page without W gives a violation with bit 1", NEEDS(PROC2_ENABLE_EPT))
{
	use_window();
	expect_permission_decides(EPT_READ);
	expect_permission_decides(EPT_READ | EPT_EXECUTE);
	expect_permission_decides(EPT_RWX);
}

TEST("ept.viol.fetch", "A fetch from a page without X gives a violation with bit 2", NEEDS(PROC2_ENABLE_EPT))
{
	use_window();
	expect_permission_decides(EPT_READ);
	expect_permission_decides(EPT_READ | EPT_WRITE);
	expect_permission_decides(EPT_RWX);
}

TEST("ept.viol.level_and", "A permission missing at any one level gives the violation", NEEDS(PROC2_ENABLE_EPT))
{
	static const u64 permissions[] = { EPT_READ, EPT_READ | EPT_WRITE, EPT_READ | EPT_EXECUTE, EPT_EXECUTE };

	use_window();
	for (unsigned int level = 1; level <= LEVELS; level++)
		for (size_t i = 0; i < ARRAY_SIZE(permissions); i++) {
			if (permissions[i] == EPT_EXECUTE && !has(CAP_EPT_EXECUTE_ONLY))
				continue;
			set_permissions(level, permissions[i]);
			ept_flush();
			for (enum access_kind access = 0; access < ACCESSES; access++) {
				CASE("level %u, permissions %u, %s", level, permissions[i], access_names[access]);
				if (permissions[i] & access_bit(access))
					expect_access_works(access, LINEAR);
				else
					expect_violation(access, permissions[i], 0);
			}
			set_permissions(level, EPT_RWX);
		}

	/* At level 4 the guest loses its code with X, and its stack with W. */
	CASE("level 4 without X");
	set_permissions(4, EPT_READ | EPT_WRITE);
	ept_flush();
	guest_access(READ, LINEAR);
	expect_exit(EXIT_EPT_VIOLATION, .physical = vmcs_read(GUEST_RIP), .linear = vmcs_read(GUEST_RIP));
	expect_bits(vmcs_read(EXIT_QUALIFICATION), EPT_VIOLATION_DEFINED,
		    EPT_VIOLATION_FETCH | 3 << EPT_VIOLATION_PERMISSIONS_SHIFT | EPT_VIOLATION_LINEAR_VALID |
		    EPT_VIOLATION_FINAL);
}

TEST("ept.viol.perm_bits", "Qualification bits 5:3 are R, W and X of all entries used, ANDed", NEEDS(PROC2_ENABLE_EPT))
{
	static const u8 legal[] = { 0, EPT_READ, EPT_READ | EPT_WRITE, EPT_READ | EPT_EXECUTE, EPT_RWX, EPT_EXECUTE };
	const size_t count = ARRAY_SIZE(legal) - !has(CAP_EPT_EXECUTE_ONLY);

	use_window();
	WALK_OVER(i, 0, count * count * count) {
		const u8 at[] = { legal[i % count], legal[i / count % count], legal[i / count / count] };
		const u64 all = at[0] & at[1] & at[2];	/* 0, too, if the entries behind one that is 0 count for nothing */

		for (unsigned int level = 1; level <= 3; level++)
			set_permissions(level, at[level - 1]);
		ept_flush();
		for (enum access_kind access = 0; access < ACCESSES; access++) {
			CASE("PTE %u, PDE %u, PDPTE %u, %s", at[0], at[1], at[2], access_names[access]);
			if (all & access_bit(access))
				expect_access_works(access, LINEAR);
			else
				expect_violation(access, all, 0);
		}
	}
}

GUEST_ASM(guest_increments, "lock incq (%rbx)\n ret");
GUEST_ASM(guest_exchanges, "xchg %rcx, (%rbx)\n ret");
GUEST_ASM(guest_adds, "add %rcx, (%rbx)\n ret");

TEST("ept.viol.rmw", "A read-modify-write that may not write gives a violation with bit 1", NEEDS(PROC2_ENABLE_EPT))
{
	static const struct { const char *name; void (*function)(void); } instructions[] = {
		{ "lock inc", guest_increments }, { "xchg", guest_exchanges }, { "add", guest_adds },
	};
	static const u64 permissions[] = { 0, EPT_READ, EPT_READ | EPT_EXECUTE, EPT_RWX };

	use_window();
	for (size_t i = 0; i < ARRAY_SIZE(permissions); i++) {
		set_permissions(1, permissions[i]);
		ept_flush();
		for (size_t n = 0; n < ARRAY_SIZE(instructions); n++) {
			CASE("%s, permissions %u", instructions[n].name, permissions[i]);
			*(u64 *)window_page = RETS;
			guest.regs.rbx = LINEAR;
			guest.regs.rcx = 5;
			guest_run(instructions[n].function);
			if (permissions[i] & EPT_WRITE) {
				expect_guest_done();
				expect_ne(*(u64 *)window_page, RETS);
				continue;
			}
			expect_exit(EXIT_EPT_VIOLATION, .linear = LINEAR, .physical = GUEST_PHYSICAL,
				    .rip = (u64)instructions[n].function);
			/* Bit 0 is the implementation's own. */
			expect_bits(vmcs_read(EXIT_QUALIFICATION), EPT_VIOLATION_DEFINED & ~(u64)EPT_VIOLATION_READ,
				    EPT_VIOLATION_WRITE | permissions[i] << EPT_VIOLATION_PERMISSIONS_SHIFT |
				    EPT_VIOLATION_LINEAR_VALID | EPT_VIOLATION_FINAL);
			expect_eq(*(u64 *)window_page, RETS);
		}
	}
}

TEST("ept.violation_invalidates", "Behind a violation, more permissions need no INVEPT", NEEDS(PROC2_ENABLE_EPT))
{
	use_window();
	for (unsigned int level = 1; level <= LEVELS; level++)
		for (enum access_kind access = 0; access < ACCESSES; access++) {
			CASE("level %u, %s", level, access_names[access]);
			set_permissions(level, access == WRITE ? EPT_READ : access == FETCH ? EPT_READ | EPT_WRITE : 0);
			ept_flush();
			*(u64 *)window_page = RETS;
			guest_access(access, LINEAR);
			expect_exit(EXIT_EPT_VIOLATION);
			set_permissions(level, EPT_RWX);
			guest_resume();
			expect_guest_done();
		}
}

TEST("ept.viol.adv_info", "With advanced information bits 11:9 say U/S, R/W and XD of the linear page",
     NEEDS(PROC2_ENABLE_EPT, CAP_EPT_ADVANCED_EXIT_INFORMATION))
{
	const u64 mask = EPT_VIOLATION_DEFINED | BIT(9) | BIT(10) | BIT(11);
	const bool nx = rdmsr(IA32_EFER) & EFER_NXE;

	use_window();
	set_permissions(1, 0);
	ept_flush();
	for (u32 i = 0; i < 8; i++) {
		const bool user = i & 1, write = i & 2, xd = i & 4;

		if (xd && !nx)
			continue;
		CASE("user %u, writable %u, execute-disable %u", user, write, xd);
		page_map(LINEAR, GUEST_PHYSICAL, PAGE_PRESENT | (user ? PAGE_USER : 0) | (write ? PAGE_WRITE : 0) |
			 (xd ? PAGE_NX : 0));
		guest_access(READ, LINEAR);
		expect_exit(EXIT_EPT_VIOLATION);
		expect_bits(vmcs_read(EXIT_QUALIFICATION), mask,
			    EPT_VIOLATION_READ | EPT_VIOLATION_LINEAR_VALID | EPT_VIOLATION_FINAL |
			    user << 9 | write << 10 | xd << 11);
	}
}

TEST("ept.viol.mbec_user", "With mode-based execute control bit 10 is for fetches from user pages, bit 2 for others",
     NEEDS(PROC2_ENABLE_EPT, PROC2_MODE_BASED_EXECUTE_CONTROL_FOR_EPT))
{
	const u64 user_execute = BIT(10), mask = EPT_VIOLATION_DEFINED | BIT(6);

	use_window();
	vmcs_set_controls(PROC2_MODE_BASED_EXECUTE_CONTROL_FOR_EPT);
	for (unsigned int level = 2; level <= 4; level++)
		*ept_entry(GUEST_PHYSICAL, level) |= user_execute;
	for (u32 i = 0; i < 8; i++) {
		const bool user_page = i & 1, supervisor = i & 2, user = i & 4;

		CASE("user page %u, X for supervisor %u, X for user %u", user_page, supervisor, user);
		page_map(LINEAR, GUEST_PHYSICAL, PAGE_PRESENT | PAGE_WRITE | (user_page ? PAGE_USER : 0));
		ept_map(GUEST_PHYSICAL, physical_address(window_page),
			EPT_READ | EPT_WRITE | EPT_WB | (supervisor ? EPT_EXECUTE : 0) | (user ? user_execute : 0));
		ept_flush();
		if (user_page ? user : supervisor) {
			expect_access_works(FETCH, LINEAR);
		} else {
			guest_access(FETCH, LINEAR);
			expect_exit(EXIT_EPT_VIOLATION, .linear = LINEAR, .physical = GUEST_PHYSICAL);
			expect_bits(vmcs_read(EXIT_QUALIFICATION), mask,
				    EPT_VIOLATION_FETCH | 3 << EPT_VIOLATION_PERMISSIONS_SHIFT | supervisor << 5 |
				    user << 6 | EPT_VIOLATION_LINEAR_VALID | EPT_VIOLATION_FINAL);
		}
		expect_access_works(READ, LINEAR);
	}
}
