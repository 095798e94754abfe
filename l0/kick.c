/* SPDX-License-Identifier: BSD-2-Clause */
#include "kick.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <unistd.h>

/* IRQ 0, the PIT, which Linux does not use here, is pin 2 of the I/O APIC: it becomes an NMI. */
const char *kick_start(void)
{
	enum { IOAPIC = 0xfec00000, SELECT = 0, WINDOW = 4, PIN = 2, REDIRECTION = 0x10 + 2 * PIN, DELIVER_NMI = 0x400 };
	volatile uint32_t *ioapic;
	const int fd = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);

	if (fd < 0)
		return "/dev/mem cannot be opened";
	ioapic = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IOAPIC);
	close(fd);
	if (ioapic == MAP_FAILED)
		return "the I/O APIC cannot be mapped (iomem=relaxed?)";
	ioapic[SELECT] = REDIRECTION + 1;
	ioapic[WINDOW] = 0;			/* to processor 0 */
	ioapic[SELECT] = REDIRECTION;
	ioapic[WINDOW] = DELIVER_NMI;		/* edge, not masked */
	munmap((void *)ioapic, 4096);
	kick_put_off();
	return NULL;
}

/*
 * Mode 2: OUT, high since the mode was set, falls for one clock and rises at the end of the count, which each call
 * begins anew; and so on every KICK_AFTER_MS. A single kick may strike L0 itself, just before it enters the guest again.
 */
void kick_put_off(void)
{
	enum { PIT_CHANNEL0 = 0x40, PIT_MODE = 0x43, RATE = 0x34, PIT_HZ = 1193182, COUNT = PIT_HZ / 1000 * KICK_AFTER_MS };

	outb(RATE, PIT_MODE);
	outb(COUNT & 0xff, PIT_CHANNEL0);
	outb(COUNT >> 8, PIT_CHANNEL0);
}
