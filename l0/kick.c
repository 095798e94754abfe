/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bochs (2.7 and today's) leaves external interrupts masked after a VM entry with RFLAGS.IF = 0 in
 * host and guest, although "external-interrupt exiting" is 1: a guest that spins with interrupts off would
 * starve L0 for ever. An NMI always exits. So IRQ 0 (the PIT, which Linux does not use here), pin 2 of the
 * I/O APIC, becomes an NMI; on its way out of the guest L0 takes whatever else is pending.
 */
#include "kick.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <unistd.h>

const char *kick_start(unsigned int hz)
{
	enum {
		IOAPIC = 0xfec00000, SELECT = 0, WINDOW = 4, PIN = 2, REDIRECTION = 0x10 + 2 * PIN, DELIVER_NMI = 0x400,
		PIT_CHANNEL0 = 0x40, PIT_MODE = 0x43, RATE_GENERATOR = 0x34, PIT_HZ = 1193182,
	};
	const unsigned int divisor = PIT_HZ / hz;
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

	outb(RATE_GENERATOR, PIT_MODE);
	outb(divisor & 0xff, PIT_CHANNEL0);
	outb(divisor >> 8, PIT_CHANNEL0);
	return NULL;
}
