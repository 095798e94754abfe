/* SPDX-License-Identifier: BSD-2-Clause */
/* From the first C instruction to main, and the end of an image. */
#include "boot/boot.h"
#include "boot/ways.h"

#include "console/console.h"
#include "libc/string.h"
#include "machine/cmos.h"
#include "machine/memory.h"
#include "machine/power.h"
#include "x86/cpu.h"
#include "x86/processor.h"
#include "x86/quiet.h"

extern u32 boot_magic, boot_information;
extern u8 image_start[], image_end[];
extern const char patched_command_line[1008];
int main(const struct boot_info *boot);
void boot_main(void) __attribute__((noreturn));

void (*boot_halted)(void);

static struct boot_info boot_info;
static char command_line[2048];

void boot_add_to_command_line(const char *text)
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

/* QEMU puts the image's file name in front of a Multiboot command line, the EFI shell does; other loaders may. */
static const char *without_file_name(const char *text)
{
	const char *blank = strchr(text, ' ');
	const size_t first = blank ? (size_t)(blank - text) : strlen(text);

	if (!strncmp(text, "BOOT_IMAGE=", 11))		/* GRUB's `linux` */
		return blank ? blank + 1 : "";
	for (size_t i = 0; i < first; i++)
		if (text[i] == '=')
			return text;
	for (size_t i = 0; i < first; i++)
		if (text[i] == '/' || text[i] == '\\' || (text[i] == '.' && i))
			return blank ? blank + 1 : "";
	return text;
}

void boot_add_loaders_line(const char *text)
{
	boot_add_to_command_line(without_file_name(text));
}

/* A ROM of ours: neither firmware nor loader has run. */
static void read_rom(UNUSED u32 information)
{
	cmos_tell_memory();
}

static const struct {
	u32 magic;
	const char *name;
	void (*read)(u32 information);
} ways[] = {
	{ BOOT_MAGIC_MULTIBOOT, "multiboot", boot_read_multiboot },
	{ BOOT_MAGIC_MULTIBOOT2, "multiboot2", boot_read_multiboot2 },
	{ BOOT_MAGIC_PVH, "pvh", boot_read_pvh },
	{ BOOT_MAGIC_LINUX, "linux", boot_read_linux },
	{ BOOT_MAGIC_EFI, "efi", boot_read_efi },
	{ BOOT_MAGIC_ROM, "rom", read_rom },
};

static void read_way(void)
{
	boot_info.method = "unknown";
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (ways[i].magic == boot_magic) {
			boot_info.method = ways[i].name;
			ways[i].read(boot_information);
		}
	if (!memory_size())		/* a loader that says nothing of the memory */
		cmos_tell_memory();
	memory_map_ends();
	memory_take(0, PAGE_SIZE);	/* of a BIOS: interrupt vectors, data area */
	memory_take((u64)image_start, (u64)image_end);
}

/* The value of a word that is needed before anything can be said ("serial="); NULL: it is not there. */
static const char *early_word(const char *word, size_t *length)
{
	const char *at = command_line;

	while ((at = strchr(at, word[0])) && (strncmp(at, word, strlen(word)) || (at > command_line && at[-1] != ' ')))
		at++;
	if (!at)
		return NULL;
	at += strlen(word);

	const char *const blank = strchr(at, ' ');

	*length = blank ? (size_t)(blank - at) : strlen(at);
	return at;
}

static void find_console(void)
{
	size_t length = 0;
	const char *word = early_word("serial=", &length);

	if (!word)
		word = early_word("console=", &length);		/* its older name */
	console_init(word, length);
}

static void fatal(const struct exception_frame *frame)
{
	print("\nBail out! %s(%#lx) at RIP %#lx, RSP %#lx, CR2 %#lx outside any test\n", vector_name(frame->vector),
	      frame->error_code, frame->rip, frame->rsp, read_cr2());
	boot_end();
}

void boot_main(void)
{
	boot_add_to_command_line(patched_command_line);
	read_way();
	find_console();
	boot_info.command_line = command_line;
	hostile_boot(command_line, boot_magic, boot_information);

	cpu_fatal_hook = fatal;
	cpu_init();
	machine_quiet();
	main(&boot_info);
	boot_end();
}

void boot_end(void)
{
	console_drain();
	power_end();
	if (boot_halted)
		boot_halted();
	for (;;)
		asm volatile("cli; hlt");
}
