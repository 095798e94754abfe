/* SPDX-License-Identifier: BSD-2-Clause */
#include "mailbox.h"

#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <unistd.h>

enum {
	ATA = 0x1f0, COUNT = ATA + 2, LBA = ATA + 3, DRIVE = ATA + 6, COMMAND = ATA + 7, CONTROL = 0x3f6,
	NO_INTERRUPTS = 2, SLAVE_LBA = 0xf0, READ_SECTORS = 0x20, BUSY = 0x80, DATA_REQUEST = 0x08,
	MOST_SECTORS = 256,
	POLL_US = 2000,
};

static void read_sectors(uint32_t sector, uint32_t count, void *to)
{
	outb(NO_INTERRUPTS, CONTROL);
	outb(SLAVE_LBA | (sector >> 24 & 0xf), DRIVE);
	outb(count, COUNT);	/* 0 means 256 */
	for (int i = 0; i < 3; i++)
		outb(sector >> (8 * i), LBA + i);
	outb(READ_SECTORS, COMMAND);
	while (count--) {
		while ((inb(COMMAND) & (BUSY | DATA_REQUEST)) != DATA_REQUEST)
			;
		insl(ATA, to, SECTOR / 4);
		to = (char *)to + SECTOR;
	}
}

void *mailbox_wait(uint32_t sequence, struct job *job)
{
	uint32_t sectors;
	char *image;

	for (;;) {
		read_sectors(0, 1, job);
		if (!memcmp(job->magic, JOB_MAGIC, sizeof(JOB_MAGIC)) && job->sequence == sequence)
			break;
		usleep(POLL_US);
	}
	read_sectors(0, JOB_SECTORS, job);
	job->command_line[sizeof(job->command_line) - 1] = '\0';

	sectors = (job->image_size + SECTOR - 1) / SECTOR;
	image = malloc((size_t)sectors * SECTOR);
	for (uint32_t done = 0; image && done < sectors; done += MOST_SECTORS) {
		const uint32_t count = sectors - done < MOST_SECTORS ? sectors - done : MOST_SECTORS;

		read_sectors(IMAGE_SECTOR + done, count, image + (size_t)done * SECTOR);
	}
	return image;
}
