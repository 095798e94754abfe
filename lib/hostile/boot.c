/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bad firmware: it is the image itself, in a first pass. It reads the words, puts the processor and the devices into
 * the state that they ask for, leaves long mode and paging, and jumps to the image's first instruction as a loader would.
 */
#include "hostile/internal.h"

#include "x86/cpu.h"

static void read_words(const char *at)
{
	while (*at) {
		hostile_word(at);
		while (*at && *at != ' ')
			at++;
		while (*at == ' ')
			at++;
	}
}

void hostile_boot(const char *command_line, u32 magic, u32 information)
{
	if (hostile.booted)
		return;
	read_words(command_line);
	hostile.booted = true;
	cpu_init();
	hostile_firmware();
	hostile.lies_in_cpuid = hostile.width || hostile.la57 || hostile.hypervisor || hostile.pmu;
	hostile.lies_in_msrs = hostile.pmu;
	hostile.lacks_ports = hostile.absent;
	hostile.has_gaps = hostile.gaps;
	hostile_leave(magic, information);
}
