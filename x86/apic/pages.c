/* SPDX-License-Identifier: BSD-2-Clause */
#include "pages.h"

#include "libc/string.h"

u8 *access_page, *virtual_page;

#define ACCESS(width, operand)								\
	GUEST_ASM(guest_read_##width, "mov (%rbx), %" operand "\n behind_read_" #width ": ret");	\
	GUEST_ASM(guest_write_##width, "mov %" operand ", (%rbx)\n behind_write_" #width ": ret");	\
	extern const u8 behind_read_##width[], behind_write_##width[]

ACCESS(1, "cl");
ACCESS(2, "cx");
ACCESS(4, "ecx");
ACCESS(8, "rcx");

const struct access accesses[4] = {
	{ 1, 0xff, guest_read_1, guest_write_1, behind_read_1, behind_write_1 },
	{ 2, 0xffff, guest_read_2, guest_write_2, behind_read_2, behind_write_2 },
	{ 4, 0xffffffff, guest_read_4, guest_write_4, behind_read_4, behind_write_4 },
	{ 8, ~0ull, guest_read_8, guest_write_8, behind_read_8, behind_write_8 },
};

struct outcome guest_read_at(const struct access *access, u64 address)
{
	guest.regs.rbx = address;
	guest.regs.rcx = ~0ull;
	return guest_run(access->read);
}

struct outcome guest_write_at(const struct access *access, u64 address, u64 value)
{
	guest.regs.rbx = address;
	guest.regs.rcx = value;
	return guest_run(access->write);
}

void use_access_page(void)
{
	access_page = vmcs_use_apic_access_page();
	memset(access_page, 0x5a, PAGE_SIZE);
	page_map(GUEST_APIC, physical_address(access_page), PAGE_PRESENT | PAGE_WRITE);
}

bool check_access_page(const char *file, u32 line)
{
	return check_filled(file, line, "the APIC-access page", access_page, 0, PAGE_SIZE, 0x5a);
}

/* What fill_virtual_page writes: made once. */
static const u8 *filling(void)
{
	static u8 bytes[PAGE_SIZE] ALIGNED(8);

	if (!bytes[1])
		for (u32 i = 0; i < PAGE_SIZE; i++)
			bytes[i] = i * 7 + i / 256 * 13;
	return bytes;
}

void fill_virtual_page(void)
{
	memcpy(virtual_page, filling(), PAGE_SIZE);
}

void refill_register(u32 offset)
{
	memcpy(virtual_page + offset, filling() + offset, 4);
}

bool check_virtual_page(const char *file, u32 line)
{
	return check_bytes(file, line, "the virtual-APIC page", virtual_page, filling(), PAGE_SIZE);
}

void use_virtual_page(void)
{
	virtual_page = vmcs_use_tpr_shadow(0);
	fill_virtual_page();
	page_map(GUEST_VIRTUAL, physical_address(virtual_page), PAGE_PRESENT | PAGE_WRITE);
}
