/* SPDX-License-Identifier: BSD-2-Clause */
/* The size of code: bit 13 (L) of CS means something in IA-32e mode alone, bit 14 (D/B) outside it. */
#include "load.h"
#include "vmxtest/entry_guest.h"

/* MOV EAX, 12345678H; as 16-bit code it is MOV AX, 5678H; XOR AL, 12H. */
CODE(moves_dword, ".byte 0xb8, 0x78, 0x56, 0x34, 0x12");

TEST("entry.load.seg.l_outside_ia32e", "outside IA-32e mode code has the size that CS.D/B says, whatever CS.L")
{
	for (enum guest_mode mode = MODE_PAE; mode <= MODE_32BIT; mode++) {
		if (!guest_mode_exists(mode))
			continue;
		for (u32 bits = 0; bits < 4; bits++) {
			CASE("%s, L %u, D/B %u", guest_mode_names[mode], bits & 1, bits >> 1);
			start_in(mode);
			vmcs_write(GUEST_CS_ACCESS_RIGHTS, (vmcs_read(GUEST_CS_ACCESS_RIGHTS) & ~(u64)(RIGHTS_L | RIGHTS_DB)) |
				   (bits & 1 ? RIGHTS_L : 0) | (bits & 2 ? RIGHTS_DB : 0));
			guest.regs.rax = 0;
			run_code(moves_dword);
			expect_code_ran();
			expect_eq(guest.regs.rax, bits & 2 ? 0x12345678 : 0x566a);
		}
	}
}
