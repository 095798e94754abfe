/* SPDX-License-Identifier: BSD-2-Clause */
/* From the first C instruction to main, and the end of an image. */
#include "boot/boot.h"

#include "console/console.h"
#include "libc/string.h"
#include "x86/cpu.h"
#include "x86/page.h"
#include "x86/processor.h"

#define MEMORY_START	0x100000ull
#define FOUR_GIB	0x100000000ull

extern u32 boot_magic, boot_information;
extern const char patched_command_line[1008];
int main(const struct boot_info *boot);
void boot_main(void) __attribute__((noreturn));

static struct boot_info boot_info;
static char command_line[2048];

struct multiboot_info {
	u32 flags, mem_lower, mem_upper, boot_device, command_line;
};
enum { MULTIBOOT_MEMORY = BIT(0), MULTIBOOT_COMMAND_LINE = BIT(2) };

struct pvh_start_info {
	u32 magic, version, flags, module_count;
	u64 modules, command_line, rsdp, memory_map;
	u32 memory_map_entries, reserved;
};

struct pvh_memory {
	u64 address, size;
	u32 type, reserved;
};
enum { PVH_MEMORY_RAM = 1 };

static void add_to_command_line(const char *text)
{
	size_t length = strlen(command_line), more = strlen(text);

	if (!more)
		return;
	if (length && length < sizeof(command_line) - 1)
		command_line[length++] = ' ';
	if (more > sizeof(command_line) - 1 - length)
		more = sizeof(command_line) - 1 - length;
	memcpy(command_line + length, text, more);
	command_line[length + more] = '\0';
}

/* QEMU puts the image's file name in front of a Multiboot command line; other loaders may. */
static const char *without_file_name(const char *text)
{
	const char *blank = strchr(text, ' ');
	const size_t first = blank ? (size_t)(blank - text) : strlen(text);

	for (size_t i = 0; i < first; i++)
		if (text[i] == '=')
			return text;
	for (size_t i = 0; i < first; i++)
		if (text[i] == '/' || (text[i] == '.' && i))
			return blank ? blank + 1 : "";
	return text;
}

static void read_multiboot(const struct multiboot_info *info)
{
	boot_info.method = "multiboot";
	if (info->flags & MULTIBOOT_MEMORY)
		memory_end = MEMORY_START + ((u64)info->mem_upper << 10);
	if (info->flags & MULTIBOOT_COMMAND_LINE)
		add_to_command_line(without_file_name((const char *)(u64)info->command_line));
}

static void read_pvh(const struct pvh_start_info *info)
{
	const struct pvh_memory *memory = (const void *)info->memory_map;

	boot_info.method = "pvh";
	if (info->command_line)
		add_to_command_line((const char *)info->command_line);
	for (u32 i = 0; info->version >= 1 && i < info->memory_map_entries; i++)
		if (memory[i].type == PVH_MEMORY_RAM && memory[i].address <= MEMORY_START &&
		    memory[i].address + memory[i].size > MEMORY_START)
			memory_end = memory[i].address + memory[i].size;
}

static u32 cmos(u8 index)
{
	outb(0x70, index);
	return inb(0x71);
}

/* CMOS 34H/35H: 64-KByte units above 16 MiB; 30H/31H: KBytes above 1 MiB, up to 64 MiB. */
static u64 memory_end_from_cmos(void)
{
	const u64 above_16m = (u64)(cmos(0x35) << 8 | cmos(0x34)) << 16;
	const u64 above_1m = (u64)(cmos(0x31) << 8 | cmos(0x30)) << 10;

	return above_16m ? 16 * MEMORY_START + above_16m : MEMORY_START + above_1m;
}

static void fatal(const struct exception_frame *frame)
{
	print("\nBail out! %s(%#lx) at RIP %#lx, RSP %#lx, CR2 %#lx outside any test\n", vector_name(frame->vector),
	      frame->error_code, frame->rip, frame->rsp, read_cr2());
	boot_end();
}

void boot_main(void)
{
	console_init();
	add_to_command_line(patched_command_line);
	if (boot_magic == BOOT_MAGIC_MULTIBOOT)
		read_multiboot((const void *)(u64)boot_information);
	else if (boot_magic == BOOT_MAGIC_PVH)
		read_pvh((const void *)(u64)boot_information);
	else
		boot_info.method = "rom";
	if (!memory_end)
		memory_end = memory_end_from_cmos();
	if (memory_end > FOUR_GIB - (1ull << 30))
		memory_end = FOUR_GIB - (1ull << 30);
	boot_info.command_line = command_line;

	cpu_fatal_hook = fatal;
	cpu_init();
	main(&boot_info);
	boot_end();
}

void boot_end(void)
{
	static const struct {
		u16 port, value;
	} acpi_power_off[] = {
		{ 0x604, 0x2000 },	/* QEMU's pc and q35 */
		{ 0xb004, 0x2000 },	/* Bochs, older QEMU */
		{ 0x600, 0x34 },	/* cloud-hypervisor and others */
		{ 0x4004, 0x3400 },	/* VirtualBox */
	};

	console_drain();
	outl(0xf4, 0);			/* QEMU: isa-debug-exit */
	for (const char *c = "Shutdown"; *c; c++)
		outb(0x8900, *c);
	for (size_t i = 0; i < ARRAY_SIZE(acpi_power_off); i++)
		outw(acpi_power_off[i].port, acpi_power_off[i].value);
	for (;;)
		asm volatile("cli; hlt");
}
